// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two files as a chain: the first byte says how much of it is put right, the next two how long the child is.
#![no_main]

use fuzz::{Choices, seal, use_image};
use libfuzzer_sys::fuzz_target;
use vhd::format::{Footer, Header};
use vhd::storage::{MemoryFileSystem, MemoryStorage};
use zerocopy::FromBytes;

/// Tells the child the identity of its parent.
fn adopt(child: &mut [u8], parent: &[u8]) {
    let ends = [parent.get(parent.len().saturating_sub(512)..), parent.get(..512)];
    let footers = ends.into_iter().flatten();
    let Some(footer) = footers
        .filter_map(|bytes| Footer::read_from_bytes(bytes).ok())
        .find(Footer::has_cookie)
    else {
        return;
    };
    let at = 512 + std::mem::offset_of!(Header, parent_unique_id);
    if let Some(id) = child.get_mut(at..at + 16) {
        id.copy_from_slice(&footer.unique_id);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mode = choices.byte();
    let len = usize::from(choices.short());
    let mut child = choices.take(len).to_vec();
    let mut parent = choices.rest().to_vec();
    if mode & 2 == 0 {
        adopt(&mut child, &parent);
    }
    if mode & 1 == 0 {
        seal(&mut child);
        seal(&mut parent);
    }
    let files = MemoryFileSystem::new();
    files.insert("/d/child.vhd", MemoryStorage::new(child));
    files.insert("/d/base.vhd", MemoryStorage::new(parent.clone()));
    use_image(&files, "/d/child.vhd");
    assert!(
        files.content("/d/base.vhd") == Some(parent),
        "a parent is never written"
    );
});

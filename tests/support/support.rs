// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tests of whole machines share: guest media, firmware of a few hundred bytes, and waiting for a condition.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for what must come. Long: the machine that tests run on may be very busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// SeaBIOS, as Debian installs it.
pub const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";
/// Its VGA BIOS.
pub const VGA_BIOS: &str = "/usr/share/seabios/vgabios-isavga.bin";

/// A file of this package.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn output(command: &mut Command) -> String {
    let undisturbed = alone();
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    drop(undisturbed);
    assert!(
        done.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A file that `scripts/guests tiny` makes (see docs/lab.md), or that stands in the folder `VPC_GUESTS`.
pub fn guest(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match std::env::var_os("VPC_GUESTS") {
        Some(folder) => folder.into(),
        None => output(Command::new(source("scripts/guests")).arg("tiny")).into(),
    });
    let file = folder.join(name);
    assert!(
        file.is_file(),
        "there is no {}: run scripts/guests",
        file.display()
    );
    file
}

/// The checksum that `floppysum.asm` and `lbasum.asm` print for a medium.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(4).fold(0u32, |sum, dword| {
        sum.rotate_left(1)
            .wrapping_add(u32::from_le_bytes(dword.try_into().unwrap()))
    })
}

/// Firmware from `tests/machine/NAME.asm`.
pub fn firmware(name: &str) -> Vec<u8> {
    assemble(name, None)
}

/// Firmware that boots the first sector of a guest, without SeaBIOS' four seconds.
pub fn loader(guest_name: &str) -> Vec<u8> {
    assemble("loader", Some(guest(guest_name)))
}

fn assemble(name: &str, sector: Option<PathBuf>) -> Vec<u8> {
    // Where there is no assembler (Windows), what a run of these tests elsewhere left in this folder is used.
    let stem = sector.as_deref().and_then(Path::file_stem).unwrap_or_default();
    let kept = std::env::var_os("VPC_ASSEMBLED")
        .map(|folder| Path::new(&folder).join(format!("{name}-{}.bin", stem.to_string_lossy())));
    if let Some(kept) = kept.as_ref().filter(|_| cfg!(windows)) {
        return std::fs::read(kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
    }
    let image = tempfile::NamedTempFile::new().unwrap();
    let mut nasm = Command::new("nasm");
    nasm.args(["-Wall", "-Werror", "-f", "bin", "-o"])
        .arg(image.path());
    for folder in ["tests/guests/", "tests/machine/"] {
        nasm.arg("-I").arg(format!("{}/", source(folder).display()));
    }
    if let Some(sector) = sector {
        nasm.arg(format!("-DSECTOR='{}'", sector.display()));
    }
    output(nasm.arg(source(&format!("tests/machine/{name}.asm"))));
    if let Some(kept) = kept {
        std::fs::copy(image.path(), kept).unwrap();
    }
    std::fs::read(image.path()).unwrap()
}

/// Waits until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// While this is held no other test starts a program. A program that is being started has all descriptors of this process for a moment,
/// and with them the locks of images.
pub fn alone() -> MutexGuard<'static, ()> {
    static STARTS: Mutex<()> = Mutex::new(());
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a guest wrote to the debug console.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Log {
    /// Where the console goes.
    pub fn sink(&self) -> virtualpc::machine::Sink {
        let log = self.0.clone();
        Box::new(move |bytes| {
            log.0.lock().unwrap().extend_from_slice(bytes);
            log.1.notify_all();
        })
    }

    /// All of it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().unwrap()).into_owned()
    }

    /// Waits until the guest has written `text`.
    pub fn wait_for(&self, text: &str) {
        let (bytes, grown) = &*self.0;
        let absent = |bytes: &mut Vec<u8>| !String::from_utf8_lossy(bytes).contains(text);
        let (bytes, timeout) = grown
            .wait_timeout_while(bytes.lock().unwrap(), PATIENCE, absent)
            .unwrap();
        assert!(
            !timeout.timed_out(),
            "waited in vain for `{text}`; the guest wrote:\n{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

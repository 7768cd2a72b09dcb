// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory map as the file `etc/e820`: entries of address, length and type, in the layout of INT 15h E820h.

use super::Ram;

const RAM: u32 = 1;
const RESERVED: u32 = 2;
const FOUR_GIB: u64 = 1 << 32;
/// Pages right below the largest firmware image that a hypervisor may keep for itself.
const HYPERVISOR_PAGES: (u64, u64) = (0xfffb_c000, 0x4000);

/// The map for SeaBIOS, which takes the sizes of RAM from it and cuts out video memory and its own areas itself.
pub(super) fn for_firmware(ram: Ram) -> Vec<u8> {
    [
        (0, ram.below_4g, RAM),
        (HYPERVISOR_PAGES.0, HYPERVISOR_PAGES.1, RESERVED),
        (FOUR_GIB, ram.above_4g, RAM),
    ]
    .into_iter()
    .filter(|(_, len, _)| *len > 0)
    .flat_map(|(address, len, kind)| {
        let mut entry = [0; 20];
        entry[..8].copy_from_slice(&address.to_le_bytes());
        entry[8..16].copy_from_slice(&len.to_le_bytes());
        entry[16..].copy_from_slice(&kind.to_le_bytes());
        entry
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_twenty_bytes() {
        let map = for_firmware(Ram {
            below_4g: 0x0800_0000,
            above_4g: 0,
        });
        assert_eq!(map.len(), 40);
        assert_eq!(
            map[..20],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0]
        );
        assert_eq!(map[36..], [2, 0, 0, 0]);
    }

    #[test]
    fn memory_goes_on_at_4_gib() {
        let map = for_firmware(Ram {
            below_4g: 0xc000_0000,
            above_4g: 0x4000_0000,
        });
        assert_eq!(map.len(), 60);
        assert_eq!(map[40..48], FOUR_GIB.to_le_bytes());
        assert_eq!(map[48..56], 0x4000_0000u64.to_le_bytes());
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any guest on the firmware configuration device, with requests for DMA anywhere.
#![no_main]

use devices::bus::Device;
use devices::fw_cfg::FwCfgBuilder;
use devices::testing::TestRam;
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

const RAM: usize = 0x1_0000;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let ram = TestRam::new(RAM);
    let mut builder = FwCfgBuilder::new();
    builder.add_item(5, [2, 0]);
    for (name, len) in [("etc/second", 70_000), ("bootorder", 3), ("etc/empty", 0)] {
        builder.add_file(name, vec![9; len]).expect("the name is good");
    }
    let mut device = builder.build(ram.clone());
    let mut steps = 0;
    while !choices.is_empty() && steps < 400 {
        steps += 1;
        let what = choices.byte();
        let width = [1, 2, 4, 8][usize::from(what >> 2 & 3)];
        let offset = u64::from(what >> 4);
        match what % 4 {
            0 => device.write(offset, &choices.array::<8>()[..width]),
            1 => device.read(offset, &mut [0; 8][..width]),
            2 => {
                let at = usize::from(choices.short()) % (RAM - 16);
                let mut request = [0; 16];
                request[..4].copy_from_slice(&choices.long().to_be_bytes());
                request[4..8].copy_from_slice(&(choices.long() >> (what >> 3)).to_be_bytes());
                request[8..].copy_from_slice(&u64::from(choices.long() >> (what >> 4)).to_be_bytes());
                ram.put(at, &request);
                device.write(4, &0_u32.to_be_bytes());
                device.write(8, &(at as u32).to_be_bytes());
            }
            _ => device.read_string(1, 1, &mut vec![0; usize::from(choices.short())]),
        }
    }
});

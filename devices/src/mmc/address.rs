// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Block addresses in minutes, seconds and frames.

use super::spec::{FRAMES_A_SECOND, PREGAP, SECONDS_A_MINUTE};

/// A time address on a disc. 00:02:00 is logical block 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msf {
    /// Minute.
    pub minute: u8,
    /// Second, below 60.
    pub second: u8,
    /// Frame, below 75.
    pub frame: u8,
}

impl Msf {
    /// The largest address that the three bytes can hold: what a DVD's lead-out is told as (MMC-5 6.26.2.4).
    pub const MAX: Self = Self {
        minute: 0xff,
        second: 59,
        frame: 74,
    };

    /// The address of a block; [`Msf::MAX`] for what lies beyond it.
    pub fn from_lba(lba: u32) -> Self {
        Self::from_frames(lba.saturating_add(PREGAP))
    }

    /// So many frames as a time; [`Msf::MAX`] for what is longer.
    fn from_frames(frames: u32) -> Self {
        let seconds = frames / FRAMES_A_SECOND;
        match u8::try_from(seconds / SECONDS_A_MINUTE) {
            Ok(minute) => Self {
                minute,
                second: (seconds % SECONDS_A_MINUTE) as u8,
                frame: (frames % FRAMES_A_SECOND) as u8,
            },
            Err(_) => Self::MAX,
        }
    }

    /// The block at this address: `Err` if it is no address, `Ok(None)` if it lies before block 0.
    pub fn to_lba(self) -> Result<Option<u32>, NotAnAddress> {
        let (second, frame) = (u32::from(self.second), u32::from(self.frame));
        if second >= SECONDS_A_MINUTE || frame >= FRAMES_A_SECOND {
            return Err(NotAnAddress);
        }
        let frames = (u32::from(self.minute) * SECONDS_A_MINUTE + second) * FRAMES_A_SECOND + frame;
        Ok(frames.checked_sub(PREGAP))
    }

    fn to_response(self) -> [u8; 4] {
        [0, self.minute, self.second, self.frame]
    }

    /// As a sector's header has it.
    pub fn to_bcd(self) -> [u8; 3] {
        [self.minute, self.second, self.frame].map(|value| ((value / 10) << 4) | (value % 10))
    }
}

/// Seconds or frames beyond their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAddress;

/// A block address as a response has it: four bytes, as a number or in minutes, seconds and frames.
pub fn response_address(lba: u32, msf: bool) -> [u8; 4] {
    if msf {
        Msf::from_lba(lba).to_response()
    } else {
        lba.to_be_bytes()
    }
}

/// Likewise, a distance of `blocks` from the start of a track.
pub fn response_distance(blocks: u32, msf: bool) -> [u8; 4] {
    if msf {
        Msf::from_frames(blocks).to_response()
    } else {
        blocks.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msf(minute: u8, second: u8, frame: u8) -> Msf {
        Msf {
            minute,
            second,
            frame,
        }
    }

    #[test]
    fn blocks_and_back() {
        assert_eq!(Msf::from_lba(0), msf(0, 2, 0));
        assert_eq!(Msf::from_lba(16), msf(0, 2, 16));
        assert_eq!(Msf::from_lba(359_849), msf(79, 59, 74));
        for lba in [0, 74, 75, 4349, 4350, 449_849, 1_151_849] {
            assert_eq!(Msf::from_lba(lba).to_lba(), Ok(Some(lba)));
        }
    }

    #[test]
    fn what_has_no_address_saturates() {
        assert_eq!(Msf::from_lba(1_151_850), Msf::MAX);
        assert_eq!(Msf::from_lba(u32::MAX), Msf::MAX);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(msf(0, 1, 74).to_lba(), Ok(None));
        assert_eq!(msf(0, 60, 0).to_lba(), Err(NotAnAddress));
        assert_eq!(msf(0, 0, 75).to_lba(), Err(NotAnAddress));
    }

    #[test]
    fn header_addresses_are_bcd() {
        assert_eq!(msf(79, 59, 74).to_bcd(), [0x79, 0x59, 0x74]);
    }
}

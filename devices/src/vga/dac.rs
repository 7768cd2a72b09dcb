// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The colour look-up table and its digital-to-analogue converter (INMOS IMSG171): 256 colours of three 6-bit components.

/// Where the next access of the data port goes. The chip has one address and one colour register for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Direction {
    /// The colour register is filled by the processor and goes to the table when it is full.
    Write,
    /// The colour register was filled from the table.
    Read,
}

/// Red, green and blue, six bits each.
type Colour = [u8; 3];

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dac {
    #[serde(with = "table")]
    table: Box<[Colour; 256]>,
    /// The address register. It is one ahead of the colour register while reading.
    address: u8,
    colour: Colour,
    /// The component of `colour` that the data port reaches next: 0 to 2.
    component: usize,
    direction: Direction,
    /// Pixel mask: ANDed to each pixel before the table.
    pub pixel_mask: u8,
}

/// The table as hexadecimal digits.
mod table {
    use super::Colour;
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(table: &[Colour; 256], serializer: S) -> Result<S::Ok, S::Error> {
        crate::snapshot::hex::serialize(&table.as_flattened(), serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[Colour; 256]>, D::Error> {
        let bytes: [u8; 3 * 256] = crate::snapshot::hex::deserialize(deserializer)?;
        let mut table = Box::new([[0; 3]; 256]);
        for (to, from) in table.iter_mut().zip(bytes.as_chunks::<3>().0) {
            *to = *from;
        }
        Ok(table)
    }
}

impl Default for Dac {
    fn default() -> Self {
        Self {
            table: Box::new([[0; 3]; 256]),
            address: 0,
            colour: [0; 3],
            component: 0,
            direction: Direction::Write,
            pixel_mask: 0xff,
        }
    }
}

impl Dac {
    /// Refuses a component that no colour has.
    pub fn is_possible(&self) -> bool {
        self.component < 3
    }

    /// 3C8h written: the next data bytes fill the table from `address` on.
    pub fn set_write_address(&mut self, address: u8) {
        self.address = address;
        self.component = 0;
        self.direction = Direction::Write;
    }

    /// 3C7h written: the next data bytes come from the table from `address` on.
    pub fn set_read_address(&mut self, address: u8) {
        self.address = address;
        self.component = 0;
        self.direction = Direction::Read;
        self.fetch();
    }

    /// 3C8h read.
    pub fn address(&self) -> u8 {
        self.address
    }

    /// 3C7h read: the direction of the last address that was written.
    pub fn state(&self) -> u8 {
        match self.direction {
            Direction::Write => 0,
            Direction::Read => 3,
        }
    }

    /// 3C9h read. In the write direction, which the data sheet leaves open, it shows the colour register and moves nothing.
    pub fn read(&mut self) -> u8 {
        let value = self.colour[self.component];
        if self.direction == Direction::Read {
            self.component = (self.component + 1) % 3;
            if self.component == 0 {
                self.fetch();
            }
        }
        value
    }

    /// 3C9h written. In the read direction, which the data sheet leaves open, it is dropped.
    pub fn write(&mut self, value: u8) {
        if self.direction == Direction::Read {
            return;
        }
        self.colour[self.component] = value & 0x3f;
        self.component = (self.component + 1) % 3;
        if self.component == 0 {
            self.table[usize::from(self.address)] = self.colour;
            self.address = self.address.wrapping_add(1);
        }
    }

    fn fetch(&mut self) {
        self.colour = self.table[usize::from(self.address)];
        self.address = self.address.wrapping_add(1);
    }
}

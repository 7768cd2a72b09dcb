// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of a chip, and how a chip takes it back.
//!
//! A chip keeps what the guest can see in one `State`, which is the saved type as well: it is cloned whole, and what lies beside it is
//! taken by a pattern without `..`, so that no field can be forgotten. What belongs to the host is not in it: media, the far ends of
//! wires, timers. Deadlines are times of the machine's clock, which a restored machine sets to where it stood.
//!
//! A saved state may come from anywhere. [`Snapshot::restore`] checks everything that the chip's code takes for granted; what a guest could
//! have brought about itself needs no check.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A chip whose state can be kept.
pub trait Snapshot {
    /// What is kept.
    type State: Serialize + DeserializeOwned;

    /// The state, while no processor runs. The chip takes in first what its media have done.
    ///
    /// # Errors
    /// [`Busy`] while a medium works for the chip.
    fn snapshot(&mut self) -> Result<Self::State, Busy>;

    /// Takes a state over, on a chip that has just been made from the same parts. Interrupt lines stand as the state has them afterwards,
    /// without an edge: the controllers' states know of them already.
    ///
    /// # Errors
    /// [`BadState`]: the chip is of no use then.
    fn restore(&mut self, state: Self::State) -> Result<(), BadState>;
}

/// A medium is at work for the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a medium is still at work")]
pub struct Busy;

/// A state that no chip can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadState(pub &'static str);

/// Refuses a state unless `good`; `what` says what does not fit.
pub(crate) fn must(good: bool, what: &'static str) -> Result<(), BadState> {
    if good { Ok(()) } else { Err(BadState(what)) }
}

/// Bytes as hexadecimal digits: for fields of `#[serde(with)]`. The length must be the field's own, if that is fixed.
pub mod hex {
    use super::{D, S};

    /// Writes digits.
    ///
    /// # Errors
    /// The serialiser's.
    pub fn serialize<T: AsRef<[u8]>, Ser: S>(bytes: &T, serializer: Ser) -> Result<Ser::Ok, Ser::Error> {
        super::write_hex(bytes.as_ref(), serializer)
    }

    /// Reads digits.
    ///
    /// # Errors
    /// What is not digits, or too many or too few.
    pub fn deserialize<'de, T: TryFrom<Vec<u8>>, De: D<'de>>(deserializer: De) -> Result<T, De::Error> {
        super::read_hex(deserializer)
    }
}

use Deserializer as D;
use Serializer as S;

fn write_hex<Ser: Serializer>(bytes: &[u8], serializer: Ser) -> Result<Ser::Ok, Ser::Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
    serializer.serialize_str(&text)
}

fn read_hex<'de, T: TryFrom<Vec<u8>>, De: Deserializer<'de>>(deserializer: De) -> Result<T, De::Error> {
    let text = String::deserialize(deserializer)?;
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    let bytes = bytes
        .filter(|_| rest.is_empty())
        .ok_or_else(|| De::Error::custom("these are not hexadecimal bytes"))?;
    T::try_from(bytes).map_err(|_| De::Error::custom("the number of bytes is not the right one"))
}

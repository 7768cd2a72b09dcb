// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keys of configuration values: `hardware/pci_bus/ide_adapter/ide_controller[@id=1]/location[@id=0]/pathname/absolute`.

use std::fmt;
use std::str::FromStr;

/// The way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub name: String,
    pub id: Option<String>,
}

/// Text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is empty.
    #[error("the key is empty")]
    Empty,
    /// It leads too deep.
    #[error("the key has more than {STEPS_MOST} parts")]
    TooDeep,
    /// A part is neither a name nor a name with an ID.
    #[error("`{0}` is no part of a key: use names and name[@id=NUMBER], separated by /")]
    Part(String),
}

/// The most parts of a key; the file's own depth is limited likewise.
const STEPS_MOST: usize = 32;

impl Key {
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_matches('/');
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        let steps = text.split('/').map(step).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > STEPS_MOST {
            return Err(KeyError::TooDeep);
        }
        Ok(Self(steps))
    }
}

fn step(text: &str) -> Result<Step, KeyError> {
    let wrong = || KeyError::Part(text.to_owned());
    let (name, id) = match text.split_once('[') {
        None => (text, None),
        Some((name, rest)) => {
            let id = rest.strip_prefix("@id=").and_then(|rest| rest.strip_suffix(']'));
            let id = id.ok_or_else(wrong)?;
            let bare = id
                .strip_prefix('"')
                .and_then(|id| id.strip_suffix('"'))
                .unwrap_or(id);
            if bare.is_empty() || !bare.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
                return Err(wrong());
            }
            (name, Some(bare.to_owned()))
        }
    };
    if !is_name(name) {
        return Err(wrong());
    }
    Ok(Step {
        name: name.to_owned(),
        id,
    })
}

/// A name that XML allows, of the letters that configurations use.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            let slash = if n == 0 { "" } else { "/" };
            write!(f, "{slash}{}", step.name)?;
            if let Some(id) = &step.id {
                write!(f, "[@id={id}]")?;
            }
        }
        Ok(())
    }
}

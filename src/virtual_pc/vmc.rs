// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `.vmc` files: a tree of named values in XML, as Virtual PC 2004 to Windows Virtual PC wrote them.
//!
//! ```xml
//! <preferences>
//!     <hardware>
//!         <memory>
//!             <ram_size type="integer">128</ram_size>
//! ```
//!
//! The root is `preferences`; a leaf has an attribute `type` (`string`, `integer`, `boolean`, `bytes`); brothers of one name are told apart
//! by an attribute `id`. Virtual PC wrote UTF-16 with a byte order mark; UTF-8 is read too. What this program does not know survives a
//! rewrite: elements, attributes, comments and their order; only white space between elements is made anew.
//!
//! A file is hostile until it has been read: its size, depth and number of elements are limited, and there are no entities but XML's own.

mod key;
mod text;

pub use key::{Key, KeyError};
use std::fmt::Write;

/// The root's name.
const ROOT: &str = "preferences";
/// What Virtual PC wrote at the top.
const COMMENT: &str = " Microsoft Virtual Machine Options and Settings ";

/// A configuration tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vmc {
    /// Comments before the root.
    prolog: Vec<String>,
    root: Element,
}

/// A file that is no configuration tree.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It is too large.
    #[error("it has {0} bytes, which is too much for a configuration")]
    TooLarge(usize),
    /// It is neither UTF-16 nor UTF-8.
    #[error("its text is neither UTF-16 nor UTF-8")]
    Encoding,
    /// It is no XML.
    #[error("it is not XML: {0}")]
    Xml(String),
    /// It has what XML allows and a configuration does not need.
    #[error("it has {0}, which no configuration needs")]
    Refused(&'static str),
    /// The root is another one.
    #[error("its root element is not `{ROOT}`")]
    Root,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    content: Vec<Content>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Element(Element),
    Text(String),
    Comment(String),
}

/// A configuration value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(
    tag = "type",
    content = "value",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
#[schema(as = ConfigurationValue)]
pub enum Value {
    /// Text: `VT_BSTR`.
    String(String),
    /// A whole number: `VT_I4` or `VT_UI4`.
    Integer(i64),
    /// Yes or no: `VT_BOOL`.
    Boolean(bool),
    /// Raw bytes: `VT_ARRAY | VT_UI1`.
    Bytes(Vec<u8>),
}

/// A value that cannot be stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The key names a group of values.
    #[error("`{0}` is a group of values, not a value")]
    Group(Key),
    /// XML cannot hold the text.
    #[error("the text has a control character, which a configuration cannot hold")]
    Control,
}

impl Default for Vmc {
    fn default() -> Self {
        let mut vmc = Self {
            prolog: vec![COMMENT.to_owned()],
            root: Element::new(ROOT),
        };
        vmc.put("version", &Value::String("2.0".into()));
        vmc
    }
}

impl Vmc {
    /// Reads a file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        text::parse(bytes)
    }

    /// The file's bytes: UTF-16, little-endian, with a byte order mark.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = self.to_string();
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    }

    /// The value of a key. A group has none.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.find(key)
            .filter(|found| !found.is_group())
            .map(Element::value)
    }

    /// Sets the value of a key, and makes the groups that lead to it.
    pub fn set(&mut self, key: &Key, value: &Value) -> Result<(), SetError> {
        if self.find(key).is_some_and(Element::is_group) {
            return Err(SetError::Group(key.clone()));
        }
        let (kind, text) = match value {
            Value::String(text) => ("string", text.clone()),
            Value::Integer(number) => ("integer", number.to_string()),
            Value::Boolean(flag) => ("boolean", flag.to_string()),
            Value::Bytes(bytes) => {
                let mut text = String::new();
                for byte in bytes {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{byte:02X}");
                }
                ("bytes", text)
            }
        };
        if text
            .chars()
            .any(|c| c.is_control() && !"\t\r\n".contains(c) || ('\u{fffe}'..='\u{ffff}').contains(&c))
        {
            return Err(SetError::Control);
        }
        let mut here = &mut self.root;
        for step in key.steps() {
            here = here.child_or_new(step);
        }
        match here.attributes.iter_mut().find(|(name, _)| name == "type") {
            Some((_, present)) => kind.clone_into(present),
            None => here.attributes.push(("type".into(), kind.into())),
        }
        here.content.retain(|part| matches!(part, Content::Comment(_)));
        if !text.is_empty() {
            here.content.push(Content::Text(text));
        }
        Ok(())
    }

    /// Removes a value; tells whether there was one.
    pub fn remove(&mut self, key: &Key) -> bool {
        self.find(key).is_some_and(|found| !found.is_group()) && self.remove_tree(key)
    }

    /// Removes a value or a group with all that is in it; tells whether there was one.
    pub fn remove_tree(&mut self, key: &Key) -> bool {
        let Some((last, way)) = key.steps().split_last() else {
            return false;
        };
        let mut here = &mut self.root;
        for step in way {
            let Some(position) = here.position(step) else {
                return false;
            };
            let Some(Content::Element(next)) = here.content.get_mut(position) else {
                return false;
            };
            here = next;
        }
        let found = here.position(last);
        if let Some(position) = found {
            here.content.remove(position);
        }
        found.is_some()
    }

    /// Whether there is a value or group of this name.
    pub fn contains(&self, key: &Key) -> bool {
        self.find(key).is_some()
    }

    /// The numbers in the `id` attributes of the children `name` of a group, in ascending order.
    pub fn ids(&self, group: &Key, name: &str) -> Vec<u32> {
        let Some(group) = self.find(group) else {
            return vec![];
        };
        let children = group.elements().filter(|child| child.name == name);
        let mut ids: Vec<_> = children
            .filter_map(|child| child.attribute("id")?.parse().ok())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The text of a key, empty text as none.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.get(&key.parse().ok()?)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The number of a key.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.get(&key.parse().ok()?)? {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The flag of a key.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match self.get(&key.parse().ok()?)? {
            Value::Boolean(flag) => Some(flag),
            _ => None,
        }
    }

    /// Sets a value of a key that this program knows. What cannot be stored is left out: callers have checked it.
    pub fn put(&mut self, key: &str, value: &Value) {
        if let Ok(key) = key.parse::<Key>() {
            if self.find(&key).is_some_and(Element::is_group) {
                self.remove_tree(&key);
            }
            let _ = self.set(&key, value);
        }
    }

    fn find(&self, key: &Key) -> Option<&Element> {
        let mut here = &self.root;
        for step in key.steps() {
            match here.content.get(here.position(step)?) {
                Some(Content::Element(next)) => here = next,
                _ => return None,
            }
        }
        Some(here)
    }
}

impl Element {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            attributes: vec![],
            content: vec![],
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }

    fn elements(&self) -> impl Iterator<Item = &Self> {
        self.content.iter().filter_map(|part| match part {
            Content::Element(element) => Some(element),
            Content::Text(_) | Content::Comment(_) => None,
        })
    }

    /// Whether it holds elements, or is an element without type that could.
    fn is_group(&self) -> bool {
        self.elements().next().is_some()
    }

    /// Where a child stands. A step without an ID prefers a child without one.
    fn position(&self, step: &key::Step) -> Option<usize> {
        let matches = |part: &Content, exact: bool| match part {
            Content::Element(child) if child.name == step.name => match (&step.id, child.attribute("id")) {
                (Some(wanted), Some(id)) => wanted == id,
                (Some(_), None) => false,
                (None, id) => !exact || id.is_none(),
            },
            _ => false,
        };
        let exact = self.content.iter().position(|part| matches(part, true));
        exact.or_else(|| self.content.iter().position(|part| matches(part, false)))
    }

    fn child_or_new(&mut self, step: &key::Step) -> &mut Self {
        let position = self.position(step).unwrap_or_else(|| {
            let mut child = Self::new(&step.name);
            if let Some(id) = &step.id {
                child.attributes.push(("id".into(), id.clone()));
            }
            // A value that becomes a group loses its text.
            self.content.retain(|part| !matches!(part, Content::Text(_)));
            self.content.push(Content::Element(child));
            self.content.len() - 1
        });
        match &mut self.content[position] {
            Content::Element(child) => child,
            Content::Text(_) | Content::Comment(_) => unreachable!("positions are those of elements"),
        }
    }

    fn own_text(&self) -> String {
        let parts = self.content.iter().filter_map(|part| match part {
            Content::Text(text) => Some(&**text),
            Content::Element(_) | Content::Comment(_) => None,
        });
        parts.collect()
    }

    /// What cannot be read as its type is given as text: a value is never lost to a reader.
    fn value(&self) -> Value {
        let text = self.own_text();
        match self.attribute("type") {
            Some("integer") => text.trim().parse().map(Value::Integer).ok(),
            Some("boolean") => match text.trim() {
                "true" | "1" => Some(Value::Boolean(true)),
                "false" | "0" => Some(Value::Boolean(false)),
                _ => None,
            },
            Some("bytes") => bytes(text.trim()).map(Value::Bytes),
            _ => None,
        }
        .unwrap_or(Value::String(text))
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests;

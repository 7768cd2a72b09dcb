// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tree as XML text.

use super::{Content, Element, Malformed, ROOT, Vmc};
use quick_xml::Reader;
use quick_xml::escape;
use quick_xml::events::{BytesStart, Event};
use std::fmt;

const BYTES_MOST: usize = 8 << 20;
const DEPTH_MOST: usize = 64;
const ELEMENTS_MOST: usize = 100_000;

pub(super) fn parse(bytes: &[u8]) -> Result<Vmc, Malformed> {
    if bytes.len() > BYTES_MOST {
        return Err(Malformed::TooLarge(bytes.len()));
    }
    let text = decode(bytes)?;
    let xml = |error: &dyn std::error::Error| Malformed::Xml(error.to_string());
    let mut reader = Reader::from_str(&text);
    let mut prolog = vec![];
    let mut open: Vec<Element> = vec![];
    let mut root = None;
    let mut elements = 0;
    loop {
        match reader.read_event().map_err(|e| xml(&e))? {
            Event::Eof => break,
            Event::Decl(_) => {}
            Event::DocType(_) => return Err(Malformed::Refused("a document type")),
            Event::PI(_) => return Err(Malformed::Refused("a processing instruction")),
            Event::Comment(comment) => {
                let comment = comment.decode().map_err(|e| xml(&e))?.into_owned();
                match open.last_mut() {
                    Some(parent) => parent.content.push(Content::Comment(comment)),
                    None => prolog.push(comment),
                }
            }
            Event::Start(start) => {
                count(&mut elements, open.len())?;
                open.push(element(&start)?);
            }
            Event::Empty(start) => {
                count(&mut elements, open.len())?;
                close(element(&start)?, &mut open, &mut root)?;
            }
            Event::End(_) => {
                // The reader has checked that the names match.
                let done = open
                    .pop()
                    .ok_or_else(|| Malformed::Xml("an end without a start".into()))?;
                close(done, &mut open, &mut root)?;
            }
            Event::Text(text) => push_text(&mut open, &text.decode().map_err(|e| xml(&e))?)?,
            Event::CData(text) => push_text(&mut open, &text.decode().map_err(|e| xml(&e))?)?,
            Event::GeneralRef(entity) => {
                let name = entity.decode().map_err(|e| xml(&e))?;
                let text = escape::unescape(&format!("&{name};"))
                    .map_err(|e| xml(&e))?
                    .into_owned();
                push_text(&mut open, &text)?;
            }
        }
    }
    if let Some(unclosed) = open.last() {
        return Err(Malformed::Xml(format!("`{}` does not end", unclosed.name)));
    }
    let root = root
        .filter(|root: &Element| root.name == ROOT)
        .ok_or(Malformed::Root)?;
    Ok(Vmc { prolog, root })
}

fn count(elements: &mut usize, depth: usize) -> Result<(), Malformed> {
    *elements += 1;
    if *elements > ELEMENTS_MOST {
        return Err(Malformed::Refused("too many elements"));
    }
    if depth >= DEPTH_MOST {
        return Err(Malformed::Refused("elements too deep in each other"));
    }
    Ok(())
}

fn element(start: &BytesStart<'_>) -> Result<Element, Malformed> {
    let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
    let mut element = Element::new(&name);
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| Malformed::Xml(e.to_string()))?;
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        let value = escape::unescape(&value)
            .map_err(|e| Malformed::Xml(e.to_string()))?
            .into_owned();
        let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        element.attributes.push((name, value));
    }
    Ok(element)
}

fn close(mut done: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), Malformed> {
    // White space between elements is layout.
    if done.is_group() {
        done.content
            .retain(|part| !matches!(part, Content::Text(text) if text.trim().is_empty()));
    }
    match open.last_mut() {
        Some(parent) => parent.content.push(Content::Element(done)),
        None if root.is_none() => *root = Some(done),
        None => return Err(Malformed::Xml("there are two roots".into())),
    }
    Ok(())
}

fn push_text(open: &mut [Element], text: &str) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(parent) => match parent.content.last_mut() {
            Some(Content::Text(present)) => present.push_str(text),
            _ => parent.content.push(Content::Text(text.to_owned())),
        },
        None if text.trim().is_empty() => {}
        None => return Err(Malformed::Xml("there is text outside of the root".into())),
    }
    Ok(())
}

/// UTF-16 by its byte order mark or by its first character, which is `<`; else UTF-8.
fn decode(bytes: &[u8]) -> Result<String, Malformed> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        if bytes.len() % 2 == 1 {
            return Err(Malformed::Encoding);
        }
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .map_err(|_| Malformed::Encoding)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, b'<', ..] => utf16(bytes, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Encoding)
        }
    }
}

impl fmt::Display for Vmc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n")?;
        for comment in &self.prolog {
            write!(f, "<!--{comment}-->\r\n")?;
        }
        write(f, &self.root, 0)
    }
}

fn write(f: &mut fmt::Formatter<'_>, element: &Element, depth: usize) -> fmt::Result {
    let indent = "\t".repeat(depth);
    write!(f, "{indent}<{}", element.name)?;
    for (name, value) in &element.attributes {
        write!(f, " {name}=\"{}\"", escape::escape(value))?;
    }
    if element.content.is_empty() {
        return f.write_str("/>\r\n");
    }
    f.write_str(">")?;
    let lines = element.is_group();
    if lines {
        f.write_str("\r\n")?;
    }
    for part in &element.content {
        match part {
            Content::Element(child) => write(f, child, depth + 1)?,
            // A bare carriage return would be read back as a line feed.
            Content::Text(text) => f.write_str(&escape::escape(text).replace('\r', "&#13;"))?,
            Content::Comment(comment) if lines => write!(f, "{indent}\t<!--{comment}-->\r\n")?,
            Content::Comment(comment) => write!(f, "<!--{comment}-->")?,
        }
    }
    if lines {
        f.write_str(&indent)?;
    }
    write!(f, "</{}>\r\n", element.name)
}

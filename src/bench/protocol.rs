// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The lines that the benchmark guest writes to the debug port (`guest/console.rs`). Firmware may write there, too, before it.

use super::histogram::Histogram;
use std::collections::BTreeMap;

/// A line's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The guest runs, and does nothing.
    Hello,
    /// From here on it measures.
    Begin,
    /// Requests that are done, so many nanoseconds after the begin.
    At {
        /// The nanoseconds.
        nanos: u64,
        /// Reads and writes.
        requests: u64,
    },
    /// It does not measure any more: the nanoseconds since the begin, if a disk was measured.
    End {
        /// The nanoseconds.
        nanos: Option<u64>,
    },
    /// Part of a histogram.
    Histogram,
    /// What was written was read again: the sectors that were right.
    Verified {
        /// Of 512 bytes.
        sectors: u64,
    },
    /// All is told.
    Done,
    /// Why it gave up.
    Failed {
        /// In its words.
        why: String,
    },
}

/// Reads lines as they come, and keeps the histograms.
#[derive(Default)]
pub struct Reader {
    /// What came after the last line's end. A line has 1000 bytes at most, and what is longer is none of ours.
    rest: Vec<u8>,
    histograms: BTreeMap<String, Histogram>,
}

impl Reader {
    /// Takes bytes; calls `each` for every whole line that is the guest's.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Line)) {
        const LONGEST: usize = 4096;
        for &byte in bytes {
            if byte != b'\n' {
                if self.rest.len() < LONGEST {
                    self.rest.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.rest);
            if let Some(line) = std::str::from_utf8(&line).ok().and_then(|line| self.line(line)) {
                each(line);
            }
        }
    }

    /// The histogram of a name, empty if the guest told none.
    pub fn histogram(&self, name: &str) -> Histogram {
        self.histograms.get(name).cloned().unwrap_or_default()
    }

    /// All histograms, by their names.
    pub fn histograms(&self) -> &BTreeMap<String, Histogram> {
        &self.histograms
    }

    fn line(&mut self, line: &str) -> Option<Line> {
        // Firmware may leave its own line unfinished.
        let (_, line) = line.split_once("vpcbench ")?;
        let (kind, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let number = |key: &str| {
            let pairs = rest.split(' ').filter_map(|word| word.split_once('='));
            let mut values = pairs.filter(|(name, _)| *name == key).map(|(_, value)| value);
            values.next()?.parse::<u64>().ok()
        };
        Some(match kind {
            "hello" => Line::Hello,
            "begin" => Line::Begin,
            "at" => Line::At {
                nanos: number("ns")?,
                requests: number("reads")?.saturating_add(number("writes")?),
            },
            "end" => Line::End { nanos: number("ns") },
            "verified" => Line::Verified {
                sectors: number("sectors")?,
            },
            "done" => Line::Done,
            "failed" => Line::Failed { why: rest.to_owned() },
            "latency" => {
                let (sum, min, max) = (number("sum")?, number("min")?, number("max")?);
                let name = rest.split(' ').next()?;
                self.named(name)?.extend(sum, min, max);
                Line::Histogram
            }
            "classes" => {
                let mut words = rest.split(' ');
                let histogram = self.named(words.next()?)?;
                for (class, count) in words.filter_map(|word| word.split_once(':')) {
                    histogram.add_many(class.parse().ok()?, count.parse().ok()?);
                }
                Line::Histogram
            }
            _ => return None,
        })
    }

    /// A guest has a dozen of them; one that makes up more has lost its way.
    fn named(&mut self, name: &str) -> Option<&mut Histogram> {
        const MOST: usize = 64;
        if self.histograms.len() >= MOST && !self.histograms.contains_key(name) {
            return None;
        }
        Some(self.histograms.entry(name.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reader: &mut Reader, text: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        // In pieces that cut lines anywhere.
        for piece in text.as_bytes().chunks(7) {
            reader.push(piece, |line| lines.push(line));
        }
        lines
    }

    #[test]
    fn a_run_is_read() {
        let mut reader = Reader::default();
        let text = "SeaBIOS (version 1.16)\nBootingvpcbench begin sectors=5 hertz=1\nvpcbench at ns=7 reads=1 writes=2\n\
            vpcbench end ns=9 reads=3 writes=0\nvpcbench latency read sum=30 min=9 max=11\nvpcbench classes read 9:1 10:1\n\
            vpcbench classes read 11:1\nvpcbench verified sectors=8\nvpcbench failed verify: sector 3\nvpcbench done\n";
        let wanted = [
            Line::Begin,
            Line::At {
                nanos: 7,
                requests: 3,
            },
            Line::End { nanos: Some(9) },
            Line::Histogram,
            Line::Histogram,
            Line::Histogram,
            Line::Verified { sectors: 8 },
            Line::Failed {
                why: "verify: sector 3".into(),
            },
            Line::Done,
        ];
        assert_eq!(lines(&mut reader, text), wanted);
        let reads = reader.histogram("read");
        assert_eq!(
            (reads.count(), reads.sum(), reads.min(), reads.max()),
            (3, 30, 9, 11)
        );
        assert_eq!(reader.histogram("write").count(), 0);
    }

    #[test]
    fn nonsense_is_none_of_ours() {
        let mut reader = Reader::default();
        let long = "x".repeat(100_000);
        let text = format!(
            "vpcbench at ns=-1 reads=1 writes=1\nvpcbench unknown\nvpcbench classes\nvpcbench classes read 1:x 99999999999999999999:1\n{long}\n\
             vpcbench classes read 999999:5\nvpcbench latency read\n\u{7f}\n"
        );
        let found = lines(&mut reader, &text);
        assert!(found.iter().all(|line| *line == Line::Histogram), "{found:?}");
        assert_eq!(reader.histogram("read").count(), 0);
        for name in 0..1000 {
            lines(&mut reader, &format!("vpcbench classes n{name} 1:1\n"));
        }
        assert!(reader.histograms().len() <= 64);
    }
}

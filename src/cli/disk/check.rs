// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk check`

use super::{files, progress};
use crate::cli::{Error, exit};
use serde::Serialize;
use std::path::PathBuf;
use vhd::check::{Finding, Mode, Remedy, Summary, Unused};

/// Checks the structures of an image. Exits with 1 if there is damage that was not repaired.
///
/// Space in the file that nothing points to is named too; it is no damage.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// Repair what can be repaired
    #[arg(long)]
    repair: bool,
    /// Only say what a repair would do
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    opening: files::Opening,
}

/// What was found, as it is printed as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    path: PathBuf,
    damages: u64,
    repaired: u64,
    findings: Vec<Entry>,
    unused: Space,
}

/// A finding.
#[derive(Debug, Serialize)]
struct Entry {
    damage: bool,
    text: String,
    /// What a repair does about it, or has done.
    remedy: Option<String>,
}

/// What of the file nothing points to.
#[derive(Debug, Default, Serialize)]
struct Space {
    bytes: u64,
    /// How many blocks have room in it.
    blocks: u64,
    pieces: Vec<Piece>,
}

#[derive(Debug, Serialize)]
struct Piece {
    offset: u64,
    length: u64,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        self.opening.check(&self.path)?;
        let mode = match (self.repair, self.dry_run) {
            (true, false) => Mode::Repair,
            (_, true) | (false, false) => Mode::Look,
        };
        let (path, options) = (self.path.clone(), self.opening.for_writing());
        let (dry_run, json) = (self.dry_run, self.json);
        let (summary, findings, unused) = progress::run("Checking", move |watch| {
            let (mut findings, mut unused) = (Vec::new(), Space::default());
            let summary = vhd::check::check(&path, &options, mode, watch, |finding| {
                if json {
                    findings.push(Entry::new(finding));
                } else {
                    print(finding, mode, dry_run);
                }
                if let Finding::Unused(found) = finding {
                    unused = Space::new(found);
                }
            })?;
            Ok((summary, findings, unused))
        })?;
        if self.json {
            crate::cli::print_json(&Report {
                path: self.path,
                damages: summary.damages,
                repaired: summary.repaired,
                findings,
                unused,
            })?;
        } else {
            println!("{}: {}", self.path.display(), words(summary));
        }
        let left = summary.damages - summary.repaired;
        Ok(if left == 0 { exit::DONE } else { exit::FOUND })
    }
}

fn words(summary: Summary) -> String {
    let damages = summary.damages;
    match (damages, damages - summary.repaired) {
        (0, _) => "no damage".to_owned(),
        (_, 0) => format!("{damages} damages, all repaired"),
        (_, left) => format!("{damages} damages, {left} of them not repaired"),
    }
}

impl Entry {
    fn new(finding: &Finding) -> Self {
        let remedy = finding.remedy();
        Self {
            damage: remedy != Remedy::None,
            text: text(finding),
            remedy: (remedy != Remedy::None).then(|| remedy.to_string()),
        }
    }
}

impl Space {
    fn new(unused: &Unused) -> Self {
        let piece = |range: &std::ops::Range<u64>| Piece {
            offset: range.start,
            length: range.end - range.start,
        };
        Self {
            bytes: unused.bytes,
            blocks: unused.blocks,
            pieces: unused.pieces.iter().map(piece).collect(),
        }
    }
}

fn text(finding: &Finding) -> String {
    match finding {
        Finding::Unusable(error) => crate::storage::chain(error),
        finding => finding.to_string(),
    }
}

fn print(finding: &Finding, mode: Mode, dry_run: bool) {
    let text = text(finding);
    match (finding.remedy(), mode) {
        (Remedy::None, _) => println!("note: {text}"),
        (Remedy::Restore, _) => println!("damage: {text}"),
        (remedy, Mode::Repair) => println!("damage: {text}: {remedy}"),
        (remedy, Mode::Look) if dry_run => println!("damage: {text}: a repair would {remedy}"),
        (_, Mode::Look) => println!("damage: {text}"),
    }
}

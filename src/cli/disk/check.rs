// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk check`

use super::{files, progress};
use crate::cli::{Error, exit};
use std::path::PathBuf;
use vhd::check::{Finding, Mode, Remedy};

/// Checks the structures of an image. Exits with 1 if there is damage that was not repaired.
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
    #[command(flatten)]
    opening: files::Opening,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        self.opening.check(&self.path)?;
        let mode = match (self.repair, self.dry_run) {
            (true, false) => Mode::Repair,
            (_, true) | (false, false) => Mode::Look,
        };
        let name = self.path.display().to_string();
        let options = self.opening.for_writing();
        let dry_run = self.dry_run;
        let summary = progress::run("Checking", move |watch| {
            vhd::check::check(&self.path, &options, mode, watch, |finding| {
                print(finding, mode, dry_run);
            })
        })?;
        let left = summary.damages - summary.repaired;
        match (summary.damages, left) {
            (0, _) => println!("{name}: no damage"),
            (damages, 0) => println!("{name}: {damages} damages, all repaired"),
            (damages, left) => println!("{name}: {damages} damages, {left} of them not repaired"),
        }
        Ok(if left == 0 { exit::DONE } else { exit::FOUND })
    }
}

fn print(finding: &Finding, mode: Mode, dry_run: bool) {
    let text = match finding {
        Finding::Unusable(error) => crate::storage::chain(error),
        finding => finding.to_string(),
    };
    match (finding.remedy(), mode) {
        (Remedy::None, _) => println!("note: {text}"),
        (Remedy::Restore, _) => println!("damage: {text}"),
        (remedy, Mode::Repair) => println!("damage: {text}: {remedy}"),
        (remedy, Mode::Look) if dry_run => println!("damage: {text}: a repair would {remedy}"),
        (_, Mode::Look) => println!("damage: {text}"),
    }
}

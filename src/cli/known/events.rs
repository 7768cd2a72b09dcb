// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc events` and `tasks`: what happened, and what is going on.

use super::model::{open, print_table};
use crate::cli::{Error, exit, print_json};
use crate::virtual_pc::event::{Event, EventKind};
use crate::virtual_pc::paths::same_name;
use crate::virtual_pc::task::Record;
use std::io::Write;

/// Shows what happened to machines and drives.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Only those of this machine
    name: Option<String>,
    /// Do not end: show events as they come, and none from before
    #[arg(short, long)]
    follow: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

impl Events {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let journal = open()?.journal();
        if self.follow {
            journal.follow(|event| self.print(&event))?;
        } else {
            journal.read()?.iter().all(|event| self.print(event));
        }
        Ok(exit::DONE)
    }

    /// Tells whether somebody still reads.
    fn print(&self, event: &Event) -> bool {
        let machine = event.machine.as_deref().unwrap_or_default();
        if self.name.as_ref().is_some_and(|name| !same_name(name, machine)) {
            return true;
        }
        let line = match serde_json::to_string(event) {
            Ok(line) if self.json => line,
            _ => format!("{:.0}  {machine:<20}  {}", event.time, words(&event.kind)),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
    }
}

fn words(kind: &EventKind) -> String {
    match kind {
        EventKind::StateChange { state } => format!("is {state}"),
        EventKind::Reset => "was reset".into(),
        EventKind::TripleFault => "triple fault".into(),
        EventKind::RequestShutdown => "power button pressed".into(),
        EventKind::GuestShutdown => "the guest switched it off".into(),
        EventKind::ConfigurationChanged { key } => format!("{key} changed"),
        EventKind::MediaInsert { drive, path } => format!("{drive}: {} put in", path.display()),
        EventKind::MediaEject {
            drive,
            path: Some(path),
        } => format!("{drive}: {} taken out", path.display()),
        EventKind::MediaEject { drive, path: None } => format!("{drive}: medium taken out"),
        EventKind::DiskOutOfSpace {
            critically_low,
            volume,
            free,
        } => {
            let then = if *critically_low {
                "; paused until there is room"
            } else {
                ""
            };
            format!("{}: {} MB are free{then}", volume.display(), free >> 20)
        }
        EventKind::TaskBegin { task, description } => format!("task {task} began: {description}"),
        EventKind::TaskEnd { task, result } => format!("task {task} ended: {result}"),
        EventKind::EventLogged { message } => message.clone(),
    }
}

/// Lists the last tasks: starting, turning off, merging and their like.
#[derive(Debug, clap::Args)]
pub struct Tasks {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Tasks {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let records: Vec<Record> = open()?.task_records().into_iter().collect();
        if self.json {
            print_json(&records)?;
            return Ok(exit::DONE);
        }
        let row = |record: &Record| {
            let result = record
                .result
                .map_or("running".to_owned(), |result| result.to_string());
            let error = record.error_description.clone().unwrap_or_default();
            [record.id.to_string(), record.description.clone(), result, error]
        };
        print_table(
            ["ID", "TASK", "RESULT", "ERROR"],
            &records.iter().map(row).collect::<Vec<_>>(),
        );
        Ok(exit::DONE)
    }
}

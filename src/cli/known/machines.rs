// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc create`, `list`, `show`, `set`, `delete`, `register` and `unregister`.

use super::model::{absolute, find, open, print_table};
use crate::cli::{Error, exit, print_json};
use crate::virtual_pc::enums::UndoAction;
use crate::virtual_pc::machine::VirtualMachine;
use crate::virtual_pc::process::text_value;
use crate::virtual_pc::view;
use crate::virtual_pc::vmc::Value;
use std::path::PathBuf;

/// Makes a machine: 128 MB, an empty DVD drive at 1:0, an empty floppy drive.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name, of 80 characters at most
    name: String,
    /// Folder for its configuration; it is made if it is not there [default: the option virtual_machines/default_path]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Changes a machine's settings.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// Machine
    name: String,
    /// Another name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Whether writes go to undo disks over its disks
    #[arg(long, value_name = "YES_OR_NO", value_parser = yes_or_no)]
    undoable: Option<bool>,
    /// What becomes of the undo disks when it is turned off: discard, keep or commit
    #[arg(long, value_name = "ACTION")]
    undo_action: Option<UndoAction>,
    /// Remove a value of its configuration
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
struct Settings {
    /// Memory, in MB: 4 to 3712
    #[arg(short, long, value_name = "MB")]
    memory: Option<u32>,
    /// What to note about it
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// A value of its configuration, by its key such as virtualpc/processors
    #[arg(long = "value", value_name = "KEY=VALUE", value_parser = key_and_value)]
    values: Vec<(String, Value)>,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("use yes or no".into()),
    }
}

fn key_and_value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), text_value(value)))
}

impl Settings {
    fn apply(&self, machine: &VirtualMachine) -> Result<(), Error> {
        if let Some(memory) = self.memory {
            machine.set_memory(memory)?;
        }
        if let Some(notes) = &self.notes {
            machine.set_notes(notes)?;
        }
        for (key, value) in &self.values {
            machine.set_configuration_value(key, value)?;
        }
        Ok(())
    }
}

impl Create {
    /// Runs the command. A machine whose settings are refused is not made.
    pub fn run(&self) -> Result<u8, Error> {
        let app = open()?;
        let folder = match &self.folder {
            Some(folder) => absolute(folder)?,
            None => absolute(&app.default_vm_configuration_path()?)?,
        };
        if self.name.is_empty() {
            // To the API an empty name means another thing.
            crate::virtual_pc::paths::check_name("")?;
        }
        let machine = app.create_virtual_machine(&self.name, &folder)?;
        if let Err(error) = self.settings.apply(&machine) {
            app.delete_virtual_machine(&machine)?;
            return Err(error);
        }
        println!("{}", machine.path().display());
        Ok(exit::DONE)
    }
}

impl Set {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let machine = find(&self.name)?;
        self.settings.apply(&machine)?;
        for key in &self.remove {
            machine.remove_configuration_value(key)?;
        }
        if let Some(undoable) = self.undoable {
            machine.set_undoable(undoable)?;
        }
        if let Some(action) = self.undo_action {
            machine.set_undo_action(action)?;
        }
        if let Some(name) = &self.rename {
            machine.set_name(name)?;
        }
        Ok(exit::DONE)
    }
}

/// Lists the known machines.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let mut rows = vec![];
        for machine in open()?.virtual_machines()? {
            rows.push(view::MachineRow::of(&machine)?);
        }
        if self.json {
            print_json(&rows)?;
        } else {
            let cells = |row: &view::MachineRow| {
                let memory = row.memory.map_or("-".to_owned(), |memory| format!("{memory} MB"));
                [
                    row.name.clone(),
                    row.state.to_string(),
                    memory,
                    row.file.display().to_string(),
                ]
            };
            print_table(
                ["NAME", "STATE", "MEMORY", "FILE"],
                &rows.iter().map(cells).collect::<Vec<_>>(),
            );
        }
        Ok(exit::DONE)
    }
}

/// Shows a machine: its settings, drives and ports.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Machine
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print one value of its configuration
    #[arg(long, value_name = "KEY")]
    value: Option<String>,
}

impl Show {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let machine = find(&self.name)?;
        if let Some(key) = &self.value {
            let value = machine.configuration_value(key)?;
            match value {
                value if self.json => print_json(&value)?,
                Value::String(text) => println!("{text}"),
                Value::Integer(number) => println!("{number}"),
                Value::Boolean(flag) => println!("{flag}"),
                Value::Bytes(bytes) => {
                    println!("{}", bytes.iter().map(|b| format!("{b:02X}")).collect::<String>());
                }
            }
            return Ok(exit::DONE);
        }
        let shown = view::Machine::of(&machine)?;
        if self.json {
            print_json(&shown)?;
        } else {
            print(&shown);
        }
        Ok(exit::DONE)
    }
}

fn print(machine: &view::Machine) {
    let memory = machine
        .memory
        .map_or("-".to_owned(), |memory| format!("{memory} MB"));
    let undo = if machine.undoable { "yes" } else { "no" };
    println!("name        {}", machine.name);
    println!("state       {}", machine.state);
    if let Some(seconds) = machine.up_time {
        println!("on for      {seconds} s");
    }
    println!("memory      {memory}");
    println!("undo disks  {undo}; at turn-off: {}", machine.undo_action);
    println!("file        {}", machine.file.display());
    println!("id          {}", machine.id);
    if !machine.notes.is_empty() {
        println!("notes       {}", machine.notes);
    }
    println!();
    let file = |drive: &view::Drive| {
        drive
            .file
            .as_ref()
            .map(|file| file.display().to_string())
            .unwrap_or_default()
    };
    let drives = machine.drives.iter();
    let rows = drives.map(|d| [d.place.clone(), d.kind.clone(), d.holds.clone(), file(d)]);
    print_table(["PLACE", "DRIVE", "HOLDS", "FILE"], &rows.collect::<Vec<_>>());
    println!();
    let ports = machine.serial_ports.iter();
    let rows = ports.map(|port| [port.port.clone(), port.kind.to_string(), port.name.clone()]);
    print_table(["PORT", "FAR END", "PATH"], &rows.collect::<Vec<_>>());
}

/// A machine by its name.
#[derive(Debug, clap::Args)]
pub struct Name {
    /// Machine
    name: String,
}

impl Name {
    /// Deletes a machine: its configuration and undo disks. Its disks stay.
    pub fn delete(&self) -> Result<u8, Error> {
        let app = open()?;
        app.delete_virtual_machine(&app.find_virtual_machine(&self.name)?)?;
        Ok(exit::DONE)
    }

    /// Takes a machine out of the list; its files stay.
    pub fn unregister(&self) -> Result<u8, Error> {
        let app = open()?;
        app.unregister_virtual_machine(&app.find_virtual_machine(&self.name)?)?;
        Ok(exit::DONE)
    }
}

/// Takes a machine that has a configuration file into the list, also one of Virtual PC 2007 or Windows Virtual PC.
#[derive(Debug, clap::Args)]
pub struct Register {
    /// Configuration file (.vmc)
    file: PathBuf,
}

impl Register {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let machine = open()?.register_virtual_machine("", &absolute(&self.file)?)?;
        println!("{}", machine.name()?);
        Ok(exit::DONE)
    }
}

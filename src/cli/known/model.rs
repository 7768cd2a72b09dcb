// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the words about known machines have in common.

use crate::cli::Error;
use crate::virtual_pc::machine::VirtualMachine;
use crate::virtual_pc::places::Places;
use crate::virtual_pc::task::Task;
use crate::virtual_pc::{self as model, VirtualPc};
use std::path::Path;

impl From<model::Error> for Error {
    fn from(error: model::Error) -> Self {
        Self::Model(error)
    }
}

/// The user's machines.
pub fn open() -> Result<VirtualPc, Error> {
    let program = std::env::current_exe().map_err(|error| Error::host(&error))?;
    Ok(VirtualPc::new(Places::from_environment()?, program))
}

/// The machine of a name.
pub fn find(name: &str) -> Result<VirtualMachine, Error> {
    Ok(open()?.find_virtual_machine(name)?)
}

/// A path as the model wants it: absolute, and UTF-8, as the API's strings are text.
pub fn absolute(path: &Path) -> Result<String, Error> {
    let wrong = |what: &dyn std::fmt::Display| Error::Use(format!("{}: {what}", path.display()));
    let path = std::path::absolute(path).map_err(|error| wrong(&error))?;
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| wrong(&"the path is not UTF-8, which a configuration cannot hold"))
}

/// Waits for a task, and gives its error.
pub fn finish(task: &Task) -> Result<(), Error> {
    Ok(task.finish()?)
}

/// A table for people: columns as wide as their longest cell.
pub fn print_table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let print = |cells: [&str; N]| {
        let cells = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    };
    print(head);
    for row in rows {
        print(std::array::from_fn(|n| &*row[n]));
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words for machines that have a name and a `.vmc` file. They are thin clients of [`crate::virtual_pc`].

mod console;
mod drives;
mod events;
mod life;
mod machines;
mod model;
mod serve;

use super::Error;

/// A word for known machines.
#[derive(Debug, clap::Subcommand)]
#[allow(missing_docs, reason = "the types say what the words do")]
pub enum Command {
    Create(machines::Create),
    List(machines::List),
    Show(machines::Show),
    Set(machines::Set),
    /// Deletes a machine: its configuration and undo disks. Its disks stay
    Delete(machines::Name),
    Register(machines::Register),
    /// Takes a machine out of the list; its files stay
    Unregister(machines::Name),
    Start(life::Start),
    Stop(life::Stop),
    /// Stops a machine's time
    Pause(life::Name),
    /// Lets a paused machine go on
    Resume(life::Name),
    /// Saves a machine's state and ends it; `start` lets it go on
    Save(life::Name),
    /// Pulls a machine's reset line
    Reset(life::Name),
    Shutdown(life::Shutdown),
    Console(console::Args),
    Dvd(drives::Dvd),
    Floppy(drives::Floppy),
    Hd(drives::Hd),
    Serial(drives::Serial),
    Events(events::Events),
    Tasks(events::Tasks),
    Serve(serve::Args),
    #[command(name = crate::virtual_pc::process::WORD, hide = true)]
    Process(life::Process),
}

impl Command {
    /// Runs the command; gives its exit code.
    pub fn run(self) -> Result<u8, Error> {
        match self {
            Self::Create(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::Set(args) => args.run(),
            Self::Delete(args) => args.delete(),
            Self::Register(args) => args.run(),
            Self::Unregister(args) => args.unregister(),
            Self::Start(args) => args.run(),
            Self::Stop(args) => args.run(),
            Self::Pause(args) => args.pause(),
            Self::Resume(args) => args.resume(),
            Self::Save(args) => args.save(),
            Self::Reset(args) => args.reset(),
            Self::Shutdown(args) => args.run(),
            Self::Console(args) => args.run(),
            Self::Dvd(args) => args.run(),
            Self::Floppy(args) => args.run(),
            Self::Hd(args) => args.run(),
            Self::Serial(args) => args.run(),
            Self::Events(args) => args.run(),
            Self::Tasks(args) => args.run(),
            Self::Serve(args) => args.run(),
            Self::Process(args) => args.run(),
        }
    }
}

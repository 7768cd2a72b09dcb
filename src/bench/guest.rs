// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs in a machine: the benchmark guest that this program carries is started without firmware, drives the disk, and tells what it found
//! over the debug port.

use super::protocol::{Line, Reader};
use super::{Outcome, Watch};
use crate::boot::DirectKernel;
use crate::host::{self, processor_time};
use crate::hypervisor::{Hypervisor, Irqchip};
use crate::machine::control::{Command, End, Remote};
use crate::machine::exits::{ExitCounts, Exits};
use crate::machine::{self, Boot, IdeDrive, Machine, Sink, Spec};
use crate::storage::Image;
use devices::bus::lock;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Bytes of memory below the guest's buffers, its own structures included; see `guest/link.ld`.
const BELOW_BUFFERS: u64 = 18 << 20;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This build carries no guest.
    #[error(
        "the benchmark guest needs a kernel's direct boot, which is not there on this system: use --level layer"
    )]
    NoGuest,
    /// The guest cannot be laid down for the loader.
    #[error("the benchmark guest cannot be written to a temporary file")]
    File(#[source] io::Error),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The guest gave up.
    #[error("the benchmark guest gave up: {0}")]
    Failed(String),
    /// The machine ended before the guest had told all.
    #[error("the machine ended early: {0}")]
    Ended(String),
    /// A signal came, or something else that stops it.
    #[error("stopped before the end")]
    Stopped,
}

/// The guest's bytes.
///
/// # Errors
/// [`Error::NoGuest`]
pub fn image() -> Result<&'static [u8], Error> {
    host::BENCH_GUEST.ok_or(Error::NoGuest)
}

/// The guest as a file, for as long as it lives.
///
/// # Errors
/// [`Error::NoGuest`], [`Error::File`]
pub fn file() -> Result<NamedTempFile, Error> {
    let bytes = image()?;
    let mut file = NamedTempFile::new().map_err(Error::File)?;
    file.write_all(bytes).map_err(Error::File)?;
    Ok(file)
}

/// Where the image is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Primary master.
    Ide,
    /// The first virtio disk.
    Virtio,
}

/// A machine for the guest.
pub struct Setup {
    /// What to tell it.
    pub command_line: String,
    /// Bytes of its buffers.
    pub buffers: u64,
    /// Processors: as many queues as a virtio disk has.
    pub cpus: u8,
    /// Who plays the interrupt controllers.
    pub irqchip: Irqchip,
    /// The disk.
    pub image: Option<(Slot, Image)>,
}

/// What came of the guest's lines so far.
#[derive(Default)]
struct Collected {
    reader: Reader,
    outcome: Outcome,
    /// Processor time and exits when the measurement began.
    before: (Duration, ExitCounts),
    done: bool,
    failure: Option<String>,
}

/// What the guest told.
pub struct Told {
    /// Of a disk.
    pub outcome: Outcome,
    /// All histograms.
    pub reader: Reader,
}

/// Runs the guest until it switches the machine off.
///
/// # Errors
/// See [`Error`].
pub fn run(
    setup: Setup,
    hypervisor: &dyn Hypervisor,
    watch: &(impl Watch + Clone + Send + 'static),
) -> Result<Told, Error> {
    let kernel = file()?;
    let collected = Arc::new(Mutex::new(Collected::default()));
    let exits: Arc<OnceLock<Vec<Arc<Exits>>>> = Arc::default();
    let (sink_collected, sink_exits, sink_watch) = (collected.clone(), exits.clone(), watch.clone());
    let sink: Sink = Box::new(move |bytes| take(&sink_collected, &sink_exits, &sink_watch, bytes));
    let mut machine = Machine::new(spec(setup, kernel.path(), sink), hypervisor)?;
    let _ = exits.set(machine.exits());
    let end = {
        let ended = stop_with(machine.remote(), watch.clone());
        let end = machine.run();
        drop(ended);
        end?
    };
    // Disks are flushed, and the sink is gone.
    drop(machine);
    let mut collected = lock(&collected);
    let Collected {
        reader,
        outcome,
        done,
        failure,
        ..
    } = std::mem::take(&mut *collected);
    if let Some(why) = failure {
        return Err(Error::Failed(why));
    }
    if watch.stopped() {
        return Err(Error::Stopped);
    }
    match end {
        End::PoweredOff if done => Ok(Told { outcome, reader }),
        End::TripleFault(fault) | End::Fault(fault) => Err(Error::Ended(fault.to_string())),
        End::Host(error) => Err(Error::Ended(crate::storage::chain(&error))),
        End::PoweredOff | End::Reset | End::Quit | End::Saved(_) => {
            Err(Error::Ended("the guest told no result".to_owned()))
        }
    }
}

fn spec(setup: Setup, kernel: &Path, sink: Sink) -> Spec {
    const MIB: u64 = 1 << 20;
    let mut ide = [None, None, None, None];
    let mut virtio = Vec::new();
    match setup.image {
        Some((Slot::Ide, image)) => ide[0] = Some(IdeDrive::Disk(image)),
        Some((Slot::Virtio, image)) => virtio.push(image),
        None => {}
    }
    Spec {
        memory: (BELOW_BUFFERS + setup.buffers).next_multiple_of(MIB),
        cpus: setup.cpus,
        without: vec![],
        irqchip: setup.irqchip,
        boot: Boot::Kernel(DirectKernel {
            kernel: kernel.to_owned(),
            initrd: None,
            command_line: setup.command_line,
        }),
        boot_order: vec![],
        date: 0,
        reboot: false,
        serial: [None, None, None, None],
        parallel: None,
        debug_console: Some(sink),
        ide,
        floppies: [None, None],
        virtio,
    }
}

/// Takes what the guest writes. It runs on the processor's thread, so that the figures are those of the moment.
fn take(collected: &Mutex<Collected>, exits: &OnceLock<Vec<Arc<Exits>>>, watch: &impl Watch, bytes: &[u8]) {
    let mut guard = lock(collected);
    let Collected {
        reader,
        outcome,
        before,
        done,
        failure,
    } = &mut *guard;
    let now = || {
        let counts = exits
            .get()
            .into_iter()
            .flatten()
            .map(|exits| exits.counts())
            .sum();
        (processor_time().unwrap_or_default(), counts)
    };
    reader.push(bytes, |line| match line {
        Line::Begin => {
            *before = now();
            watch.progress(Duration::ZERO, 0);
        }
        Line::At { nanos, requests } => {
            let elapsed = Duration::from_nanos(nanos);
            outcome.timeline.push((elapsed, requests));
            watch.progress(elapsed, requests);
        }
        Line::End { nanos } => {
            let (processor, counts) = now();
            outcome.processor = processor.saturating_sub(before.0);
            outcome.exits = Some(counts.since(&before.1));
            outcome.elapsed = Duration::from_nanos(nanos.unwrap_or(0));
        }
        Line::Verified { sectors } => outcome.verified = Some(sectors),
        Line::Done => *done = true,
        Line::Failed { why } => *failure = Some(why),
        Line::Hello | Line::Histogram => {}
    });
    outcome.reads = reader.histogram("read");
    outcome.writes = reader.histogram("write");
}

/// Ends the machine when `watch` says so, for as long as the result lives.
fn stop_with(remote: Remote, watch: impl Watch + Send + 'static) -> std::sync::mpsc::Sender<()> {
    const PERIOD: Duration = Duration::from_millis(50);
    let (ended, end) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("stop".into());
    let waiting = move || {
        while end.recv_timeout(PERIOD) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            if watch.stopped() {
                remote.post(Command::Quit {});
            }
        }
    };
    // A host without a thread for it cannot be stopped by a signal, and that is all.
    drop(thread.spawn(waiting));
    ended
}

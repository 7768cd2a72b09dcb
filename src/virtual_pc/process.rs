// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process of a running machine.
//!
//! [`spawn`] starts this package's program anew, detached; there [`serve`] builds the machine, tells over a socket that came along as standard
//! input whether it runs, and stays until it ends. A crash of one takes no other down.

use super::application::VirtualPc;
use super::enums::{DriveType, MachineState, SerialPortType, UndoAction};
use super::error::{Error, Result};
use super::event::EventKind;
use super::instance::{self, Instance, Tenure};
use super::machine::{self, VirtualMachine};
use super::place::{self, Place};
use super::ports::{self, FarEnd};
use super::space::SpaceGuard;
use super::vmc::{Value, Vmc};
use super::{files, floppy, hresult, media};
use crate::api::{Scope, server::MachineSocket};
use crate::console::{self, Backend, Drain};
use crate::control_socket::ControlListener;
use crate::firmware::image::{self, Kind};
use crate::hypervisor::{self, Irqchip};
use crate::machine::control::{Command as Order, Drive, End, Happening, Remote, RunState};
use crate::machine::{Boot, BootLetter, FloppyDrive, IdeDrive, Machine, Sink, Spec};
use crate::saved_state::{self, Saved};
use crate::storage::{Image, Purpose, chain};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The word of the command line that [`serve`] stands behind.
pub const WORD: &str = "machine-process";
/// A report is one line, and no longer than this.
const REPORT_MOST: u64 = 64 << 10;

/// What the new process says once: that the machine runs, or why not.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Report {
    Running,
    Failed {
        name: String,
        cause: String,
        remedy: String,
    },
}

/// Starts the machine's process, and waits until the machine runs.
pub(super) fn spawn(machine: &VirtualMachine) -> Result<()> {
    let instance = machine.instance();
    instance.make()?;
    let path = instance.log();
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path);
    let log = log.map_err(|error| files::failed(&path, &error))?;
    let resource = |error: std::io::Error| {
        Error::new(
            hresult::VM_E_OUT_OF_RESOURCE,
            format!("no process for the machine: {error}"),
        )
    };
    let (near, far) = UnixStream::pair().map_err(resource)?;
    let mut child = Command::new(machine.app().program())
        .arg(WORD)
        .arg(machine.path())
        .args(machine.app().places().arguments())
        .stdin(Stdio::from(OwnedFd::from(far)))
        .stdout(Stdio::from(log.try_clone().map_err(resource)?))
        .stderr(Stdio::from(log))
        .current_dir("/")
        .spawn()
        .map_err(resource)?;
    // Whoever uses the model for long must not collect dead children.
    let reaper = std::thread::Builder::new().name("reaper".into());
    let _ = reaper.spawn(move || child.wait());
    let mut line = String::new();
    BufReader::new(near.take(REPORT_MOST))
        .read_line(&mut line)
        .map_err(resource)?;
    match serde_json::from_str(&line) {
        Ok(Report::Running) => Ok(()),
        Ok(Report::Failed { name, cause, remedy }) => Err(Error::from_parts(&name, cause, remedy)),
        Err(_) => Err(Error::of_file(
            hresult::DISP_E_EXCEPTION,
            machine.path(),
            format!(
                "the machine's process ended before the machine ran; its log is {}",
                path.display()
            ),
        )),
    }
}

/// Runs the machine of a configuration file; standard input is the socket for the report. Gives the process's exit code.
pub fn serve(app: &VirtualPc, path: &Path) -> u8 {
    let mut reporter = Reporter(
        std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .ok()
            .map(UnixStream::from),
    );
    // A process that leads its group is detached already.
    let _ = crate::host::leave_session();
    let machine = VirtualMachine::new(app.clone(), path.to_owned());
    let done = run(&machine, &mut reporter);
    // Tasks that clients of the machine's own socket began wait for its end, which has come, and have to note theirs.
    for task in app.tasks() {
        let _ = task.finish();
    }
    match done {
        Ok(()) => 0,
        Err(error) => {
            log::error!("{}: {error}", error.result());
            reporter.tell(&Report::Failed {
                name: error.result().name.to_owned(),
                cause: error.cause().to_owned(),
                remedy: error.remedy().to_owned(),
            });
            3
        }
    }
}

/// Tells once, and then no more.
struct Reporter(Option<UnixStream>);

impl Reporter {
    fn tell(&mut self, report: &Report) {
        let Some(mut stream) = self.0.take() else { return };
        let Ok(mut line) = serde_json::to_vec(report) else {
            return;
        };
        line.push(b'\n');
        // Who started the machine may have gone.
        let _ = stream.write_all(&line);
    }
}

fn run(machine: &VirtualMachine, reporter: &mut Reporter) -> Result<()> {
    let tenure = machine.instance().enter()?;
    let change = |state| {
        machine.note(EventKind::StateChange { state });
        tenure.note(state)
    };
    let saved = machine.saved_state(&machine.configuration()?);
    change(match saved {
        Some(_) => MachineState::Restoring,
        None => MachineState::TurningOn,
    })?;
    let done = live(machine, &tenure, reporter, saved.as_deref(), &change);
    let finished = match done {
        // Its undo disks are kept with the state.
        Ok(Outcome::Saved) => Ok(()),
        _ => {
            // Not before: who changes the configuration of a machine that starts may wait for its answer.
            if let Err(error) = machine.forget_saved_state() {
                log::warn!("{error}");
            }
            finish(machine, &tenure, done.is_ok(), &change)
        }
    };
    drop(tenure);
    let state = machine.state().unwrap_or(MachineState::TurnedOff);
    machine.note(EventKind::StateChange { state });
    done.and(finished)
}

/// How a machine's run ended, when it ended well.
enum Outcome {
    Over,
    Saved,
}

/// From building to the end of guest code.
fn live(
    machine: &VirtualMachine,
    tenure: &Tenure,
    reporter: &mut Reporter,
    saved: Option<&Path>,
    change: &dyn Fn(MachineState) -> Result<()>,
) -> Result<Outcome> {
    let saved = saved
        .map(Saved::open)
        .transpose()
        .map_err(|error| saved_error(&error))?;
    // Before anything opens the images.
    saved
        .as_ref()
        .map_or(Ok(()), Saved::check_images)
        .map_err(|error| saved_error(&error))?;
    if machine.must_finish_commit()? {
        change(MachineState::MergingDrives)?;
        machine.commit_undo_disks(&vhd::Watch::default())?;
        change(MachineState::TurningOn)?;
    }
    // The disks of a saved machine are as they were.
    if saved.is_none() && machine.undoable()? {
        machine.make_undo_disks()?;
    }
    let vmc = machine.configuration()?;
    tenure.note_activation(&vmc)?;
    // Signals that come from here on wait for the machine.
    let signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ]);
    let mut signals = signals.map_err(|error| Error::unexpected(machine.path(), &error))?;
    let hypervisor = hypervisor::open().map_err(|cause| {
        Error::new(hresult::HResult::from(&cause), cause.to_string()).with_remedy(cause.remedy())
    })?;
    let (spec, drains) = specification(machine, &vmc, tenure.instance())?;
    let growing = growing_images(&spec);
    let built = match &saved {
        Some(saved) => Machine::restored(spec, &*hypervisor, saved),
        None => Machine::new(spec, &*hypervisor),
    };
    let mut running = built.map_err(|error| build_error(machine, &error))?;
    running.set_configuration(vmc.to_bytes());
    let socket = tenure.instance().control();
    instance::check_socket_path(&socket)?;
    let listener = ControlListener::bind(&socket).map_err(|error| files::failed(&socket, &error))?;
    let control = listener
        .serve(running.remote())
        .map_err(|error| files::failed(&socket, &error))?;
    let path = tenure.instance().api();
    let scope = Scope::Machine(machine.clone());
    let api =
        MachineSocket::open(&path, machine.app(), scope).map_err(|error| files::failed(&path, &error))?;
    let (trays, opened) = mpsc::channel();
    let clerk =
        Clerk::start(machine, running.remote(), opened).map_err(|error| no_thread(machine, &error))?;
    let remote = running.remote();
    let handle = signals.handle();
    let watcher = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            remote.post(Order::Quit {});
        }
    });
    change(MachineState::Running)?;
    // The last that can fail but one: its end waits for the answers of a machine that runs, or has gone.
    let guard =
        SpaceGuard::start(machine, &growing, running.remote()).map_err(|error| no_thread(machine, &error))?;
    // From here on its disks are no longer what it was saved with.
    if let Some(Err(error)) = saved.map(Saved::remove) {
        drop(running);
        drop(guard);
        return Err(saved_error(&error));
    }
    reporter.tell(&Report::Running);
    let end = running.run_watched(&mut |happening| {
        // Who asks while it is being saved must not wait for that.
        let noted = match happening {
            Happening::Saving => change(MachineState::Saving),
            Happening::NotSaved { state } => {
                let state = match state {
                    RunState::Running => MachineState::Running,
                    RunState::Paused => MachineState::Paused,
                };
                machine.note(EventKind::StateChange { state });
                tenure.note(MachineState::Running)
            }
            Happening::TrayOpened { drive, path } => {
                // The clerk ends after the machine.
                let _ = trays.send((drive, path));
                Ok(())
            }
            other => {
                tell(machine, &other);
                Ok(())
            }
        };
        if let Err(error) = noted {
            log::warn!("{error}");
        }
    });
    // Those who ask from now on are told that it is ending.
    if !matches!(end, Ok(End::Saved(_))) {
        let _ = change(MachineState::TurningOff);
    }
    drop(control);
    drop(trays);
    drop(running);
    // What these ask of the machine now is answered by its end.
    drop(api);
    drop(guard);
    clerk.finish();
    drop(drains);
    handle.close();
    if let Ok(watcher) = watcher {
        let _ = watcher.join();
    }
    match end {
        Ok(End::Host(error)) => Err(Error::unexpected(machine.path(), &error)),
        Ok(End::Fault(fault) | End::TripleFault(fault)) => {
            log::error!("the machine stopped\n{fault}");
            Err(Error::of_file(
                hresult::DISP_E_EXCEPTION,
                machine.path(),
                "the hypervisor could not go on",
            ))
        }
        Ok(End::PoweredOff | End::Quit | End::Reset) => Ok(Outcome::Over),
        // Nothing has its images open any more.
        Ok(End::Saved(draft)) => draft
            .finish()
            .map(|()| Outcome::Saved)
            .map_err(|error| saved_error(&error)),
        Err(error) => Err(Error::unexpected(machine.path(), &error)),
    }
}

/// What becomes of the undo disks. After a failure they are kept: nothing is thrown away that was not asked for.
fn finish(
    machine: &VirtualMachine,
    tenure: &Tenure,
    well: bool,
    change: &dyn Fn(MachineState) -> Result<()>,
) -> Result<()> {
    if !well || !machine.undoable()? {
        return Ok(());
    }
    let values = files::read_tree(&tenure.instance().activation())?.unwrap_or_default();
    let action = values
        .integer("settings/undo_drives/default_action")
        .and_then(|action| UndoAction::from_value(i32::try_from(action).ok()?));
    match action.unwrap_or(UndoAction::Keep) {
        UndoAction::Keep => Ok(()),
        UndoAction::Discard => machine.change(|vmc| machine.delete_undo_disks(vmc)),
        UndoAction::Commit => {
            change(MachineState::MergingDrives)?;
            machine.commit_undo_disks(&vhd::Watch::default())
        }
    }
}

/// Keeps the configuration in step with what the guest does to its drives, on a thread of its own.
struct Clerk(JoinHandle<()>);

impl Clerk {
    fn start(
        machine: &VirtualMachine,
        remote: Remote,
        opened: mpsc::Receiver<(Drive, PathBuf)>,
    ) -> io::Result<Self> {
        let machine = machine.clone();
        let thread = std::thread::Builder::new().name("clerk".into()).spawn(move || {
            for (drive, path) in opened {
                if let Err(error) = media::guest_ejected(&machine, &remote, drive, &path) {
                    log::warn!("what the guest ejected from {drive} stays in the configuration: {error}");
                }
            }
        })?;
        Ok(Self(thread))
    }

    /// Waits for what it still has to do; nobody tells it more.
    fn finish(self) {
        let _ = self.0.join();
    }
}

/// The files of hard disks that grow as they are written.
fn growing_images(spec: &Spec) -> Vec<PathBuf> {
    let disks = spec.ide.iter().filter_map(|drive| match drive {
        Some(IdeDrive::Disk(image)) => Some(image),
        _ => None,
    });
    disks
        .filter(|image| image.grows())
        .map(|image| image.path().to_owned())
        .collect()
}

fn no_thread(machine: &VirtualMachine, error: &io::Error) -> Error {
    Error::of_file(hresult::VM_E_OUT_OF_RESOURCE, machine.path(), error)
}

fn tell(machine: &VirtualMachine, happening: &Happening) {
    machine.note(match happening {
        Happening::Paused => EventKind::StateChange {
            state: MachineState::Paused,
        },
        Happening::Resumed => EventKind::StateChange {
            state: MachineState::Running,
        },
        Happening::Reset => EventKind::Reset,
        Happening::TripleFault => EventKind::TripleFault,
        Happening::PowerButton => EventKind::RequestShutdown,
        Happening::PoweredOff => EventKind::GuestShutdown,
        // Changes of state, which are noted where they are made.
        Happening::Saving | Happening::NotSaved { .. } => return,
        // The clerk notes what comes of it.
        Happening::TrayOpened { .. } => return,
    });
}

/// What is wrong with a saved state: of the codes that the documents have for it, the one for what they do not foresee.
fn saved_error(error: &saved_state::Error) -> Error {
    let result = match error {
        saved_state::Error::Io { .. } => hresult::E_FAIL,
        _ => hresult::DISP_E_EXCEPTION,
    };
    // A task keeps the cause alone.
    Error::new(result, format!("{}; {}", chain(error), error.remedy())).with_remedy(error.remedy())
}

fn build_error(machine: &VirtualMachine, error: &crate::machine::Error) -> Error {
    use crate::machine::Error as Cause;
    if let Cause::SavedState(error) = error {
        return saved_error(error);
    }
    let result = match error {
        Cause::Memory(_) | Cause::Thread(_) => hresult::VM_E_OUT_OF_RESOURCE,
        Cause::Hypervisor(hypervisor::Error::Unavailable(cause)) => hresult::HResult::from(cause),
        _ => hresult::DISP_E_EXCEPTION,
    };
    Error::of_file(result, machine.path(), chain(error))
}

fn image(path: &Path, purpose: Purpose) -> Result<Image> {
    Image::open(path, purpose).map_err(|error| {
        let result = match &error {
            crate::storage::Error::Open { source, .. } => super::hard_disk::image_error(source).result(),
            _ => hresult::VM_E_HD_IMAGE_OPEN_FAIL,
        };
        Error::new(result, chain(&error))
    })
}

/// A medium that is missing leaves its drive empty, as on a real machine; a disk that is missing does not.
fn medium(path: Option<std::path::PathBuf>, purpose: Purpose) -> Option<Image> {
    let path = path?;
    match media::check(&path, purpose) {
        Ok(image) => Some(image),
        Err(error) => {
            log::warn!("{}; the drive is empty", chain(&error));
            None
        }
    }
}

/// The machine that a configuration describes.
fn specification(machine: &VirtualMachine, vmc: &Vmc, instance: &Instance) -> Result<(Spec, Vec<Drain>)> {
    let folder = machine.folder();
    let firmware = |kind, key| {
        let own = vmc.text(key);
        let loaded = image::load(kind, own.as_deref().map(Path::new));
        loaded
            .map(|image| image.bytes)
            .map_err(|error| Error::new(hresult::ERROR_FILE_NOT_FOUND, chain(&error)))
    };
    let mut ide = [None, None, None, None];
    for place in Place::ALL {
        let file = |group: &str| place::file(vmc, &format!("{}/{group}", place.key()), folder);
        ide[place.index()] = match machine::drive_type(vmc, place) {
            DriveType::Null => None,
            DriveType::DVD => Some(IdeDrive::Dvd(medium(file("pathname"), Purpose::Dvd))),
            DriveType::HardDisk => {
                let undo = file("undo_pathname").filter(|path| path.is_file());
                let path = undo.or_else(|| file("pathname"));
                path.map(|path| image(&path, Purpose::HardDisk).map(IdeDrive::Disk))
                    .transpose()?
            }
        };
    }
    let mut floppies = [None, None];
    for number in floppy::numbers(vmc) {
        let mut drive = FloppyDrive {
            image: medium(place::file(vmc, &floppy::group(number), folder), Purpose::Floppy),
        };
        if let Err(error) = drive.kind() {
            log::warn!("{}; the drive is empty", chain(&error));
            drive.image = None;
        }
        floppies[usize::from(number)] = Some(drive);
    }
    let open = |spec: &console::Spec| {
        Backend::open(spec).map_err(|error| Error::new(hresult::VM_E_PREF_ILLEGAL_VALUE, chain(&error)))
    };
    let mut serial = [None, None, None, None];
    for (number, port) in serial.iter_mut().enumerate() {
        let far_end = FarEnd::of(vmc, number as u32);
        let spec = match far_end.kind {
            SerialPortType::TextFile => console::Spec::File(far_end.name.into()),
            SerialPortType::NamedPipe if far_end.name.starts_with('/') => {
                console::Spec::Unix(far_end.name.into())
            }
            SerialPortType::HostPort => {
                log::warn!(
                    "COM{}: ports of the host cannot be used; it leads nowhere",
                    number + 1
                );
                console::Spec::Null
            }
            // What leads nowhere leads to `vpc console`. A PC has two serial ports.
            SerialPortType::NamedPipe | SerialPortType::Null if number < 2 => {
                let socket = instance.console(number);
                instance::check_socket_path(&socket)?;
                console::Spec::Unix(socket)
            }
            SerialPortType::NamedPipe | SerialPortType::Null => continue,
        };
        *port = Some(open(&spec)?);
    }
    let mut drains = vec![];
    let mut printer = |path: String| {
        let backend = open(&console::Spec::File(path.into()))?;
        drains.extend(backend.drain);
        let output = backend.output;
        Ok::<Sink, Error>(Box::new(move |bytes: &[u8]| output.push(bytes)))
    };
    let parallel = ports::parallel_file(vmc).map(&mut printer).transpose()?;
    let debug = vmc
        .text("virtualpc/debug_console")
        .map(&mut printer)
        .transpose()?;
    let cpus = vmc.integer("virtualpc/processors").unwrap_or(1);
    let spec = Spec {
        memory: u64::from(machine.memory()?) << 20,
        cpus: u8::try_from(cpus).unwrap_or(u8::MAX),
        without: vec![],
        irqchip: Irqchip::Kernel,
        boot: Boot::Firmware {
            image: firmware(Kind::System, "virtualpc/firmware")?,
            vga_bios: Some(firmware(Kind::Vga, "virtualpc/vga_bios")?),
        },
        boot_order: vec![BootLetter::Floppy, BootLetter::Dvd, BootLetter::HardDisk],
        date: clock(vmc),
        reboot: true,
        serial,
        parallel,
        debug_console: debug,
        ide,
        floppies,
        virtio: vec![],
    };
    Ok((spec, drains))
}

/// The guest's clock at the start: the host's local time, as Virtual PC's guests expect it, or UTC.
fn clock(vmc: &Vmc) -> i64 {
    let now = jiff::Zoned::now();
    let utc = vmc.boolean("virtualpc/clock_utc").unwrap_or(false);
    let offset = if utc { 0 } else { i64::from(now.offset().seconds()) };
    now.timestamp().as_second() + offset
}

/// The values that a new machine takes from the command line and that Virtual PC's own files do not have.
pub const OWN_KEYS: [(&str, &str); 5] = [
    ("virtualpc/firmware", "system BIOS, in place of the installed one"),
    ("virtualpc/vga_bios", "VGA BIOS, in place of the installed one"),
    ("virtualpc/processors", "processors, 1 to 8 (integer)"),
    (
        "virtualpc/debug_console",
        "file for the firmware's debug messages",
    ),
    (
        "virtualpc/clock_utc",
        "the clock starts with UTC instead of local time (boolean)",
    ),
];

/// Whether a value is one that [`OWN_KEYS`] could hold as text.
pub fn text_value(text: &str) -> Value {
    match text.parse() {
        Ok(number) => Value::Integer(number),
        Err(_) => match text {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => Value::String(text.to_owned()),
        },
    }
}

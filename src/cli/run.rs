// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc run`: a machine from the command line, until it ends.

mod files;

use super::{Error, exit, size};
use crate::boot::{self, DirectKernel};
use crate::console::{self, Backend, Drain};
use crate::control_socket::ControlListener;
use crate::firmware::image::{self, Kind};
use crate::host;
use crate::hypervisor::{self, CpuFeature, Irqchip};
use crate::machine::control::{Command, End, Remote};
use crate::machine::{self, Boot, BootLetter, FloppyDrive, IdeDrive, Machine, Sink, Spec};
use crate::memory::Layout;
use crate::saved_state::Saved;
use crate::storage::{Image, Purpose};
use files::Output;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

/// Runs a machine until it ends.
///
/// Exit codes: 0 the guest switched off or the machine was told to quit; 2 wrong use or a file that cannot be used; 3 the host failed;
/// 10 to 15 hardware virtualization is not available (see `vpc host`); 20 the guest reset the machine and 21 it triple-faulted (both
/// only with --no-reboot); 22 the hypervisor could not go on; 128 + N ended by signal N.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// RAM, in whole MiB
    #[arg(short, long, value_name = "SIZE", default_value = "256M", value_parser = size::parse)]
    memory: u64,
    /// Processors, 1 to 8
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(machine::CPUS_MOST)))]
    cpus: u8,
    /// Hide features of the host's processor: names as in /proc/cpuinfo, or LEAF[.SUBLEAF]:REGISTER:BIT
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    cpu_without: Vec<CpuFeature>,
    /// Who plays PIC, I/O APIC and PIT; without it, who does it best: the hypervisor if it can
    #[arg(long, value_name = "WHO", value_enum)]
    irqchip: Option<IrqchipArg>,

    /// Hard disk: primary master (raw or VHD image)
    #[arg(long, value_name = "IMAGE", help_heading = "Drives")]
    hda: Option<PathBuf>,
    /// Hard disk: primary slave
    #[arg(long, value_name = "IMAGE", help_heading = "Drives")]
    hdb: Option<PathBuf>,
    /// Hard disk: secondary master
    #[arg(long, value_name = "IMAGE", help_heading = "Drives")]
    hdc: Option<PathBuf>,
    /// Hard disk: secondary slave
    #[arg(long, value_name = "IMAGE", help_heading = "Drives")]
    hdd: Option<PathBuf>,
    /// Hard disk on virtio, faster for guests that know it; up to eight times
    #[arg(long, value_name = "IMAGE", help_heading = "Drives")]
    virtio_disk: Vec<PathBuf>,
    /// DVD drive with an ISO image, or `empty`; takes the first free place from the secondary master on. Without it there is one
    /// empty drive, if there is a place; `none`: no DVD drive
    #[arg(long, value_name = "IMAGE", help_heading = "Drives")]
    dvd: Vec<Media>,
    /// Floppy drive A with an image, `empty` or `none`
    #[arg(long, value_name = "IMAGE", default_value = "empty", help_heading = "Drives")]
    fda: Media,
    /// Floppy drive B with an image, `empty` or `none`
    #[arg(long, value_name = "IMAGE", default_value = "none", help_heading = "Drives")]
    fdb: Media,

    /// Go on where a machine with the same options was saved (`vpc ctl save`); the file is removed
    #[arg(long, value_name = "FILE", help_heading = "Booting")]
    restore: Option<PathBuf>,
    /// What to boot from, in this order: a (floppy), c (first hard disk, IDE before virtio), d (first DVD)
    #[arg(
        short,
        long,
        value_name = "LETTERS",
        default_value = "acd",
        help_heading = "Booting"
    )]
    boot: BootOrder,
    /// System BIOS, in place of the installed SeaBIOS
    #[arg(long, value_name = "FILE", help_heading = "Booting")]
    firmware: Option<PathBuf>,
    /// VGA BIOS, in place of the installed one
    #[arg(long, value_name = "FILE", help_heading = "Booting")]
    vga_bios: Option<PathBuf>,
    /// Start this kernel (bzImage, or ELF with a PVH entry) without a BIOS
    #[arg(long, value_name = "FILE", help_heading = "Booting")]
    kernel: Option<PathBuf>,
    /// The kernel's initial RAM disk
    #[arg(long, value_name = "FILE", requires = "kernel", help_heading = "Booting")]
    initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(
        long,
        value_name = "TEXT",
        requires = "kernel",
        default_value = "",
        hide_default_value = true,
        help_heading = "Booting"
    )]
    cmdline: String,
    /// The clock at power-on: `utc`, `local`, or a date such as 1999-12-31T23:59:00
    #[arg(long, value_name = "DATE", default_value = "utc", help_heading = "Booting")]
    rtc: RtcStart,
    /// End when the guest resets the machine or triple-faults, instead of starting anew
    #[arg(long, help_heading = "Booting")]
    no_reboot: bool,

    /// Serial port: `stdio`, `null`, `file:PATH`, `pty` or `unix:PATH`; once each for COM1 to COM4
    #[arg(long, value_name = "WHERE", help_heading = "Ports")]
    serial: Vec<console::Spec>,
    /// Printer port LPT1: `file:PATH`, `stdio` or `null`
    #[arg(long, value_name = "WHERE", help_heading = "Ports")]
    parallel: Option<console::Spec>,
    /// The firmware's debug messages (port 402h): as --parallel
    #[arg(long, value_name = "WHERE", help_heading = "Ports")]
    debug_console: Option<console::Spec>,
    /// Write the text screen here when the machine ends
    #[arg(long, value_name = "FILE", help_heading = "Ports")]
    text_dump: Option<PathBuf>,
    /// Listen on this Unix socket for `vpc ctl`
    #[arg(long, value_name = "PATH", help_heading = "Ports")]
    control: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum IrqchipArg {
    /// The hypervisor: fastest
    Kernel,
    /// This program; the hypervisor keeps the local APICs
    Split,
}

/// What is in a drive, or that there is none.
#[derive(Debug, Clone)]
enum Media {
    None,
    Empty,
    Image(PathBuf),
}

impl FromStr for Media {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an image, `empty` or `none` is wanted".into()),
            "none" => Ok(Self::None),
            "empty" => Ok(Self::Empty),
            path => Ok(Self::Image(path.into())),
        }
    }
}

#[derive(Debug, Clone)]
struct BootOrder(Vec<BootLetter>);

impl FromStr for BootOrder {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut letters = Vec::new();
        for c in text.chars() {
            let letter = match c {
                'a' => BootLetter::Floppy,
                'c' => BootLetter::HardDisk,
                'd' => BootLetter::Dvd,
                _ => {
                    return Err(format!(
                        "`{c}` is no place to boot from: use a (floppy), c (hard disk), d (DVD)"
                    ));
                }
            };
            if letters.contains(&letter) {
                return Err(format!("`{c}` is named twice"));
            }
            letters.push(letter);
        }
        if letters.is_empty() {
            Err("name at least one of a, c, d".into())
        } else {
            Ok(Self(letters))
        }
    }
}

/// Seconds since 1970 in the guest's zone.
#[derive(Debug, Clone, Copy)]
enum RtcStart {
    Utc,
    Local,
    Date(i64),
}

impl FromStr for RtcStart {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "utc" => Ok(Self::Utc),
            "local" => Ok(Self::Local),
            date => {
                let date: jiff::civil::DateTime = date
                    .parse()
                    .map_err(|_| format!("`{date}` is no date: use utc, local or YYYY-MM-DDTHH:MM:SS"))?;
                let date = date
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .map_err(|e| e.to_string())?;
                Ok(Self::Date(date.timestamp().as_second()))
            }
        }
    }
}

impl RtcStart {
    fn seconds(self) -> i64 {
        let now = jiff::Zoned::now();
        match self {
            Self::Utc => now.timestamp().as_second(),
            Self::Local => now.timestamp().as_second() + i64::from(now.offset().seconds()),
            Self::Date(date) => date,
        }
    }
}

impl Args {
    /// Runs the machine.
    pub fn run(self) -> Result<u8, Error> {
        self.check()?;
        // Without a hypervisor nothing else matters, and nothing is touched.
        let hypervisor = hypervisor::open().map_err(Error::Unavailable)?;
        let signals = Signals::catch()?;
        let bind = |path: &PathBuf| {
            ControlListener::bind(path)
                .map_err(|e| Error::Use(format!("{}: cannot listen for control: {e}", path.display())))
        };
        let control = self.control.as_ref().map(bind).transpose()?;
        let saved = self.restore.as_deref().map(Saved::open).transpose();
        let saved = saved.map_err(|e| Error::wrong(&e))?;
        // Before the images are opened.
        saved
            .as_ref()
            .map_or(Ok(()), Saved::check_images)
            .map_err(|e| Error::wrong(&e))?;
        let (spec, drains) = self.spec(hypervisor.default_irqchip())?;
        let machine = match &saved {
            Some(saved) => Machine::restored(spec, &*hypervisor, saved),
            None => Machine::new(spec, &*hypervisor),
        };
        let mut machine = machine.map_err(|e| error_of(&e))?;
        let _control = control
            .map(|listener| listener.serve(machine.remote()))
            .transpose()
            .map_err(|e| Error::host(&e))?;
        if let Some(saved) = saved {
            // From here on its disks are no longer what it was saved with.
            saved.remove().map_err(|e| Error::host(&e))?;
        }
        signals.end_with(&machine.remote());
        let end = machine.run();
        if let Some(path) = &self.text_dump {
            dump_text(&machine, path)?;
        }
        // Flushes disks and consoles, and gives the terminal back, before anything is said.
        drop(machine);
        drop(drains);
        let mut end = end.map_err(|e| error_of(&e))?;
        if let End::Saved(draft) = end {
            draft.finish().map_err(|e| Error::host(&e))?;
            end = End::Quit;
        }
        tell(&end);
        Ok(signals.exit_code().unwrap_or_else(|| exit::end(&end)))
    }

    /// Mixes of options that cannot be meant.
    fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Use(text));
        if self.kernel.is_some() && (self.firmware.is_some() || self.vga_bios.is_some()) {
            return wrong("--kernel starts without a BIOS: leave out --firmware and --vga-bios".into());
        }
        if self.serial.len() > 4 {
            return wrong(format!("{} serial ports: a machine has four", self.serial.len()));
        }
        if self.dvd.len() > 1 && self.dvd.iter().any(|media| matches!(media, Media::None)) {
            return wrong("--dvd none: there is another --dvd".into());
        }
        self.check_ports()?;
        let layout = Layout::new(self.memory).map_err(|e| Error::wrong(&e))?;
        let outputs = self.outputs();
        files::check(&self.inputs(), &outputs)?;
        // A kernel that cannot be started must not cost the contents of a log.
        if let Some(kernel) = self.direct_kernel().filter(|_| !outputs.is_empty()) {
            boot::rehearse(layout, &kernel).map_err(|e| Error::wrong(&e))?;
        }
        Ok(())
    }

    /// Standard input and output serve one port; a port that nothing comes from has no far end to wait for.
    fn check_ports(&self) -> Result<(), Error> {
        let printers = [
            ("--parallel", &self.parallel),
            ("--debug-console", &self.debug_console),
        ];
        let printers = printers.map(|(name, spec)| spec.as_ref().map(|spec| (name, spec)));
        let printers = printers.into_iter().flatten();
        let ports = self.serial.iter().map(|spec| ("--serial", spec));
        let mut stdio_taken = false;
        for (name, spec) in ports.chain(printers.clone()) {
            if *spec == console::Spec::Stdio && std::mem::replace(&mut stdio_taken, true) {
                return Err(Error::Use(format!(
                    "{name} stdio: standard input and output serve one port only"
                )));
            }
        }
        for (name, spec) in printers {
            if matches!(spec, console::Spec::Pty(_) | console::Spec::Unix(_)) {
                return Err(Error::Use(format!(
                    "{name} {spec}: this port only writes: use file:PATH, stdio or null"
                )));
            }
        }
        Ok(())
    }

    /// All files that the machine reads, and its disks.
    fn inputs(&self) -> Vec<&Path> {
        let disks = [&self.hda, &self.hdb, &self.hdc, &self.hdd];
        let boot = [&self.firmware, &self.vga_bios, &self.kernel, &self.initrd];
        let named = disks.into_iter().chain(boot).flatten().chain(&self.virtio_disk);
        let media = self.dvd.iter().chain([&self.fda, &self.fdb]);
        let images = media.filter_map(|media| match media {
            Media::Image(path) => Some(path),
            Media::None | Media::Empty => None,
        });
        named.chain(images).map(PathBuf::as_path).collect()
    }

    /// All files and sockets that the machine makes.
    fn outputs(&self) -> Vec<(Output, &Path)> {
        let ports = self
            .serial
            .iter()
            .chain(&self.parallel)
            .chain(&self.debug_console);
        let ports = ports.filter_map(|spec| match spec {
            console::Spec::File(path) => Some((Output::File, path)),
            console::Spec::Unix(path) => Some((Output::Socket, path)),
            console::Spec::Null | console::Spec::Stdio | console::Spec::Pty(_) => None,
        });
        let text = self.text_dump.iter().map(|path| (Output::File, path));
        let control = self.control.iter().map(|path| (Output::Socket, path));
        let all = ports.chain(text).chain(control);
        all.map(|(kind, path)| (kind, path.as_path())).collect()
    }

    fn direct_kernel(&self) -> Option<DirectKernel> {
        self.kernel.as_ref().map(|kernel| DirectKernel {
            kernel: kernel.clone(),
            initrd: self.initrd.clone(),
            command_line: self.cmdline.clone(),
        })
    }

    /// The machine, and what flushes its printers when it is dropped.
    fn spec(&self, irqchip: Irqchip) -> Result<(Spec, Vec<Drain>), Error> {
        let boot = match self.direct_kernel() {
            Some(kernel) => Boot::Kernel(kernel),
            None => Boot::Firmware {
                image: image::load(Kind::System, self.firmware.as_deref())
                    .map_err(|e| Error::wrong(&e))?
                    .bytes,
                vga_bios: Some(
                    image::load(Kind::Vga, self.vga_bios.as_deref())
                        .map_err(|e| Error::wrong(&e))?
                        .bytes,
                ),
            },
        };
        let open = |path: &Path, purpose| Image::open(path, purpose).map_err(|e| Error::wrong(&e));
        let mut ide: [Option<IdeDrive>; 4] = [None, None, None, None];
        for (place, path) in ide.iter_mut().zip([&self.hda, &self.hdb, &self.hdc, &self.hdd]) {
            *place = path
                .as_ref()
                .map(|path| open(path, Purpose::HardDisk).map(IdeDrive::Disk))
                .transpose()?;
        }
        self.place_dvds(&mut ide, open)?;
        let disks = self.virtio_disk.iter().map(|path| open(path, Purpose::HardDisk));
        let virtio = disks.collect::<Result<_, _>>()?;
        let floppy = |media: &Media| {
            Ok::<_, Error>(match media {
                Media::None => None,
                Media::Empty => Some(FloppyDrive { image: None }),
                Media::Image(path) => {
                    let drive = FloppyDrive {
                        image: Some(open(path, Purpose::Floppy)?),
                    };
                    // No diskette: better said before any port is opened.
                    drive.kind().map_err(|e| Error::wrong(&e))?;
                    Some(drive)
                }
            })
        };
        let floppies = [floppy(&self.fda)?, floppy(&self.fdb)?];
        let console = |spec: &console::Spec| {
            let backend = Backend::open(spec).map_err(|e| Error::wrong(&e))?;
            if let Some(terminal) = &backend.terminal {
                eprintln!("vpc: {spec} is {}", terminal.display());
            }
            Ok::<_, Error>(backend)
        };
        let mut serial: [Option<Backend>; 4] = [None, None, None, None];
        for (port, spec) in serial.iter_mut().zip(&self.serial) {
            *port = Some(console(spec)?);
        }
        let mut drains = Vec::new();
        let mut printer = |spec: &console::Spec| {
            let backend = console(spec)?;
            drains.extend(backend.drain);
            let output = backend.output;
            Ok::<Sink, Error>(Box::new(move |bytes: &[u8]| output.push(bytes)))
        };
        let spec = Spec {
            memory: self.memory,
            cpus: self.cpus,
            without: self.cpu_without.clone(),
            irqchip: match self.irqchip {
                None => irqchip,
                Some(IrqchipArg::Kernel) => Irqchip::Kernel,
                Some(IrqchipArg::Split) => Irqchip::Split,
            },
            boot,
            boot_order: self.boot.0.clone(),
            date: self.rtc.seconds(),
            reboot: !self.no_reboot,
            ide,
            floppies,
            virtio,
            serial,
            parallel: self.parallel.as_ref().map(&mut printer).transpose()?,
            debug_console: self.debug_console.as_ref().map(&mut printer).transpose()?,
        };
        Ok((spec, drains))
    }

    fn place_dvds(
        &self,
        ide: &mut [Option<IdeDrive>; 4],
        open: impl Fn(&Path, Purpose) -> Result<Image, Error>,
    ) -> Result<(), Error> {
        /// The secondary channel first: a DVD next to a disk slows it down.
        const PLACES: [usize; 4] = [2, 3, 1, 0];
        let by_default = [Media::Empty];
        let wanted = if self.dvd.is_empty() {
            &by_default[..]
        } else {
            &self.dvd
        };
        for media in wanted {
            let image = match media {
                Media::None => continue,
                Media::Empty => None,
                Media::Image(path) => Some(open(path, Purpose::Dvd)?),
            };
            match PLACES.into_iter().find(|place| ide[*place].is_none()) {
                Some(place) => ide[place] = Some(IdeDrive::Dvd(image)),
                None if self.dvd.is_empty() => {}
                None => {
                    return Err(Error::Use(
                        "there is no place for a DVD drive: four IDE drives are the most".into(),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Which of the command line's errors a machine's error is.
fn error_of(error: &machine::Error) -> Error {
    match error {
        machine::Error::Hypervisor(hypervisor::Error::Unavailable(cause)) => {
            Error::Unavailable(cause.clone())
        }
        machine::Error::Hypervisor(_) | machine::Error::Thread(_) => Error::host(error),
        _ => Error::wrong(error),
    }
}

fn tell(end: &End) {
    match end {
        End::PoweredOff | End::Quit | End::Saved(_) => {}
        End::Reset => eprintln!("vpc: the guest reset the machine"),
        End::TripleFault(fault) | End::Fault(fault) => eprintln!("vpc: the machine stopped\n{fault}"),
        End::Host(error) => eprintln!("vpc: the machine stopped: {}", crate::storage::chain(error)),
    }
}

fn dump_text(machine: &Machine, path: &Path) -> Result<(), Error> {
    std::fs::write(path, machine.screen().to_string())
        .map_err(|e| Error::Host(format!("{}: cannot be written: {e}", path.display())))
}

/// SIGINT, SIGTERM and SIGHUP: the machine ends cleanly.
struct Signals {
    seen: Arc<AtomicI32>,
    remote: Arc<OnceLock<Remote>>,
}

impl Signals {
    /// From now on signals are noted, and passed to a machine once there is one.
    fn catch() -> Result<Self, Error> {
        let this = Self {
            seen: Arc::default(),
            remote: Arc::default(),
        };
        let (seen, remote) = (this.seen.clone(), this.remote.clone());
        let note = move |signal| {
            seen.store(signal, Ordering::Release);
            if let Some(remote) = remote.get() {
                remote.post(Command::Quit {});
            }
        };
        host::on_end(note).map_err(|e| Error::host(&e))?;
        Ok(this)
    }

    /// Signals end this machine, also one that came before it was there.
    fn end_with(&self, remote: &Remote) {
        let _ = self.remote.set(remote.clone());
        if self.seen.load(Ordering::Acquire) != 0 {
            remote.post(Command::Quit {});
        }
    }

    fn exit_code(&self) -> Option<u8> {
        let signal = self.seen.load(Ordering::Acquire);
        u8::try_from(signal).ok().filter(|s| *s > 0).map(|s| 128 + s)
    }
}

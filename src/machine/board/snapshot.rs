// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All chips of a board, saved and restored. The wires and what lies behind them are made by [`Board::new`].

use super::{Board, Shared};
use crate::console::{Output, SerialPort};
use crate::host::virtio;
use devices::acpi_pm::PowerManagement;
use devices::bus::lock;
use devices::clock::{Clock, Nanos};
use devices::debug_port::PostCode;
use devices::dma8237::Dma8237;
use devices::fdc::Fdc;
use devices::fw_cfg::FwCfg;
use devices::i8042::I8042;
use devices::ide::{Channel, PiixIde};
use devices::ioapic::Ioapic;
use devices::mmc::DvdDrive;
use devices::parallel::ParallelPort;
use devices::pci::host_bridge::HostBridge;
use devices::pci::isa_bridge::IsaBridge;
use devices::pic::Pic;
use devices::pit::Pit;
use devices::rtc::Rtc;
use devices::snapshot::{BadState, Busy, Snapshot};
use devices::system_control::{FastControl, ResetControl, SpeakerPort};
use devices::vga::Vga;
use serde::{Deserialize, Serialize};
use std::sync::MutexGuard;

type StateOf<T> = <T as Snapshot>::State;

/// The state of all chips, at one moment of the machine's clock.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardState {
    clock: Nanos,
    pic: Option<StateOf<Pic>>,
    ioapic: Option<StateOf<Ioapic>>,
    pit: Option<StateOf<Pit>>,
    speaker: Option<StateOf<SpeakerPort>>,
    rtc: StateOf<Rtc>,
    dma: StateOf<Dma8237>,
    i8042: StateOf<I8042>,
    fast_control: StateOf<FastControl>,
    reset_control: StateOf<ResetControl>,
    post_code: StateOf<PostCode>,
    vga: StateOf<Vga>,
    fw_cfg: StateOf<FwCfg>,
    serial: Vec<StateOf<SerialPort<Output>>>,
    parallel: Option<StateOf<ParallelPort>>,
    fdc: StateOf<Fdc>,
    host_bridge: StateOf<HostBridge>,
    isa_bridge: StateOf<IsaBridge>,
    power: StateOf<PowerManagement>,
    ide: StateOf<PiixIde>,
    ide_channels: [StateOf<Channel>; 2],
    dvds: Vec<StateOf<DvdDrive>>,
    virtio: Vec<StateOf<virtio::Function>>,
    config_address: u32,
}

/// A state that a chip does not take, and which chip.
pub type Refused = (&'static str, BadState);

fn take<T: Snapshot>(chip: &Shared<T>) -> Result<T::State, Busy> {
    lock(chip).snapshot()
}

fn give<T: Snapshot>(name: &'static str, chip: &Shared<T>, state: T::State) -> Result<(), Refused> {
    lock(chip).restore(state).map_err(|error| (name, error))
}

/// Gives a state to a chip that may be missing, on both sides or on none.
fn give_if<T: Snapshot>(
    name: &'static str,
    chip: Option<&Shared<T>>,
    state: Option<T::State>,
) -> Result<(), Refused> {
    match (chip, state) {
        (Some(chip), Some(state)) => give(name, chip, state),
        (None, None) => Ok(()),
        _ => Err((name, BadState("a chip that is only on one of the two boards"))),
    }
}

fn give_all<T: Snapshot>(
    name: &'static str,
    chips: impl ExactSizeIterator<Item = Shared<T>>,
    states: Vec<T::State>,
) -> Result<(), Refused> {
    if chips.len() != states.len() {
        return Err((name, BadState("another number of chips")));
    }
    chips
        .zip(states)
        .try_for_each(|(chip, state)| give(name, &chip, state))
}

/// The serial ports, held: what comes from outside waits.
pub struct Quiet<'a>(Vec<MutexGuard<'a, SerialPort<Output>>>);

impl Board {
    /// Keeps the far ends of the serial ports from changing chips and interrupts.
    pub fn quiet(&self) -> Quiet<'_> {
        Quiet(self.serial_ports.iter().map(|port| lock(port)).collect())
    }

    /// While time stands still: waits until no timer of a chip is expiring.
    pub fn settle_timers(&self) {
        self.timers.settle();
    }

    /// The state of all chips, while no processor runs and time stands still. What is on its way to or from a medium keeps its chip
    /// busy; as long as any is, the state of the others may change.
    ///
    /// # Errors
    /// [`Busy`]: to be asked again when media have completed something.
    pub fn snapshot(&self, quiet: &mut Quiet<'_>) -> Result<BoardState, Busy> {
        let Quiet(serial_ports) = quiet;
        let Self {
            _cords: _,
            images: _,
            _drains: _,
            _events: _,
            serial_ports: _,
            parallel,
            vm: _,
            buses,
            clock,
            vga,
            power,
            pci,
            timers: _,
            host_bridge,
            isa_bridge,
            rtc,
            pit,
            fw_cfg,
            dma,
            ide,
            ide_channels: [first, second],
            virtio,
            fdc,
            dvds,
            floppies: _,
            i8042,
            post_code,
            fast_control,
            reset_control,
        } = self;
        let controllers = buses.controllers.as_ref();
        // Those with media come first: what they still do shows in the interrupt controllers.
        let ide_channels = [take(first)?, take(second)?];
        let dvds = dvds
            .iter()
            .map(|bay| take(bay.drive()))
            .collect::<Result<_, _>>()?;
        let virtio = virtio
            .iter()
            .map(|disk| take(&disk.function))
            .collect::<Result<_, _>>()?;
        Ok(BoardState {
            clock: clock.now(),
            ide_channels,
            dvds,
            virtio,
            fdc: take(fdc)?,
            rtc: take(rtc)?,
            dma: take(dma)?,
            i8042: take(i8042)?,
            fast_control: take(fast_control)?,
            reset_control: take(reset_control)?,
            post_code: take(post_code)?,
            vga: take(vga)?,
            fw_cfg: take(fw_cfg)?,
            serial: serial_ports
                .iter_mut()
                .map(|port| port.snapshot())
                .collect::<Result<_, _>>()?,
            parallel: parallel.as_ref().map(take).transpose()?,
            host_bridge: take(host_bridge)?,
            isa_bridge: take(isa_bridge)?,
            power: take(power)?,
            ide: take(ide)?,
            config_address: pci.config_address(),
            pit: pit.as_ref().map(|(pit, _)| take(pit)).transpose()?,
            speaker: pit.as_ref().map(|(_, speaker)| take(speaker)).transpose()?,
            pic: controllers.map(|c| take(&c.pic)).transpose()?,
            ioapic: controllers.map(|c| take(&c.ioapic)).transpose()?,
        })
    }

    /// Takes a state over. No processor has run yet, and none may after an error.
    ///
    /// # Errors
    /// The chip that does not take its part.
    pub fn restore(&self, state: BoardState) -> Result<(), Refused> {
        let BoardState {
            clock,
            pic,
            ioapic,
            pit,
            speaker,
            rtc,
            dma,
            i8042,
            fast_control,
            reset_control,
            post_code,
            vga,
            fw_cfg,
            serial,
            parallel,
            fdc,
            host_bridge,
            isa_bridge,
            power,
            ide,
            ide_channels: [first, second],
            dvds,
            virtio,
            config_address,
        } = state;
        // Chips reckon from now on; a century ahead is as far as their sums go.
        const CENTURY: Nanos = 100 * 365 * 86_400 * devices::clock::SECOND;
        if clock > CENTURY {
            return Err(("clock", BadState("a time that no machine lives to see")));
        }
        self.clock.set(clock);
        let controllers = self.buses.controllers.as_ref();
        give("82441FX", &self.host_bridge, host_bridge)?;
        give("82371AB ISA bridge", &self.isa_bridge, isa_bridge)?;
        give("82371AB power management", &self.power, power)?;
        give("82371AB IDE", &self.ide, ide)?;
        let [primary, secondary] = &self.ide_channels;
        give("primary IDE channel", primary, first)?;
        give("secondary IDE channel", secondary, second)?;
        give_all("DVD drive", self.dvds.iter().map(|bay| bay.drive().clone()), dvds)?;
        give_all(
            "virtio disk",
            self.virtio.iter().map(|disk| disk.function.clone()),
            virtio,
        )?;
        give("floppy controller", &self.fdc, fdc)?;
        give("real-time clock", &self.rtc, rtc)?;
        give("8237", &self.dma, dma)?;
        give("8042", &self.i8042, i8042)?;
        give("port 92h", &self.fast_control, fast_control)?;
        give("port CF9h", &self.reset_control, reset_control)?;
        give("port 80h", &self.post_code, post_code)?;
        give("VGA", &self.vga, vga)?;
        give("fw_cfg", &self.fw_cfg, fw_cfg)?;
        give_all("serial port", self.serial_ports.iter().cloned(), serial)?;
        give_if("parallel port", self.parallel.as_ref(), parallel)?;
        let (timer, port) = self.pit.as_ref().map(|(pit, speaker)| (pit, speaker)).unzip();
        give_if("8254", timer, pit)?;
        give_if("port 61h", port, speaker)?;
        give_if("8259A", controllers.map(|c| &c.pic), pic)?;
        give_if("I/O APIC", controllers.map(|c| &c.ioapic), ioapic)?;
        if let Some(controllers) = controllers {
            controllers.tell();
        }
        self.pci.set_config_address(config_address);
        self.pci.refresh();
        Ok(())
    }

    /// Lets go on what waits for a medium, when all of the machine is restored.
    pub fn go_on_with_media(&self) {
        self.ide_channels
            .iter()
            .for_each(|channel| lock(channel).service());
        self.virtio.iter().for_each(|disk| lock(&disk.function).look());
        lock(&self.fdc).service();
    }
}

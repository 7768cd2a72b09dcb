// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a chip's interrupt wire to the processors.
//!
//! With [`Irqchip::Kernel`] each of the sixteen ISA wires is an input of the hypervisor's PIC and I/O APIC. With [`Irqchip::Split`] it drives our
//! own pair: the PIC's INTR makes processor 0 look up, the I/O APIC's messages go to the hypervisor's local APICs.

use crate::hypervisor::{Irqchip, Message, Vm};
use crate::machine::cpu::Gate;
use devices::bus::lock;
use devices::ioapic::{self, InterruptSink, Ioapic, Route};
use devices::line::Wire;
use devices::pic::Pic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The pin of the I/O APIC that ISA interrupt 0 is wired to; the others keep their number.
const TIMER_PIN: u8 = 2;

/// Our own controllers ([`Irqchip::Split`]).
pub struct Controllers {
    pub pic: Arc<Mutex<Pic>>,
    pub ioapic: Arc<Mutex<Ioapic>>,
    intr: Arc<AtomicBool>,
}

impl Controllers {
    fn new(vm: &Arc<dyn Vm>, gate: &Arc<Gate>) -> Self {
        let intr = Arc::new(AtomicBool::new(false));
        let (seen, gate) = (intr.clone(), gate.clone());
        let wire = Wire::new(move |high| {
            seen.store(high, Ordering::Release);
            if high {
                gate.kick(0);
            }
        });
        let pic = Arc::new(Mutex::new(Pic::new(wire.driver())));
        let messages = Messages {
            vm: vm.clone(),
            routes: Mutex::new([None; ioapic::PINS]),
        };
        let ioapic = Arc::new(Mutex::new(Ioapic::new(Arc::new(messages))));
        Self { pic, ioapic, intr }
    }

    /// INTR is high.
    pub fn pending(&self) -> bool {
        self.intr.load(Ordering::Acquire)
    }

    pub fn tell(&self) {
        self.intr.store(lock(&self.pic).pending(), Ordering::Release);
    }

    pub fn reset(&self) {
        lock(&self.pic).reset();
        lock(&self.ioapic).reset();
    }
}

/// The far end of our I/O APIC.
struct Messages {
    vm: Arc<dyn Vm>,
    routes: Mutex<[Option<Message>; ioapic::PINS]>,
}

impl InterruptSink for Messages {
    fn deliver(&self, message: ioapic::Message) {
        let (address, data) = message.to_msi();
        if let Err(error) = self.vm.deliver(Message { address, data }) {
            log::debug!("an interrupt message was not delivered: {error}");
        }
    }

    fn route_changed(&self, pin: u8, route: Route) {
        // A masked pin's interrupt may still be in service, and its end must be reported.
        if route.masked {
            return;
        }
        let mut routes = lock(&self.routes);
        let Some(slot) = routes.get_mut(usize::from(pin)) else {
            return;
        };
        let message = route.message.map(|message| {
            let (address, data) = message.to_msi();
            Message { address, data }
        });
        if *slot != message {
            *slot = message;
            if let Err(error) = self.vm.set_ioapic_routes(&*routes) {
                log::error!("the interrupt routes cannot be changed: {error}");
            }
        }
    }
}

/// All interrupt wires of a board.
pub struct Wires {
    /// The ISA interrupts.
    pub isa: [Wire; 16],
    /// PIRQA# to PIRQD# at the I/O APIC.
    pub pirq: [Wire; 4],
    /// Our own controllers, if the machine has them.
    pub controllers: Option<Controllers>,
}

/// The I/O APIC's input for PIRQA#; the other three follow.
pub const PIRQ_PIN: u8 = 16;

/// Makes all wires.
pub fn wire(vm: &Arc<dyn Vm>, irqchip: Irqchip, gate: &Arc<Gate>) -> Wires {
    match irqchip {
        Irqchip::Kernel => {
            let input = |number: usize| {
                let vm = vm.clone();
                Wire::new(move |high| {
                    if let Err(error) = vm.set_irq_line(number as u32, high) {
                        log::error!("interrupt {number} cannot be set: {error}");
                    }
                })
            };
            let pirq = std::array::from_fn(|n| input(usize::from(PIRQ_PIN) + n));
            Wires {
                isa: std::array::from_fn(input),
                pirq,
                controllers: None,
            }
        }
        Irqchip::Split => {
            let controllers = Controllers::new(vm, gate);
            let isa = |irq: usize| {
                let (pic, ioapic) = (controllers.pic.clone(), controllers.ioapic.clone());
                let irq = irq as u8;
                let pin = if irq == 0 { TIMER_PIN } else { irq };
                Wire::new(move |high| {
                    // The cascade input of the PIC and the timer's pin are nobody else's.
                    if irq != TIMER_PIN {
                        lock(&pic).set_irq(irq, high);
                        lock(&ioapic).set_irq(pin, high);
                    }
                })
            };
            let pirq = |n: usize| {
                let ioapic = controllers.ioapic.clone();
                let pin = PIRQ_PIN + n as u8;
                Wire::new(move |high| lock(&ioapic).set_irq(pin, high))
            };
            Wires {
                isa: std::array::from_fn(isa),
                pirq: std::array::from_fn(pirq),
                controllers: Some(controllers),
            }
        }
    }
}

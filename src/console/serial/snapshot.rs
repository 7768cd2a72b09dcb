// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of a serial port: its registers, and what the guest has not read yet.

use super::{Fifo, SerialPort, State, spec};
use devices::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// The inner device's registers, ours, and the level of the line.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    divisor: [u8; 2],
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    received: Vec<u8>,
    state: State,
    irq: bool,
}

impl<W: Write + Send> Snapshot for SerialPort<W> {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            inner,
            irq,
            room: _,
            starved: _,
            state,
        } = self;
        let registers = inner.state();
        Ok(Saved {
            divisor: [registers.baud_divisor_low, registers.baud_divisor_high],
            line_control: registers.line_control,
            modem_control: registers.modem_control,
            scratch: registers.scratch,
            received: registers.in_buffer,
            state: state.clone(),
            irq: irq.level(),
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            divisor: [low, high],
            line_control,
            modem_control,
            scratch,
            received,
            state,
            irq,
        } = saved;
        let fifo = matches!(state.fifo, Fifo::Off | Fifo::On(1 | 4 | 8 | 14));
        if !fifo || received.len() > spec::FIFO_DEPTH || modem_control & !spec::MCR_MASK != 0 {
            return Err(BadState("what no serial port holds"));
        }
        self.set_inner(spec::LINE_CONTROL, 0);
        self.set_inner(spec::MODEM_CONTROL, 0);
        self.clear_receiver();
        // Before the loopback can be on, which would turn them away.
        if self.inner.enqueue_raw_bytes(&received).ok() != Some(received.len()) {
            return Err(BadState("more characters than a serial port holds"));
        }
        self.set_inner(spec::LINE_CONTROL, spec::LCR_DIVISOR);
        self.set_inner(spec::DATA, low);
        self.set_inner(spec::INTERRUPT_ENABLE, high);
        self.set_inner(spec::LINE_CONTROL, line_control);
        self.set_inner(spec::MODEM_CONTROL, modem_control);
        self.set_inner(spec::SCRATCH, scratch);
        self.state = state;
        self.irq.restore(irq);
        Ok(())
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Terms of AML that `acpi_tables` lacks: those of ACPI 1.0 that newer machines do without (Advanced Configuration and Power Interface
//! Specification 1.0b, chapters 6.4.2 and 16).

use acpi_tables::{Aml, AmlSink};

/// Terms that are encoded already.
pub struct Encoded(Vec<u8>);

impl Encoded {
    pub fn new(terms: &[&dyn Aml]) -> Self {
        let mut bytes = Vec::new();
        for term in terms {
            term.to_aml_bytes(&mut bytes);
        }
        Self(bytes)
    }
}

impl Aml for Encoded {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// The small interrupt descriptor: a mask of ISA interrupts.
pub enum Irq {
    /// Edge-triggered, active high, not shared.
    Isa(u16),
    /// Level-triggered, active low, shared.
    Pci(u16),
}

impl Irq {
    /// The one ISA interrupt `irq`.
    pub fn isa(irq: u8) -> Self {
        Self::Isa(1 << irq)
    }

    /// A choice of ISA interrupts for a PCI interrupt.
    pub fn pci(irqs: &[u8]) -> Self {
        Self::Pci(irqs.iter().fold(0, |mask, irq| mask | 1 << irq))
    }
}

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const WITHOUT_FLAGS: u8 = 0x22;
        const WITH_FLAGS: u8 = 0x23;
        const LEVEL_LOW_SHARED: u8 = 0x18;
        match *self {
            Self::Isa(mask) => {
                sink.byte(WITHOUT_FLAGS);
                sink.word(mask);
            }
            Self::Pci(mask) => {
                sink.byte(WITH_FLAGS);
                sink.word(mask);
                sink.byte(LEVEL_LOW_SHARED);
            }
        }
    }
}

/// The DMA descriptor for one channel, in compatibility mode.
pub struct Dma {
    pub channel: u8,
    /// 16-bit transfers; otherwise 8-bit.
    pub words: bool,
}

impl Aml for Dma {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x2a);
        sink.byte(1 << self.channel);
        sink.byte(if self.words { 2 } else { 0 });
    }
}

/// A processor without power states beyond C1.
pub struct Processor(pub u8);

impl Aml for Processor {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const LEN: u8 = 11;
        sink.vec(&[0x5b, 0x83, LEN]);
        sink.vec(format!("CP{:02X}", self.0).as_bytes());
        sink.byte(self.0);
        // No register block.
        sink.dword(0);
        sink.byte(0);
    }
}

/// `CreateWordField (buffer, index, name)`.
pub struct CreateWordField<'a> {
    pub buffer: &'a dyn Aml,
    pub index: u8,
    pub name: &'a dyn Aml,
}

impl Aml for CreateWordField<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x8b);
        self.buffer.to_aml_bytes(sink);
        self.index.to_aml_bytes(sink);
        self.name.to_aml_bytes(sink);
    }
}

/// `FindSetRightBit (value, target)`: bits count from one.
pub struct FindSetRightBit<'a> {
    pub value: &'a dyn Aml,
    pub target: &'a dyn Aml,
}

impl Aml for FindSetRightBit<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x82);
        self.value.to_aml_bytes(sink);
        self.target.to_aml_bytes(sink);
    }
}

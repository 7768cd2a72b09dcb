// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host is: `IVMHostInfo`. Everything is read when it is asked for; what the host does not tell is empty or 0.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

/// The host: `IVMHostInfo`.
#[derive(Debug, Clone, Copy)]
pub struct HostInfo(());

impl HostInfo {
    pub(super) fn new() -> Self {
        Self(())
    }

    /// `IVMHostInfo::DVDDrives`: drives for discs.
    pub fn dvd_drives(&self) -> Vec<PathBuf> {
        devices("/sys/block", "sr")
    }

    /// `IVMHostInfo::FloppyDrives`: floppy drives.
    pub fn floppy_drives(&self) -> Vec<PathBuf> {
        devices("/sys/block", "fd")
    }

    /// `IVMHostInfo::LogicalProcessorCount`: processors as programs see them.
    pub fn logical_processor_count(&self) -> usize {
        cpu_values("processor").len()
    }

    /// `IVMHostInfo::PhysicalProcessorCount`: processor packages.
    pub fn physical_processor_count(&self) -> usize {
        let packages: BTreeSet<_> = cpu_values("physical id").into_iter().collect();
        packages.len().max(1)
    }

    /// `IVMHostInfo::Memory`: memory, in MB.
    pub fn memory(&self) -> u64 {
        memory("MemTotal")
    }

    /// `IVMHostInfo::MemoryTotalString`: [`Self::memory`] in words.
    pub fn memory_total_string(&self) -> String {
        format!("{} MB", self.memory())
    }

    /// `IVMHostInfo::MemoryAvail`: memory that programs can still have, in MB.
    pub fn memory_avail(&self) -> u64 {
        memory("MemAvailable")
    }

    /// `IVMHostInfo::MemoryAvailString`: [`Self::memory_avail`] in words.
    pub fn memory_avail_string(&self) -> String {
        format!("{} MB", self.memory_avail())
    }

    /// `IVMHostInfo::MMX`: whether the processor has MMX.
    pub fn mmx(&self) -> bool {
        has("mmx")
    }

    /// `IVMHostInfo::SSE`: whether the processor has SSE.
    pub fn sse(&self) -> bool {
        has("sse")
    }

    /// `IVMHostInfo::SSE2`: whether the processor has SSE2.
    pub fn sse2(&self) -> bool {
        has("sse2")
    }

    /// `IVMHostInfo::ThreeDNow`: whether the processor has 3DNow!.
    pub fn three_d_now(&self) -> bool {
        has("3dnow")
    }

    /// `IVMHostInfo::NetworkAdapters`: network interfaces, without the loopback.
    pub fn network_adapters(&self) -> Vec<String> {
        let mut names = names("/sys/class/net");
        names.retain(|name| name != "lo");
        names
    }

    /// `IVMHostInfo::NetworkAddresses`: the host's IPv4 addresses.
    pub fn network_addresses(&self) -> Vec<IpAddr> {
        // The kernel's routing table lists each local address as a host.
        let text = read("/proc/net/fib_trie");
        let mut addresses = BTreeSet::new();
        let mut last = None;
        for line in text.lines() {
            if let Some(address) = line.trim().strip_prefix("|-- ") {
                last = address.parse::<IpAddr>().ok();
            } else if line.contains("/32 host LOCAL") {
                addresses.extend(last.filter(|address| !address.is_loopback()));
            }
        }
        addresses.into_iter().collect()
    }

    /// `IVMHostInfo::OperatingSystem`: its name.
    pub fn operating_system(&self) -> String {
        let text = read("/etc/os-release");
        let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        name.map_or("Linux".into(), |name| name.trim_matches('"').to_owned())
    }

    /// `IVMHostInfo::OSVersionString`: the kernel's version.
    pub fn os_version_string(&self) -> String {
        read("/proc/sys/kernel/osrelease").trim().to_owned()
    }

    /// `IVMHostInfo::OSMajorVersion`: the first number of the kernel's version.
    pub fn os_major_version(&self) -> u32 {
        self.version_part(0)
    }

    /// `IVMHostInfo::OSMinorVersion`: the second number of the kernel's version.
    pub fn os_minor_version(&self) -> u32 {
        self.version_part(1)
    }

    fn version_part(&self, n: usize) -> u32 {
        let version = self.os_version_string();
        let part = version.split(|c: char| !c.is_ascii_digit()).nth(n);
        part.and_then(|part| part.parse().ok()).unwrap_or(0)
    }

    /// `IVMHostInfo::OSServicePackString`: the kernel's build, which is the nearest to a service pack.
    pub fn os_service_pack_string(&self) -> String {
        read("/proc/sys/kernel/version").trim().to_owned()
    }

    /// `IVMHostInfo::ParallelPort`: the host's parallel port.
    pub fn parallel_port(&self) -> String {
        let ports = devices("/dev", "lp");
        ports
            .first()
            .map(|port| port.display().to_string())
            .unwrap_or_default()
    }

    /// `IVMHostInfo::SerialPorts`: the host's serial ports, separated by semicolons.
    pub fn serial_ports(&self) -> String {
        let ports = devices("/dev", "ttyS");
        let ports: Vec<_> = ports.iter().map(|port| port.display().to_string()).collect();
        ports.join(";")
    }

    /// `IVMHostInfo::ProcessorFeaturesString`: what the processor can do, in the documents' words.
    pub fn processor_features_string(&self) -> String {
        let hypervisor = crate::hypervisor::open().is_ok();
        let words = [
            (has("svm"), "AMD-V"),
            (has("vmx"), "Intel VT"),
            (!hypervisor, "HAVD"),
            (hypervisor, "HAVE"),
            (has("mmx"), "MMX"),
            (has("sse"), "SSE"),
            (has("sse2"), "SSE2"),
            (has("pni"), "SSE3"),
            (has("smx"), "TXTE"),
            (has("lm"), "x86-64"),
        ];
        let words: Vec<_> = words
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, word)| *word)
            .collect();
        words.join(",")
    }

    /// `IVMHostInfo::ProcessorManufacturerString`: the processor's maker.
    pub fn processor_manufacturer_string(&self) -> String {
        cpu_value("vendor_id")
    }

    /// `IVMHostInfo::ProcessorVersionString`: the processor's model.
    pub fn processor_version_string(&self) -> String {
        cpu_value("model name")
    }

    /// `IVMHostInfo::ProcessorSpeed`: the processor's speed, in MHz.
    pub fn processor_speed(&self) -> u32 {
        let speed = cpu_value("cpu MHz").parse::<f64>();
        speed.map_or(0, |speed| speed as u32)
    }

    /// `IVMHostInfo::ProcessorSpeedString`: [`Self::processor_speed`] in words.
    pub fn processor_speed_string(&self) -> String {
        format!("{} MHz", self.processor_speed())
    }

    /// `IVMHostInfo::UTCTime`: the time.
    pub fn utc_time(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Devices by the names in a folder: a word and a number.
fn devices(folder: &str, word: &str) -> Vec<PathBuf> {
    let numbered = |name: &String| {
        let number = name.strip_prefix(word);
        number.is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    };
    let names = names(folder).into_iter().filter(numbered);
    names.map(|name| PathBuf::from("/dev").join(name)).collect()
}

fn memory(name: &str) -> u64 {
    let text = read("/proc/meminfo");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

fn cpu_values(name: &str) -> Vec<String> {
    let text = read("/proc/cpuinfo");
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

fn cpu_value(name: &str) -> String {
    cpu_values(name).into_iter().next().unwrap_or_default()
}

fn has(flag: &str) -> bool {
    cpu_value("flags").split(' ').any(|word| word == flag)
}

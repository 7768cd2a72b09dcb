// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The application: the user's machines and options, `IVMVirtualPC`.

use super::collection::Collection;
use super::error::{Error, Result};
use super::event::{EventKind, Journal};
use super::hard_disk::HardDisk;
use super::host_info::HostInfo;
use super::hresult;
use super::machine::{self, VirtualMachine};
use super::places::Places;
use super::task::{self, Record, Task};
use super::vmc::{Key, Value, Vmc};
use super::{files, paths};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The application: `IVMVirtualPC`. Clones are the same one.
#[derive(Clone)]
pub struct VirtualPc {
    shared: Arc<Shared>,
}

struct Shared {
    places: Places,
    program: PathBuf,
    started: Instant,
    tasks: Mutex<Vec<Task>>,
}

/// A machine in the list of known ones.
struct Known {
    id: u32,
    name: String,
    path: PathBuf,
}

impl VirtualPc {
    /// The model over these folders. `program` is this package's program, which runs machines.
    pub fn new(places: Places, program: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                places,
                program,
                started: Instant::now(),
                tasks: Mutex::default(),
            }),
        }
    }

    /// The folders.
    pub fn places(&self) -> &Places {
        &self.shared.places
    }

    /// Makes the folder for sockets, for this user only.
    ///
    /// # Errors
    /// What the host says.
    pub fn make_runtime_folder(&self) -> Result<()> {
        files::make_folder(&self.places().runtime)
    }

    /// The program that runs machines.
    pub(super) fn program(&self) -> &Path {
        &self.shared.program
    }

    /// The journal of events.
    pub fn journal(&self) -> Journal {
        Journal::new(self.places())
    }

    pub(super) fn keep(&self, task: &Task) {
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_complete());
        tasks.push(task.clone());
    }

    fn options_path(&self) -> PathBuf {
        self.places().config.join("options.xml")
    }

    fn options(&self) -> Result<Vmc> {
        Ok(files::read_tree(&self.options_path())?.unwrap_or_default())
    }

    /// Changes the options while nobody else does; an error leaves them as they are.
    fn change<T>(&self, change: impl FnOnce(&mut Vmc) -> Result<T>) -> Result<T> {
        files::make_folder(&self.places().config)?;
        let _lock = files::lock(&self.places().config.join("options.lock"))?;
        let mut options = self.options()?;
        let done = change(&mut options)?;
        files::replace(&self.options_path(), &options.to_bytes())?;
        Ok(done)
    }

    /// `IVMVirtualPC::Name`: the application's name.
    pub fn name(&self) -> &'static str {
        "virtualpc"
    }

    /// `IVMVirtualPC::Version`: its version.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// `IVMVirtualPC::UpTime`: for how many seconds it runs: this process, as there is no daemon.
    pub fn up_time(&self) -> u64 {
        self.shared.started.elapsed().as_secs()
    }

    /// `IVMVirtualPC::HostInfo`: the host.
    pub fn host_info(&self) -> HostInfo {
        HostInfo::new()
    }

    /// `IVMVirtualPC::MinimumMemoryPerVM`: the least memory of a machine, in MB.
    pub fn minimum_memory_per_vm(&self) -> u32 {
        machine::MEMORY_LEAST
    }

    /// `IVMVirtualPC::MaximumMemoryPerVM`: the most memory of a machine, in MB: the documented limit.
    pub fn maximum_memory_per_vm(&self) -> u32 {
        machine::MEMORY_MOST
    }

    /// `IVMVirtualPC::SuggestedMaximumMemoryPerVM`: the most memory, in MB, that leaves the host a quarter of what it has free.
    pub fn suggested_maximum_memory_per_vm(&self) -> u32 {
        let free = self.host_info().memory_avail() / 4 * 3;
        u32::try_from(free)
            .unwrap_or(u32::MAX)
            .clamp(machine::MEMORY_LEAST, machine::MEMORY_MOST)
    }

    /// `IVMVirtualPC::MaximumFloppyDrivesPerVM`: floppy drives of a machine.
    pub fn maximum_floppy_drives_per_vm(&self) -> u32 {
        machine::FLOPPIES
    }

    /// `IVMVirtualPC::MaximumNumberOfIDEBuses`: IDE buses of a machine.
    pub fn maximum_number_of_ide_buses(&self) -> u32 {
        machine::IDE_BUSES
    }

    /// `IVMVirtualPC::MaximumSerialPortsPerVM`: serial ports of a machine.
    pub fn maximum_serial_ports_per_vm(&self) -> u32 {
        machine::SERIAL_PORTS
    }

    /// `IVMVirtualPC::MaximumParallelPortsPerVM`: parallel ports of a machine.
    pub fn maximum_parallel_ports_per_vm(&self) -> u32 {
        machine::PARALLEL_PORTS
    }

    /// `IVMVirtualPC::MaximumNetworkAdaptersPerVM`: network adapters of a machine: there are none yet.
    pub fn maximum_network_adapters_per_vm(&self) -> u32 {
        0
    }

    /// `IVMVirtualPC::Tasks`: the tasks of this process that run, and those that ended since the last one was started.
    pub fn tasks(&self) -> Collection<Task> {
        let tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().cloned().collect()
    }

    /// The tasks of all processes of this user.
    pub fn task_records(&self) -> Collection<Record> {
        task::records(self.places())
    }

    /// `IVMVirtualPC::VirtualMachines`: the known machines, by name.
    ///
    /// # Errors
    /// `DISP_E_EXCEPTION` if the list cannot be read.
    pub fn virtual_machines(&self) -> Result<Collection<VirtualMachine>> {
        let mut known = known(&self.options()?);
        known.sort_by_key(|known| known.name.to_lowercase());
        Ok(known.into_iter().map(|known| self.machine(known.path)).collect())
    }

    fn machine(&self, path: PathBuf) -> VirtualMachine {
        VirtualMachine::new(self.clone(), path)
    }

    /// `IVMVirtualPC::FindVirtualMachine`: the machine of a name, whatever its case.
    ///
    /// # Errors
    /// `S_FALSE` if there is none.
    pub fn find_virtual_machine(&self, name: &str) -> Result<VirtualMachine> {
        let known = known(&self.options()?);
        let found = known
            .into_iter()
            .find(|known| paths::same_name(&known.name, name));
        let found = found.ok_or_else(|| {
            Error::new(hresult::S_FALSE, format!("there is no machine named `{name}`")).with_remedy(
                "see `vpc list`; register its .vmc file with `vpc register`, or make it with `vpc create`",
            )
        })?;
        Ok(self.machine(found.path))
    }

    /// `IVMVirtualPC::CreateVirtualMachine`: makes a machine. With an empty name, `path` is the whole path of its configuration file, else
    /// the folder, which is made if it is not there.
    ///
    /// # Errors
    /// The documented ones for the name and the path; `ERROR_ALREADY_EXISTS`, `VM_E_CONFIG_DUPLICATE_NAME`.
    pub fn create_virtual_machine(&self, name: &str, path: &str) -> Result<VirtualMachine> {
        let (name, file) = configuration_file(name, path)?;
        self.change(|options| {
            refuse_duplicate(options, &name, None)?;
            if let Some(folder) = file.parent() {
                let nearest = folder.ancestors().find(|folder| folder.exists());
                if let Some(file) = nearest.filter(|nearest| !nearest.is_dir()) {
                    return Err(Error::of_file(
                        hresult::ERROR_PATH_NOT_FOUND,
                        file,
                        "it is no folder",
                    ));
                }
                files::make_folder(folder)?;
            }
            files::create(&file, &machine::new_configuration().to_bytes())?;
            note_known(options, &name, &file);
            Ok(())
        })?;
        Ok(self.machine(file))
    }

    /// `IVMVirtualPC::RegisterVirtualMachine`: takes a machine that has a configuration file already into the list. The name may end in
    /// `.vmc`; with an empty one, `path` is the whole path of the file.
    ///
    /// # Errors
    /// The documented ones for the name and the path; `VM_E_VM_UNKNOWN` if the file is no configuration.
    pub fn register_virtual_machine(&self, name: &str, path: &str) -> Result<VirtualMachine> {
        let name = name.strip_suffix(".vmc").unwrap_or(name);
        let (name, file) = configuration_file(name, path)?;
        paths::must_exist(&file)?;
        machine::read_configuration(&file)?;
        self.change(|options| {
            refuse_duplicate(options, &name, None)?;
            if let Some(known) = known(options).iter().find(|known| known.path == file) {
                return Err(Error::of_file(
                    hresult::ERROR_ALREADY_EXISTS,
                    &file,
                    format!("it is registered already, as `{}`", known.name),
                ));
            }
            note_known(options, &name, &file);
            Ok(())
        })?;
        Ok(self.machine(file))
    }

    /// `IVMVirtualPC::UnregisterVirtualMachine`: takes a machine out of the list; its files stay.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING`; `VM_E_VM_UNKNOWN` if it is not in the list.
    pub fn unregister_virtual_machine(&self, machine: &VirtualMachine) -> Result<()> {
        machine.must_be_off(hresult::VM_E_VM_RUNNING)?;
        self.forget(machine.path(), hresult::VM_E_VM_UNKNOWN)
    }

    /// `IVMVirtualPC::DeleteVirtualMachine`: takes a machine out of the list and removes its configuration and undo disks; its disks stay.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING`; `S_FALSE` if it is not in the list.
    pub fn delete_virtual_machine(&self, machine: &VirtualMachine) -> Result<()> {
        machine.must_be_off(hresult::VM_E_VM_RUNNING)?;
        // From here on nobody can start it.
        self.forget(machine.path(), hresult::S_FALSE)?;
        machine.remove_files()
    }

    fn forget(&self, path: &Path, absent: hresult::HResult) -> Result<()> {
        self.change(|options| {
            let known = known(options);
            let found = known.iter().find(|known| known.path == path);
            let found =
                found.ok_or_else(|| Error::of_file(absent, path, "no known machine has this file"))?;
            if let Ok(key) = format!("{MACHINES}/machine[@id={}]", found.id).parse() {
                options.remove_tree(&key);
            }
            Ok(())
        })
    }

    pub(super) fn name_of(&self, path: &Path) -> Result<Option<String>> {
        let known = known(&self.options()?);
        Ok(known
            .into_iter()
            .find(|known| known.path == path)
            .map(|known| known.name))
    }

    pub(super) fn rename(&self, path: &Path, name: &str) -> Result<()> {
        self.change(|options| {
            refuse_duplicate(options, name, Some(path))?;
            let known = known(options);
            let found = known.iter().find(|known| known.path == path);
            let found = found.ok_or_else(|| {
                Error::of_file(hresult::VM_E_VM_UNKNOWN, path, "no known machine has this file")
            })?;
            let key = format!("{MACHINES}/machine[@id={}]/name", found.id);
            options.put(&key, &Value::String(name.to_owned()));
            Ok(())
        })
    }

    /// `IVMVirtualPC::DefaultVMConfigurationPath`: the folder for machines that are made without naming one.
    ///
    /// # Errors
    /// `DISP_E_EXCEPTION` if the options cannot be read.
    pub fn default_vm_configuration_path(&self) -> Result<PathBuf> {
        let set = self.options()?.text(DEFAULT_FOLDER).map(PathBuf::from);
        Ok(set.unwrap_or_else(|| self.places().data.join("machines")))
    }

    /// Sets [`Self::default_vm_configuration_path`].
    ///
    /// # Errors
    /// The documented ones for the path; `ERROR_FILE_NOT_FOUND` if there is no such folder.
    pub fn set_default_vm_configuration_path(&self, path: &str) -> Result<()> {
        folder(path)?;
        self.change(|options| {
            options.put(DEFAULT_FOLDER, &Value::String(path.to_owned()));
            Ok(())
        })
    }

    /// `IVMVirtualPC::SearchPaths`: the folders in which the lists of files are looked for.
    ///
    /// # Errors
    /// `VM_E_PREF_NOT_FOUND` if none were set.
    pub fn search_paths(&self) -> Result<Vec<PathBuf>> {
        let options = self.options()?;
        let paths = search_paths(&options);
        if paths.is_empty() {
            return Err(Error::new(
                hresult::VM_E_PREF_NOT_FOUND,
                "no search paths were set",
            ));
        }
        Ok(paths)
    }

    /// Sets [`Self::search_paths`].
    ///
    /// # Errors
    /// The documented ones for each path.
    pub fn set_search_paths(&self, paths: &[&str]) -> Result<()> {
        for path in paths {
            folder(path)?;
        }
        self.change(|options| {
            if let Ok(key) = SEARCH_PATHS.parse() {
                options.remove_tree(&key);
            }
            for (n, path) in paths.iter().enumerate() {
                options.put(
                    &format!("{SEARCH_PATHS}/path[@id={n}]"),
                    &Value::String((*path).to_owned()),
                );
            }
            Ok(())
        })
    }

    /// `IVMVirtualPC::GetVirtualMachineFiles`: configuration files in the search paths, the folder for machines and `more`.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a path that is none.
    pub fn virtual_machine_files(&self, more: &[&str], without_registered: bool) -> Result<Vec<PathBuf>> {
        let mut found = self.find_files(more, &["vmc"])?;
        if without_registered {
            let known = known(&self.options()?);
            found.retain(|path| known.iter().all(|known| known.path != *path));
        }
        Ok(found)
    }

    /// `IVMVirtualPC::GetHardDiskFiles`: disk images there.
    ///
    /// # Errors
    /// As [`Self::virtual_machine_files`].
    pub fn hard_disk_files(&self, more: &[&str]) -> Result<Vec<PathBuf>> {
        self.find_files(more, &["vhd"])
    }

    /// `IVMVirtualPC::GetDVDFiles`: disc images there.
    ///
    /// # Errors
    /// As [`Self::virtual_machine_files`].
    pub fn dvd_files(&self, more: &[&str]) -> Result<Vec<PathBuf>> {
        self.find_files(more, &["iso"])
    }

    /// `IVMVirtualPC::GetFloppyDiskFiles`: diskette images there.
    ///
    /// # Errors
    /// As [`Self::virtual_machine_files`].
    pub fn floppy_disk_files(&self, more: &[&str]) -> Result<Vec<PathBuf>> {
        self.find_files(more, &["vfd", "flp", "ima", "img"])
    }

    fn find_files(&self, more: &[&str], suffixes: &[&str]) -> Result<Vec<PathBuf>> {
        let invalid = |error: Error| Error::new(hresult::E_INVALIDARG, error.cause());
        let mut folders = search_paths(&self.options()?);
        folders.push(self.default_vm_configuration_path()?);
        for path in more {
            folders.push(paths::check(path).map_err(invalid)?);
        }
        let suffix = |path: &Path| {
            let suffix = path.extension().and_then(|suffix| suffix.to_str());
            suffix.is_some_and(|suffix| suffixes.iter().any(|wanted| wanted.eq_ignore_ascii_case(suffix)))
        };
        let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        let mut found: Vec<_> = entries
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file() && suffix(path))
            .collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// `IVMVirtualPC::GetHardDisk`: the disk image of a path.
    ///
    /// # Errors
    /// The documented ones for the path.
    pub fn hard_disk(&self, path: &str) -> Result<HardDisk> {
        let path = paths::check(path)?;
        paths::must_exist(&path)?;
        Ok(HardDisk::new(self.clone(), path))
    }

    /// `IVMVirtualPC::GetConfigurationValue`: an option's value.
    ///
    /// # Errors
    /// `VM_E_PREF_NOT_FOUND`.
    pub fn configuration_value(&self, key: &str) -> Result<Value> {
        let found = key
            .parse::<Key>()
            .ok()
            .and_then(|key| self.options().ok()?.get(&key));
        found.ok_or_else(|| {
            Error::new(
                hresult::VM_E_PREF_NOT_FOUND,
                format!("there is no option `{key}`"),
            )
        })
    }

    /// `IVMVirtualPC::SetConfigurationValue`: sets an option.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none, or a value that cannot be stored; `E_ACCESSDENIED`.
    pub fn set_configuration_value(&self, key: &str, value: &Value) -> Result<()> {
        let invalid = |error: &dyn std::error::Error| Error::new(hresult::E_INVALIDARG, error.to_string());
        let parsed: Key = key.parse().map_err(|error| invalid(&error))?;
        self.change(|options| options.set(&parsed, value).map_err(|error| invalid(&error)))?;
        self.journal()
            .note(None, EventKind::ConfigurationChanged { key: key.to_owned() });
        Ok(())
    }

    /// `IVMVirtualPC::RemoveConfigurationValue`: removes an option.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none; `VM_E_PREF_NOT_FOUND`.
    pub fn remove_configuration_value(&self, key: &str) -> Result<()> {
        let parsed: Key = key
            .parse()
            .map_err(|error: super::vmc::KeyError| Error::new(hresult::E_INVALIDARG, error.to_string()))?;
        self.change(|options| {
            if options.remove(&parsed) {
                return Ok(());
            }
            Err(Error::new(
                hresult::VM_E_PREF_NOT_FOUND,
                format!("there is no option `{key}`"),
            ))
        })
    }
}

const MACHINES: &str = "virtual_machines";
const DEFAULT_FOLDER: &str = "virtual_machines/default_path";
const SEARCH_PATHS: &str = "search_paths";

fn known(options: &Vmc) -> Vec<Known> {
    let Ok(group) = MACHINES.parse() else {
        return vec![];
    };
    let read = |id: u32| {
        Some(Known {
            id,
            name: options.text(&format!("{MACHINES}/machine[@id={id}]/name"))?,
            path: options
                .text(&format!("{MACHINES}/machine[@id={id}]/path"))?
                .into(),
        })
    };
    options
        .ids(&group, "machine")
        .into_iter()
        .filter_map(read)
        .collect()
}

fn note_known(options: &mut Vmc, name: &str, path: &Path) {
    let id = known(options)
        .iter()
        .map(|known| known.id)
        .max()
        .map_or(0, |last| last + 1);
    options.put(
        &format!("{MACHINES}/machine[@id={id}]/name"),
        &Value::String(name.to_owned()),
    );
    let path = path.to_string_lossy().into_owned();
    options.put(
        &format!("{MACHINES}/machine[@id={id}]/path"),
        &Value::String(path),
    );
}

fn refuse_duplicate(options: &Vmc, name: &str, except: Option<&Path>) -> Result<()> {
    let known = known(options);
    let taken = known
        .iter()
        .find(|known| paths::same_name(&known.name, name) && Some(&*known.path) != except);
    match taken {
        None => Ok(()),
        Some(taken) => Err(Error::new(
            hresult::VM_E_CONFIG_DUPLICATE_NAME,
            format!(
                "there is a machine named `{}` already: {}",
                taken.name,
                taken.path.display()
            ),
        )),
    }
}

/// The name and the configuration file that two arguments mean.
fn configuration_file(name: &str, path: &str) -> Result<(String, PathBuf)> {
    let (name, file) = if name.is_empty() {
        let file = paths::check(path)?;
        let stem = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        (stem.to_owned(), file.with_extension("vmc"))
    } else {
        paths::check_name(name)?;
        let folder = paths::check(path)?;
        (name.to_owned(), folder.join(format!("{name}.vmc")))
    };
    paths::check_name(&name)?;
    paths::check(&file.to_string_lossy())?;
    Ok((name, file))
}

fn folder(path: &str) -> Result<()> {
    let path = paths::check(path)?;
    paths::must_exist(&path)?;
    if path.is_dir() {
        return Ok(());
    }
    Err(Error::of_file(
        hresult::ERROR_PATH_NOT_FOUND,
        &path,
        "it is no folder",
    ))
}

fn search_paths(options: &Vmc) -> Vec<PathBuf> {
    let Ok(group) = SEARCH_PATHS.parse() else {
        return vec![];
    };
    let read = |id: u32| {
        options
            .text(&format!("{SEARCH_PATHS}/path[@id={id}]"))
            .map(PathBuf::from)
    };
    options.ids(&group, "path").into_iter().filter_map(read).collect()
}

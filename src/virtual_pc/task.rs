// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tasks: operations that take their time, `IVMTask`.
//!
//! A task runs in the process that began it. What it is and how it ended is noted in a file, so that other processes of the user can list it;
//! a lock tells those that still run from those whose process was killed.

use super::enums::TaskResult;
use super::error::{Error, Result};
use super::event::{EventKind, Journal};
use super::hresult::{self, HResult};
use super::places::Places;
use super::{collection::Collection, files};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vhd::Watch;

/// So many records of ended tasks are kept.
const KEPT: usize = 64;
/// The longest time-out, in milliseconds.
const TIMEOUT_MOST: i32 = 4_000_000;

/// A task: `IVMTask`.
#[derive(Clone)]
pub struct Task {
    record: Arc<Mutex<Record>>,
    task: Arc<vhd::Task<()>>,
    cancelling: Cancelling,
}

/// Whether an operation can be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelling {
    /// It looks whether it is, and leaves nothing half-done.
    Obeyed,
    /// It goes on to its end.
    Impossible,
}

/// What is known of a task, also in other processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub id: u32,
    /// What it does.
    pub description: String,
    /// The process that runs it.
    pub process: u32,
    /// How it ended, if it has.
    pub result: Option<TaskResult>,
    /// Its error's name.
    pub error: Option<String>,
    /// Its error in words.
    pub error_description: Option<String>,
}

impl Task {
    /// Starts an operation.
    pub(super) fn start(
        places: &Places,
        description: String,
        cancelling: Cancelling,
        operation: impl FnOnce(&Watch) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let folder = places.state.join("tasks");
        files::make_folder(&folder)?;
        let lock = files::lock(&folder.join("lock"))?;
        let last = numbers(&folder).last().copied().unwrap_or(0);
        let record = Record {
            id: last + 1,
            description: description.clone(),
            process: std::process::id(),
            result: None,
            error: None,
            error_description: None,
        };
        let alive = files::lock(&folder.join(format!("{}.lock", record.id)))?;
        write(&folder, &record)?;
        forget_old(&folder);
        drop(lock);
        let journal = Journal::new(places);
        journal.note(
            None,
            EventKind::TaskBegin {
                task: record.id,
                description: description.clone(),
            },
        );
        let record = Arc::new(Mutex::new(record));
        let noted = record.clone();
        let task = vhd::Task::start(description, move |watch| {
            let outcome = operation(watch);
            let result = match &outcome {
                Ok(()) => TaskResult::Success,
                Err(error) => kind_of(error.result(), watch.is_cancelled()),
            };
            let mut record = noted.lock().unwrap_or_else(PoisonError::into_inner);
            record.result = Some(result);
            if let Err(error) = outcome {
                record.error = Some(error.result().name.to_owned());
                record.error_description = Some(error.cause().to_owned());
            }
            // It has ended all the same.
            if let Err(error) = write(&folder, &record) {
                log::warn!("the end of a task cannot be noted: {error}");
            }
            let task = record.id;
            drop(record);
            journal.note(None, EventKind::TaskEnd { task, result });
            drop(alive);
            Ok(())
        })
        .map_err(|error| {
            Error::new(
                hresult::VM_E_OUT_OF_RESOURCE,
                format!("no thread for a task: {error}"),
            )
        })?;
        Ok(Self {
            record,
            task: Arc::new(task),
            cancelling,
        })
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `IVMTask::ID`: a number that no other task has.
    pub fn id(&self) -> u32 {
        self.record().id
    }

    /// `IVMTask::Description`: what it does.
    pub fn description(&self) -> String {
        self.record().description
    }

    /// `IVMTask::IsComplete`: whether it has ended, well or not.
    pub fn is_complete(&self) -> bool {
        self.task.is_complete()
    }

    /// `IVMTask::PercentCompleted`: how far it is, from 0 to 100.
    pub fn percent_completed(&self) -> u8 {
        if self.is_complete() {
            100
        } else {
            self.task.percent()
        }
    }

    /// `IVMTask::IsCancelable`: whether it can be cancelled: while it runs, if it is work on images or a wait for a guest.
    pub fn is_cancelable(&self) -> bool {
        self.cancelling == Cancelling::Obeyed && !self.is_complete()
    }

    /// `IVMTask::Cancel`: asks it to stop.
    ///
    /// # Errors
    /// `E_FAIL` if it has ended, or cannot be stopped.
    pub fn cancel(&self) -> Result<()> {
        if self.cancelling == Cancelling::Impossible {
            return Err(Error::new(
                hresult::E_FAIL,
                format!("task {} cannot be cancelled: {}", self.id(), self.description()),
            ));
        }
        if self.is_complete() {
            return Err(Error::new(
                hresult::E_FAIL,
                format!("task {} has ended", self.id()),
            ));
        }
        self.task.cancel();
        Ok(())
    }

    /// `IVMTask::Result`: how it ended. A task that runs has no result yet, which the API cannot say: it is a success so far.
    pub fn result(&self) -> TaskResult {
        let record = self.record();
        match record.result {
            None if self.is_complete() => TaskResult::ThreadCrashError,
            result => result.unwrap_or(TaskResult::Success),
        }
    }

    /// `IVMTask::Error`: its error's code; `S_OK` if there is none.
    pub fn error(&self) -> HResult {
        let name = self.record().error;
        name.and_then(|name| HResult::by_name(&name))
            .unwrap_or(hresult::S_OK)
    }

    /// `IVMTask::ErrorDescription`: its error in words; empty if there is none.
    pub fn error_description(&self) -> String {
        self.record().error_description.unwrap_or_default()
    }

    /// `IVMTask::WaitForCompletion`: waits for its end, for `timeout` milliseconds at most, or without end if that is -1.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a time-out that is neither -1 nor 0 to 4,000,000.
    pub fn wait_for_completion(&self, timeout: i32) -> Result<()> {
        match timeout {
            -1 => while !self.task.wait(Duration::from_secs(3600)) {},
            0..=TIMEOUT_MOST => {
                let _ = self
                    .task
                    .wait(Duration::from_millis(timeout.unsigned_abs().into()));
            }
            _ => {
                return Err(Error::new(
                    hresult::E_INVALIDARG,
                    format!("a time-out of {timeout} ms: use -1, or 0 to {TIMEOUT_MOST}"),
                ));
            }
        }
        Ok(())
    }

    /// Waits for its end, and gives its error.
    pub fn finish(&self) -> Result<()> {
        self.wait_for_completion(-1)?;
        match self.record() {
            Record {
                result: Some(TaskResult::Success),
                ..
            } => Ok(()),
            Record {
                error: Some(name),
                error_description,
                ..
            } => Err(Error::new(
                HResult::by_name(&name).unwrap_or(hresult::DISP_E_EXCEPTION),
                error_description.unwrap_or_default(),
            )),
            record => Err(Error::new(
                hresult::DISP_E_EXCEPTION,
                format!("task {} broke off", record.id),
            )),
        }
    }
}

/// `IVMVirtualPC::Tasks` for other processes: the records of all tasks that are kept.
pub fn records(places: &Places) -> Collection<Record> {
    let folder = places.state.join("tasks");
    let read = |id: u32| {
        let bytes = fs::read(folder.join(format!("{id}.json"))).ok()?;
        let mut record: Record = serde_json::from_slice(&bytes).ok()?;
        let alive = files::open_lock(&folder.join(format!("{id}.lock"))).ok()?;
        if record.result.is_none() && alive.try_lock_shared().is_ok() {
            record.result = Some(TaskResult::ThreadCrashError);
            record.error_description = Some(format!("process {} has gone", record.process));
        }
        Some(record)
    };
    numbers(&folder).into_iter().filter_map(read).collect()
}

fn numbers(folder: &PathBuf) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut ids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids
}

fn write(folder: &std::path::Path, record: &Record) -> Result<()> {
    let path = folder.join(format!("{}.json", record.id));
    let bytes = serde_json::to_vec(record).map_err(|error| Error::unexpected(&path, &error))?;
    files::replace(&path, &bytes)
}

fn forget_old(folder: &PathBuf) {
    let ids = numbers(folder);
    for id in &ids[..ids.len().saturating_sub(KEPT)] {
        for suffix in ["json", "lock"] {
            // What cannot be removed stays; it is small.
            let _ = fs::remove_file(folder.join(format!("{id}.{suffix}")));
        }
    }
}

fn kind_of(result: HResult, cancelled: bool) -> TaskResult {
    match result {
        _ if cancelled => TaskResult::Cancelled,
        hresult::ERROR_OUTOFMEMORY | hresult::VM_E_OUT_OF_RESOURCE => TaskResult::OutOfMemoryError,
        hresult::ERROR_DISK_FULL
        | hresult::VM_E_HD_IMAGE_ACCESS
        | hresult::VM_E_HD_IMAGE_OPEN_FAIL
        | hresult::ERROR_SHARING_VIOLATION
        | hresult::VM_E_FILE_READ_ONLY => TaskResult::DiskRelatedError,
        hresult::VM_E_TIMED_OUT => TaskResult::TimeOutError,
        hresult::E_INVALIDARG | hresult::VM_E_PREF_ILLEGAL_VALUE => TaskResult::IllegalValueError,
        _ => TaskResult::UnexpectedError,
    }
}

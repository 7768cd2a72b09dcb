// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/v1/application` and `/v1/host`: the program, and what it runs on.

use super::Api;
use super::extract::Json;
use super::problem::Problem;
use axum::extract::State;
use serde::Serialize;
use std::path::PathBuf;
use utoipa::ToSchema;

/// The application.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Application {
    /// Its name.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// For how many seconds this server runs.
    up_time: u64,
    /// The least memory of a machine, in MB.
    minimum_memory: u32,
    /// The most memory of a machine, in MB.
    maximum_memory: u32,
    /// The most memory, in MB, that leaves the host a quarter of what it has free.
    suggested_maximum_memory: u32,
    /// The folder for machines that are made without naming one.
    #[schema(value_type = String)]
    default_folder: PathBuf,
}

/// The host.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Host {
    /// The system's name.
    operating_system: String,
    /// The kernel's version.
    os_version: String,
    /// The processor's model.
    processor: String,
    /// The processor's speed, in MHz.
    processor_speed: u32,
    /// Processors as programs see them.
    processors: usize,
    /// Memory, in MB.
    memory: u64,
    /// Memory that programs can still have, in MB.
    memory_available: u64,
    /// Drives for discs.
    #[schema(value_type = Vec<String>)]
    dvd_drives: Vec<PathBuf>,
    /// Floppy drives.
    #[schema(value_type = Vec<String>)]
    floppy_drives: Vec<PathBuf>,
}

/// Shows the application and its limits.
#[utoipa::path(get, path = "/v1/application", tag = "host",
    responses((status = 200, description = "The application", body = Application), Problem))]
pub(super) async fn show_application(State(api): State<Api>) -> Result<Json<Application>, Problem> {
    let shown = api.call(|app| {
        Ok(Application {
            name: app.name(),
            version: app.version(),
            up_time: app.up_time(),
            minimum_memory: app.minimum_memory_per_vm(),
            maximum_memory: app.maximum_memory_per_vm(),
            suggested_maximum_memory: app.suggested_maximum_memory_per_vm(),
            default_folder: app.default_vm_configuration_path()?,
        })
    });
    shown.await.map(Json)
}

/// Shows the host.
#[utoipa::path(get, path = "/v1/host", tag = "host",
    responses((status = 200, description = "The host", body = Host), Problem))]
pub(super) async fn show_host(State(api): State<Api>) -> Result<Json<Host>, Problem> {
    let shown = api.call(|app| {
        let host = app.host_info();
        Ok(Host {
            operating_system: host.operating_system(),
            os_version: host.os_version_string(),
            processor: host.processor_version_string(),
            processor_speed: host.processor_speed(),
            processors: host.logical_processor_count(),
            memory: host.memory(),
            memory_available: host.memory_avail(),
            dvd_drives: host.dvd_drives(),
            floppy_drives: host.floppy_drives(),
        })
    });
    shown.await.map(Json)
}

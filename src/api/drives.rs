// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/v1/machines/{name}/dvd`, `/floppy`, `/hard-disks` and `/serial`: a machine's drives and ports.

use super::Api;
use super::extract::{Json, Path};
use super::problem::Problem;
use super::tasks::{Accepted, TaskView};
use crate::virtual_pc::dvd::DvdDrive;
use crate::virtual_pc::enums::SerialPortType;
use crate::virtual_pc::error::{Error, Result as ModelResult};
use crate::virtual_pc::floppy::FloppyDrive;
use crate::virtual_pc::hard_disk::HardDiskConnection;
use crate::virtual_pc::hresult;
use crate::virtual_pc::machine::VirtualMachine;
use crate::virtual_pc::place::Place;
use crate::virtual_pc::view::{self, Drive, SerialPort};
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

/// A medium to be put in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Attach {
    /// Image, or device.
    #[schema(example = "/vm/install.iso")]
    path: String,
    /// It is a drive of the host.
    #[serde(default)]
    host: bool,
}

/// A disc to be taken out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseDvd {
    /// Even if the guest has locked the drive.
    #[serde(default)]
    force: bool,
    /// It is a drive of the host.
    #[serde(default)]
    host: bool,
}

/// A diskette to be taken out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseFloppy {
    /// It is a drive of the host.
    #[serde(default)]
    host: bool,
}

/// A place on the IDE buses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// bus:device
    #[schema(pattern = "^[01]:[01]$", example = "0:1")]
    place: String,
}

/// A disk to be connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachHardDisk {
    /// Image.
    #[schema(example = "/vm/xp.vhd")]
    path: String,
    /// bus:device
    #[serde(default = "first")]
    #[schema(pattern = "^[01]:[01]$", default = "0:0")]
    place: String,
}

fn first() -> String {
    "0:0".into()
}

/// The far end of a serial port.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FarEnd {
    /// Its kind.
    kind: SerialPortType,
    /// Its path; needed unless the kind is `null`.
    #[serde(default)]
    path: String,
}

fn place(text: &str) -> ModelResult<Place> {
    text.parse()
        .map_err(|error: String| Error::new(hresult::E_INVALIDARG, error))
}

fn no_drive(what: &str) -> Error {
    Error::new(hresult::VM_E_DRIVE_INVALID, format!("the machine has no {what}"))
}

fn dvd(machine: &VirtualMachine, at: &str) -> ModelResult<DvdDrive> {
    let at = place(at)?;
    let mut drives = machine.dvd_drives()?.into_iter();
    drives
        .find(|drive| drive.place() == at)
        .ok_or_else(|| no_drive(&format!("DVD drive at {at}")))
}

fn floppy(machine: &VirtualMachine, number: u8) -> ModelResult<FloppyDrive> {
    let mut drives = machine.floppy_drives()?.into_iter();
    drives
        .find(|drive| drive.drive_number() == number)
        .ok_or_else(|| no_drive(&format!("floppy drive {number}")))
}

fn hard_disk(machine: &VirtualMachine, at: &str) -> ModelResult<HardDiskConnection> {
    let at = place(at)?;
    let mut connections = machine.hard_disk_connections()?.into_iter();
    connections
        .find(|connection| connection.place() == at)
        .ok_or_else(|| no_drive(&format!("hard disk at {at}")))
}

/// Lists a machine's drives.
#[utoipa::path(get, path = "/v1/machines/{name}/drives", tag = "drives",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 200, description = "Those on the IDE buses by their places, then floppy drives", body = [Drive]), Problem))]
pub(super) async fn list_drives(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Vec<Drive>>, Problem> {
    api.machine(name, view::drives).await.map(Json)
}

/// Adds an empty DVD drive.
#[utoipa::path(put, path = "/v1/machines/{name}/dvd/{place}", tag = "drives",
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "0:1", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "It is there"), Problem))]
pub(super) async fn add_dvd(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let at = place(&at)?;
        machine.add_dvd_drive(at.bus().into(), at.device().into())
    });
    done.await.map(|_| StatusCode::NO_CONTENT)
}

/// Removes a DVD drive.
#[utoipa::path(delete, path = "/v1/machines/{name}/dvd/{place}", tag = "drives",
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "0:1", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "It is gone"), Problem))]
pub(super) async fn remove_dvd(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| machine.remove_dvd_drive(&dvd(machine, &at)?));
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Puts an ISO image, or a drive of the host, into a DVD drive. A running machine's guest is told of the new disc.
#[utoipa::path(post, path = "/v1/machines/{name}/dvd/{place}/attach", tag = "drives", request_body = Attach,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "1:0", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "It is in the drive"), Problem))]
pub(super) async fn attach_dvd(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
    Json(medium): Json<Attach>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let drive = dvd(machine, &at)?;
        if medium.host {
            drive.attach_host_drive(&medium.path)
        } else {
            drive.attach_image(&medium.path)
        }
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Takes out what is in a DVD drive.
#[utoipa::path(post, path = "/v1/machines/{name}/dvd/{place}/release", tag = "drives", request_body = ReleaseDvd,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "1:0", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "The drive is empty"), Problem))]
pub(super) async fn release_dvd(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
    Json(how): Json<ReleaseDvd>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let drive = dvd(machine, &at)?;
        if how.host {
            drive.release_host_drive()
        } else {
            drive.release_image(how.force)
        }
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Moves a DVD drive to another place.
#[utoipa::path(post, path = "/v1/machines/{name}/dvd/{place}/move", tag = "drives", request_body = At,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "1:0", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "It is there"), Problem))]
pub(super) async fn move_dvd(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
    Json(to): Json<At>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let to = place(&to.place)?;
        dvd(machine, &at)?.set_bus_location(to.bus().into(), to.device().into())
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Puts a diskette's image, or a drive of the host, into a floppy drive, in place of what is there.
#[utoipa::path(post, path = "/v1/machines/{name}/floppy/{drive}/attach", tag = "drives", request_body = Attach,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("drive" = u8, Path, maximum = 255, example = 0, description = "Drive: 0 is A, 1 is B"),
    ),
    responses((status = 204, description = "It is in the drive"), Problem))]
pub(super) async fn attach_floppy(
    State(api): State<Api>,
    Path((name, number)): Path<(String, u8)>,
    Json(medium): Json<Attach>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let drive = floppy(machine, number)?;
        if medium.host {
            drive.attach_host_drive(&medium.path)
        } else {
            drive.attach_image(&medium.path)
        }
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Takes out what is in a floppy drive.
#[utoipa::path(post, path = "/v1/machines/{name}/floppy/{drive}/release", tag = "drives", request_body = ReleaseFloppy,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("drive" = u8, Path, maximum = 255, example = 0, description = "Drive: 0 is A, 1 is B"),
    ),
    responses((status = 204, description = "The drive is empty"), Problem))]
pub(super) async fn release_floppy(
    State(api): State<Api>,
    Path((name, number)): Path<(String, u8)>,
    Json(how): Json<ReleaseFloppy>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let drive = floppy(machine, number)?;
        if how.host {
            drive.release_host_drive()
        } else {
            drive.release_image()
        }
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Connects a hard disk's image, while the machine is off.
#[utoipa::path(post, path = "/v1/machines/{name}/hard-disks", tag = "drives", request_body = AttachHardDisk,
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "It is connected"), Problem))]
pub(super) async fn attach_hard_disk(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(disk): Json<AttachHardDisk>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let at = place(&disk.place)?;
        machine.add_hard_disk_connection(&disk.path, at.bus().into(), at.device().into())
    });
    done.await.map(|_| StatusCode::NO_CONTENT)
}

/// Disconnects a hard disk, while the machine is off. Its image stays, its undo disk goes.
#[utoipa::path(delete, path = "/v1/machines/{name}/hard-disks/{place}", tag = "drives",
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "0:0", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "It is disconnected"), Problem))]
pub(super) async fn release_hard_disk(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        machine.remove_hard_disk_connection(&hard_disk(machine, &at)?)
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Moves a hard disk to another place, while the machine is off.
#[utoipa::path(post, path = "/v1/machines/{name}/hard-disks/{place}/move", tag = "drives", request_body = At,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("place" = String, Path, pattern = "^[01]:[01]$", example = "0:0", description = "Place, as bus:device"),
    ),
    responses((status = 204, description = "It is there"), Problem))]
pub(super) async fn move_hard_disk(
    State(api): State<Api>,
    Path((name, at)): Path<(String, String)>,
    Json(to): Json<At>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let to = place(&to.place)?;
        hard_disk(machine, &at)?.set_bus_location(to.bus().into(), to.device().into())
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Writes the undo disks of a machine that is off to their disks.
#[utoipa::path(post, path = "/v1/machines/{name}/merge-undo", tag = "drives",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 202, description = "They are being written", body = TaskView), Problem))]
pub(super) async fn merge_undo(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Accepted, Problem> {
    let task = api.machine(name, VirtualMachine::merge_undo_disks).await?;
    Ok(Accepted::from(&task))
}

/// Deletes the undo disks of a machine that is off.
#[utoipa::path(post, path = "/v1/machines/{name}/discard-undo", tag = "drives",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "They are gone"), Problem))]
pub(super) async fn discard_undo(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, VirtualMachine::discard_undo_disks).await;
    done.map(|()| StatusCode::NO_CONTENT)
}

/// Lists a machine's serial ports.
#[utoipa::path(get, path = "/v1/machines/{name}/serial", tag = "drives",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 200, description = "COM1 to COM4", body = [SerialPort]), Problem))]
pub(super) async fn list_serial(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Vec<SerialPort>>, Problem> {
    let ports = api.machine(name, |machine| {
        let ports = machine.serial_ports()?;
        ports.iter().map(SerialPort::of).collect()
    });
    ports.await.map(Json)
}

/// Gives a serial port another far end, from the next start on. A pipe is a Unix socket that the machine listens on.
#[utoipa::path(put, path = "/v1/machines/{name}/serial/{port}", tag = "drives", request_body = FarEnd,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("port" = i32, Path, example = 1, description = "Port: 1 is COM1"),
    ),
    responses((status = 204, description = "It is set"), Problem))]
pub(super) async fn set_serial(
    State(api): State<Api>,
    Path((name, port)): Path<(String, i32)>,
    Json(far_end): Json<FarEnd>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| {
        let ports = machine.serial_ports()?;
        ports
            .item(port)?
            .configure(far_end.kind.value(), &far_end.path, true)
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

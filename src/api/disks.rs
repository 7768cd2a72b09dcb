// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/v1/disks`: images of hard disks, by their paths.

use super::Api;
use super::extract::{Json, Query};
use super::problem::Problem;
use super::tasks::{Accepted, TaskView};
use crate::virtual_pc::enums::HardDiskType;
use crate::virtual_pc::error::{Error, Result as ModelResult};
use crate::virtual_pc::hard_disk::HardDisk;
use crate::virtual_pc::hresult;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::{IntoParams, ToSchema};

/// Which image.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Image.
    #[param(example = "/vm/xp.vhd")]
    path: String,
}

/// An image.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Disk {
    /// Its file.
    path: String,
    /// Its kind; none for a raw disk.
    kind: Option<HardDiskType>,
    /// The disk's size, in bytes.
    size_in_guest: u64,
    /// The file's size, in bytes.
    size_on_host: u64,
    /// What is free on its volume, in bytes.
    host_free_disk_space: u64,
    /// The image that it holds the differences from, if it is a differencing one.
    #[schema(value_type = Option<String>)]
    parent: Option<PathBuf>,
}

/// An image to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateDisk {
    /// Its file.
    #[schema(example = "/vm/xp.vhd")]
    path: String,
    /// Its kind.
    kind: HardDiskType,
    /// The disk's size, in MB; a differencing one has its parent's.
    #[schema(example = 10_240)]
    size_mb: Option<i32>,
    /// The parent of a differencing one.
    parent: Option<String>,
}

/// An image to be compacted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompactDisk {
    /// Image.
    path: String,
}

/// An image to be written anew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConvertDisk {
    /// Image.
    path: String,
    /// The new image.
    to: String,
    /// Its kind.
    kind: HardDiskType,
}

/// A differencing image to be merged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeDisk {
    /// Image.
    path: String,
    /// The new image that the whole disk goes to; without it, what the image holds goes to its parent, and the image is removed.
    to: Option<String>,
    /// The kind of the new image; without it, it is dynamic.
    kind: Option<HardDiskType>,
}

/// A differencing image whose parent has moved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RelinkDisk {
    /// Image.
    path: String,
    /// Where its parent is now.
    parent: String,
}

impl Disk {
    fn of(disk: &HardDisk) -> ModelResult<Self> {
        let size_in_guest = disk.size_in_guest()?;
        let unless = |result, error: Error| {
            if error.result() == result {
                Ok(None)
            } else {
                Err(error)
            }
        };
        Ok(Self {
            path: disk.file().to_string_lossy().into_owned(),
            kind: disk.kind().map_or_else(
                |error| unless(hresult::VM_E_DRIVE_INVALID, error),
                |kind| Ok(Some(kind)),
            )?,
            size_in_guest,
            size_on_host: disk.size_on_host()?,
            host_free_disk_space: disk.host_free_disk_space()?,
            parent: match disk.parent() {
                Ok(parent) => Some(parent.file().to_owned()),
                Err(error) if error.result() == hresult::S_FALSE => None,
                Err(error) => return Err(error),
            },
        })
    }
}

/// Shows what an image is.
#[utoipa::path(get, path = "/v1/disks", tag = "disks", params(Which),
    responses((status = 200, description = "The image", body = Disk), Problem))]
pub(super) async fn show_disk(
    State(api): State<Api>,
    Query(which): Query<Which>,
) -> Result<Json<Disk>, Problem> {
    let shown = api.call(move |app| Disk::of(&app.hard_disk(&which.path)?));
    shown.await.map(Json)
}

/// Makes an image.
#[utoipa::path(post, path = "/v1/disks", tag = "disks", request_body = CreateDisk,
    responses((status = 202, description = "It is being made", body = TaskView), Problem))]
pub(super) async fn create_disk(
    State(api): State<Api>,
    Json(wanted): Json<CreateDisk>,
) -> Result<Accepted, Problem> {
    let size = |wanted: &CreateDisk| {
        let missing = || Error::new(hresult::E_INVALIDARG, "size_mb is missing");
        wanted.size_mb.ok_or_else(missing)
    };
    let task = api.call(move |app| {
        let path = Some(&*wanted.path);
        match wanted.kind {
            HardDiskType::Dynamic => app.create_dynamic_virtual_hard_disk(path, size(&wanted)?),
            HardDiskType::FixedSize => app.create_fixed_virtual_hard_disk(path, size(&wanted)?),
            HardDiskType::Differencing => {
                app.create_differencing_virtual_hard_disk(path, wanted.parent.as_deref())
            }
        }
    });
    task.await.map(|task| Accepted::from(&task))
}

/// Gives the host back what a dynamic image does not use.
#[utoipa::path(post, path = "/v1/disks/compact", tag = "disks", request_body = CompactDisk,
    responses((status = 202, description = "It is being compacted", body = TaskView), Problem))]
pub(super) async fn compact_disk(
    State(api): State<Api>,
    Json(wanted): Json<CompactDisk>,
) -> Result<Accepted, Problem> {
    let task = api.call(move |app| app.hard_disk(&wanted.path)?.compact());
    task.await.map(|task| Accepted::from(&task))
}

/// Writes a disk to a new image of another kind; the old one stays as it is.
#[utoipa::path(post, path = "/v1/disks/convert", tag = "disks", request_body = ConvertDisk,
    responses((status = 202, description = "It is being written", body = TaskView), Problem))]
pub(super) async fn convert_disk(
    State(api): State<Api>,
    Json(wanted): Json<ConvertDisk>,
) -> Result<Accepted, Problem> {
    let task = api.call(move |app| app.hard_disk(&wanted.path)?.convert(&wanted.to, wanted.kind));
    task.await.map(|task| Accepted::from(&task))
}

/// Merges a differencing image with its parent, or writes the whole disk to a new image.
#[utoipa::path(post, path = "/v1/disks/merge", tag = "disks", request_body = MergeDisk,
    responses((status = 202, description = "It is being merged", body = TaskView), Problem))]
pub(super) async fn merge_disk(
    State(api): State<Api>,
    Json(wanted): Json<MergeDisk>,
) -> Result<Accepted, Problem> {
    let task = api.call(move |app| {
        let disk = app.hard_disk(&wanted.path)?;
        match &wanted.to {
            Some(to) => disk.merge_to(to, wanted.kind.unwrap_or(HardDiskType::Dynamic)),
            None => disk.merge(),
        }
    });
    task.await.map(|task| Accepted::from(&task))
}

/// Tells a differencing image where its parent is now.
#[utoipa::path(post, path = "/v1/disks/relink", tag = "disks", request_body = RelinkDisk,
    responses((status = 204, description = "It knows"), Problem))]
pub(super) async fn relink_disk(
    State(api): State<Api>,
    Json(wanted): Json<RelinkDisk>,
) -> Result<StatusCode, Problem> {
    let done = api.call(move |app| {
        let parent = app.hard_disk(&wanted.parent)?;
        app.hard_disk(&wanted.path)?.set_parent(&parent)
    });
    done.await.map(|()| StatusCode::NO_CONTENT)
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/v1/machines`: machines, their settings and their life.

use super::Api;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::tasks::{Accepted, TaskView};
use crate::virtual_pc::enums::{StartupOption, UndoAction};
use crate::virtual_pc::machine::VirtualMachine;
use crate::virtual_pc::view::{Machine, MachineRow};
// A schema takes what is named Value for any JSON.
use crate::virtual_pc::vmc::Value as ConfigurationValue;
use crate::virtual_pc::{self as model, paths};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A machine to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateMachine {
    /// Name.
    #[schema(min_length = 1, max_length = 80, example = "xp")]
    name: String,
    /// Folder for its configuration; it is made if it is not there. Without it, the option `virtual_machines/default_path` counts.
    folder: Option<String>,
    /// Memory, in MB.
    #[schema(minimum = 4, maximum = 3712)]
    memory: Option<u32>,
    /// What to note about it.
    #[schema(max_length = 65_536)]
    notes: Option<String>,
    /// Values of its configuration, by their keys.
    #[serde(default)]
    values: BTreeMap<String, ConfigurationValue>,
}

/// What is to be changed of a machine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetMachine {
    /// Another name.
    #[schema(min_length = 1, max_length = 80)]
    name: Option<String>,
    /// Memory, in MB.
    #[schema(minimum = 4, maximum = 3712)]
    memory: Option<u32>,
    /// What to note about it.
    #[schema(max_length = 65_536)]
    notes: Option<String>,
    /// Whether writes go to undo disks over its disks.
    undoable: Option<bool>,
    /// What becomes of the undo disks when it is turned off.
    undo_action: Option<UndoAction>,
}

/// A configuration file to be taken into the list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterMachine {
    /// The file (.vmc).
    file: String,
}

/// Lists the known machines.
#[utoipa::path(get, path = "/v1/machines", tag = "machines",
    responses((status = 200, description = "The machines, by name", body = [MachineRow]), Problem))]
pub(super) async fn list_machines(State(api): State<Api>) -> Result<Json<Vec<MachineRow>>, Problem> {
    let shared = api.clone();
    let rows = api.call(move |_| shared.machines()?.iter().map(MachineRow::of).collect());
    Ok(Json(rows.await?))
}

/// Makes a machine: 128 MB, an empty DVD drive at 1:0, an empty floppy drive. One whose settings are refused is not made.
#[utoipa::path(post, path = "/v1/machines", tag = "machines", request_body = CreateMachine,
    responses((status = 201, description = "The new machine", body = Machine), Problem))]
pub(super) async fn create_machine(
    State(api): State<Api>,
    Json(wanted): Json<CreateMachine>,
) -> Result<Created, Problem> {
    let made = api.call(move |app| {
        // To the model an empty name means another thing.
        paths::check_name(&wanted.name)?;
        let folder = match &wanted.folder {
            Some(folder) => folder.clone(),
            None => app
                .default_vm_configuration_path()?
                .to_string_lossy()
                .into_owned(),
        };
        let machine = app.create_virtual_machine(&wanted.name, &folder)?;
        let applied = wanted.apply(&machine).and_then(|()| Machine::of(&machine));
        if applied.is_err() {
            app.delete_virtual_machine(&machine)?;
        }
        applied
    });
    made.await.map(Created)
}

impl CreateMachine {
    fn apply(&self, machine: &VirtualMachine) -> model::Result<()> {
        if let Some(memory) = self.memory {
            machine.set_memory(memory)?;
        }
        if let Some(notes) = &self.notes {
            machine.set_notes(notes)?;
        }
        for (key, value) in &self.values {
            machine.set_configuration_value(key, value)?;
        }
        Ok(())
    }
}

/// The answer that tells of a new machine.
pub(super) struct Created(Machine);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let place = format!("/v1/machines/{}", segment(&self.0.name));
        let mut response = (StatusCode::CREATED, axum::Json(self.0)).into_response();
        if let Ok(place) = HeaderValue::from_str(&place) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }
}

/// Text as a part of a path (RFC 3986).
fn segment(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Takes a machine that has a configuration file already into the list, also one of Virtual PC 2007 or Windows Virtual PC.
#[utoipa::path(post, path = "/v1/register", tag = "machines", request_body = RegisterMachine,
    responses((status = 201, description = "The machine", body = Machine), Problem))]
pub(super) async fn register_machine(
    State(api): State<Api>,
    Json(wanted): Json<RegisterMachine>,
) -> Result<Created, Problem> {
    let found = api.call(move |app| Machine::of(&app.register_virtual_machine("", &wanted.file)?));
    found.await.map(Created)
}

/// Shows a machine: its settings, drives and ports.
#[utoipa::path(get, path = "/v1/machines/{name}", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 200, description = "The machine", body = Machine), Problem))]
pub(super) async fn show_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Machine>, Problem> {
    api.machine(name, Machine::of).await.map(Json)
}

/// Changes settings of a machine. They are changed one after the other; the first that is refused ends that.
#[utoipa::path(patch, path = "/v1/machines/{name}", tag = "machines", request_body = SetMachine,
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 200, description = "The machine as it is now", body = Machine), Problem))]
pub(super) async fn set_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(wanted): Json<SetMachine>,
) -> Result<Json<Machine>, Problem> {
    let set = api.machine(name, move |machine| {
        if let Some(memory) = wanted.memory {
            machine.set_memory(memory)?;
        }
        if let Some(notes) = &wanted.notes {
            machine.set_notes(notes)?;
        }
        if let Some(undoable) = wanted.undoable {
            machine.set_undoable(undoable)?;
        }
        if let Some(action) = wanted.undo_action {
            machine.set_undo_action(action)?;
        }
        if let Some(name) = &wanted.name {
            machine.set_name(name)?;
        }
        Machine::of(machine)
    });
    set.await.map(Json)
}

/// Deletes a machine: its configuration and undo disks. Its disks stay.
#[utoipa::path(delete, path = "/v1/machines/{name}", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "It is gone"), Problem))]
pub(super) async fn delete_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let done = api.call(move |app| app.delete_virtual_machine(&app.find_virtual_machine(&name)?));
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Takes a machine out of the list; its files stay.
#[utoipa::path(post, path = "/v1/machines/{name}/unregister", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "It is not in the list any more"), Problem))]
pub(super) async fn unregister_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let done = api.call(move |app| app.unregister_virtual_machine(&app.find_virtual_machine(&name)?));
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// How to start.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Start {
    /// Take disks whose parents seem changed, and note the parents' present times in them.
    #[serde(default)]
    fix_parent_timestamp: bool,
}

/// Starts a machine, in a process of its own. The task ends when it runs.
#[utoipa::path(post, path = "/v1/machines/{name}/start", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine"), Start),
    responses((status = 202, description = "It is being started", body = TaskView), Problem))]
pub(super) async fn start_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(how): Query<Start>,
) -> Result<Accepted, Problem> {
    let option = if how.fix_parent_timestamp {
        StartupOption::FixParentTimestampMismatch
    } else {
        StartupOption::Normal
    };
    let task = api.machine(name, move |machine| machine.startup2(option.value()));
    task.await.map(|task| Accepted::from(&task))
}

/// How to stop.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Stop {
    /// What becomes of its undo disks this time.
    undo: Option<UndoAction>,
}

/// Turns a machine off, as by pulling the plug. Its disks are flushed. The task ends when its process has gone.
#[utoipa::path(post, path = "/v1/machines/{name}/stop", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine"), Stop),
    responses((status = 202, description = "It is being turned off", body = TaskView), Problem))]
pub(super) async fn stop_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(how): Query<Stop>,
) -> Result<Accepted, Problem> {
    let task = api.machine(name, move |machine| match how.undo {
        Some(action) => machine.turn_off_with(action),
        None => machine.turn_off(),
    });
    task.await.map(|task| Accepted::from(&task))
}

/// Presses a machine's power button. The task ends when its guest has switched it off.
#[utoipa::path(post, path = "/v1/machines/{name}/shutdown", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 202, description = "The button was pressed", body = TaskView), Problem))]
pub(super) async fn shutdown_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Accepted, Problem> {
    let task = api.machine(name, VirtualMachine::shutdown).await?;
    Ok(Accepted::from(&task))
}

/// Stops a machine's time.
#[utoipa::path(post, path = "/v1/machines/{name}/pause", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "It is paused"), Problem))]
pub(super) async fn pause_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, VirtualMachine::pause).await;
    done.map(|()| StatusCode::NO_CONTENT)
}

/// Lets a paused machine go on.
#[utoipa::path(post, path = "/v1/machines/{name}/resume", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "It runs"), Problem))]
pub(super) async fn resume_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, VirtualMachine::resume).await;
    done.map(|()| StatusCode::NO_CONTENT)
}

/// Saves a machine's state.
#[utoipa::path(post, path = "/v1/machines/{name}/save", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 202, description = "Its state is being saved", body = TaskView), Problem))]
pub(super) async fn save_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Accepted, Problem> {
    let task = api.machine(name, VirtualMachine::save).await?;
    Ok(Accepted::from(&task))
}

/// Deletes a machine's saved state.
#[utoipa::path(post, path = "/v1/machines/{name}/discard-saved", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 204, description = "It is turned off"), Problem))]
pub(super) async fn discard_saved(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, VirtualMachine::discard_saved_state).await;
    done.map(|()| StatusCode::NO_CONTENT)
}

/// Pulls a machine's reset line.
#[utoipa::path(post, path = "/v1/machines/{name}/reset", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 202, description = "It is being reset", body = TaskView), Problem))]
pub(super) async fn reset_machine(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Accepted, Problem> {
    let task = api.machine(name, VirtualMachine::reset).await?;
    Ok(Accepted::from(&task))
}

/// What a machine has used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountantView {
    /// For how many seconds it runs, without the time that it was paused.
    up_time: u64,
    /// How much of the host's processors it uses now, in percent.
    cpu_utilization: u32,
    /// For how many seconds its processors have run, all together.
    cpu_seconds: f64,
    /// Bytes that its network adapters have received.
    network_bytes_received: u64,
    /// Bytes that its network adapters have sent.
    network_bytes_sent: u64,
}

/// Shows what a running machine has used.
#[utoipa::path(get, path = "/v1/machines/{name}/accountant", tag = "machines",
    params(("name" = String, Path, example = "xp", description = "Machine")),
    responses((status = 200, description = "What it has used", body = AccountantView), Problem))]
pub(super) async fn machine_accountant(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<AccountantView>, Problem> {
    let look = |machine: &VirtualMachine| {
        let accountant = machine.accountant()?;
        Ok(AccountantView {
            up_time: accountant.up_time()?,
            cpu_utilization: accountant.cpu_utilization()?,
            cpu_seconds: accountant.cpu_time()?.as_secs_f64(),
            network_bytes_received: accountant.network_bytes_received()?,
            network_bytes_sent: accountant.network_bytes_sent()?,
        })
    };
    api.machine(name, look).await.map(Json)
}

/// Shows a value of a machine's configuration.
#[utoipa::path(get, path = "/v1/machines/{name}/values/{key}", tag = "machines",
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("key" = String, Path, example = "hardware/memory/ram_size", description = "Key; `/` is written as `%2F`"),
    ),
    responses((status = 200, description = "The value", body = ConfigurationValue), Problem))]
pub(super) async fn machine_value(
    State(api): State<Api>,
    Path((name, key)): Path<(String, String)>,
) -> Result<Json<ConfigurationValue>, Problem> {
    let value = api.machine(name, move |machine| machine.configuration_value(&key));
    value.await.map(Json)
}

/// Sets a value of a machine's configuration. Whether it makes sense is not looked at; a running machine sees it at its next start.
#[utoipa::path(put, path = "/v1/machines/{name}/values/{key}", tag = "machines", request_body = ConfigurationValue,
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("key" = String, Path, example = "virtualpc/processors", description = "Key; `/` is written as `%2F`"),
    ),
    responses((status = 204, description = "It is set"), Problem))]
pub(super) async fn set_machine_value(
    State(api): State<Api>,
    Path((name, key)): Path<(String, String)>,
    Json(value): Json<ConfigurationValue>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| machine.set_configuration_value(&key, &value));
    done.await.map(|()| StatusCode::NO_CONTENT)
}

/// Removes a value of a machine's configuration.
#[utoipa::path(delete, path = "/v1/machines/{name}/values/{key}", tag = "machines",
    params(
        ("name" = String, Path, example = "xp", description = "Machine"),
        ("key" = String, Path, example = "virtualpc/processors", description = "Key; `/` is written as `%2F`"),
    ),
    responses((status = 204, description = "It is gone"), Problem))]
pub(super) async fn remove_machine_value(
    State(api): State<Api>,
    Path((name, key)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let done = api.machine(name, move |machine| machine.remove_configuration_value(&key));
    done.await.map(|()| StatusCode::NO_CONTENT)
}

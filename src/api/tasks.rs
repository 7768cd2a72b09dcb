// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/v1/tasks`: what takes its time.
//!
//! Tasks of this process are known whole; of those of others (`vpc start` and its like), what they have noted.

use super::Api;
use super::extract::{Json, Path};
use super::problem::Problem;
use crate::virtual_pc::enums::TaskResult;
use crate::virtual_pc::error::Error;
use crate::virtual_pc::hresult::{self, HResult};
use crate::virtual_pc::task::{Record, Task};
use crate::virtual_pc::{self as model, VirtualPc};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskView {
    /// Its number.
    id: u32,
    /// What it does.
    description: String,
    /// Whether it has ended, well or not.
    complete: bool,
    /// How far it is, from 0 to 100; unknown of a running task of another process.
    #[schema(maximum = 100)]
    percent: Option<u8>,
    /// Whether it can be cancelled here.
    cancelable: bool,
    /// How it ended, if it has.
    result: Option<TaskResult>,
    /// Its error, if it has one.
    error: Option<Problem>,
}

impl TaskView {
    fn live(task: &Task) -> Self {
        let complete = task.is_complete();
        let error = task.error();
        Self {
            id: task.id(),
            description: task.description(),
            complete,
            percent: Some(task.percent_completed()),
            cancelable: task.is_cancelable(),
            result: complete.then(|| task.result()),
            error: (error != hresult::S_OK)
                .then(|| Problem::from(Error::new(error, task.error_description()))),
        }
    }

    fn noted(record: &Record) -> Self {
        let cause = || record.error_description.clone().unwrap_or_default();
        let named = record.error.as_deref().and_then(HResult::by_name);
        // A process that has gone has noted no code.
        let error = named.or(record
            .error_description
            .as_ref()
            .map(|_| hresult::DISP_E_EXCEPTION));
        Self {
            id: record.id,
            description: record.description.clone(),
            complete: record.result.is_some(),
            percent: record.result.map(|_| 100),
            cancelable: false,
            result: record.result,
            error: error.map(|error| Problem::from(Error::new(error, cause()))),
        }
    }
}

/// The answer that tells of a task that was begun.
pub(super) struct Accepted(TaskView);

impl From<&Task> for Accepted {
    fn from(task: &Task) -> Self {
        Self(TaskView::live(task))
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let place = HeaderValue::from_str(&format!("/v1/tasks/{}", self.0.id));
        let mut response = (StatusCode::ACCEPTED, axum::Json(self.0)).into_response();
        if let Ok(place) = place {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }
}

fn live(app: &VirtualPc, id: u32) -> Option<Task> {
    app.tasks().into_iter().find(|task| task.id() == id)
}

fn no_task(id: u32) -> Error {
    Error::new(hresult::S_FALSE, format!("there is no task {id}"))
        .with_remedy("see /v1/tasks; only the last ones are kept")
}

fn find(app: &VirtualPc, id: u32) -> model::Result<TaskView> {
    if let Some(task) = live(app, id) {
        return Ok(TaskView::live(&task));
    }
    let records = app.task_records();
    let record = records.iter().find(|record| record.id == id);
    record.map(TaskView::noted).ok_or_else(|| no_task(id))
}

/// Lists the last tasks of all processes of this user.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks",
    responses((status = 200, description = "The tasks, oldest first", body = [TaskView]), Problem))]
pub(super) async fn list_tasks(State(api): State<Api>) -> Result<Json<Vec<TaskView>>, Problem> {
    let tasks = api.call(|app| {
        let records = app.task_records().into_iter();
        let view = |record: Record| {
            live(app, record.id).map_or_else(|| TaskView::noted(&record), |task| TaskView::live(&task))
        };
        Ok(records.map(view).collect())
    });
    tasks.await.map(Json)
}

/// Shows a task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks",
    params(("id" = u32, Path, example = 1, description = "Task")),
    responses((status = 200, description = "The task", body = TaskView), Problem))]
pub(super) async fn show_task(
    State(api): State<Api>,
    Path(id): Path<u32>,
) -> Result<Json<TaskView>, Problem> {
    api.call(move |app| find(app, id)).await.map(Json)
}

/// Asks a task to stop. It leaves nothing half-done.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks",
    params(("id" = u32, Path, example = 1, description = "Task")),
    responses((status = 202, description = "It was asked", body = TaskView), Problem))]
pub(super) async fn cancel_task(State(api): State<Api>, Path(id): Path<u32>) -> Result<Accepted, Problem> {
    let asked = api.call(move |app| {
        let Some(task) = live(app, id) else {
            find(app, id)?;
            let cause = format!("task {id} has ended, or runs in another process");
            return Err(Error::new(hresult::E_FAIL, cause));
        };
        task.cancel()?;
        Ok(TaskView::live(&task))
    });
    asked.await.map(Accepted)
}

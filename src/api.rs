// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The HTTP/JSON API: a thin layer over [`crate::virtual_pc`], with its words, its rules and its result codes.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`server`] | sockets, connections and their limits, the end |
//! | [`admission`] | who may ask, and how much: token, host name, size and time of a request |
//! | [`problem`] | errors as problem documents (RFC 9457) |
//! | [`extract`] | what a request carries, with errors that are problems |
//! | `machines`, `drives`, `disks`, `tasks`, `events`, `host`, `metrics` | the resources |
//!
//! The model is synchronous and may wait for disks and machines, so it is called on the runtime's blocking threads; the runtime itself is one
//! thread. Nothing is kept between requests: the model's files are the truth, here as for the command line.
//!
//! The description of the API (OpenAPI 3.1) is made from the types and handlers: `/openapi.json`.

pub mod admission;
mod disks;
mod drives;
mod events;
pub mod extract;
mod host;
mod machines;
mod metrics;
pub mod problem;
pub mod server;
mod tasks;

use crate::virtual_pc::machine::VirtualMachine;
use crate::virtual_pc::{self as model, VirtualPc, hresult, paths};
use axum::routing::get;
use axum::{Json, Router};
use problem::Problem;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Streams of events at a time; they stay open, and must leave connections for others.
const STREAMS: usize = 32;

/// What the API shows.
pub enum Scope {
    /// All machines of the user.
    User,
    /// One machine: the process that runs it offers this.
    Machine(VirtualMachine),
}

/// What handlers share. Clones are the same one.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    app: VirtualPc,
    scope: Scope,
    streams: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
}

impl Api {
    /// The API over a model. When `ending` says true, streams of events end.
    pub fn new(app: VirtualPc, scope: Scope, ending: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Shared {
            app,
            scope,
            streams: Arc::new(Semaphore::new(STREAMS)),
            ending,
        }))
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        let (router, document) = describe(&self.0.scope);
        let document = Json(document);
        router
            .route("/openapi.json", get(async || document))
            .fallback(problem::no_such_path)
            .method_not_allowed_fallback(problem::no_such_method)
            .with_state(self.clone())
    }

    /// Calls the model, on a thread that may wait.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&VirtualPc) -> model::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.0.app.clone();
        let done = tokio::task::spawn_blocking(move || call(&app)).await;
        // Only a call that panicked is not joined.
        let broken = |error: tokio::task::JoinError| {
            log::error!("a call broke off: {error}");
            Problem::from(model::Error::new(hresult::DISP_E_EXCEPTION, "the call broke off"))
        };
        Ok(done.map_err(broken)??)
    }

    /// Calls the model with the machine of a name.
    async fn machine<T: Send + 'static>(
        &self,
        name: String,
        call: impl FnOnce(&VirtualMachine) -> model::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let api = self.clone();
        self.call(move |_| call(&api.find(&name)?)).await
    }

    fn find(&self, name: &str) -> model::Result<VirtualMachine> {
        match &self.0.scope {
            Scope::User => self.0.app.find_virtual_machine(name),
            Scope::Machine(machine) if paths::same_name(&machine.name()?, name) => Ok(machine.clone()),
            Scope::Machine(machine) => Err(model::Error::new(
                hresult::S_FALSE,
                format!("this is the socket of the machine `{}`", machine.name()?),
            )
            .with_remedy("`vpc serve` offers all machines")),
        }
    }

    /// The machines that there are here.
    fn machines(&self) -> model::Result<Vec<VirtualMachine>> {
        match &self.0.scope {
            Scope::User => Ok(self.0.app.virtual_machines()?.into_iter().collect()),
            Scope::Machine(machine) => Ok(vec![machine.clone()]),
        }
    }
}

/// What the document says beside the paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "virtualpc",
        description = "Machines, drives, disks, tasks and events of the Virtual PC object model. Errors are problem documents (RFC 9457) with \
                       the result code of Microsoft's Virtual PC API, its name, the cause, and what to do."
    ),
    components(schemas(Problem)),
    tags(
        (name = "machines", description = "Machines and their life"),
        (name = "drives", description = "Drives and ports of a machine"),
        (name = "disks", description = "Images of hard disks"),
        (name = "tasks", description = "What takes its time"),
        (name = "events", description = "What happens"),
        (name = "host", description = "The program and its host"),
    )
)]
struct Document;

fn describe(scope: &Scope) -> (Router<Api>, OpenApi) {
    use utoipa::OpenApi as _;
    let every = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(machines::show_machine, machines::set_machine))
        .routes(routes!(machines::start_machine))
        .routes(routes!(machines::stop_machine))
        .routes(routes!(machines::shutdown_machine))
        .routes(routes!(machines::pause_machine))
        .routes(routes!(machines::resume_machine))
        .routes(routes!(machines::save_machine))
        .routes(routes!(machines::reset_machine))
        .routes(routes!(machines::machine_accountant))
        .routes(routes!(
            machines::machine_value,
            machines::set_machine_value,
            machines::remove_machine_value
        ))
        .routes(routes!(drives::list_drives))
        .routes(routes!(drives::add_dvd))
        .routes(routes!(drives::remove_dvd))
        .routes(routes!(drives::attach_dvd))
        .routes(routes!(drives::release_dvd))
        .routes(routes!(drives::move_dvd))
        .routes(routes!(drives::attach_floppy))
        .routes(routes!(drives::release_floppy))
        .routes(routes!(drives::attach_hard_disk))
        .routes(routes!(drives::release_hard_disk))
        .routes(routes!(drives::move_hard_disk))
        .routes(routes!(drives::merge_undo))
        .routes(routes!(drives::discard_undo))
        .routes(routes!(machines::discard_saved))
        .routes(routes!(drives::list_serial))
        .routes(routes!(drives::set_serial))
        .routes(routes!(tasks::list_tasks))
        .routes(routes!(tasks::show_task))
        .routes(routes!(tasks::cancel_task))
        .routes(routes!(events::follow_events))
        .routes(routes!(host::show_application))
        .routes(routes!(host::show_host))
        .routes(routes!(metrics::metrics));
    let all = match scope {
        Scope::User => every
            .routes(routes!(machines::list_machines, machines::create_machine))
            .routes(routes!(machines::register_machine))
            .routes(routes!(machines::unregister_machine))
            .routes(routes!(machines::delete_machine))
            .routes(routes!(disks::show_disk, disks::create_disk))
            .routes(routes!(disks::compact_disk))
            .routes(routes!(disks::convert_disk))
            .routes(routes!(disks::merge_disk))
            .routes(routes!(disks::relink_disk)),
        Scope::Machine(_) => every.routes(routes!(machines::list_machines)),
    };
    all.split_for_parts()
}

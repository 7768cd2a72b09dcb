// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/metrics`: the accountants' figures, as OpenMetrics text, which Prometheus reads.

use super::Api;
use super::problem::Problem;
use crate::virtual_pc::error::{Error, Result as ModelResult};
use crate::virtual_pc::hresult;
use crate::virtual_pc::machine::VirtualMachine;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;

/// Shows what all machines use, as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "host",
    responses((status = 200, description = "OpenMetrics text", content_type = "application/openmetrics-text", body = String), Problem))]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let shared = api.clone();
    let text = api.call(move |_| text(&shared.machines()?)).await?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

fn text(machines: &[VirtualMachine]) -> ModelResult<String> {
    let state = Family::<Labels, Gauge>::default();
    let up_time = Seconds::default();
    let processor_time = Family::<Labels, Counter<f64, AtomicU64>>::default();
    let resets = Family::<Labels, Counter>::default();
    let memory = Family::<Labels, Gauge>::default();
    for machine in machines {
        let labels: Labels = vec![("machine", machine.name()?)];
        if let Ok(now) = machine.state() {
            let labels = [labels.clone(), vec![("state", now.to_string())]].concat();
            state.get_or_create(&labels).set(1);
        }
        // Those that do not run have no figures.
        let Ok(status) = machine.status() else { continue };
        up_time.get_or_create(&labels).set(status.seconds);
        resets.get_or_create(&labels).inc_by(status.resets);
        let bytes = i64::try_from(status.memory).unwrap_or(i64::MAX);
        memory.get_or_create(&labels).set(bytes);
        if let Ok(time) = machine.accountant().and_then(|accountant| accountant.cpu_time()) {
            processor_time.get_or_create(&labels).inc_by(time.as_secs_f64());
        }
    }
    let mut registry = Registry::with_prefix("virtualpc_machine");
    registry.register("state", "What the machine is doing", state);
    registry.register_with_unit(
        "up",
        "For how long it runs, without the time that it was paused",
        Unit::Seconds,
        up_time,
    );
    registry.register_with_unit(
        "cpu",
        "For how long its processors have run, all together",
        Unit::Seconds,
        processor_time,
    );
    registry.register("resets", "How often it was reset", resets);
    registry.register_with_unit("memory", "Its memory", Unit::Bytes, memory);
    let mut text = String::new();
    let failed = |_| Error::new(hresult::DISP_E_EXCEPTION, "the figures cannot be written");
    encode(&mut text, &registry).map_err(failed)?;
    Ok(text)
}

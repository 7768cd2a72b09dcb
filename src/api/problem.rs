// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Errors as problem documents (RFC 9457).

use crate::virtual_pc::Error;
use crate::virtual_pc::hresult::{self, HResult};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong (RFC 9457), with the result of the Virtual PC API.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Which kind of problem it is: one for each result.
    #[serde(rename = "type")]
    #[schema(example = "urn:virtualpc:result:VM_E_VM_RUNNING")]
    kind: String,
    /// What that result means in general.
    title: String,
    /// The status of the response.
    #[schema(example = 409)]
    status: u16,
    /// What happened, and to what.
    detail: String,
    /// The result's number.
    #[schema(example = "0xA0040500", pattern = "^0x[0-9A-F]{8}$")]
    hresult: String,
    /// The result's name.
    #[schema(example = "VM_E_VM_RUNNING")]
    name: String,
    /// What to do about it.
    remedy: String,
}

impl Problem {
    /// An error, with another status than its result has.
    pub fn with_status(status: StatusCode, error: &Error) -> Self {
        let result = error.result();
        // HRESULT_FROM_WIN32(NAME) is no name for a URN.
        let short = result
            .name
            .trim_start_matches("HRESULT_FROM_WIN32(")
            .trim_end_matches(')');
        Self {
            kind: format!("urn:virtualpc:result:{short}"),
            title: result.message.to_owned(),
            status: status.as_u16(),
            detail: error.cause().to_owned(),
            hresult: format!("{:#010X}", result.code).replacen("0X", "0x", 1),
            name: result.name.to_owned(),
            remedy: error.remedy().to_owned(),
        }
    }

    /// A request that could not be understood.
    pub fn malformed(status: StatusCode, detail: impl Into<String>) -> Self {
        let error =
            Error::new(hresult::E_INVALIDARG, detail).with_remedy("see /openapi.json for what is understood");
        Self::with_status(status, &error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::with_status(status(error.result()), &error)
    }
}

/// The status that stands for a result.
fn status(result: HResult) -> StatusCode {
    match result {
        // Members that look for something give it where there is none.
        hresult::S_FALSE
        | hresult::VM_E_VM_UNKNOWN
        | hresult::VM_E_PREF_NOT_FOUND
        | hresult::VM_E_DRIVE_INVALID
        | hresult::DISP_E_BADINDEX
        | hresult::ERROR_FILE_NOT_FOUND
        | hresult::ERROR_PATH_NOT_FOUND => StatusCode::NOT_FOUND,
        hresult::E_INVALIDARG
        | hresult::E_POINTER
        | hresult::ERROR_BAD_PATHNAME
        | hresult::ERROR_INVALID_NAME
        | hresult::ERROR_BUFFER_OVERFLOW
        | hresult::VM_E_CONFIG_NO_NAME
        | hresult::VM_E_CONFIG_NAME_TOO_LONG
        | hresult::VM_E_CONFIG_NAME_INVALID_CHAR
        | hresult::VM_E_PREF_ILLEGAL_VALUE => StatusCode::BAD_REQUEST,
        hresult::E_ACCESSDENIED | hresult::ERROR_ACCESS_DENIED | hresult::VM_E_FILE_READ_ONLY => {
            StatusCode::FORBIDDEN
        }
        hresult::E_NOTIMPL | hresult::VM_E_ADDITIONS_NOT_AVAIL => StatusCode::NOT_IMPLEMENTED,
        hresult::VM_E_OUT_OF_RESOURCE
        | hresult::ERROR_OUTOFMEMORY
        | hresult::VM_E_HARDWARE_VIRTUALIZATION_DISABLED
        | hresult::VM_E_UNSUPPORTED_HARDWARE => StatusCode::SERVICE_UNAVAILABLE,
        hresult::VM_E_TIMED_OUT => StatusCode::GATEWAY_TIMEOUT,
        hresult::ERROR_DISK_FULL => StatusCode::INSUFFICIENT_STORAGE,
        hresult::DISP_E_EXCEPTION => StatusCode::INTERNAL_SERVER_ERROR,
        // The rest is about the state of machines, drives and files.
        _ => StatusCode::CONFLICT,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    }
}

/// In the document, every operation may give one.
impl utoipa::IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
        let response = ResponseBuilder::new()
            .description("What went wrong.")
            .content(MEDIA_TYPE, ContentBuilder::new().schema(Some(schema)).build());
        BTreeMap::from([("default".to_owned(), RefOr::T(response.build()))])
    }
}

/// The answer to a path that there is not.
pub async fn no_such_path(uri: Uri) -> Problem {
    let error = Error::new(hresult::S_FALSE, format!("there is no {}", uri.path()));
    let remedy = "see /openapi.json for what there is; the socket of a machine has its own resources alone";
    Problem::with_status(StatusCode::NOT_FOUND, &error.with_remedy(remedy))
}

/// The answer to a method that a path does not have.
pub async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let error = Error::new(hresult::E_NOTIMPL, format!("{} has no {method}", uri.path()));
    let remedy = "use one of the methods that the header Allow names";
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, &error.with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_result_has_a_status_and_a_kind() {
        for result in hresult::ALL {
            let problem = Problem::from(Error::new(*result, "x"));
            let status = StatusCode::from_u16(problem.status).unwrap();
            assert!(status.is_client_error() || status.is_server_error(), "{result}");
            assert!(!problem.kind.contains(['(', ')', ' ']), "{}", problem.kind);
            assert_eq!(problem.hresult, format!("0x{:08X}", result.code));
        }
    }
}

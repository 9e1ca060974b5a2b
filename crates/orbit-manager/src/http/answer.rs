//! How an answer is made: an object with its revision, a problem, a body that comes in pieces.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use orbit_api::Problem;
use orbit_core::model::Rejection;
use serde::Serialize;

/// A problem document as a response.
pub(super) struct Fault(pub Problem);

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Fault {
        Fault(rejection.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/problem+json");
        let body = serde_json::to_string(&self.0).expect("a problem is plain data");
        (status, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}

pub(super) type Answered<T> = Result<T, Fault>;

/// An object with its revision as the ETag.
pub(super) fn tagged<T: Serialize>(status: StatusCode, revision: u64, body: T) -> Response {
    let tag = [(header::ETAG, format!("\"{revision}\""))];
    (status, tag, Json(body)).into_response()
}

/// What is written as it comes is to be read as it comes, also behind a proxy: nginx and others honour this header.
pub(super) fn unbuffered(mut response: Response) -> Response {
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

//! What is taken out of a request: parsed, not trusted. Whatever cannot be read is a problem document.

use super::{Answered, Fault, HttpCode, Problem, browser};
use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use orbit_api::{Manifest, manifest};
use orbit_core::model::{Condition, Rejection, limits};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest body that is read: the largest spec, and what JSON adds to it. So a spec that is too large is refused with
/// the field that makes it so.
pub const BODY_BYTES_MAX: usize = 2 * limits::SPEC_BYTES_MAX;
/// How long a body may take to come.
pub(super) const BODY_MAX: Duration = Duration::from_secs(20);

pub(super) fn malformed(detail: impl Into<String>) -> Fault {
    Fault(Problem::new(HttpCode::Malformed, detail))
}

/// A body up to the limit.
pub(super) struct BodyBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for BodyBytes {
    type Rejection = Fault;
    async fn from_request(request: Request, _: &S) -> Result<Self, Fault> {
        read_body(request, BODY_MAX).await.map(BodyBytes)
    }
}

async fn read_body(request: Request, within: Duration) -> Result<Bytes, Fault> {
    let headers = request.headers().clone();
    let Ok(read) = tokio::time::timeout(within, Bytes::from_request(request, &())).await else {
        let detail = format!("the body did not come within {} s", within.as_secs());
        return Err(Fault(Problem::new(HttpCode::BodyTimeout, detail)));
    };
    match read {
        Ok(bytes) if bytes.is_empty() => Ok(bytes),
        Ok(bytes) => browser::json_named(&headers).map(|()| bytes),
        Err(BytesRejection::FailedToBufferBody(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            Err(Fault(Problem::new(HttpCode::BodyTooLarge, detail)))
        }
        Err(error) => Err(malformed(error.body_text())),
    }
}

/// The manifest in a body.
pub(super) struct ManifestBody(pub Manifest);

impl<S: Send + Sync> FromRequest<S> for ManifestBody {
    type Rejection = Fault;
    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let BodyBytes(bytes) = BodyBytes::from_request(request, state).await?;
        Ok(ManifestBody(manifest::read_json(&bytes)?))
    }
}

/// What stands in the path.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Fault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Path(path)),
            Err(error) => Err(malformed(error.body_text())),
        }
    }
}

/// A query; what it does not know is an error.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(error) => Err(malformed(error.body_text())),
        }
    }
}

/// The value of a header that stands there once at most.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Answered<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value.trim())),
            Err(_) => Err(Rejection::invalid(name, "holds characters that are not ASCII").into()),
        },
        (Some(_), Some(_)) => Err(Rejection::invalid(name, "stands there more than once").into()),
    }
}

/// A revision: decimal digits and nothing else.
pub(super) fn revision(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `If-Match: "REV"` or `If-None-Match: *`.
pub(super) fn condition(headers: &HeaderMap) -> Answered<Condition> {
    let (matching, none_match) = (header::IF_MATCH.as_str(), header::IF_NONE_MATCH.as_str());
    let wrong = |field: &str, what: &str| Err(Rejection::invalid(field, what).into());
    match (header(headers, "if-match")?, header(headers, "if-none-match")?) {
        (None, None) => Ok(Condition::None),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some(tag), None) => {
            let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
            match revision(bare) {
                Some(revision) => Ok(Condition::Revision(revision)),
                None => wrong(matching, "takes one revision, for example \"57\""),
            }
        }
        (None, Some(_)) => wrong(none_match, "takes * only: create, but do not change"),
        (Some(_), Some(_)) => wrong(matching, "and if-none-match exclude each other"),
    }
}

/// `true` or `false`, for people also `1` or `0`; whether a query asks for something.
pub(super) fn flag(field: &str, value: Option<&str>) -> Answered<bool> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true" | "") => Ok(true),
        Some(other) => Err(Rejection::invalid(field, format!("`{other}` is neither true nor false")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &[u8])]) -> Result<Condition, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, axum::http::HeaderValue::from_bytes(value).unwrap());
        }
        condition(&headers).map_err(|fault| fault.0.status)
    }

    #[test]
    fn a_condition_is_one_revision_or_that_there_is_none() {
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[("if-match", b"\"57\"")]), Ok(Condition::Revision(57)));
        assert_eq!(of(&[("if-match", b" 57 ")]), Ok(Condition::Revision(57)));
        assert_eq!(of(&[("if-none-match", b"*")]), Ok(Condition::Absent));
        for value in ["\"57\", \"58\"", "W/\"57\"", "*", "\"\"57\"\"", "+57", "", "\"", "99999999999999999999", "\"57"]
        {
            assert_eq!(of(&[("if-match", value.as_bytes())]), Err(400), "{value}");
        }
        assert_eq!(of(&[("if-match", b"\"57\""), ("if-match", b"\"57\"")]), Err(400));
        assert_eq!(of(&[("if-none-match", b"*"), ("if-none-match", b"*")]), Err(400));
        assert_eq!(of(&[("if-match", b"\"57\""), ("if-none-match", b"*")]), Err(400));
        assert_eq!(of(&[("if-match", "\"57\u{e9}\"".as_bytes())]), Err(400));
        assert_eq!(of(&[("if-none-match", b"\xff")]), Err(400));
    }

    #[tokio::test]
    async fn half_a_body_is_not_waited_for_for_ever() {
        let half = futures_util::stream::unfold(0, |n: u32| async move {
            match n {
                0 => Some((Ok::<_, std::io::Error>("{\"kind\":"), 1)),
                _ => std::future::pending().await,
            }
        });
        let request = Request::new(axum::body::Body::from_stream(half));
        let fault = read_body(request, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!((fault.0.status, fault.0.code.as_str()), (408, "body_timeout"));
    }
}

//! Just enough of an HTTP client.

use crate::block_on;
use futures_util::StreamExt;
use http_body_util::{BodyDataStream, BodyExt, Full};
use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use orbit_api::view::{Endpoint, Endpoints};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

/// An answer in full.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// One header, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Connections are kept and shared.
fn client() -> &'static Client<HttpConnector, Full<Bytes>> {
    static CLIENT: OnceLock<Client<HttpConnector, Full<Bytes>>> = OnceLock::new();
    CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).build_http())
}

/// The body of an answer as it comes: a watch, or a log.
///
/// # Errors
/// When there is no answer, or it is not a success.
pub async fn stream(url: &str) -> Result<BodyDataStream<Incoming>, String> {
    let uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let answer = client().get(uri).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.is_success() { Ok(answer.into_body().into_data_stream()) } else { Err(format!("{url}: {status}")) }
}

/// A watch: what server-sent events carry, one after the other.
pub struct Watch {
    body: BodyDataStream<Incoming>,
    read: String,
}

impl Watch {
    /// Begins one.
    ///
    /// # Errors
    /// As [`stream`].
    pub async fn of(url: &str) -> Result<Watch, String> {
        Ok(Watch { body: stream(url).await?, read: String::new() })
    }

    /// The next one; `None` where the watch ends.
    ///
    /// # Panics
    /// If it is not of the expected form.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            while let Some(end) = self.read.find('\n') {
                let line: String = self.read.drain(..=end).collect();
                if let Some(data) = line.strip_prefix("data:") {
                    return Some(serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")));
                }
            }
            self.read += &String::from_utf8_lossy(&self.body.next().await?.ok()?);
        }
    }
}

/// Where the first port of each endpoint is reached: `ADDRESS:PORT`. Those without one are left out.
pub fn addresses(endpoints: &Endpoints) -> Vec<String> {
    let at = |endpoint: &Endpoint| Some(format!("{}:{}", endpoint.address.as_deref()?, endpoint.ports.first()?.host?));
    endpoints.items.iter().filter_map(at).collect()
}

/// Asks, and reads the whole answer. A body is JSON unless a header says otherwise.
///
/// # Errors
/// When there is no answer.
pub fn ask_with(method: &str, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Response, String> {
    let client = client();
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() && headers.iter().all(|(name, _)| *name != "content-type") {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let asked = async {
        let answer = client.request(request).await.map_err(|error| error.to_string())?;
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec();
        Ok(Response { status, headers, body })
    };
    block_on(async { tokio::time::timeout(ANSWER_MAX, asked).await })
        .unwrap_or_else(|_| Err("no answer in time".to_string()))
}

/// The same without headers; an empty body is none.
///
/// # Errors
/// When there is no answer.
pub fn ask(method: &str, url: &str, body: Vec<u8>) -> Result<Response, String> {
    ask_with(method, url, &[], body)
}

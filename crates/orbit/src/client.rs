//! The way to the manager: HTTP with JSON.

use crate::error::{Error, Kind};
use futures_util::StreamExt;
use http_body_util::{BodyDataStream, BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use orbit_api::{Problem, view::List};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the answer's head, and again for the body of an answer that is no stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer that is read whole, and a message of a stream, is not larger than this.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// All pages of a list together: half a million tasks or more.
const LIST_BYTES_MAX: usize = 512 << 20;
/// An answer of a stranger is quoted so far.
const QUOTE_CHARS_MAX: usize = 120;

/// What may stand in a path's segment or a query's value as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A manager.
pub struct Client {
    addr: String,
    http: Http<HttpConnector, Full<Bytes>>,
}

/// `/v1/…` with the segments and the query encoded.
pub fn path(segments: &[&str], query: &[(&str, &str)]) -> String {
    let mut path = "/v1".to_string();
    for segment in segments {
        path = format!("{path}/{}", utf8_percent_encode(segment, ENCODED));
    }
    for (i, (key, value)) in query.iter().enumerate() {
        let mark = if i == 0 { '?' } else { '&' };
        path = format!("{path}{mark}{key}={}", utf8_percent_encode(value, ENCODED));
    }
    path
}

impl Client {
    /// Connects when it is first asked.
    pub fn new(addr: String) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Client { addr, http: Http::builder(TokioExecutor::new()).build(connector) }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.ask(Method::GET, path, &[], None::<&()>).await
    }
    /// `None` where there is no such object.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.send(Method::DELETE, path, &[], None::<&()>).await.map(|_| ())
    }

    /// All pages of a list as one. Its revision is that of the first page: what any page may have
    /// missed came after it.
    pub async fn list<T: DeserializeOwned>(&self, segment: &str, query: &[(&str, &str)]) -> Result<List<T>, Error> {
        let (mut all, mut bytes) = self.page::<T>(&path(&[segment], query)).await?;
        while let Some(next) = all.next.take() {
            let mut query = query.to_vec();
            query.push(("continue", &next));
            let (page, more) = self.page::<T>(&path(&[segment], &query)).await?;
            bytes += more;
            if bytes > LIST_BYTES_MAX {
                let size = LIST_BYTES_MAX >> 20;
                return Err(self.stranger(&format!("the list of {segment} does not end within {size} MiB")));
            }
            if page.next.as_ref() == Some(&next) {
                return Err(
                    self.stranger(&format!("the list of {segment} does not end: its page `{next}` comes again"))
                );
            }
            all.items.extend(page.items);
            all.next = page.next;
        }
        Ok(all)
    }

    /// Sends a request and reads the object that it is answered with.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let response = self.send(method, path, headers, body).await?;
        let bytes = self.whole(path, response.into_body()).await?;
        self.read(path, &bytes)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes)
            .map_err(|e| self.stranger(&format!("the answer to {path} is not of the expected form ({e})")))
    }

    /// A page of a list, and how large it was.
    async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<(List<T>, usize), Error> {
        let response = self.send(Method::GET, path, &[], None::<&()>).await?;
        let bytes = self.whole(path, response.into_body()).await?;
        Ok((self.read(path, &bytes)?, bytes.len()))
    }

    /// The body of an answer, as it comes.
    pub async fn stream(&self, path: &str) -> Result<Incoming, Error> {
        // Why it breaks off is said behind it.
        let trailers = [(hyper::header::TE, "trailers".to_string())];
        Ok(self.send(Method::GET, path, &trailers, None::<&()>).await?.into_body())
    }

    /// The body of an answer that is a file, as it comes.
    pub async fn download(&self, method: Method, path: &str) -> Result<Incoming, Error> {
        Ok(self.send(method, path, &[], None::<&()>).await?.into_body())
    }

    /// Server-sent events, as they come. `after` is the last ID that was seen.
    pub async fn events(&self, path: &str, after: Option<&str>) -> Result<Events, Error> {
        let headers: Vec<_> =
            after.map(|id| (HeaderName::from_static("last-event-id"), id.to_string())).into_iter().collect();
        let body = self.send(Method::GET, path, &headers, None::<&()>).await?.into_body();
        Ok(Events { body: BodyDataStream::new(body), read: Vec::new(), searched: 0, data: String::new(), seen: None })
    }

    /// Where the manager is: `HOST:PORT`.
    pub fn authority(&self) -> &str {
        self.addr.trim_start_matches("http://")
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, Error> {
        let bad = |e: &dyn std::fmt::Display| Error::usage(format!("{method} {path} cannot be sent: {e}"));
        let mut request = Request::builder().method(method.clone()).uri(format!("{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(name, HeaderValue::from_str(value).map_err(|e| bad(&e))?);
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(body).map_err(|e| bad(&e))?)
            }
        };
        let request = request.body(Full::new(bytes)).map_err(|e| bad(&e))?;
        let response = match tokio::time::timeout(ANSWER_TIMEOUT, self.http.request(request)).await {
            Err(_) => return Err(self.unanswered(&method, path, "in time")),
            Ok(Err(error)) if error.is_connect() => {
                return Err(Error::new(Kind::NoManager { addr: self.addr.clone() }));
            }
            Ok(Err(_)) => return Err(self.unanswered(&method, path, "before the connection closed")),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = self.whole(path, response.into_body()).await?;
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Error::new(Kind::Problem(Box::new(problem))).of(path),
            Err(_) => self.stranger(&not_a_problem(&method, path, status, &bytes)),
        })
    }

    async fn whole(&self, path: &str, body: Incoming) -> Result<Bytes, Error> {
        match tokio::time::timeout(ANSWER_TIMEOUT, Limited::new(body, ANSWER_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let size = ANSWER_BYTES_MAX >> 20;
                Err(self.stranger(&format!("the answer to {path} is larger than {size} MiB")))
            }
            _ => Err(Error::new(Kind::Unanswered(format!(
                "the manager at {} broke off its answer to {path}",
                self.addr
            )))),
        }
    }

    fn unanswered(&self, method: &Method, path: &str, when: &str) -> Error {
        let known = match *method {
            Method::GET => "try again",
            _ => "whether it was done is not known: look with `orbit get` before you try again",
        };
        let text = format!("the manager at {} did not answer {method} {path} {when}: {known}", self.addr);
        Error::new(Kind::Unanswered(text))
    }
    fn stranger(&self, what: &str) -> Error {
        Error::usage(format!("{what}: is that an Orbit manager of this version at {}?", self.addr))
    }
}

/// A stream of server-sent events.
pub struct Events {
    body: BodyDataStream<Incoming>,
    read: Vec<u8>,
    /// So much of it has no end of line.
    searched: usize,
    /// Of the event that is being read.
    data: String,
    /// The ID that was seen last: everything up to it was told.
    pub seen: Option<String>,
}

impl Events {
    /// The data of the next event; `None` where the stream ends, for whatever reason. Whoever stops
    /// waiting loses nothing.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            while let Some(end) = self.read[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=self.searched + end).collect();
                self.searched = 0;
                let line = String::from_utf8_lossy(&line);
                match line.trim_end_matches(['\r', '\n']).split_once(':') {
                    None if !self.data.is_empty() => return Some(std::mem::take(&mut self.data)),
                    Some(("data", value)) => self.data += value.strip_prefix(' ').unwrap_or(value),
                    Some(("id", value)) => self.seen = Some(value.trim().to_string()),
                    _ => {}
                }
            }
            self.searched = self.read.len();
            self.read.extend(self.body.next().await?.ok()?);
            // A message without an end is as good as a stream that has ended.
            if self.read.len() + self.data.len() > ANSWER_BYTES_MAX {
                return None;
            }
        }
    }
}

fn not_a_problem(method: &Method, path: &str, status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let quote: String = text.lines().next().unwrap_or_default().chars().take(QUOTE_CHARS_MAX).collect();
    let quote = if quote.is_empty() { String::new() } else { format!(" and says `{quote}`") };
    format!("the answer to {method} {path} is {status}{quote}, without a reason as Orbit gives them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_selectors_cannot_leave_their_place_in_the_path() {
        assert_eq!(path(&["services", "a/../b?c"], &[]), "/v1/services/a%2F..%2Fb%3Fc");
        assert_eq!(path(&["tasks"], &[("selector", "k=v"), ("node", "a b")]), "/v1/tasks?selector=k%3Dv&node=a%20b");
    }
}

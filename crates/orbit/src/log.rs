//! The body of a log as it comes: what was written, and why it breaks off where it does.

use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use std::pin::Pin;

/// Why a log breaks off, for people.
pub type Broken = String;

/// What was written, in pieces, and at last why it breaks off, if it does.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Broken>>>>;

/// The trailer in which the manager says why the log breaks off.
const TRAILER: &str = "orbit-error";

/// Reads a body to its end.
pub fn pieces(body: Incoming) -> Pieces {
    let frames = stream::unfold(body, |mut body| async { Some((body.frame().await?, body)) });
    let piece = async |frame: Result<hyper::body::Frame<Bytes>, hyper::Error>| match frame {
        Err(_) => Some(Err("the manager or the node went away".to_string())),
        Ok(frame) => match frame.into_data() {
            Ok(bytes) => Some(Ok(bytes)),
            Err(frame) => {
                let trailers = frame.into_trailers().ok()?;
                Some(Err(String::from_utf8_lossy(trailers.get(TRAILER)?.as_bytes()).into_owned()))
            }
        },
    };
    Box::pin(frames.filter_map(piece))
}

//! The body of a log: what was written, and why it ends where it does not end by itself.
//!
//! HTTP has no word for an error behind the head of an answer. A client that says `TE: trailers` finds it in the trailer
//! `orbit-error`; any other reads it in a last line, and sees the body break off.

use super::answer::unbuffered;
use crate::handle::LogPiece;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use std::io;
use tokio::sync::mpsc::Receiver;

/// Why the log ends.
pub(super) const TRAILER: &str = "orbit-error";
/// So much is said of it.
const WORDS_BYTES_MAX: usize = 1024;

enum State {
    Goes(Receiver<LogPiece>),
    /// The last line is said, and the body breaks off.
    Breaks,
    Over,
}

/// The answer with a log.
pub(super) fn log(request: &HeaderMap, pieces: Receiver<LogPiece>) -> Response {
    let takes = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.to_lowercase().contains("trailers"));
    let trailers = request.get_all(header::TE).iter().any(takes);
    let body = Body::new(StreamBody::new(frames(pieces, trailers)));
    let mut response = ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response();
    if trailers {
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static(TRAILER));
    }
    unbuffered(response)
}

fn frames(pieces: Receiver<LogPiece>, trailers: bool) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> {
    stream::unfold(State::Goes(pieces), move |state| async move {
        let mut pieces = match state {
            State::Goes(pieces) => pieces,
            State::Breaks => return Some((Err(io::Error::other("the log broke off")), State::Over)),
            State::Over => return None,
        };
        let words = match pieces.recv().await {
            Some(LogPiece::Written(bytes)) => return Some((Ok(Frame::data(bytes)), State::Goes(pieces))),
            Some(LogPiece::End) => return None,
            Some(LogPiece::BrokenOff(words)) => words,
            None => "its node, or the worker there, went away".to_string(),
        };
        let words = words[..words.floor_char_boundary(WORDS_BYTES_MAX)].replace(char::is_control, " ");
        match HeaderValue::from_bytes(words.as_bytes()).ok().filter(|_| trailers) {
            Some(value) => Some((
                Ok(Frame::trailers([(TRAILER.parse().expect("a name"), value)].into_iter().collect())),
                State::Over,
            )),
            None => Some((Ok(Frame::data(format!("\norbit: the log ends here: {words}\n").into())), State::Breaks)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use tokio::sync::mpsc;

    /// What a client gets of these pieces: the body, the trailer, and whether it breaks off.
    async fn got(pieces: Vec<LogPiece>, trailers: bool) -> (String, Option<String>, bool) {
        let (sender, receiver) = mpsc::channel(8);
        for piece in pieces {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        let (mut body, mut trailer, mut broken) = (Vec::new(), None, false);
        let mut frames = std::pin::pin!(frames(receiver, trailers));
        while let Some(frame) = frames.next().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => body.extend_from_slice(&bytes),
                Ok(Err(frame)) => {
                    let map = frame.into_trailers().expect("it is no data");
                    trailer = map.get(TRAILER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                }
                Err(_) => broken = true,
            }
        }
        (String::from_utf8(body).unwrap(), trailer, broken)
    }

    fn written() -> LogPiece {
        LogPiece::Written("a\n".into())
    }

    #[tokio::test]
    async fn a_log_that_ends_by_itself_is_whole() {
        for trailers in [true, false] {
            assert_eq!(got(vec![written(), LogPiece::End], trailers).await, ("a\n".into(), None, false));
        }
    }

    #[tokio::test]
    async fn the_engine_s_words_reach_whoever_reads() {
        let broken = || vec![written(), LogPiece::BrokenOff("no such\ncontainer: größe".into())];
        assert_eq!(got(broken(), true).await, ("a\n".into(), Some("no such container: größe".into()), false));
        let line = "a\n\norbit: the log ends here: no such container: größe\n";
        assert_eq!(got(broken(), false).await, (line.into(), None, true));
    }

    #[tokio::test]
    async fn a_worker_that_dies_leaves_no_log_that_looks_whole() {
        let (_, trailer, _) = got(vec![written()], true).await;
        assert_eq!(trailer.as_deref(), Some("its node, or the worker there, went away"));
        assert!(got(vec![written()], false).await.2, "the body breaks off");
    }
}

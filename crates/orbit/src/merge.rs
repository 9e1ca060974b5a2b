//! Logs of several tasks as one, by the times of their lines.
//!
//! Each log is read only as far as its turn comes: what waits is one piece of each.

use crate::{
    error::Error,
    lines::Lines,
    log::{Broken, Pieces},
};
use futures_util::{StreamExt, future};
use jiff::Timestamp;
use std::collections::VecDeque;

/// The engine keeps a line that is longer than this in parts, and puts a time in front of each.
const PART_BYTES: usize = 16 << 10;
/// No time is longer as text.
const TIME_BYTES_MAX: usize = 40;

/// A line, and when it was written; without a time where it has none.
struct Line {
    at: Option<Timestamp>,
    text: Vec<u8>,
}

/// One of the logs.
struct Source {
    pieces: Pieces,
    cut: Lines,
    lines: VecDeque<Line>,
    /// It has ended, and why where that was not by itself.
    ended: Option<Result<(), Broken>>,
    /// When its last line was written: one without a time stands behind it.
    last: Timestamp,
}

impl Source {
    /// Reads on until there is a line, or nothing more comes.
    async fn read_on(&mut self) {
        while self.lines.is_empty() && self.ended.is_none() {
            let whole = match self.pieces.next().await {
                Some(Ok(chunk)) => self.cut.push(&chunk),
                end => {
                    self.ended = Some(match end {
                        Some(Err(why)) => Err(why),
                        _ => Ok(()),
                    });
                    self.cut.rest().into_iter().collect()
                }
            };
            self.lines.extend(whole.into_iter().map(line));
        }
    }

    fn turn(&self) -> Option<Timestamp> {
        self.lines.front().map(|line| line.at.unwrap_or(self.last))
    }
}

/// Merges logs that were asked for with times. `write` gets each line, by the place of its log in the list, and its time as
/// the engine gave it, with the space behind it; empty where there was none.
///
/// Returns why logs broke off, by their places. The lines up to there are written.
///
/// # Errors
/// Those of `write`.
pub async fn merge(
    logs: Vec<Pieces>,
    mut write: impl FnMut(usize, &str, &[u8]) -> Result<(), Error>,
) -> Result<Vec<(usize, Broken)>, Error> {
    let source =
        |pieces| Source { pieces, cut: Lines::default(), lines: VecDeque::new(), ended: None, last: Timestamp::MIN };
    let mut sources: Vec<Source> = logs.into_iter().map(source).collect();
    loop {
        future::join_all(sources.iter_mut().map(Source::read_on)).await;
        let next = sources.iter().enumerate().filter_map(|(place, source)| Some((source.turn()?, place))).min();
        let Some((at, place)) = next else { break };
        let line = sources[place].lines.pop_front().expect("it has a turn");
        sources[place].last = at;
        let time = line.at.map(|at| format!("{at:.9} ")).unwrap_or_default();
        write(place, &time, &line.text)?;
    }
    let broken = sources.into_iter().enumerate().filter_map(|(place, source)| Some((place, source.ended?.err()?)));
    Ok(broken.collect())
}

/// Takes the time off a line, and off the parts in which the engine kept it.
fn line(text: Vec<u8>) -> Line {
    let Some((at, mut rest)) = timed(&text) else { return Line { at: None, text } };
    let mut whole = Vec::with_capacity(rest.len());
    while let Some((part, behind)) = rest.split_at_checked(PART_BYTES)
        && let Some((_, next)) = timed(behind)
    {
        whole.extend_from_slice(part);
        rest = next;
    }
    whole.extend_from_slice(rest);
    Line { at: Some(at), text: whole }
}

/// A time and a space in front, and what is behind them.
fn timed(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let end = text.iter().take(TIME_BYTES_MAX).position(|&byte| byte == b' ')?;
    let at = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((at, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use hyper::body::Bytes;

    fn log(pieces: Vec<Result<String, &str>>) -> Pieces {
        let piece = |piece: Result<String, &str>| piece.map(Bytes::from).map_err(str::to_string);
        Box::pin(stream::iter(Vec::from_iter(pieces.into_iter().map(piece))))
    }

    fn whole(text: &str) -> Pieces {
        log(vec![Ok(text.to_string())])
    }

    async fn merged(logs: Vec<Pieces>) -> (Vec<String>, Vec<(usize, Broken)>) {
        let mut lines = Vec::new();
        let write = |place: usize, time: &str, text: &[u8]| {
            lines.push(format!("{place} {time}{}", String::from_utf8_lossy(text)));
            Ok(())
        };
        let broken = merge(logs, write).await.unwrap();
        (lines, broken)
    }

    #[tokio::test]
    async fn lines_come_by_their_times_however_they_are_cut_into_pieces() {
        let a = log(vec![
            Ok("2026-03-01T12:00:00.5Z fir".into()),
            Ok("st\n2026-03-01T12:00:02Z third\n".into()),
            Ok("2026-03-01T12:00:04Z fifth".into()),
        ]);
        let b = whole("2026-03-01T13:00:01+01:00 second\n2026-03-01T12:00:03.000000001Z fourth\n");
        let (lines, broken) = merged(vec![a, b]).await;
        assert_eq!(
            lines,
            [
                "0 2026-03-01T12:00:00.500000000Z first\n",
                "1 2026-03-01T12:00:01.000000000Z second\n",
                "0 2026-03-01T12:00:02.000000000Z third\n",
                "1 2026-03-01T12:00:03.000000001Z fourth\n",
                "0 2026-03-01T12:00:04.000000000Z fifth\n",
            ]
        );
        assert_eq!(broken, []);
    }

    #[tokio::test]
    async fn lines_without_a_time_stay_behind_those_before_them_and_lose_nothing() {
        let (lines, _) =
            merged(vec![whole("old\n2026-03-01T12:00:02Z b\n\nc\n"), whole("2026-03-01T12:00:01Z a\n")]).await;
        let expected = [
            "0 old\n",
            "1 2026-03-01T12:00:01.000000000Z a\n",
            "0 2026-03-01T12:00:02.000000000Z b\n",
            "0 \n",
            "0 c\n",
        ];
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn a_log_that_breaks_off_does_not_keep_the_others() {
        let a = log(vec![Ok("2026-03-01T12:00:01Z half".into()), Err("gone")]);
        let (lines, broken) = merged(vec![a, whole("2026-03-01T12:00:02Z whole\n")]).await;
        assert_eq!(lines.len(), 2);
        assert_eq!(broken, [(0, "gone".to_string())]);
    }

    #[test]
    fn a_line_that_the_engine_kept_in_parts_is_one_line() {
        let time = "2026-03-01T12:00:01.000000000Z ";
        let parts = [("x".repeat(PART_BYTES)), "y".repeat(PART_BYTES), "z 1 2\n".to_string()];
        let kept: String = parts.iter().map(|part| format!("{time}{part}")).collect();
        assert_eq!(line(kept.into_bytes()).text, parts.concat().into_bytes());
        // What a program writes there itself stays.
        let own = format!("{time}{}{time}z\n", "x".repeat(PART_BYTES - 1));
        assert_eq!(line(own.clone().into_bytes()).text, &own.as_bytes()[time.len()..]);
    }
}

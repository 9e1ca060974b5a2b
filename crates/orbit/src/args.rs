//! What the arguments of several commands have in common: names, spans, moments, selectors, the output format.

use crate::target::ObjectKind;
use clap::ValueEnum;
use orbit_api::quantity::Span;
use std::time::{Duration, SystemTime};

/// The output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// More columns
    Wide,
    /// The API's own objects
    Json,
    /// The API's own objects
    Yaml,
    /// KIND/NAME
    Name,
}

/// A service's name, also as it is printed: `service/web`.
pub fn service(text: &str) -> Result<String, String> {
    name_of(ObjectKind::Service, text)
}

/// A node's name, also as it is printed: `node/worker-1`.
pub fn node(text: &str) -> Result<String, String> {
    name_of(ObjectKind::Node, text)
}

/// A volume's name, also as it is printed: `volume/data`.
pub fn volume_name(text: &str) -> Result<String, String> {
    match text.strip_prefix("volume/").unwrap_or(text) {
        "" => Err("write the name of a volume".to_string()),
        name => Ok(name.to_string()),
    }
}

fn name_of(kind: ObjectKind, text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some((written, name)) if ObjectKind::parse(written) == Some(kind) => name,
        Some(_) => return Err(format!("write the name of a {}", kind.as_str())),
        None => text,
    };
    match name.is_empty() {
        true => Err(format!("write the name of a {}", kind.as_str())),
        false => Ok(name.to_string()),
    }
}

/// A span of time, such as `5m`.
pub fn span(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| Duration::from_millis(span.millis))
}

/// A point in time, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    At(SystemTime),
}

impl Moment {
    /// RFC 3339.
    pub fn rfc3339(self, now: SystemTime) -> String {
        let at = match self {
            Moment::Ago(span) => now.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH),
            Moment::At(at) => at,
        };
        humantime::format_rfc3339_seconds(at.max(SystemTime::UNIX_EPOCH)).to_string()
    }
}

/// A [`Moment`], as people write it.
pub fn moment(text: &str) -> Result<Moment, String> {
    let span = span(text).map(Moment::Ago);
    let wrong =
        |_| "write a span such as 10m, or a time such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00".to_string();
    // What was before 1970 is as good as the beginning.
    let at =
        |at: jiff::Timestamp| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    span.or_else(|_| text.parse().map(|time| Moment::At(at(time))).map_err(wrong))
}

/// Labels that objects must have or not have; passed on as it is.
pub fn selector(text: &str) -> Result<String, String> {
    let wrong = "write KEY=VALUE, KEY!=VALUE, KEY or !KEY, several with commas between them";
    let ok = |part: &str| {
        let key = part.split(['=', '!']).find(|key| !key.is_empty());
        key.is_some() && !part.starts_with('=') && !part.contains("!!") && part.matches('=').count() <= 2
    };
    if text.split(',').all(ok) { Ok(text.to_string()) } else { Err(wrong.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_or_a_time_with_its_offset() {
        let utc = "2026-01-31T12:00:00Z";
        let same = ["2026-01-31T12:00:00+00:00", "2026-01-31T13:00:00+01:00", "2026-01-31 04:00:00-08:00", utc];
        for text in same {
            assert_eq!(moment(text).unwrap().rfc3339(SystemTime::now()), utc, "{text}");
        }
        assert!(matches!(moment("10m"), Ok(Moment::Ago(span)) if span.as_secs() == 600));
        assert!(moment("2026-01-31").is_err() && moment("now").is_err());
    }

    #[test]
    fn a_name_is_read_as_it_is_printed() {
        assert_eq!(service("web"), Ok("web".to_string()));
        assert_eq!(service("service/web"), Ok("web".to_string()));
        assert_eq!(node("nodes/worker-1"), Ok("worker-1".to_string()));
        for wrong in ["", "service/", "node/web", "web/1"] {
            assert_eq!(service(wrong), Err("write the name of a service".to_string()), "{wrong}");
        }
    }

    #[test]
    fn a_selector_is_read_with_its_mistakes_named() {
        for good in ["a=b,c=d", "a!=b", "a", "!a,b==c"] {
            assert!(selector(good).is_ok(), "{good}");
        }
        for bad in ["", "=b", "a=b,", "!"] {
            assert!(selector(bad).is_err(), "{bad}");
        }
    }
}

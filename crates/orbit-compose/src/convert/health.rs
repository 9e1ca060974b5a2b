//! The health check of a service.

use super::{Findings, fields::Fields, units::span};
use crate::yaml::{Value, texts};
use orbit_api::{manifest::ManifestProbe, quantity::Span};

/// Compose's own, where a file does not say; Orbit's are shorter.
const INTERVAL: Span = Span { millis: 30_000 };
const TIMEOUT: Span = Span { millis: 30_000 };
const START_PERIOD: Span = Span { millis: 0 };
const RETRIES: u32 = 3;

/// The probe, if there is one.
pub fn health(fields: &mut Fields, findings: &mut Findings) -> Option<ManifestProbe> {
    let mut fields = fields.below("healthcheck", findings)?;
    let is_disabled = fields.flag("disable", findings);
    let test = fields.said("test");
    let command = test.and_then(|node| match (texts(node), &node.value) {
        // A text is for the shell; a list says for whom it is.
        (Ok(mut words), Value::Text(_)) => Some(shell(words.remove(0))),
        (Ok(words), _) => match words.split_first() {
            Some((first, [])) if first == "NONE" => Some(Vec::new()),
            Some((first, rest)) if first == "CMD" && !rest.is_empty() => Some(rest.to_vec()),
            Some((first, [command])) if first == "CMD-SHELL" => Some(shell(command.clone())),
            _ => {
                findings.refuse(node.at, &fields.path("test"), "a list begins with NONE, CMD or CMD-SHELL");
                None
            }
        },
        (Err(at), _) => {
            findings.refuse(at, &fields.path("test"), "a text, or a list of texts, is expected");
            None
        }
    });
    let interval = fields.parsed("interval", findings, span).unwrap_or(INTERVAL);
    let timeout = fields.parsed("timeout", findings, span).unwrap_or(TIMEOUT);
    let start_period = fields.parsed("start_period", findings, span).unwrap_or(START_PERIOD);
    let retries = fields.number("retries", findings).unwrap_or(RETRIES);
    // A task that starts is asked more often than that anyway.
    let _ = fields.take("start_interval");
    fields.refuse_others(findings);
    if is_disabled {
        return None;
    }
    let Some(command) = command else {
        if test.is_none() {
            let message =
                "has no `test`: the image's own check is shown and nothing follows from it; repeat its command";
            findings.refuse(fields.at, &fields.path("test"), message);
        }
        return None;
    };
    (!command.is_empty()).then_some(ManifestProbe {
        command,
        interval: Some(interval),
        timeout: Some(timeout),
        retries: Some(retries),
        start_period: Some(start_period),
        ..ManifestProbe::default()
    })
}

fn shell(command: String) -> Vec<String> {
    vec!["/bin/sh".to_string(), "-c".to_string(), command]
}

//! Published ports: the short form, the long one, and ranges of both.

use super::{Findings, fields::Fields};
use crate::yaml::{Map, Node, Value};
use orbit_api::manifest::{ManifestPort, ManifestProtocol};
use orbit_core::model::limits::ITEMS_MAX;

/// So many ports at most come of one range.
const RANGE_MAX: u16 = 256;

/// One port, or a range of them.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    name: Option<String>,
    host_ip: Option<String>,
    host: Option<(u16, u16)>,
    container: (u16, u16),
    is_udp: bool,
}

pub fn ports(fields: &mut Fields, findings: &mut Findings) -> Vec<ManifestPort> {
    let path = fields.path("ports");
    let Some(node) = fields.said("ports") else { return Vec::new() };
    let Value::List(items) = &node.value else {
        findings.refuse(node.at, &path, "a list of ports is expected");
        return Vec::new();
    };
    let mut ports = Vec::new();
    for item in items {
        let range = match &item.value {
            Value::Text(text) => short(text).map_err(|message| findings.refuse(item.at, &path, message)).ok(),
            Value::Map(map) => long(map, item, &path, findings),
            _ => {
                findings.refuse(item.at, &path, "a port is a text or a map");
                None
            }
        };
        let Some(range) = range else { continue };
        match each(&range) {
            Ok(found) if ports.len() + found.len() > ITEMS_MAX => {
                findings.refuse(item.at, &path, format!("more than {ITEMS_MAX} ports"));
                break;
            }
            Ok(found) => found.into_iter().for_each(|port| add(&mut ports, port)),
            Err(message) => findings.refuse(item.at, &path, message),
        }
    }
    ports
}

/// `[[host_ip:][host]:]container[/protocol]`
fn short(text: &str) -> Result<Range, String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_udp = is_udp(protocol)?;
    let (before, container) = match rest.rsplit_once(':') {
        Some((before, container)) => (Some(before), container),
        None => (None, rest),
    };
    let (host_ip, host) = match before.map(|before| before.rsplit_once(':').ok_or(before)) {
        None => (None, None),
        Some(Err(host)) => (None, Some(host)),
        Some(Ok((address, host))) => (Some(address.trim_matches(['[', ']'])), Some(host)),
    };
    let host = host.filter(|host| !host.is_empty()).map(range).transpose()?;
    let host_ip = host_ip.map(str::to_string);
    Ok(Range { name: None, host_ip, host, container: range(container)?, is_udp })
}

fn long(map: &Map, item: &Node, path: &str, findings: &mut Findings) -> Option<Range> {
    let mut fields = Fields::of(map, path, item.at);
    let container = fields.parsed("target", findings, range);
    let host = fields.parsed("published", findings, |text| match text {
        "" => Ok(None),
        text => range(text).map(Some),
    });
    let is_udp = fields.parsed("protocol", findings, is_udp).unwrap_or_default();
    let (name, host_ip) = (fields.text("name", findings), fields.text("host_ip", findings));
    match fields.text("mode", findings).as_deref() {
        None | Some("host") => {}
        // Of a swarm, in which each node leads to all tasks.
        Some("ingress") => {
            let message = "a port leads to the task of its node: `mode: ingress` is not built yet, so it is as `host`";
            findings.note(item.at, path, message);
        }
        Some(other) => findings.refuse(item.at, path, format!("`{other:.64}` is no mode")),
    }
    // What an application speaks there is for people.
    let _ = fields.take("app_protocol");
    fields.refuse_others(findings);
    if container.is_none() {
        findings.refuse(item.at, path, "a port needs its `target`");
    }
    Some(Range { name, host_ip, host: host.flatten(), container: container?, is_udp })
}

fn is_udp(protocol: &str) -> Result<bool, String> {
    match protocol {
        "tcp" => Ok(false),
        "udp" => Ok(true),
        other => Err(format!("`{other:.64}` is neither tcp nor udp")),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("`{text:.64}` is neither a port nor a range of ports");
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last { Err(wrong()) } else { Ok((first, last)) }
}

/// The ports of a range, one for one.
fn each(range: &Range) -> Result<Vec<ManifestPort>, String> {
    let (first, last) = range.container;
    if last - first >= RANGE_MAX {
        return Err(format!("{first}-{last} is a range of more than {RANGE_MAX} ports"));
    }
    let offset = match range.host {
        None => None,
        Some((from, to)) if to - from == last - first => Some(from),
        // Compose takes any that is free of a range; here one is chosen of the node's own.
        Some((from, to)) => return Err(format!("{from}-{to} has another length than {first}-{last}")),
    };
    let protocol = range.is_udp.then_some(ManifestProtocol::Udp);
    let suffix = if range.is_udp { "-udp" } else { "" };
    let port = |at: u16| ManifestPort {
        name: match &range.name {
            Some(name) if first == last => name.clone(),
            _ => format!("p{}{suffix}", first + at),
        },
        container: first + at,
        host: offset.map(|from| from + at),
        protocol,
        host_ip: range.host_ip.clone(),
    };
    Ok((0..=last - first).map(port).collect())
}

/// The same port for TCP and for UDP is one for both.
fn add(ports: &mut Vec<ManifestPort>, port: ManifestPort) {
    let is_other = |it: &&mut ManifestPort| {
        let same = |it: &ManifestPort| (it.container, it.host, it.host_ip.clone());
        same(it) == same(&port) && it.protocol != port.protocol && it.protocol != Some(ManifestProtocol::Both)
    };
    match ports.iter_mut().find(is_other) {
        Some(other) => {
            other.protocol = Some(ManifestProtocol::Both);
            other.name = other.name.trim_end_matches("-udp").to_string();
        }
        None => ports.push(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let found = short(text).and_then(|range| each(&range));
        let port = |port: &ManifestPort| {
            let host = port.host.map_or("-".to_string(), |host| host.to_string());
            let address = port.host_ip.as_ref().map_or(String::new(), |address| format!("{address} "));
            format!("{} {address}{host}->{}", port.name, port.container)
        };
        found.map_or_else(|error| error, |ports| Vec::from_iter(ports.iter().map(port)).join(", "))
    }

    #[test]
    fn each_short_form_is_read() {
        for (text, expected) in [
            ("80", "p80 -->80"),
            ("8080:80", "p80 8080->80"),
            ("127.0.0.1:8001:8000", "p8000 127.0.0.1 8001->8000"),
            ("127.0.0.1::80", "p80 127.0.0.1 -->80"),
            ("[::1]:8080:80/udp", "p80-udp ::1 8080->80"),
            ("3000-3001:4000-4001", "p4000 3000->4000, p4001 3001->4001"),
            ("22:22/tcp", "p22 22->22"),
            ("0:80", "`0` is neither a port nor a range of ports"),
            ("80/sctp", "`sctp` is neither tcp nor udp"),
            ("3000-3005:80", "3000-3005 has another length than 80-80"),
            ("1-300", "1-300 is a range of more than 256 ports"),
            ("web", "`web` is neither a port nor a range of ports"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn one_for_tcp_and_one_for_udp_are_one_for_both() {
        let mut ports = Vec::new();
        for text in ["53:53/udp", "53:53/tcp", "80:80"] {
            each(&short(text).unwrap()).unwrap().into_iter().for_each(|port| add(&mut ports, port));
        }
        let found = Vec::from_iter(ports.iter().map(|port| (&*port.name, port.protocol)));
        assert_eq!(found, [("p53", Some(ManifestProtocol::Both)), ("p80", None)]);
    }
}

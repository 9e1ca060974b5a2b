//! Columns without borders, and a table of each kind of object.

use crate::format::{
    NOTHING, age, bracketed, desired, node_cpu, node_memory, node_state, or_nothing, ports, protocol, reason, version,
};
use orbit_api::view::{Endpoint, Event, Node, Service, Task, Version, Volume};
use orbit_shell::plain;
use std::{collections::BTreeMap, iter, time::SystemTime};
use unicode_width::UnicodeWidthStr;

/// Aligned columns under upper-case heads, two blanks between them, none at a line's end.
pub fn render(head: &[&str], rows: Vec<Vec<String>>) -> String {
    // A line break or an escape in a message must not break the table or the terminal.
    let clean = |cell: String| plain::line(&cell).into_owned();
    let head = head.iter().map(|name| name.to_string()).collect();
    let lines: Vec<Vec<String>> =
        iter::once(head).chain(rows.into_iter().map(|row| row.into_iter().map(clean).collect())).collect();
    let mut widths = vec![0; lines[0].len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        for (width, cell) in widths.iter().zip(line) {
            text.push_str(cell);
            text.extend(iter::repeat_n(' ', width - cell.width() + 2));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

pub fn services(items: &[Service], wide: bool, now: SystemTime) -> String {
    let mut head = vec!["NAME", "DESIRED", "READY", "UPDATED", "AVAILABLE", "VERSION", "AGE"];
    if wide {
        head.extend(["IMAGE", "REVISION"]);
    }
    head.push("MESSAGE");
    let row = |service: &Service| {
        let mut row = vec![
            service.name.clone(),
            desired(service),
            service.actual.ready.to_string(),
            service.actual.updated.to_string(),
            service.actual.available.to_string(),
            version(service),
            age(&service.created_at, now),
        ];
        if wide {
            row.extend([service.desired.image.clone(), service.revision.to_string()]);
        }
        row.push(service.actual.message.clone());
        row
    };
    render(&head, items.iter().map(row).collect())
}

pub fn tasks(items: &[Task], wide: bool, now: SystemTime) -> String {
    let mut head = vec!["ID", "NAME", "SLOT", "NODE", "DESIRED", "ACTUAL", "PORTS", "AGE"];
    if wide {
        head.extend(["CPU", "MEMORY", "IMAGE", "VERSION"]);
    }
    head.push("REASON");
    let row = |task: &Task| {
        let mut row = vec![
            task.id.clone(),
            task.name.clone(),
            task.slot.to_string(),
            task.node.clone().unwrap_or_else(|| NOTHING.to_string()),
            task.desired.clone(),
            task.actual.clone(),
            ports(task),
            age(&task.created_at, now),
        ];
        if wide {
            row.extend(resources(task));
            row.extend([task.image.clone(), task.version.to_string()]);
        }
        row.push(reason(task, wide));
        row
    };
    render(&head, items.iter().map(row).collect())
}

/// What is set aside for a task, and what it may take at most.
fn resources(task: &Task) -> [String; 2] {
    let resources = task.resources.clone().unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let both = |request: Option<String>, limit: Option<String>| match request {
        Some(request) => format!("{request}/{}", limit.as_deref().unwrap_or("-")),
        None => NOTHING.to_string(),
    };
    let cpu = [resources.cpu, limits.cpu].map(|cpu| cpu.map(|cpu| cpu.to_string()));
    let memory = [resources.memory, limits.memory].map(|memory| memory.map(|memory| memory.to_string()));
    [cpu, memory].map(|[request, limit]| both(request, limit))
}

pub fn nodes(items: &[Node], wide: bool, now: SystemTime) -> String {
    let mut head = vec!["NAME", "STATE", "TASKS", "CPU", "MEMORY", "AGE"];
    if wide {
        head.extend(["OS", "ARCH", "WORKER", "ENGINE", "LABELS"]);
    }
    head.push("MESSAGE");
    let row = |node: &Node| {
        let mut row = vec![
            node.name.clone(),
            node_state(node),
            node.tasks.to_string(),
            node_cpu(node),
            node_memory(node),
            age(&node.registered_at, now),
        ];
        if wide {
            let versions = [&node.worker_version, &node.engine_version].map(|version| or_nothing(version));
            row.extend([node.os.clone(), node.arch.clone()].into_iter().chain(versions));
            row.push(or_nothing(&pairs(&node.labels)));
        }
        row.push(node.message.clone());
        row
    };
    render(&head, items.iter().map(row).collect())
}

pub fn volumes(items: &[Volume], wide: bool, now: SystemTime) -> String {
    let row = |volume: &Volume| {
        let Volume { name, node, engine_name, tasks, message, bound_at, .. } = volume;
        let engine_name = wide.then(|| engine_name.clone());
        let cells = [name.clone(), node.clone(), tasks.len().to_string(), age(bound_at, now)];
        cells.into_iter().chain(engine_name).chain([message.clone()]).collect()
    };
    let titles = ["NAME", "NODE", "TASKS", "AGE"].into_iter().chain(wide.then_some("ENGINE NAME")).chain(["MESSAGE"]);
    render(&Vec::from_iter(titles), items.iter().map(row).collect())
}

pub fn events(items: &[Event], wide: bool, now: SystemTime) -> String {
    let row = |event: &Event| {
        let object = format!("{}/{}", event.kind, event.name);
        let node = event.node.clone().filter(|_| event.kind != "node").unwrap_or_default();
        let task = event.task.clone().unwrap_or_default();
        let mark = if event.warning { "!" } else { "" };
        let what = format!("{}{mark}", event.reason);
        let by = wide.then(|| or_nothing(&event.actor));
        let cells = [Some(age(&event.at, now)), by, Some(object), Some(what), Some(task), Some(node)];
        cells.into_iter().flatten().chain([event.message.clone()]).collect()
    };
    let titles = ["AGE", "BY", "OBJECT", "EVENT", "TASK", "NODE", "MESSAGE"];
    let titles = Vec::from_iter(titles.into_iter().filter(|title| wide || *title != "BY"));
    render(&titles, items.iter().map(row).collect())
}

pub fn versions(items: &[Version], now: SystemTime) -> String {
    let row = |version: &Version| {
        let marks = [(version.current, "current"), (version.stable, "stable"), (version.restart, "restart")];
        let marks: Vec<&str> = marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect();
        let image = version.desired.image.clone();
        let digest = version.digest.as_deref().map_or(NOTHING, short);
        let marks = or_nothing(&marks.join(","));
        vec![version.version.to_string(), age(&version.created_at, now), image, digest.to_string(), marks]
    };
    render(&["VERSION", "AGE", "IMAGE", "DIGEST", "STATE"], items.iter().map(row).collect())
}

/// As many digits of a digest as Docker shows.
fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

pub fn endpoints(items: &[Endpoint]) -> String {
    let row = |endpoint: &Endpoint| {
        let ports: Vec<String> =
            endpoint_ports(endpoint).into_iter().map(|(name, at)| format!("{name}={at}")).collect();
        vec![endpoint.task.clone(), endpoint.version.to_string(), endpoint.node.clone(), or_nothing(&ports.join(" "))]
    };
    render(&["TASK", "VERSION", "NODE", "PORTS"], items.iter().map(row).collect())
}

/// The name of each port and where it is reached: `ADDRESS:PORT`, under the node's name where its address is not
/// known.
pub fn endpoint_ports(endpoint: &Endpoint) -> Vec<(String, String)> {
    let port = |port: &orbit_api::view::TaskPort| {
        let address = port.host_ip.as_ref().or(endpoint.address.as_ref());
        let address = address.map_or_else(|| endpoint.node.clone(), |address| bracketed(address));
        Some((port.name.clone(), format!("{address}:{}{}", port.host?, protocol(port.protocol))))
    };
    endpoint.ports.iter().filter_map(port).collect()
}

/// The last line of a table, to stand below what was shown before.
pub fn last_line(table: &str) -> String {
    table.lines().next_back().map(|line| format!("{line}\n")).unwrap_or_default()
}

/// `a=b,c=d`.
pub fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_what_is_in_them_cannot_break_them() {
        let rows = vec![vec!["a".into(), "one\ntwo".into()], vec!["longer".into(), "\u{1b}[31mred".into()]];
        assert_eq!(render(&["NAME", "MESSAGE"], rows), "NAME    MESSAGE\na       one two\nlonger   [31mred\n");
        let rows = vec![vec!["東京".into(), "wide".into()], vec!["".into(), "".into()]];
        assert_eq!(render(&["ONE", "TWO"], rows), "ONE   TWO\n東京  wide\n\n");
    }
}

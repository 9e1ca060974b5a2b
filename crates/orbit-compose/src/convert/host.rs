//! What of its machine a service is given: folders, devices, the network; and its volumes.

use super::{Findings, fields::Fields, units::size, volumes::Volumes};
use crate::yaml::{Map, Node, Value};
use orbit_api::{
    Manifest,
    manifest::{ManifestDevice, ManifestNetwork, ManifestTmpfs, ManifestVolume},
};

const OF_PROJECT: &str = "a path of the project, which no node has: put the project on each node that may run this, and say where it \
                          is there with --project-directory";
const OF_HOME: &str = "a path of somebody's home: name it as it is on the nodes";
const ANONYMOUS: &str = "a volume without a name ends with its container here, as what is written beside it does";

/// What the field `volumes` says, into the manifest. Paths of the project are below `project` on the nodes.
pub fn volumes(
    manifest: &mut Manifest,
    project: Option<&str>,
    named: &Volumes,
    fields: &mut Fields,
    findings: &mut Findings,
) {
    let Some(node) = fields.said("volumes") else { return };
    let path = fields.path("volumes");
    let Value::List(items) = &node.value else {
        findings.refuse(node.at, &path, "a list is expected");
        return;
    };
    for item in items {
        match &item.value {
            Value::Text(text) => match short(text, project, named) {
                Ok(Source::Mount(volume)) => manifest.volumes.push(volume),
                Ok(Source::Anonymous) => findings.note(item.at, &path, ANONYMOUS),
                Err(message) => findings.refuse(item.at, &path, message),
            },
            Value::Map(map) => long((map, item, &path), (project, named), manifest, findings),
            _ => findings.refuse(item.at, &path, "a text or a map is expected"),
        }
    }
}

/// Where what is mounted comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Mount(ManifestVolume),
    Anonymous,
}

/// `[source:]target[:mode]`
fn short(text: &str, project: Option<&str>, named: &Volumes) -> Result<Source, String> {
    let mut parts = text.splitn(3, ':');
    let (first, target, mode) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let Some(target) = target else {
        return if first.starts_with('/') { Ok(Source::Anonymous) } else { Err(format!("`{text:.64}` is no path")) };
    };
    let mut read_only = false;
    for word in mode.into_iter().flat_map(|mode| mode.split(',')) {
        match word {
            "ro" => read_only = true,
            // How it is cached elsewhere, and labels of SELinux: here it is as the node has it.
            "rw" | "cached" | "delegated" | "consistent" | "nocopy" | "z" | "Z" => {}
            other => return Err(format!("`{other:.64}` is not carried over")),
        }
    }
    let is_path = first.starts_with(['/', '.', '~']);
    let found = match is_path {
        true => of_host(first, target, read_only, project),
        false => of_name(first, target, read_only, named),
    };
    found.map(Source::Mount)
}

fn of_name(source: &str, target: &str, read_only: bool, named: &Volumes) -> Result<ManifestVolume, String> {
    let (volume, access) = named.get(source)?;
    Ok(ManifestVolume { volume: Some(volume), host: None, path: target.to_string(), read_only, access })
}

fn of_host(source: &str, target: &str, read_only: bool, project: Option<&str>) -> Result<ManifestVolume, String> {
    let volume = |host: String| ManifestVolume::of_host(host, target, read_only);
    match (source.chars().next(), project) {
        (Some('/'), _) => Ok(volume(source.to_string())),
        (Some('.'), Some(project)) => Ok(volume(below(project, source))),
        (Some('.'), None) => Err(format!("`{source:.64}` is {OF_PROJECT}")),
        (Some('~'), _) => Err(format!("`{source:.64}` is {OF_HOME}")),
        _ => Err(format!("`{source:.64}` is no path")),
    }
}

/// A path from a folder on, without `.` and `..`.
fn below(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn long(
    (map, item, path): (&Map, &Node, &str),
    (project, named): (Option<&str>, &Volumes),
    manifest: &mut Manifest,
    findings: &mut Findings,
) {
    let mut fields = Fields::of(map, path, item.at);
    let kind = fields.text("type", findings).unwrap_or_else(|| "volume".to_string());
    let (source, target) = (fields.text("source", findings), fields.text("target", findings));
    let read_only = fields.flag("read_only", findings);
    let _ = fields.take("consistency");
    let (bind, tmpfs) = (fields.below("bind", findings), fields.below("tmpfs", findings));
    let volume = fields.below("volume", findings);
    fields.refuse_others(findings);
    let Some(target) = target else {
        findings.refuse(item.at, path, "what is mounted needs its `target`");
        return;
    };
    match (kind.as_str(), source) {
        ("bind", Some(source)) => {
            match of_host(&source, &target, read_only, project) {
                Ok(volume) => manifest.volumes.push(volume),
                Err(message) => findings.refuse(item.at, path, message),
            }
            if let Some(mut bind) = bind {
                // Labels of SELinux; and nothing is made on a node, whatever that says.
                for key in ["selinux", "create_host_path"] {
                    let _ = bind.take(key);
                }
                bind.refuse_others(findings);
            }
        }
        ("tmpfs", _) if read_only => findings.refuse(item.at, path, "a folder in memory that nobody can write to"),
        ("tmpfs", _) => {
            let size = tmpfs.and_then(|mut tmpfs| {
                let size = tmpfs.parsed("size", findings, size);
                tmpfs.refuse_others(findings);
                size
            });
            manifest.tmpfs.push(ManifestTmpfs { path: target, size });
        }
        ("volume", None) => findings.note(item.at, path, ANONYMOUS),
        ("volume", Some(source)) => {
            match of_name(&source, &target, read_only, named) {
                Ok(volume) => manifest.volumes.push(volume),
                Err(message) => findings.refuse(item.at, path, message),
            }
            if let Some(mut volume) = volume {
                // Whether it is filled from the image is the engine's business.
                let _ = volume.take("nocopy");
                volume.refuse_others(findings);
            }
        }
        ("bind", None) => findings.refuse(item.at, path, "what is bound needs its `source`"),
        (kind, _) => findings.refuse(item.at, path, format!("`{kind:.64}` is not carried over")),
    }
}

/// `HOST[:CONTAINER[:rwm]]`, or a map of the three.
pub fn devices(fields: &mut Fields, findings: &mut Findings) -> Vec<ManifestDevice> {
    let Some(node) = fields.said("devices") else { return Vec::new() };
    let path = fields.path("devices");
    let Value::List(items) = &node.value else {
        findings.refuse(node.at, &path, "a list is expected");
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        match &item.value {
            // `vendor.com/class=name`, as CDI names them.
            Value::Text(text) if !text.starts_with('/') => {
                findings.refuse(item.at, &path, format!("`{text:.64}` is no path"));
            }
            Value::Text(text) => {
                let mut parts = text.splitn(3, ':').map(str::to_string);
                let host = parts.next().unwrap_or_default();
                let (path, access) = (parts.next().filter(|path| *path != host), parts.next());
                found.push(ManifestDevice { host, path, access });
            }
            Value::Map(map) => {
                let mut fields = Fields::of(map, &path, item.at);
                let host = fields.text("source", findings);
                let (target, access) = (fields.text("target", findings), fields.text("permissions", findings));
                fields.refuse_others(findings);
                match host {
                    Some(host) => found.push(ManifestDevice { host, path: target, access }),
                    None => findings.refuse(item.at, &path, "a device needs its `source`"),
                }
            }
            _ => findings.refuse(item.at, &path, "a text or a map is expected"),
        }
    }
    found
}

/// What the field `network_mode` says. What is not in a network of the engine publishes nothing.
pub fn network(manifest: &mut Manifest, fields: &mut Fields, findings: &mut Findings) {
    let Some(node) = fields.said("network_mode") else { return };
    let path = fields.path("network_mode");
    let Some(text) = fields.text("network_mode", findings) else { return };
    manifest.network = match text.as_str() {
        "bridge" | "default" => return,
        "host" => Some(ManifestNetwork::Host),
        "none" => Some(ManifestNetwork::None),
        other => {
            findings.refuse(node.at, &path, format!("`{other:.64}`: networks of others are not built yet"));
            return;
        }
    };
    if !manifest.ports.is_empty() {
        manifest.ports.clear();
        let message =
            "as in Compose, nothing is published then; `ports` with `host` as `container` reserves one of the node's";
        findings.note(node.at, &path, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_short_form_is_read() {
        let named = Volumes::default();
        let read = |text: &str, project| match short(text, project, &named) {
            Ok(Source::Mount(ManifestVolume { host, path, read_only, .. })) => {
                format!("{} {path} {read_only}", host.unwrap_or_default())
            }
            Ok(Source::Anonymous) => "anonymous".to_string(),
            Err(message) => message.chars().take(24).collect(),
        };
        for (text, expected) in [
            ("/srv/a:/data", "/srv/a /data false"),
            ("/srv/a:/data:ro", "/srv/a /data true"),
            ("/srv/a:/data:rw,z", "/srv/a /data false"),
            ("/srv/a:/data:ro,cached", "/srv/a /data true"),
            ("/data", "anonymous"),
            ("/srv/a:/data:rshared", "`rshared` is not carried"),
            ("data:/data", "`data` is not declared u"),
            ("./data:/data", "`./data` is a path of th"),
            ("../data:/data", "`../data` is a path of t"),
            ("~/data:/data", "`~/data` is a path of so"),
            ("data", "`data` is no path"),
        ] {
            assert_eq!(read(text, None), expected, "{text}");
        }
        for (text, expected) in [
            ("./data:/data:ro", "/srv/app/data /data true"),
            ("../other:/data", "/srv/other /data false"),
            (".:/data", "/srv/app /data false"),
            ("./a/./b/../c:/data", "/srv/app/a/c /data false"),
            ("/etc/x:/data", "/etc/x /data false"),
        ] {
            assert_eq!(read(text, Some("/srv/app/")), expected, "{text}");
        }
    }
}

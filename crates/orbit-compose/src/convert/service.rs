//! One service as a manifest.

use super::{
    Findings, Source,
    fields::Fields,
    health::health,
    host::{devices, network, volumes},
    is_empty,
    order::Order,
    ports::ports,
    restart::Restart,
    units::{cpus, size, span},
    volumes::Volumes,
};
use crate::{
    dotenv::read_env,
    yaml::{Map, Value, texts},
};
use orbit_api::{
    Manifest,
    manifest::{
        ManifestAccess, ManifestBounds, ManifestCapabilities, ManifestDns, ManifestKind, ManifestLimits,
        ManifestLogging, ManifestOnFailure, ManifestPlacement, ManifestPull, ManifestResources, ManifestSecurity,
        ManifestStop, ManifestTmpfs, ManifestUlimit, ManifestUnconfined, ManifestUpdate,
    },
    quantity::{Cpu, Memory},
};
use std::collections::BTreeMap;

/// What is known and cannot be said yet, with the way out.
const NOT_YET: [(&str, &str); 8] = [
    ("secrets", "secrets are not built yet"),
    ("configs", "configs are not built yet"),
    ("build", "build and push the image, and name it with `image`: docker build -t NAME . && docker push NAME"),
    ("gpus", "GPUs are not built yet; a folder of devices may do (`devices`)"),
    ("pid", "namespaces of others are not built"),
    ("ipc", "namespaces of others are not built"),
    ("domainname", "write the whole name in `hostname`"),
    ("mac_address", "it is not carried over: each task would have the same"),
];

/// The manifest, unless it has no image.
pub fn service(
    name: &str,
    fields: &mut Fields,
    (source, order, named): (&Source, &Order, &Volumes),
    findings: &mut Findings,
) -> Option<Manifest> {
    refuse_what_is_not_built(fields, findings);
    let image = fields.text("image", findings);
    if image.is_none() {
        findings.refuse(fields.at, &fields.path("image"), "an image is needed");
    }
    let mut deploy = fields.below("deploy", findings);
    let restart = Restart::of(fields, deploy.as_mut(), findings);
    let (kind, restart) = match order.is_run(name) {
        true => (ManifestKind::Task, restart.of_run(findings)),
        false => (ManifestKind::Service, restart.of_service(findings)),
    };
    let bare = Manifest::new(kind, name, image.clone().unwrap_or_default());
    let mut manifest = Manifest { restart, ..bare };
    manifest.pull = fields.parsed("pull_policy", findings, pull);
    manifest.command = words("entrypoint", fields, findings);
    manifest.args = words("command", fields, findings);
    manifest.env = environment(fields, source, findings);
    set_up(&mut manifest, fields, findings);
    volumes(&mut manifest, source.project_directory, named, fields, findings);
    manifest.after = order.of(name, fields, findings);
    manifest.ports = ports(fields, findings);
    network(&mut manifest, fields, findings);
    manifest.health = health(fields, findings);
    manifest.stop = stop(fields, findings);
    manifest.resources = resources(fields, deploy.as_mut(), findings);
    manifest.placement = placement(fields, deploy.as_mut(), findings);
    manifest.replicas = replicas(kind, fields, deploy.as_mut(), findings);
    if let Some(mut deploy) = deploy {
        manifest.labels = deploy.map("labels", findings);
        manifest.update = update(&mut deploy, findings);
        deploy.refuse_others(findings);
    }
    share_volumes(&mut manifest);
    fields.refuse_others(findings);
    image.is_some().then_some(manifest)
}

/// Where several tasks may use a volume, an update could have two versions write to it at once: Compose stops the old one
/// first.
fn share_volumes(manifest: &mut Manifest) {
    if manifest.replicas.is_some_and(|replicas| replicas > 1) {
        let volumes = manifest.volumes.iter_mut().filter(|it| it.volume.is_some());
        volumes.for_each(|volume| volume.access = Some(ManifestAccess::Shared));
    }
    let shares = manifest.volumes.iter().any(|it| it.access.is_some() && !it.read_only);
    if shares && manifest.kind == ManifestKind::Service && manifest.update.is_none() {
        let update = ManifestUpdate { max_surge: Some(0), max_unavailable: Some(1), ..ManifestUpdate::default() };
        manifest.update = Some(update);
    }
}

fn refuse_what_is_not_built(fields: &mut Fields, findings: &mut Findings) {
    for (key, message) in NOT_YET {
        let Some(node) = fields.take(key) else { continue };
        if !is_empty(&node.value) {
            findings.refuse(node.at, &fields.path(key), message);
        }
    }
    if let Some(node) = fields.said("networks") {
        findings.note(node.at, &fields.path("networks"), "each task has the network of its node's engine");
    }
    for key in ["links", "external_links"] {
        if let Some(node) = fields.said(key) {
            findings.note(node.at, &fields.path(key), "other names of services are not built yet");
        }
    }
    if let Some(node) = fields.said("container_name") {
        let message = "is not carried over: each task has a name of its own";
        findings.note(node.at, &fields.path("container_name"), message);
    }
    // What is only for people, or for other containers of the same network.
    for key in ["expose", "attach", "annotations"] {
        let _ = fields.take(key);
    }
}

fn pull(text: &str) -> Result<ManifestPull, String> {
    match text {
        "always" => Ok(ManifestPull::Always),
        "missing" | "if_not_present" => Ok(ManifestPull::Missing),
        "never" => Ok(ManifestPull::Never),
        other => Err(format!("`{other:.64}` is none of always, missing and never")),
    }
}

/// A command: a text as a shell would split it, or a list.
fn words(key: &str, fields: &mut Fields, findings: &mut Findings) -> Vec<String> {
    let Some(node) = fields.said(key) else { return Vec::new() };
    let words = match (&node.value, texts(node)) {
        // A shell would take it for a comment, and Compose does not.
        (Value::Text(text), _) if text.split_whitespace().any(|word| word.starts_with('#')) => {
            Err("a word that begins with `#`: write the command as a list".to_string())
        }
        (Value::Text(text), _) => shell_words::split(text).map_err(|error| error.to_string()),
        (_, Ok(words)) => Ok(words),
        (_, Err(_)) => Err("a text, or a list of texts, is expected".to_string()),
    };
    match words {
        Ok(words) if words.is_empty() => {
            findings.refuse(node.at, &fields.path(key), "empty: the image's own cannot be taken away");
            words
        }
        Ok(words) => words,
        Err(message) => {
            findings.refuse(node.at, &fields.path(key), message);
            Vec::new()
        }
    }
}

/// The variables of its files, and over them those of its own.
fn environment(fields: &mut Fields, source: &Source, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let path = fields.path("env_file");
    if let Some(node) = fields.said("env_file") {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for item in items {
            let (file, is_required) = match &item.value {
                Value::Text(file) => (Some(file.clone()), true),
                Value::Map(map) => {
                    let mut fields = Fields::of(map, &path, item.at);
                    let file = fields.text("path", findings);
                    let is_required = fields.take("required").is_none() || fields.flag("required", findings);
                    if let Some(format) = fields.text("format", findings) {
                        findings.refuse(item.at, &path, format!("the format `{format:.64}` is not carried over"));
                    }
                    fields.refuse_others(findings);
                    (file, is_required)
                }
                _ => (None, true),
            };
            let Some(file) = file else {
                findings.refuse(item.at, &path, "a file is a text, or a map with its `path`");
                continue;
            };
            match (source.read)(&file) {
                Ok(text) => match read_env(&text, source.variables) {
                    Ok(found) => env.extend(found),
                    Err(error) => findings.refuse(item.at, &path, format!("{file}:{error}")),
                },
                Err(message) if is_required => findings.refuse(item.at, &path, format!("{file}: {message}")),
                Err(_) => {}
            }
        }
    }
    for (name, value) in fields.pairs("environment", &['='], findings) {
        // Without a value, it has that of whoever converts, or none at all.
        match value.or_else(|| (source.variables)(&name)) {
            Some(value) => drop(env.insert(name, value)),
            None => drop(env.remove(&name)),
        }
    }
    env
}

/// What most services leave as the image and the engine have it.
fn set_up(manifest: &mut Manifest, fields: &mut Fields, findings: &mut Findings) {
    manifest.user = fields.text("user", findings);
    manifest.working_dir = fields.text("working_dir", findings);
    manifest.hostname = fields.text("hostname", findings);
    manifest.init = fields.flag("init", findings);
    manifest.tty = fields.flag("tty", findings);
    manifest.stdin = fields.flag("stdin_open", findings);
    manifest.tmpfs = tmpfs(fields, findings);
    manifest.devices = devices(fields, findings);
    manifest.shm_size = fields.parsed("shm_size", findings, size);
    manifest.security = security(fields, findings);
    manifest.ulimits = ulimits(fields, findings);
    manifest.sysctls = fields.map("sysctls", findings);
    manifest.extra_hosts = extra_hosts(fields, findings);
    let servers = fields.texts("dns", findings);
    let (search, options) = (fields.texts("dns_search", findings), fields.texts("dns_opt", findings));
    let dns = ManifestDns { servers, search, options };
    manifest.dns = (dns != ManifestDns::default()).then_some(dns);
    manifest.container_labels = fields.map("labels", findings);
    manifest.logging = fields.below("logging", findings).map(|mut fields| {
        let driver = fields.text("driver", findings);
        let options = fields.map("options", findings);
        fields.refuse_others(findings);
        ManifestLogging { driver, options }
    });
}

/// `/run`, or `/run:size=64m,mode=755`.
fn tmpfs(fields: &mut Fields, findings: &mut Findings) -> Vec<ManifestTmpfs> {
    let at = fields.take("tmpfs").map_or(fields.at, |node| node.at);
    let path = fields.path("tmpfs");
    let mut found = Vec::new();
    for text in fields.texts("tmpfs", findings) {
        let (target, options) = text.split_once(':').unwrap_or((&text, ""));
        let mut folder = ManifestTmpfs { path: target.to_string(), size: None };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", text)) => match size(text) {
                    Ok(size) => folder.size = Some(size),
                    Err(message) => findings.refuse(at, &path, message),
                },
                // So it is anyway.
                _ if ["rw", "nosuid", "nodev", "noexec", "mode=1777"].contains(&option) => {}
                _ => findings.refuse(at, &path, format!("`{option:.64}` is not carried over")),
            }
        }
        found.push(folder);
    }
    found
}

fn security(fields: &mut Fields, findings: &mut Findings) -> Option<ManifestSecurity> {
    let at = fields.take("security_opt").map_or(fields.at, |node| node.at);
    let (add, drop) = (fields.texts("cap_add", findings), fields.texts("cap_drop", findings));
    let capabilities = ManifestCapabilities { add, drop };
    let mut security = ManifestSecurity {
        capabilities: (capabilities != ManifestCapabilities::default()).then_some(capabilities),
        read_only_root: fields.flag("read_only", findings),
        privileged: fields.flag("privileged", findings),
        ..ManifestSecurity::default()
    };
    for option in fields.texts("security_opt", findings) {
        match &*option.replace('=', ":") {
            "no-new-privileges" | "no-new-privileges:true" => security.no_new_privileges = true,
            "no-new-privileges:false" => {}
            "seccomp:unconfined" => security.seccomp = Some(ManifestUnconfined::Unconfined),
            "apparmor:unconfined" => security.apparmor = Some(ManifestUnconfined::Unconfined),
            _ => findings.refuse(at, &fields.path("security_opt"), format!("`{option:.64}` is not carried over")),
        }
    }
    (security != ManifestSecurity::default()).then_some(security)
}

fn ulimits(fields: &mut Fields, findings: &mut Findings) -> BTreeMap<String, ManifestUlimit> {
    let Some(node) = fields.said("ulimits") else { return BTreeMap::new() };
    let path = fields.path("ulimits");
    let Value::Map(Map(pairs)) = &node.value else {
        findings.refuse(node.at, &path, "a map is expected");
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (key, node) in pairs {
        let path = format!("{path}.{}", key.text);
        let bounds = match &node.value {
            Value::Text(text) => text.trim().parse().ok().map(ManifestUlimit::Both),
            Value::Map(map) => {
                let mut fields = Fields::of(map, &path, node.at);
                let (soft, hard) = (fields.number("soft", findings), fields.number("hard", findings));
                fields.refuse_others(findings);
                soft.zip(hard).map(|(soft, hard)| ManifestUlimit::Each(ManifestBounds { soft, hard }))
            }
            _ => None,
        };
        match bounds {
            Some(bounds) => drop(found.insert(key.text.clone(), bounds)),
            None => findings.refuse(node.at, &path, "a number, or soft and hard, is expected"),
        }
    }
    found
}

/// One address for each name: `host=address` or `host:address`, where an address may have colons; or a map.
fn extra_hosts(fields: &mut Fields, findings: &mut Findings) -> BTreeMap<String, String> {
    let own = |address: Option<String>| address.unwrap_or_default().trim_matches(['[', ']']).to_string();
    let pairs = fields.pairs("extra_hosts", &['=', ':'], findings);
    pairs.into_iter().map(|(host, address)| (host, own(address))).collect()
}

fn stop(fields: &mut Fields, findings: &mut Findings) -> Option<ManifestStop> {
    let signal = fields.text("stop_signal", findings);
    let grace = fields.parsed("stop_grace_period", findings, span);
    // The core's names begin with it, those of Docker may.
    let signal = signal.map(|signal| if signal.starts_with("SIG") { signal } else { format!("SIG{signal}") });
    (signal.is_some() || grace.is_some()).then_some(ManifestStop { delay: None, signal, grace })
}

/// Of the service itself, and of `deploy`, which counts more.
fn resources(fields: &mut Fields, deploy: Option<&mut Fields>, findings: &mut Findings) -> Option<ManifestResources> {
    let mut limits = ManifestLimits {
        cpu: fields.parsed("cpus", findings, cpus),
        memory: fields.parsed("mem_limit", findings, size),
    };
    let mut memory = fields.parsed("mem_reservation", findings, size);
    let mut cpu: Option<Cpu> = None;
    let mut pids = fields.number("pids_limit", findings);
    // A weight among others is what a request is.
    if let Some(node) = fields.take("cpu_shares") {
        findings.note(node.at, &fields.path("cpu_shares"), "a request is its weight: set `resources.cpu`");
    }
    if let Some(mut resources) = deploy.and_then(|deploy| deploy.below("resources", findings)) {
        if let Some(mut given) = resources.below("limits", findings) {
            limits.cpu = given.parsed("cpus", findings, cpus).or(limits.cpu);
            limits.memory = given.parsed("memory", findings, size).or(limits.memory);
            pids = given.number("pids", findings).or(pids);
            given.refuse_others(findings);
        }
        if let Some(mut given) = resources.below("reservations", findings) {
            cpu = given.parsed("cpus", findings, cpus);
            memory = given.parsed("memory", findings, size).or(memory);
            given.refuse_others(findings);
        }
        resources.refuse_others(findings);
    }
    // What is set aside is never more than what it may take.
    let least =
        |limit: Option<u64>, request: Option<u64>, default: u64| request.or(limit.filter(|limit| *limit < default));
    let cpu = least(limits.cpu.map(|it| it.millis), cpu.map(|it| it.millis), orbit_api::manifest::DEFAULT_CPU.millis);
    let default = orbit_api::manifest::DEFAULT_MEMORY.bytes;
    let memory = least(limits.memory.map(|it| it.bytes), memory.map(|it| it.bytes), default);
    let resources = ManifestResources {
        cpu: cpu.map(|millis| Cpu { millis }),
        memory: memory.map(|bytes| Memory { bytes }),
        pids,
        limits: (limits != ManifestLimits::default()).then_some(limits),
    };
    (resources != ManifestResources::default()).then_some(resources)
}

/// Where it runs: `platform`, and the constraints of a swarm, most of which are Orbit's, too.
fn placement(fields: &mut Fields, deploy: Option<&mut Fields>, findings: &mut Findings) -> Option<ManifestPlacement> {
    let mut constraints = Vec::new();
    if let Some(platform) = fields.text("platform", findings) {
        let mut parts = platform.split('/');
        constraints.extend(parts.next().map(|os| format!("node.os == {os}")));
        constraints.extend(parts.next().map(|arch| format!("node.arch == {arch}")));
        if let Some(variant) = parts.next() {
            findings.note(fields.at, &fields.path("platform"), format!("`{variant:.64}` is not asked of a node"));
        }
    }
    if let Some(mut placement) = deploy.and_then(|deploy| deploy.below("placement", findings)) {
        let at = placement.at;
        let path = placement.path("constraints");
        for text in placement.texts("constraints", findings) {
            let known =
                [("node.hostname", "node.name"), ("node.platform.os", "node.os"), ("node.platform.arch", "node.arch")];
            let own = known.iter().fold(text.replace("engine.labels.", "node.labels."), |text, (swarms, ours)| {
                text.replace(swarms, ours)
            });
            let spaced = own.replace("==", " == ").replace("!=", " != ");
            let own = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
            match orbit_core::model::Constraint::parse(&own) {
                Ok(_) => constraints.push(own),
                Err(message) => findings.refuse(at, &path, message),
            }
        }
        if let Some(node) = placement.take("preferences") {
            findings.note(node.at, &placement.path("preferences"), "`placement.strategy: spread` spreads over nodes");
        }
        placement.refuse_others(findings);
    }
    (!constraints.is_empty()).then(|| ManifestPlacement { constraints, ..ManifestPlacement::default() })
}

fn replicas(
    kind: ManifestKind,
    fields: &mut Fields,
    deploy: Option<&mut Fields>,
    findings: &mut Findings,
) -> Option<u32> {
    let scale = fields.number("scale", findings);
    let Some(deploy) = deploy else { return scale };
    let replicas = deploy.number("replicas", findings);
    if let Some(node) = deploy.take("mode")
        && node.value != Value::Text("replicated".to_string())
    {
        findings.refuse(node.at, &deploy.path("mode"), "only `replicated` is built");
    }
    if let Some(node) = deploy.take("endpoint_mode") {
        findings.note(node.at, &deploy.path("endpoint_mode"), "`orbit endpoints` lists the tasks that serve");
    }
    match replicas.or(scale) {
        Some(replicas) if kind == ManifestKind::Task => {
            if replicas != 1 {
                let message = "what is not started again is one run: it has no replicas";
                findings.refuse(deploy.at, &deploy.path("replicas"), message);
            }
            None
        }
        replicas => replicas,
    }
}

/// As a swarm updates.
fn update(deploy: &mut Fields, findings: &mut Findings) -> Option<ManifestUpdate> {
    if let Some(node) = deploy.take("rollback_config") {
        findings.note(node.at, &deploy.path("rollback_config"), "a rollback goes as an update does");
    }
    let mut fields = deploy.below("update_config", findings)?;
    let at_once: u32 = fields.number("parallelism", findings).unwrap_or(1);
    let is_beside = match fields.text("order", findings).as_deref() {
        Some("start-first") => true,
        None | Some("stop-first") => false,
        Some(other) => {
            findings.refuse(fields.at, &fields.path("order"), format!("`{other:.64}` is no order"));
            false
        }
    };
    let on_failure = match fields.text("failure_action", findings).as_deref() {
        Some("rollback") => ManifestOnFailure::Rollback,
        None | Some("pause") => ManifestOnFailure::Pause,
        Some(other) => {
            let message = format!("`{other:.64}`: an update that fails is held or taken back");
            findings.refuse(fields.at, &fields.path("failure_action"), message);
            ManifestOnFailure::Pause
        }
    };
    let min_healthy = fields.parsed("monitor", findings, span);
    for (key, message) in [
        ("delay", "the next replica's turn comes when the one before it is stable (`update.min_healthy`)"),
        ("max_failure_ratio", "a rollout fails by a number of attempts (`update.max_failures`)"),
    ] {
        if let Some(node) = fields.take(key) {
            findings.note(node.at, &fields.path(key), message);
        }
    }
    fields.refuse_others(findings);
    // None at a time means all at once.
    let at_once = if at_once == 0 { orbit_core::model::limits::REPLICAS_MAX } else { at_once };
    Some(ManifestUpdate {
        max_surge: Some(if is_beside { at_once } else { 0 }),
        max_unavailable: Some(if is_beside { 0 } else { at_once }),
        min_healthy,
        on_failure: Some(on_failure),
        ..ManifestUpdate::default()
    })
}

//! What is read, and what is refused with which words.

use super::*;
use orbit_core::model::{
    Container, Definition, Limits, Millis, OnFailure, Rejection, Resources, Restart, RestartPolicy, Security, Strategy,
    Update,
};

const WEB: &str = "
kind: Service
name: web
replicas: 3
image: nginx:1.27
pull: always
env: { MODE: production }
labels: { team: shop }
resources: { cpu: 250m, memory: 128Mi }
ports: [{ name: http, container: 80 }]
placement: { strategy: spread, constraints: [\"node.labels.disk == ssd\"] }
restart: { policy: always, backoff: { initial: 1s, max: 5m, reset_after: 10m, jitter: 20 } }
update: { max_surge: 2, max_unavailable: 1, min_healthy: 30s, canary: 1, deadline: 5m, max_failures: 5, on_failure: pause }
health: { http: { port: http, path: /healthz }, interval: 5s, timeout: 2s, retries: 3, start_period: 10s }
ready: { tcp: { port: http } }
disconnect: { replace_after: 30s, keep: original, fence: timed }
stop: { delay: 5s, signal: SIGQUIT, grace: 10s }
";

#[test]
fn a_manifest_becomes_a_definition_and_reads_back() {
    let manifest = read_all(WEB).unwrap().remove(0);
    let definition = manifest.definition().unwrap();
    assert_eq!(definition.spec.container.resources, Resources { cpu_millis: 250, memory_bytes: 128 << 20 });
    assert_eq!(definition.spec.placement.strategy, Strategy::Spread);
    assert_eq!(Manifest::of(&definition).definition().unwrap(), definition);
}

const SET_UP: &str = "
kind: Service
name: db
image: postgres:17
user: \"1000:1000\"
working_dir: /srv
hostname: db
init: true
tty: true
stdin: true
resources: { cpu: 250m, memory: 128Mi, limits: { cpu: 2, memory: 1Gi } }
tmpfs: [{ path: /tmp, size: 64Mi }, { path: /run }]
shm_size: 256Mi
security:
  capabilities: { add: [CAP_CHOWN, net_bind_service], drop: [all] }
  read_only_root: true
  no_new_privileges: true
ulimits: { nofile: 65536, memlock: -1, nproc: { soft: 100, hard: 200 } }
sysctls: { net.core.somaxconn: 1024 }
volumes: [{ host: /srv/media, path: /media, read_only: true }, { host: /srv/db, path: /data }]
devices: [{ host: /dev/dri }, { host: /dev/ttyUSB0, path: /dev/serial, access: rw }]
extra_hosts: { host.docker.internal: host-gateway, db_2: 192.0.2.7 }
dns: { servers: [192.0.2.53], search: [example.org], options: [\"ndots:2\"] }
logging: { driver: json-file, options: { max-size: 10m, max-file: \"3\" } }
container_labels: { traefik.enable: \"true\" }
ports:
  - { name: dns, container: 53, host: 53, protocol: both }
  - { name: game, container: 27015, protocol: udp, host_ip: 127.0.0.1 }
";

#[test]
fn how_a_container_is_set_up_is_read_as_compose_files_have_it() {
    let definition = read_all(SET_UP).unwrap().remove(0).definition().unwrap();
    let Container { limits, setup, .. } = &definition.spec.container;
    assert_eq!(*limits, Limits { cpu_millis: Some(2000), memory_bytes: Some(1 << 30) });
    let names = |names: &std::collections::BTreeSet<String>| Vec::from_iter(names.clone()).join(" ");
    let Security { capabilities_added, capabilities_dropped, .. } = &setup.security;
    assert_eq!([names(capabilities_added), names(capabilities_dropped)], ["CHOWN NET_BIND_SERVICE", "ALL"]);
    let ulimit = |name: &str| setup.ulimits.get(name).map(|it| (it.soft, it.hard));
    assert_eq!(ulimit("nofile"), Some((65_536, 65_536)));
    assert_eq!([ulimit("memlock"), ulimit("nproc")], [Some((-1, -1)), Some((100, 200))]);
    assert_eq!(setup.sysctls.get("net.core.somaxconn").map(String::as_str), Some("1024"));
    let mounts = setup.host.mounts.iter().map(|it| (it.host.as_str(), it.path.as_str(), it.read_only));
    assert_eq!(Vec::from_iter(mounts), [("/srv/media", "/media", true), ("/srv/db", "/data", false)]);
    let devices = setup.host.devices.iter().map(|it| (it.host.as_str(), it.path.as_str(), it.access.as_str()));
    assert_eq!(Vec::from_iter(devices), [("/dev/dri", "/dev/dri", "rwm"), ("/dev/ttyUSB0", "/dev/serial", "rw")]);
    // What is printed is read as the same.
    let printed = Manifest::of(&definition);
    assert_eq!(printed.definition().unwrap(), definition);
    let json = serde_json::to_string(&printed).unwrap();
    assert_eq!(read_json::<Manifest>(json.as_bytes()).unwrap().definition().unwrap(), definition);
}

#[test]
fn what_reaches_beyond_a_container_is_said_in_words_of_its_own() {
    let definition = |said: &str| {
        let text = format!("kind: Service\nname: web\nimage: a\n{said}");
        read_all(&text).unwrap().remove(0).definition()
    };
    let asks = |said: &str| {
        let definition = definition(said).unwrap();
        // What is printed is read as the same.
        assert_eq!(Manifest::of(&definition).definition().as_ref(), Ok(&definition), "{said}");
        let asks = definition.spec.asks();
        asks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    for (said, asked) in [
        ("network: bridge", ""),
        ("network: none", ""),
        ("network: host", "host-network"),
        ("security: { privileged: true }", "privileged"),
        ("security: { seccomp: unconfined }", "unconfined"),
        ("security: { apparmor: unconfined }", "unconfined"),
        ("security: { apparmor: default, seccomp: default }", ""),
        ("security: { capabilities: { add: [CAP_SYS_TIME, chown] } }", "capability:SYS_TIME"),
        ("security: { capabilities: { add: [all] }, privileged: true }", "privileged"),
        ("devices: [{ host: /dev/dri }]", "devices"),
        ("volumes: [{ host: /srv, path: /a }, { host: /var/run/docker.sock, path: /b }]", "docker-socket host:/srv"),
    ] {
        assert_eq!(asks(said), asked, "{said}");
    }
    for (said, field) in [
        ("volumes: [{ host: /srv/../etc, path: /a }]", "volumes[0].host"),
        ("volumes: [{ host: /srv, path: /run/x }]\ntmpfs: [{ path: /run/x }]", "volumes[0].path"),
        ("devices: [{ host: /etc/shadow }]", "devices[0].host"),
        ("network: none\nports: [{ name: a, container: 80 }]", "ports[0]"),
        ("network: host\nports: [{ name: a, container: 80 }]", "ports[0].host"),
        ("network: host\nports: [{ name: a, container: 80, host: 81 }]", "ports[0].host"),
        ("network: host\nports: [{ name: a, container: 80, host: 80, host_ip: 127.0.0.1 }]", "ports[0].host_ip"),
        ("network: host\nsysctls: { net.core.somaxconn: 1 }", "sysctls"),
    ] {
        assert_eq!(definition(said).map_err(|refusal| refusal.field).unwrap_err(), field, "{said}");
    }
}

#[test]
fn what_has_to_be_there_first_is_said_by_its_name_and_how_far() {
    let definition = |said: &str| {
        let text = format!("kind: Service\nname: web\nimage: a\nafter: {said}");
        read_all(&text).unwrap().remove(0).definition()
    };
    let said = "[{ service: db, until: started }, { service: cache }, { task: migrate }]";
    let found = definition(said).unwrap();
    let after: Vec<_> = found.spec.after.iter().map(ToString::to_string).collect();
    assert_eq!(after, ["service `db` is started", "service `cache` is healthy", "task `migrate` is complete"]);
    assert_eq!(Manifest::of(&found).definition().as_ref(), Ok(&found));
    for (said, field) in [
        ("[{}]", "after[0]"),
        ("[{ service: a, task: b }]", "after[0]"),
        ("[{ service: web }]", "after[0].service"),
        ("[{ service: A }]", "after[0].service"),
        ("[{ service: db, until: complete }]", "after[0].until"),
        ("[{ task: db, until: healthy }]", "after[0].until"),
        ("[{ task: db }, { task: db, until: started }]", "after[1].task"),
    ] {
        assert_eq!(definition(said).map_err(|refusal| refusal.field).unwrap_err(), field, "{said}");
    }
}

#[test]
fn a_request_is_no_limit() {
    let limits = |resources: &str| {
        let text = format!("kind: Service\nname: web\nimage: a\nresources: {resources}");
        read_all(&text).unwrap().remove(0).definition().map(|it| it.spec.container.limits)
    };
    assert_eq!(limits("{ memory: 64Mi }"), Ok(Limits::default()));
    let memory_only = Limits { cpu_millis: None, memory_bytes: Some(128 << 20) };
    assert_eq!(limits("{ memory: 64Mi, limits: { memory: 128Mi } }"), Ok(memory_only));
    let below = limits("{ memory: 64Mi, limits: { memory: 32Mi } }").unwrap_err();
    assert_eq!(below.field, "resources.limits.memory");
    assert!(below.message.contains("32Mi") && below.message.contains("64Mi, which is requested"), "{below:?}");
    assert_eq!(limits("{ limits: { cpu: 50m } }").unwrap_err().field, "resources.limits.cpu");
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let task = read_all("kind: Task\nname: once\nimage: a").unwrap().remove(0).definition().unwrap();
    assert_eq!((task.replicas, task.spec.restart.policy), (1, RestartPolicy::Never));
    let service = read_all("kind: Service\nname: web\nimage: a").unwrap().remove(0).definition().unwrap();
    assert_eq!(service.spec.restart, Restart::with_policy(RestartPolicy::Always));
    let update = Update {
        min_healthy: Millis::secs(10),
        deadline: Some(Millis::secs(600)),
        max_failures: 3,
        on_failure: OnFailure::Rollback,
        ..Update::ONE_BY_ONE
    };
    assert_eq!((task.update, service.update), (Update::ONE_BY_ONE, update));
    assert_eq!(service.spec.container.resources, Resources { cpu_millis: 100, memory_bytes: 128 << 20 });
}

#[test]
fn several_documents_in_one_file() {
    let two = "kind: Task\nname: a\nimage: x\n---\n---\nkind: Task\nname: b\nimage: x\n";
    let names: Vec<_> = read_all(two).unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["a", "b"]);
}

/// As the manager answers, and `orbit get` prints it.
fn shown(manifest: &Manifest) -> crate::view::TaskDefinition {
    let definition = manifest.definition().unwrap();
    crate::view::TaskDefinition {
        name: definition.name.clone(),
        uid: "1.40".to_string(),
        revision: 57,
        created_at: "2026-03-01T11:15:00Z".to_string(),
        desired: Manifest::of(&definition),
        // Printed as `null`.
        attempt: None,
    }
}

#[test]
fn an_object_that_was_printed_is_read_as_what_it_desires() {
    let written = read_all(WEB).unwrap().remove(0);
    let (object, definition) = (shown(&written), written.definition().unwrap());
    let list = crate::view::List { revision: 99, items: vec![object.clone(), object.clone()], next: None };
    for (text, count) in [
        (serde_yaml_ng::to_string(&object).unwrap(), 1),
        (serde_json::to_string_pretty(&object).unwrap(), 1),
        (serde_yaml_ng::to_string(&list).unwrap(), 2),
    ] {
        let read = read_all(&text).unwrap();
        assert_eq!(read.len(), count, "{text}");
        for manifest in read {
            assert_eq!(manifest.definition().unwrap(), definition);
        }
    }
}

#[test]
fn mistakes_in_a_printed_object_are_said_as_those_in_a_manifest() {
    let text = serde_yaml_ng::to_string(&shown(&read_all(WEB).unwrap()[0])).unwrap();
    let refusal = |from: &str, to: &str| read_all(&text.replace(from, to)).unwrap_err().to_string();
    let line = 1 + text.lines().position(|line| line.starts_with("  image:")).unwrap();
    let unknown = refusal("  image:", "  imgae:");
    assert!(unknown.contains("`imgae` (did you mean `image`?)"), "{unknown}");
    assert!(unknown.contains(&format!("line {line} ")), "{unknown}");
    assert!(refusal("MODE: production", "MODE: null").contains("`desired.env.MODE` is null"));
    assert!(refusal("MODE: production", "MODE: a\n    MODE: b").contains("`desired.env.MODE` stands twice"));
    // A node has nothing that could be wanted of it.
    assert!(read_all("name: worker-1\nuid: 00ff\nstate: ready\n").is_err());
}

#[test]
fn each_document_is_read_by_itself() {
    let text = "kind: Task\nname: a\nimage: x\n---\n---\nkind: Pod\n---\nkind: Task\nname: b\nimage: x\n";
    let read = read_documents(text);
    let numbers: Vec<_> = read.iter().map(|(number, manifest)| (*number, manifest.is_ok())).collect();
    assert_eq!(numbers, [(1, true), (3, false), (4, true)]);
    let broken = read_documents("kind: Task\nname: a\nimage: x\n---\nname: [web\n---\nkind: Task\n");
    let read: Vec<_> = broken.iter().map(|(number, manifest)| (*number, manifest.is_ok())).collect();
    assert_eq!(read, [(1, true), (2, false)], "said once");
    let last = broken.last().map(|(_, manifest)| manifest.clone().unwrap_err().to_string()).unwrap();
    assert!(last.contains("did not find expected"), "what is no YAML ends the text: {last}");
}

/// Bad input gets one clear sentence that says where.
#[test]
fn what_is_wrong_is_said_with_its_place() {
    let base = "kind: Service\nname: web\nimage: nginx\n";
    let cases = [
        ("", "empty"),
        ("kind: Service\n  name: [", "broken yaml"),
        ("kind: Pod\nname: a\nimage: b", "unknown kind"),
        ("kind: Service\nname: a\nimgae: b", "unknown key"),
        ("name: a\nimage: b", "no kind"),
        (&format!("{base}priority: 50"), "documented, not built yet"),
        (&format!("{base}health: {{}}"), "a probe that asks nothing"),
        (&format!("{base}ready: {{ command: [a], tcp: {{ port: http }} }}"), "a probe that asks twice"),
        (&format!("{base}ready: {{ tcp: {{ port: http }} }}"), "a probe of no port"),
        (&format!("{base}ready: {{ command: [a], interval: 1ms }}"), "a probe that asks too often"),
        (&format!("{base}ready: {{ command: [a], retries: 0 }}"), "a probe that never fails"),
        (&format!("{base}disconnect: {{ fence: timed }}"), "a fence without a time"),
        (&format!("{base}disconnect: {{ fence: maybe }}"), "an unknown fence"),
        (&format!("{base}disconnect: {{ keep: both }}"), "an unknown choice"),
        (&format!("{base}disconnect: {{ replace_after: 10ms }}"), "replaced at once"),
        (&format!("{base}restart: {{ backoff: {{ jitter: 101 }} }}"), "more jitter than delay"),
        (
            &format!("{base}ports: [{{ name: a, container: 80 }}]\nhealth: {{ http: {{ port: a, path: x }} }}"),
            "a path without a slash",
        ),
        ("kind: Task\nname: a\nimage: b\nhealth: { command: [a] }", "task with a probe"),
        (&format!("{base}replicas: -1"), "negative"),
        (&format!("{base}replicas: 1000000"), "absurd"),
        (&format!("{base}replicas: three"), "no number"),
        (&format!("{base}resources: {{ cpu: 250Mi }}"), "wrong unit"),
        (&format!("{base}resources: {{ cpu: -1 }}"), "negative cpu"),
        (&format!("{base}resources: {{ cpu: 0 }}"), "zero cpu"),
        (&format!("{base}resources: {{ memory: 0 }}"), "zero memory"),
        (&format!("{base}resources: {{ memory: 128Q }}"), "unknown unit"),
        (&format!("{base}resources: {{ memory: 99999Ti }}"), "absurd memory"),
        (&format!("{base}resources: {{ pids: 0 }}"), "zero pids"),
        (&format!("{base}stop: {{ grace: 10 }}"), "span without unit"),
        (&format!("{base}update: {{ max_surge: 0 }}"), "an update that could not begin"),
        (&format!("{base}update: {{ max_surge: 0, max_unavailable: 0 }}"), "the same in full"),
        (&format!("{base}update: {{ max_surge: -1 }}"), "negative surge"),
        (&format!("{base}update: {{ max_unavailable: 200000 }}"), "absurd number unavailable"),
        (&format!("{base}update: {{ min_healthy: 48h }}"), "longer than a day"),
        (&format!("{base}update: {{ deadline: 5s }}"), "a deadline before anything could count"),
        (&format!("{base}update: {{ on_failure: retry }}"), "an unknown policy"),
        (&format!("{base}update: {{ canary: -1 }}"), "negative canaries"),
        ("kind: Task\nname: a\nimage: b\nupdate: { max_surge: 1 }", "task with an update"),
        (&format!("{base}restart: {{ backoff: {{ initial: 10m, max: 1m }} }}"), "max below initial"),
        (&format!("{base}restart: {{ policy: never }}"), "service that is not restarted"),
        (&format!("{base}ports: [{{ name: a, container: 80 }}, {{ name: a, container: 81 }}]"), "port name twice"),
        (&format!("{base}ports: [{{ name: a, container: 80 }}, {{ name: b, container: 80 }}]"), "port twice"),
        (
            &format!(
                "{base}ports: [{{ name: a, container: 80, host: 8080 }}, {{ name: b, container: 81, host: 8080 }}]"
            ),
            "host port twice",
        ),
        (&format!("{base}ports: [{{ name: a, container: 0 }}]"), "port zero"),
        (&format!("{base}ports: [{{ name: a, container: 70000 }}]"), "port beyond the last"),
        (&format!("{base}placement: {{ constraints: [\"disk == ssd\"] }}"), "constraint on nothing"),
        (&format!("{base}placement: {{ strategy: random }}"), "unknown strategy"),
        ("kind: Service\nname: Web_1\nimage: b", "bad name"),
        ("kind: Service\nname: web\nimage: \"\"", "no image"),
        ("kind: Task\nname: a\nimage: b\nreplicas: 2", "task with replicas"),
        (&format!("{base}ports: [{{ name: a, container: 80, protocol: sctp }}]"), "an unknown protocol"),
        (&format!("{base}ports: [{{ name: a, container: 80, host_ip: here }}]"), "an address that is none"),
        (
            &format!(
                "{base}ports: [{{ name: a, container: 53, host: 53 }}, {{ name: b, container: 53, host: 53, protocol: udp }}]"
            ),
            "both protocols in two ports",
        ),
        (
            &format!("{base}ports: [{{ name: a, container: 80, protocol: udp }}]\nready: {{ tcp: {{ port: a }} }}"),
            "a probe of UDP",
        ),
        (&format!("{base}name: again"), "key twice"),
        (&format!("{base}user: a b"), "a user with a space"),
        (&format!("{base}working_dir: srv"), "a directory from nowhere"),
        (&format!("{base}resources: {{ memory: 64Mi, limits: {{ memory: 32Mi }} }}"), "a limit below the request"),
        (&format!("{base}resources: {{ limits: {{ pids: 5 }} }}"), "a limit of something else"),
        (&format!("{base}tmpfs: [{{ path: /a/../b }}]"), "a folder out of the folder"),
        (&format!("{base}tmpfs: [/tmp]"), "a folder as compose has it"),
        (&format!("{base}shm_size: 1"), "no shared memory to speak of"),
        (&format!("{base}security: {{ capabilities: {{ add: [FLY] }} }}"), "a capability that there is not"),
        (&format!("{base}volumes: [{{ host: data, path: /data }}]"), "a volume that is no path"),
        (&format!("{base}volumes: [{{ host: /srv/../etc, path: /data }}]"), "a path that leads elsewhere"),
        (&format!("{base}volumes: [{{ host: /srv, path: / }}]"), "a volume over everything"),
        (&format!("{base}devices: [{{ host: /etc/shadow }}]"), "a device that is none"),
        (&format!("{base}network: mine"), "a network that there is not"),
        (&format!("{base}network: host\nports: [{{ name: a, container: 80 }}]"), "a port of a node without its number"),
        (&format!("{base}security: {{ root: true }}"), "a right that there is not"),
        (&format!("{base}ulimits: {{ nofile: {{ soft: 2, hard: 1 }} }}"), "a soft limit above the hard one"),
        (&format!("{base}ulimits: {{ nofile: many }}"), "a limit that is no number"),
        (&format!("{base}ulimits: {{ nofile: {{ soft: 2 }} }}"), "half a limit"),
        (&format!("{base}sysctls: {{ vm.swappiness: 1 }}"), "a setting of the whole machine"),
        (&format!("{base}extra_hosts: {{ db: somewhere }}"), "a host at no address"),
        (&format!("{base}dns: {{ servers: [dns.example] }}"), "a server by its name"),
        (&format!("{base}logging: {{ options: {{ max-size: ~ }} }}"), "an option without a value"),
        (&format!("{base}container_labels: {{ orbit.task: \"1\" }}"), "a label of Orbit's own"),
    ];
    let mut table = String::new();
    for (text, case) in cases {
        let said = match read_all(text) {
            Err(error) => error.to_string(),
            Ok(manifests) => match manifests[0].definition() {
                Err(rejection) => rejection.to_string(),
                Ok(_) => panic!("{case} was accepted"),
            },
        };
        table += &format!("{case}: {said}\n");
    }
    insta::assert_snapshot!(table);
}

#[test]
fn json_says_the_path_of_what_is_wrong() {
    let said = |body: &str| read_json::<Manifest>(body.as_bytes()).unwrap_err();
    let rejection = said(r#"{"kind":"Service","name":"a","image":"b","ports":[{"name":"x","container":-1}]}"#);
    assert_eq!(rejection.field, "ports[0].container");
    assert_eq!(said(r#"{"kind":"Service","name":"a","image":"b"} x"#).field, "");
    assert_eq!(said(r#"{"kind":"Service","#).field, "");
    assert!(said(r#"{"kind":"Service","nmae":"a"}"#).message.contains("`nmae` (did you mean `name`?), expected"));
    let strategy = said(r#"{"kind":"Service","name":"a","image":"b","placement":{"strategy":"spraed"}}"#);
    assert!(strategy.message.contains("`spraed` (did you mean `spread`?)"), "{strategy}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_manifest() {
    let read = read_all("\u{feff}kind: Service\nname: web\nimage: web:1\n").unwrap();
    assert_eq!(read[0].name, "web");
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_is() {
    let refusal = |text: &str| read_all(text).unwrap_err().to_string();
    let twice = refusal("kind: Service\nname: web\nimage: web:1\nenv:\n  A: one\n  A: two\n");
    assert!(twice.starts_with("`env.A` stands twice") && twice.contains("(line 5)"), "{twice}");
    assert!(refusal("kind: Task\nname: a\nname: b\nimage: web:1\n").contains("`name` stands twice"));
    assert!(
        refusal("kind: Task\nname: a\nimage: web:1\nports: [{ name: a, name: b }]").contains("`ports[0].name` stands")
    );
    // A number and a text are one key where texts are wanted.
    assert!(refusal("kind: Task\nname: a\nimage: web:1\nenv: { 1: a, '1': b }").contains("`env.1` stands twice"));
    // The others of the file are read.
    let two = read_documents("kind: Task\nname: a\nname: b\nimage: web:1\n---\nkind: Task\nname: c\nimage: web:1\n");
    assert!(matches!(&two[..], [(1, Err(_)), (2, Ok(it))] if it.name == "c"), "{two:?}");

    let body = br#"{ "kind": "Service", "name": "web", "image": "web:1", "env": { "A": "one", "A": "two" } }"#;
    let rejection = read_json::<Manifest>(body).unwrap_err();
    assert_eq!((rejection.code, rejection.field.as_str()), (orbit_core::model::Code::Invalid, "env.A"));
}

#[test]
fn a_null_is_no_text_and_no_value() {
    for (text, field) in [
        ("kind: Service\nname: null\nimage: web:1\n", "`name`"),
        ("kind: Service\nname: ~\nimage: web:1\n", "`name`"),
        ("kind: Service\nname: web\nimage:\n", "`image`"),
        ("kind: Service\nname: web\nimage: web:1\nenv: { A: }\n", "`env.A`"),
        ("kind: Service\nname: web\nimage: web:1\nargs: [a, null]\n", "`args[1]`"),
        ("kind: Service\nname: web\nimage: web:1\nreplicas:\n", "`replicas`"),
    ] {
        let refusal = read_all(text).unwrap_err().to_string();
        assert!(refusal.contains(&format!("{field} is null")), "{text}: {refusal}");
    }
    let quoted = read_all("kind: Service\nname: web\nimage: web:1\nenv: { A: 'null', B: \"\" }\n").unwrap();
    assert_eq!(quoted[0].env["A"], "null");
    // In JSON it says that an optional field is not there. A name and a variable are not optional.
    let body = br#"{ "kind": "Service", "name": "web", "image": "web:1", "replicas": null }"#;
    assert_eq!(read_json::<Manifest>(body).unwrap().replicas, None);
    for (body, field) in [
        (r#"{ "kind": "Service", "name": null, "image": "web:1" }"#, "name"),
        (r#"{ "kind": "Service", "name": "web", "image": "web:1", "env": { "A": null } }"#, "env.A"),
        (r#"{ "kind": "Service", "name": "web", "image": "web:1", "args": [null] }"#, "args[0]"),
    ] {
        assert_eq!(read_json::<Manifest>(body.as_bytes()).unwrap_err().field, field);
    }
}

#[test]
fn a_text_of_many_digits_is_a_text() {
    for digits in ["99999999999999999999", "-99999999999999999999"] {
        let read = read_all(&format!("kind: Task\nname: a\nimage: web:1\nenv: {{ A: {digits} }}\n")).unwrap();
        assert_eq!(read[0].env["A"], digits);
    }
}

/// A definition with these variables, and one label and argument.
fn with_env(env: impl IntoIterator<Item = (String, String)>) -> Result<Definition, Rejection> {
    let manifest = read_all("kind: Service\nname: web\nimage: web:1\nlabels: { team: shop }\nargs: [serve]\n").unwrap();
    Manifest { env: env.into_iter().collect(), ..manifest[0].clone() }.definition()
}

#[test]
fn what_programs_really_need_is_within_the_limits() {
    let chain = "-----BEGIN CERTIFICATE-----\n".repeat(6 << 10).chars().take(6 << 10).collect::<String>();
    let names = ["A".repeat(69), "Logging:LogLevel:Default".into(), "server.port".into(), "ProgramFiles(x86)".into()];
    let many = (0..300).map(|n| (format!("KEY_{n}"), "value".to_string()));
    let env = names.map(|name| (name, "x".to_string())).into_iter().chain(many).chain([("CHAIN".into(), chain)]);
    assert_eq!(with_env(env).unwrap().spec.container.env.len(), 305);
    // As long as Linux takes it.
    with_env([("A".into(), "x".repeat((128 << 10) - 1 - 2))]).unwrap();
    let manifest = read_all("kind: Task\nname: a\nimage: web:1\n").unwrap().remove(0);
    let words = vec!["x".repeat((128 << 10) - 1); 4];
    let key = format!("{}/{}", "d".repeat(253), "n".repeat(63));
    let labels = [(key, "v".repeat(60_000))].into();
    Manifest { args: words.clone(), command: words[..3].to_vec(), labels, ..manifest }.definition().unwrap();
}

#[test]
fn what_is_beyond_a_limit_is_refused_with_both_numbers_and_its_path() {
    let base = || read_all("kind: Service\nname: web\nimage: web:1\n").unwrap().remove(0);
    let text = |name: &str, bytes: usize| [(name.to_string(), "x".repeat(bytes))].into();
    let words = |count: usize, bytes: usize| vec!["x".repeat(bytes); count];
    let health = |command| Some(ManifestProbe { command, ..ManifestProbe::default() });
    let labels = |count: usize| (0..count).map(|n| (format!("key-{n}"), String::new())).collect();
    let variables = |count: usize| (0..count).map(|n| (format!("K{n:07}"), "x".repeat(92))).collect();
    let cases: [(Manifest, &str, &[&str]); 12] = [
        (Manifest { name: "n".repeat(69), ..base() }, "name", &["69", "63", "DNS"]),
        (Manifest { env: text("CHAIN", 131_072), ..base() }, "env.CHAIN", &["131078", "131071"]),
        (Manifest { env: text("A=B", 1), ..base() }, "env", &["`A=B`"]),
        (Manifest { env: text("A B", 1), ..base() }, "env", &["`A B`"]),
        (Manifest { args: words(1, 131_072), ..base() }, "args[0]", &["131072", "131071"]),
        (Manifest { args: words(9, 120_000), ..base() }, "args", &["1080036", "1080297", "1048576"]),
        (Manifest { command: words(9, 120_000), ..base() }, "command", &["1080036", "1048576"]),
        (Manifest { env: variables(10_000), ..base() }, "env", &["1080000", "1048576"]),
        (Manifest { health: health(words(9, 120_000)), ..base() }, "health.command", &["1080036", "1048576"]),
        (Manifest { labels: labels(257), ..base() }, "labels", &["257", "256"]),
        (Manifest { labels: text("a", 65_536), ..base() }, "labels", &["65537", "65536"]),
        (Manifest { labels: text(&"k".repeat(318), 1), ..base() }, "labels", &["318", "317"]),
    ];
    for (manifest, field, words) in cases {
        let refusal = manifest.definition().unwrap_err();
        assert_eq!(refusal.field, field, "{refusal}");
        assert!(words.iter().all(|word| refusal.message.contains(word)), "{refusal}");
    }
}

//! What is stored is bounded in bytes: one object, its kept versions, and all of them.

use orbit_core::{model::*, state::Cluster};
use std::collections::BTreeMap;

/// A service whose spec takes some 800 kB.
fn large(name: &str, salt: usize) -> Definition {
    let value = format!("{salt:04096}");
    let env = (0..200).map(|n| (format!("KEY_{n}"), value.clone())).collect();
    Definition {
        kind: Kind::Service,
        name: name.into(),
        labels: BTreeMap::new(),
        replicas: 0,
        update: Update::ONE_BY_ONE,
        spec: Spec {
            container: Container {
                env,
                pids_max: 100,
                stop: Stop::within(Millis::secs(10)),
                ..orbit_core::testing::container("web:1")
            },
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Disconnect::default(),
            after: vec![],
        },
    }
}

fn apply(cluster: &mut Cluster, command: Command) -> Result<Answer, Rejection> {
    let index = cluster.index + 1;
    let outcome =
        cluster.apply(&Entry { index, term: 1, at: Time(index), wall_ms: index, actor: Actor::Local, command });
    outcome.answer
}

fn put(cluster: &mut Cluster, definition: Definition) -> Result<Answer, Rejection> {
    apply(
        cluster,
        Command::Put(Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None }),
    )
}

#[test]
fn a_spec_that_is_too_large_is_refused_with_numbers() {
    let mut definition = large("web", 1);
    definition.spec.container.command = vec!["x".repeat(4096); 100];
    let refused = definition.validate().unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert!(refused.message.contains("bytes, and at most 1048576"), "{refused}");
    large("web", 1).validate().unwrap();
}

#[test]
fn of_one_object_so_many_bytes_of_old_versions_are_kept_and_no_more() {
    let mut cluster = Cluster::default();
    for salt in 0..20 {
        put(&mut cluster, large("web", salt)).unwrap();
        assert_eq!(cluster.check(), []);
    }
    let service = cluster.workload_named(Kind::Service, "web").unwrap();
    let bytes: usize = service.versions.iter().map(|version| version.spec.bytes()).sum();
    assert!(bytes <= limits::VERSIONS_BYTES_MAX, "{bytes} bytes");
    assert!(service.versions.len() >= 4 && service.current().number == 20, "the newest are kept");
}

#[test]
fn all_specs_together_are_bounded_and_what_is_deleted_makes_room() {
    let mut cluster = Cluster::default();
    let mut all = (0..1000).map(|n| put(&mut cluster, large(&format!("service-{n}"), 7)));
    let refused = all.find_map(Result::err).expect("it has an end");
    let mut stored = Vec::from_iter(cluster.workloads().map(|workload| (workload.uid, workload.name.to_string())));
    assert_eq!(refused.code, Code::LimitReached);
    assert!(refused.message.contains("of 268435456"), "{refused}");
    assert!(stored.len() > 300, "{} were stored", stored.len());

    let (uid, name) = stored.swap_remove(0);
    apply(&mut cluster, Command::Delete { kind: Kind::Service, name, condition: Condition::None }).unwrap();
    put(&mut cluster, large("another", 7)).unwrap_err();
    apply(&mut cluster, Command::Plan(Plan { drops: vec![uid], ..Plan::default() })).unwrap();
    put(&mut cluster, large("another", 7)).unwrap();
    assert_eq!(cluster.check(), []);
}

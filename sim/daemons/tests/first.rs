//! One manager and two workers, as shipped, on a simulated network.

use madsim::runtime::Handle;
use orbit_core::{
    manager::{Request, View},
    model::{
        Code, Condition, Container, Definition, Kind, Millis, Placement, Put, Restart, RestartPolicy, Spec, Stop,
        Strategy, Update,
    },
};
use orbit_sim_daemons::{ManagerHost, WorkerHost};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{sleep, timeout};

fn web(replicas: u32, idempotency_key: Option<String>) -> Request {
    let definition = Definition {
        kind: Kind::Service,
        name: "web".into(),
        labels: BTreeMap::new(),
        replicas,
        update: Update::ONE_BY_ONE,
        spec: Spec {
            container: Container {
                pids_max: 100,
                stop: Stop::within(Millis::secs(5)),
                ..orbit_core::testing::container("web:1")
            },
            placement: Placement { strategy: Strategy::Spread, constraints: vec![] },
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Default::default(),
            after: vec![],
        },
    };
    Request::Put(Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key })
}

/// Waits, in virtual time, until the condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(120), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn nodes_ready(manager: &ManagerHost) -> usize {
    let Some(handle) = manager.handle() else { return 0 };
    handle.read(|manager, _| manager.cluster().nodes().filter(|node| node.is_ready()).count()).await.unwrap_or(0)
}

#[madsim::test]
async fn a_service_runs_on_two_workers_and_outlives_every_daemon() {
    let manager = ManagerHost::boot();
    let workers = [WorkerHost::boot(1), WorkerHost::boot(2)];
    until("both workers register", async || nodes_ready(&manager).await == 2).await;

    let replied = manager.handle().unwrap().request(web(4, None)).await;
    assert!(replied.result.is_ok(), "{replied:?}");
    until("two containers on each", async || workers.iter().all(|worker| worker.running().len() == 2)).await;
    let before = [workers[0].running(), workers[1].running()];

    let handle = Handle::current();
    handle.kill(workers[0].node.id());
    handle.kill(manager.node.id());
    sleep(Duration::from_millis(500)).await;
    handle.restart(workers[0].node.id());
    handle.restart(manager.node.id());
    until("both workers come back", async || nodes_ready(&manager).await == 2).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!([workers[0].running(), workers[1].running()], before, "the same containers, none replaced");

    handle.kill(workers[1].node.id());
    until("its tasks run on the other", async || workers[0].running().len() == 4).await;
    let delete = Request::Delete { kind: Kind::Service, name: "web".into(), condition: Condition::None };
    assert!(manager.handle().unwrap().request(delete).await.result.is_ok());
    until("nothing is left on the living one", async || {
        workers[0].runtime.with(|engine| engine.containers().count() == 0)
    })
    .await;
    handle.restart(workers[1].node.id());
    until("nothing is left on the one that came back", async || {
        workers[1].runtime.with(|engine| engine.containers().count() == 0)
    })
    .await;
}

#[madsim::test]
async fn who_asks_again_under_his_key_is_answered_on_a_full_disk() {
    let manager = ManagerHost::boot();
    let ask = async |request| manager.handle().unwrap().request(request).await.result;
    let keyed = || web(1, Some("key-1".to_string()));
    until("the manager leads", async || manager.handle().is_some() && ask(keyed()).await.is_ok()).await;
    let before = ask(keyed()).await.unwrap();

    manager.disk().set_full(true);
    let scale = || Request::Scale { name: "web".into(), replicas: 2, condition: Condition::None };
    let waits = timeout(Duration::from_secs(5), ask(scale())).await;
    assert!(waits.is_err(), "what was numbered is not given up: {waits:?}");
    assert_eq!(ask(scale()).await.unwrap_err().code, Code::StorageFull);
    assert_eq!(ask(keyed()).await, Ok(before));

    manager.disk().set_full(false);
    let replicas = async || {
        let look = |view: View, _| view.cluster().workload_named(Kind::Service, "web").map(|web| web.replicas);
        manager.handle().unwrap().read(look).await.unwrap()
    };
    until("the first one is written when there is room", async || replicas().await == Some(2)).await;
    assert!(ask(scale()).await.is_ok());
}

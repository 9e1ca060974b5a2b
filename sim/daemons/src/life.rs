//! How a world of daemons is lived through: calm, chaos, every fault healed, convergence, rest.

use crate::{
    chaos,
    engine::FOREIGN,
    hosts::{ManagerHost, WorkerHost, open_log},
    machine::End,
    options::Options,
    record::{Record, Violation},
    shadow::Shadow,
    users, watch,
    world::{World, node_name},
};
use madsim::{net::NetSim, runtime::Handle};
use orbit_core::{
    manager::Manager,
    state::{Cluster, Snapshot},
};
use orbit_sim::{
    Random,
    checks::{WorkerView, acknowledged, is_restless, pending},
    client::Client,
};
use orbit_store::{Storage, StoreError};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// How long a healed world has to converge: leases and dials, ports that rest, and then for each of six
/// replicas one after the other a pull, a stop and the longest backoff.
const CONVERGE_MAX: Duration = Duration::from_secs(400);
/// So many looks, a second apart, find nothing pending.
const CONVERGED_LOOKS: u32 = 5;
/// How long a converged world is watched for coming to rest.
const REST: Duration = Duration::from_secs(60);
/// Before the faults begin.
const CALM: Duration = Duration::from_secs(5);

/// Lives through a seed, up to the first violation.
pub(crate) async fn live(options: Options, record: Record) -> Result<(), Violation> {
    if options.buggify {
        madsim::buggify::enable();
    }
    let (ends, ended) = mpsc::unbounded_channel();
    let (violations, mut violated) = mpsc::unbounded_channel();
    let stream = |stream| Random::new(options.seed, stream);
    let worker = |n| {
        let host = WorkerHost::with(n as u8, &options, stream(100 + n as u64), record.clone(), ends.clone());
        host.runtime.with(|engine| engine.add_foreign(FOREIGN, &[(80, 20_003)]));
        host
    };
    let world = Arc::new(World {
        manager: ManagerHost::with(&options, stream(1), record.clone(), ends.clone(), Shadow::new(violations.clone())),
        workers: (1..=options.workers).map(worker).collect(),
        client: tokio::sync::Mutex::new(Client::default()),
        shown: Mutex::new(None),
        calm: AtomicBool::new(false),
        random: Mutex::new(stream(7)),
        violations,
        record,
        options: options.clone(),
    });
    tokio::spawn(operate(world.clone(), ended));
    tokio::spawn(watch::watch(world.clone(), stream(8)));
    tokio::spawn(users::ask(world.clone(), stream(9)));
    let lived = tokio::select! { biased;
        violation = violated.recv() => Err(violation.expect("the world holds a sender")),
        lived = world.phases(stream(4)) => lived,
    };
    // What is left of the world goes with its processes.
    world.calm.store(true, Ordering::Relaxed);
    let handle = Handle::current();
    for machine in world.machines() {
        machine.disk.crash();
        handle.kill(machine.node());
    }
    sleep(Duration::from_secs(1)).await;
    lived
}

impl World {
    async fn phases(self: &Arc<World>, random: Random) -> Result<(), Violation> {
        sleep(CALM).await;
        chaos::wreak(self.clone(), random).await;
        self.heal();
        // Whoever still waits for an answer gets it, or goes.
        drop(self.client.lock().await);
        self.converge().await?;
        self.rest().await
    }

    /// Every fault ends; whoever is down comes back by itself.
    fn heal(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.record.note("heals", ());
        madsim::buggify::disable();
        let (net, handle) = (NetSim::current(), Handle::current());
        net.update_config(|config| {
            config.packet_loss_rate = 0.0;
            config.send_latency = Duration::from_micros(100)..Duration::from_millis(20);
        });
        for worker in &self.workers {
            chaos::mend(self, worker);
            worker.runtime.heal();
        }
        for machine in self.machines() {
            machine.disk.heal();
            handle.resume(machine.node());
        }
    }

    /// Why the world has not converged; nothing once it has.
    async fn pending(&self) -> Vec<String> {
        if let Some(down) = self.machines().find(|machine| !machine.is_up()) {
            return vec![format!("{} is down", down.name)];
        }
        let Some(handle) = self.manager.handle() else { return vec!["the manager has not started".into()] };
        let engines: Vec<_> = self.workers.iter().map(|worker| worker.runtime.clone()).collect();
        let look = move |manager: &Manager, now| {
            let cluster = manager.cluster();
            let engines: Vec<_> = engines.into_iter().map(|engine| engine.with(|engine| engine.clone())).collect();
            let connected: Vec<_> = manager.connected().filter_map(|(_, node, _)| cluster.node(node)).collect();
            let view = |(n, engine)| {
                let is_welcome = connected.iter().any(|node| node.info.name == node_name(n));
                WorkerView { is_welcome, is_lost: false, engine, ledger: None }
            };
            let views: Vec<WorkerView> = engines.iter().enumerate().map(view).collect();
            pending(cluster, manager.cluster_time(now), &views)
        };
        match timeout(Duration::from_secs(5), handle.inspect(look)).await {
            Ok(Ok(pending)) => pending,
            _ => vec!["the manager does not answer".to_string()],
        }
    }

    /// I22: a healed world converges in bounded time, and not just for a moment. I10: it is then what its
    /// users were told.
    async fn converge(&self) -> Result<(), Violation> {
        let begun = Instant::now();
        let mut looks = 0;
        while looks < CONVERGED_LOOKS {
            let pending = self.pending().await;
            looks = if pending.is_empty() { looks + 1 } else { 0 };
            if !pending.is_empty() && begun.elapsed() > CONVERGE_MAX {
                return Err(("I22", pending.join("; ")));
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.record.note("converged", begun.elapsed());
        let cluster = Cluster::restore(self.look().await?).map_err(|what| ("I14", what.to_string()))?;
        acknowledged(&cluster, &self.client.lock().await.known)
    }

    /// I23: a converged world comes to rest. I31: what is not ours was not touched. I14, I10: what is on
    /// the disk then is what is live, without the power as well.
    async fn rest(&self) -> Result<(), Violation> {
        sleep(Duration::from_secs(10)).await;
        let before = self.look().await?;
        sleep(REST).await;
        let after = self.look().await?;
        let cluster = Cluster::restore(after.clone()).map_err(|what| ("I14", what.to_string()))?;
        let restless = is_restless(&cluster, &[]);
        if !restless && before.index != after.index {
            let copy = self.manager.machine.disk.copy();
            let entries = open_log(&copy, false).and_then(|mut log| log.load()).map(|kept| kept.entries);
            let tail: Vec<String> = entries.iter().flatten().rev().take(3).map(|entry| format!("{entry:?}")).collect();
            return Err(("I23", format!("{} more entries, the last: {}", after.index - before.index, tail.join("\n"))));
        }
        if let Some(pending) = self.pending().await.first().filter(|_| !restless) {
            return Err(("I22", format!("converged, and then: {pending}")));
        }
        for worker in &self.workers {
            let touched = worker.runtime.with(|engine| {
                // It may have ended with its machine, but never at our hands.
                engine.container(FOREIGN).is_none_or(|it| !it.is_running() && worker.runtime.reboots() == 0)
            });
            if touched {
                return Err(("I31", "a container that is not ours was touched".to_string()));
            }
        }
        *self.shown() = Some(self.look().await?);
        self.manager.machine.crash(true);
        self.recovers()
    }

    /// The live state.
    async fn look(&self) -> Result<Snapshot, Violation> {
        let handle = self.manager.handle().expect("it has converged");
        let snapshot = timeout(Duration::from_secs(5), handle.inspect(|manager, _| manager.snapshot())).await;
        snapshot.ok().and_then(Result::ok).ok_or(("I22", "converged, and then the manager went away".to_string()))
    }
}

/// Starts again what has ended by itself. Any error of its store ends a process, nothing else does,
/// and a store that nothing was done to has none (I16).
async fn operate(world: Arc<World>, mut ended: mpsc::UnboundedReceiver<End>) {
    while let Some(End { machine, life, error, excused }) = ended.recv().await {
        if !machine.is_life(life) {
            continue;
        }
        world.record.note(if error.is_some() { "store errors" } else { "ends in a write" }, (&machine.name, &error));
        match error {
            Some(error @ StoreError::Io { .. }) if !excused => {
                return world.violated(("I16", format!("{} ended without a reason: {error}", machine.name)));
            }
            None | Some(StoreError::Io { .. }) => {}
            Some(error) => return world.violated(("I10", format!("{} cannot read its disk: {error}", machine.name))),
        }
        let power = world.options.power_losses && world.random.lock().expect("nobody panics with it").chance(500);
        let world = world.clone();
        tokio::spawn(async move { world.outage(&machine, power).await });
    }
}

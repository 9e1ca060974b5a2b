//! What goes wrong, drawn one fault after the other.

use crate::{hosts::WorkerHost, machine::Machine, world::World};
use madsim::{net::NetSim, runtime::Handle};
use orbit_sim::Random;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

fn ms(random: &mut Random, low: u64, high: u64) -> Duration {
    Duration::from_millis(random.between(low, high))
}

/// One fault after the other, until the chaos ends.
pub(crate) async fn wreak(world: Arc<World>, mut random: Random) {
    let options = world.options.clone();
    let end = Instant::now() + Duration::from_millis(options.chaos_ms);
    loop {
        sleep(ms(&mut random, 100, options.chaos_pause_ms_max)).await;
        if Instant::now() >= end {
            return;
        }
        let worker = random.below(world.workers.len());
        let machines = world.workers.len() + 1;
        // The manager is one of several, and the one that matters.
        let machine = match random.below(2) {
            0 => 0,
            _ => random.below(machines),
        };
        let machine = world.machines().nth(machine).expect("there are so many").clone();
        match random.below(10) {
            0 if options.kills => outage(&world, &machine, false),
            1 if options.kills => cut(&world, &machine, &mut random),
            2 if options.power_losses => outage(&world, &machine, true),
            3 if options.pauses => pause(&world, &machine, &mut random),
            4 if options.partitions => partition(&world, worker, &mut random),
            5 if options.partitions => swizzle(&world, &mut random),
            6 if options.engine_faults => engine_down(&world, worker, &mut random),
            7 if options.container_faults => hurt(&world, worker, &mut random),
            8 if options.disk_faults => {
                world.record.note("failing syncs planned", &machine.name);
                machine.disk.fail_next_sync();
            }
            9 if options.disk_faults => fill(&world, &machine, &mut random),
            _ => {}
        }
    }
}

fn outage(world: &Arc<World>, machine: &Arc<Machine>, power: bool) {
    let (world, machine) = (world.clone(), machine.clone());
    tokio::spawn(async move { world.outage(&machine, power).await });
}

/// The process will end in the middle of something that it writes.
fn cut(world: &Arc<World>, machine: &Arc<Machine>, random: &mut Random) {
    world.record.note("ends in a write planned", &machine.name);
    machine.disk.cut_after(random.between(0, 30));
}

fn pause(world: &Arc<World>, machine: &Arc<Machine>, random: &mut Random) {
    if !machine.is_up() {
        return;
    }
    let span = ms(random, 100, 20_000);
    world.record.note("pauses", (&machine.name, span));
    let node = machine.node();
    Handle::current().pause(node);
    tokio::spawn(async move {
        sleep(span).await;
        Handle::current().resume(node);
    });
}

/// One worker, or all of them, cannot be reached, or cannot reach the manager, or both.
fn partition(world: &Arc<World>, worker: usize, random: &mut Random) {
    let (up, down) = [(true, true), (true, false), (false, true)][random.below(3)];
    let victims = if random.chance(200) { 0..world.workers.len() } else { worker..worker + 1 };
    let span = ms(random, 500, 30_000);
    world.record.note("partitions", (&victims, up, down, span));
    for victim in victims {
        stop_links(world, &world.workers[victim], up, down);
        let world = world.clone();
        tokio::spawn(async move {
            sleep(span).await;
            mend(&world, &world.workers[victim]);
        });
    }
}

/// The links of some workers stop one by one, and come back in another order.
fn swizzle(world: &Arc<World>, random: &mut Random) {
    let mut some: Vec<usize> = (0..world.workers.len()).filter(|_| random.chance(600)).collect();
    world.record.note("swizzles", &some);
    let mut random = random.clone();
    // A stream that goes its own way from here.
    random.bits();
    let world = world.clone();
    tokio::spawn(async move {
        for worker in &some {
            sleep(ms(&mut random, 10, 3000)).await;
            if world.is_calm() {
                return;
            }
            stop_links(&world, &world.workers[*worker], true, true);
        }
        while !some.is_empty() {
            sleep(ms(&mut random, 10, 5000)).await;
            mend(&world, &world.workers[some.swap_remove(random.below(some.len()))]);
        }
    });
}

fn stop_links(world: &World, worker: &WorkerHost, up: bool, down: bool) {
    let (net, manager, worker) = (NetSim::current(), world.manager.node.id(), worker.node.id());
    if up {
        net.clog_link(worker, manager);
    }
    if down {
        net.clog_link(manager, worker);
    }
}

/// A worker's links are whole again.
pub(crate) fn mend(world: &World, worker: &WorkerHost) {
    let (net, manager, worker) = (NetSim::current(), world.manager.node.id(), worker.node.id());
    net.unclog_link(worker, manager);
    net.unclog_link(manager, worker);
}

fn engine_down(world: &Arc<World>, worker: usize, random: &mut Random) {
    let engine = world.workers[worker].runtime.clone();
    if engine.with(|engine| engine.is_down()) {
        return;
    }
    // Now and then only those who were connected notice.
    let span = if random.chance(300) { Duration::from_millis(1) } else { ms(random, 100, 15_000) };
    world.record.note("engine outages", (worker, span));
    engine.with(|engine| engine.engine_down(true));
    tokio::spawn(async move {
        sleep(span).await;
        engine.with(|engine| {
            if engine.is_down() {
                engine.engine_down(false);
            }
        });
    });
}

/// Something happens to a container of ours, or somebody tidies up.
fn hurt(world: &Arc<World>, worker: usize, random: &mut Random) {
    world.workers[worker].runtime.with(|engine| {
        let ours = engine.containers().filter(|container| container.identity.is_some());
        let names: Vec<(String, bool)> = ours.map(|it| (it.spec.name.clone(), it.is_running())).collect();
        if names.is_empty() {
            return;
        }
        if random.chance(250) {
            let idle: Vec<_> = names.iter().filter(|(_, runs)| !runs).collect();
            world.record.note("prunes", &idle);
            idle.iter().for_each(|(name, _)| engine.remove_behind_our_back(name));
            return;
        }
        let (name, runs) = &names[random.below(names.len())];
        // What does not run can only be removed.
        let what = if *runs { random.below(5) } else { 4 };
        world.record.note("containers hurt", (name, what));
        match what {
            0 => engine.exit(name, 0),
            1 => engine.exit(name, 1),
            2 => engine.kill(name),
            3 => engine.oom(name),
            _ => engine.remove_behind_our_back(name),
        }
    });
}

/// Somebody else fills the disk, or nearly.
fn fill(world: &Arc<World>, machine: &Arc<Machine>, random: &mut Random) {
    let span = if random.chance(200) { ms(random, 15_000, 60_000) } else { ms(random, 100, 15_000) };
    let low = random.chance(400);
    world.record.note(if low { "low disks" } else { "full disks" }, (&machine.name, span));
    let disk = machine.disk.clone();
    let set = move |on| if low { disk.set_low(on) } else { disk.set_full(on) };
    set(true);
    tokio::spawn(async move {
        sleep(span).await;
        set(false);
    });
}

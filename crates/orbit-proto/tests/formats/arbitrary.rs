//! Any value of every type that has a format.

use orbit_core::{
    model::*,
    state::{KeyRecord, Snapshot},
    worker::{LedgerTask, TimedFence},
};
use proptest::{collection::vec, option::of, prelude::*, strategy::Strategy};
use std::collections::BTreeMap;

fn actor() -> impl Strategy<Value = Actor> {
    proptest::sample::select(&Actor::ALL[..])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z]{1,8}", "\\PC{0,12}"]
}
/// Small and large numbers, so that keys repeat and widths vary.
fn n64() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, any::<u64>()]
}
fn n32() -> impl Strategy<Value = u32> {
    prop_oneof![0..4u32, any::<u32>()]
}
fn time() -> impl Strategy<Value = Time> {
    n64().prop_map(Time)
}
fn millis() -> impl Strategy<Value = Millis> {
    n64().prop_map(Millis)
}
fn uid() -> impl Strategy<Value = Uid> {
    (n32(), n64()).prop_map(|(epoch, index)| Uid { epoch, index })
}
fn task_id() -> impl Strategy<Value = TaskId> {
    (n32(), n64(), n32()).prop_map(|(epoch, index, ordinal)| TaskId { index, epoch, ordinal })
}
fn node_id() -> impl Strategy<Value = NodeId> {
    n32().prop_map(NodeId)
}
fn ports() -> impl Strategy<Value = Box<[u16]>> {
    vec(any::<u16>(), 0..4).prop_map(Vec::into_boxed_slice)
}
fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..4)
}
fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Service), Just(Kind::Task)]
}
fn resources() -> impl Strategy<Value = Resources> {
    (n64(), n64()).prop_map(|(cpu_millis, memory_bytes)| Resources { cpu_millis, memory_bytes })
}
fn constraint() -> impl Strategy<Value = Constraint> {
    let attribute = prop_oneof![
        Just(Attribute::Name),
        Just(Attribute::Arch),
        Just(Attribute::Os),
        text().prop_map(Attribute::Label),
    ];
    (attribute, any::<bool>(), text()).prop_map(|(attribute, equal, value)| Constraint { attribute, equal, value })
}
fn placement() -> impl Strategy<Value = Placement> {
    let strategy = prop_oneof![Just(orbit_core::model::Strategy::Binpack), Just(orbit_core::model::Strategy::Spread)];
    (strategy, vec(constraint(), 0..3)).prop_map(|(strategy, constraints)| Placement { strategy, constraints })
}
fn restart() -> impl Strategy<Value = Restart> {
    let policy = prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)];
    (policy, millis(), millis(), millis(), of(n32())).prop_map(
        |(policy, backoff_initial, backoff_max, reset_after, jitter_percent)| Restart {
            policy,
            backoff_initial,
            backoff_max,
            reset_after,
            jitter_percent,
        },
    )
}
fn port() -> impl Strategy<Value = Port> {
    let protocol = proptest::sample::select(Protocol::ALL.to_vec());
    (text(), any::<u16>(), of(any::<u16>()), protocol, of(any::<std::net::IpAddr>()))
        .prop_map(|(name, container, host, protocol, host_ip)| Port { name, container, host, protocol, host_ip })
}
fn stop() -> impl Strategy<Value = Stop> {
    (millis(), of(text()), millis()).prop_map(|(delay, signal, grace)| Stop { delay, signal, grace })
}
// Boxed, as other large parts are: what is built of them has to fit on a test's stack.
fn probe() -> BoxedStrategy<Probe> {
    let ask = prop_oneof![
        (text(), text()).prop_map(|(port, path)| ProbeAsk::Http { port, path }),
        text().prop_map(|port| ProbeAsk::Tcp { port }),
        vec(text(), 0..3).prop_map(ProbeAsk::Command),
    ];
    (ask, millis(), millis(), n32(), millis())
        .prop_map(|(ask, interval, timeout, retries, start_period)| Probe {
            ask,
            interval,
            timeout,
            retries,
            start_period,
        })
        .boxed()
}
fn probes() -> impl Strategy<Value = Probes> {
    (of(probe().prop_map(Box::new)), of(probe().prop_map(Box::new)))
        .prop_map(|(health, ready)| Probes { health, ready })
}
fn probed() -> impl Strategy<Value = Probed> {
    let found = || of(any::<bool>());
    (found(), found(), found()).prop_map(|(health, ready, image)| Probed { health, ready, image })
}
fn limits() -> impl Strategy<Value = Limits> {
    (of(n64()), of(n64())).prop_map(|(cpu_millis, memory_bytes)| Limits { cpu_millis, memory_bytes })
}
fn security() -> impl Strategy<Value = Security> {
    let names = || proptest::collection::btree_set(text(), 0..3);
    (names(), names(), any::<bool>(), any::<bool>()).prop_map(
        |(capabilities_added, capabilities_dropped, read_only_root, no_new_privileges)| Security {
            capabilities_added,
            capabilities_dropped,
            read_only_root,
            no_new_privileges,
        },
    )
}
fn dns() -> impl Strategy<Value = Dns> {
    let texts = || vec(text(), 0..3);
    (vec(any::<std::net::IpAddr>(), 0..3), texts(), texts()).prop_map(|(servers, search, options)| Dns {
        servers,
        search,
        options,
    })
}
fn host_access() -> impl Strategy<Value = HostAccess> {
    let mount = (text(), text(), any::<bool>()).prop_map(|(host, path, read_only)| HostMount { host, path, read_only });
    let device = (text(), text(), text()).prop_map(|(host, path, access)| Device { host, path, access });
    let network = proptest::sample::select(Network::ALL.to_vec());
    (vec(mount, 0..3), vec(device, 0..3), network, any::<[bool; 3]>()).prop_map(
        |(mounts, devices, network, [privileged, seccomp_unconfined, apparmor_unconfined])| HostAccess {
            mounts,
            devices,
            network,
            privileged,
            seccomp_unconfined,
            apparmor_unconfined,
        },
    )
}
fn grant() -> impl Strategy<Value = Grant> {
    let words = [Grant::Privileged, Grant::Devices, Grant::HostNetwork, Grant::DockerSocket, Grant::Unconfined];
    prop_oneof![
        proptest::sample::select(words.to_vec()),
        "[ABD-Z]{1,8}".prop_map(Grant::Capability),
        "(/[a-z ]{1,4}){1,3}".prop_map(Grant::HostPath),
    ]
}
fn setup() -> BoxedStrategy<Setup> {
    let tmpfs = (text(), of(n64())).prop_map(|(path, size_bytes)| Tmpfs { path, size_bytes });
    let ulimit = (any::<i64>(), any::<i64>()).prop_map(|(soft, hard)| Ulimit { soft, hard });
    let logging = (of(text()), map()).prop_map(|(driver, options)| Logging { driver, options });
    let texts = (of(text()), of(text()), of(text()), any::<[bool; 3]>());
    let memory = (vec(tmpfs, 0..3), of(n64()));
    let kernel = (security(), proptest::collection::btree_map(text(), ulimit, 0..3), map());
    let access = proptest::sample::select(Access::ALL.to_vec());
    let volume = (text(), text(), any::<bool>(), access).prop_map(|(volume, path, read_only, access)| VolumeMount {
        volume,
        path,
        read_only,
        access,
    });
    let places = (host_access(), vec(volume, 0..3));
    let setup = (texts, memory, kernel, map(), dns(), of(logging), map(), places).prop_map(
        |(texts, (tmpfs, shm_bytes), (security, ulimits, sysctls), extra_hosts, dns, logging, labels, places)| {
            let (host, volumes) = places;
            let (user, working_dir, hostname, [init, tty, stdin]) = texts;
            Setup {
                user,
                working_dir,
                hostname,
                init,
                tty,
                stdin,
                tmpfs,
                shm_bytes,
                security,
                ulimits,
                sysctls,
                extra_hosts,
                dns,
                logging,
                labels,
                host,
                volumes,
            }
        },
    );
    prop_oneof![Just(Setup::default()), setup].boxed()
}
pub fn spec() -> BoxedStrategy<Spec> {
    let texts = || vec(text(), 0..3);
    let pull = proptest::sample::select(Pull::ALL.to_vec());
    let first = (text(), pull, texts(), texts(), map(), resources());
    let fence = proptest::sample::select(vec![Fence::None, Fence::Timed, Fence::Confirmed]);
    let disconnect = (of(millis()), any::<bool>(), fence).prop_map(|(replace_after, original, fence)| Disconnect {
        replace_after,
        keep: if original { Keep::Original } else { Keep::Replacement },
        fence,
    });
    let kind = proptest::sample::select(vec![Kind::Service, Kind::Task]);
    let until = proptest::sample::select(Until::ALL.to_vec());
    let after = (kind, text(), until).prop_map(|(kind, name, until)| After { kind, name, until });
    let last = (stop(), probes(), disconnect, limits(), setup(), vec(after, 0..3));
    (first, n32(), vec(port(), 0..3), placement(), restart(), last)
        .prop_map(|(first, pids_max, ports, placement, restart, last)| {
            let (stop, probes, disconnect, limits, setup, after) = last;
            let (image, pull, command, args, env, resources) = first;
            Spec {
                container: Container {
                    image,
                    pull,
                    command,
                    args,
                    env,
                    resources,
                    limits,
                    pids_max,
                    ports,
                    stop,
                    probes,
                    setup,
                },
                placement,
                restart,
                disconnect,
                after,
            }
        })
        .boxed()
}
fn state() -> impl Strategy<Value = TaskState> {
    proptest::sample::select(TaskState::ALL.to_vec())
}
fn desired() -> impl Strategy<Value = Desired> {
    prop_oneof![Just(Desired::Running), Just(Desired::Stopped)]
}
fn end() -> impl Strategy<Value = End> {
    let reason = proptest::sample::select(Reason::ALL.to_vec());
    (reason, of(any::<i32>()), of(any::<u16>()), text()).prop_map(|(reason, exit_code, port, message)| End {
        reason,
        exit_code,
        port,
        message,
    })
}
fn report() -> BoxedStrategy<TaskReport> {
    (task_id(), state(), of(end()), any::<u64>(), probed(), text(), of(text()), of(text()))
        .prop_map(|(task, state, end, ago, probed, why, digest, image_id)| TaskReport {
            digest,
            image_id,
            task,
            state,
            end,
            ended_ago: Millis(ago),
            probed,
            why,
        })
        .boxed()
}
/// As an honest worker sends them.
fn sorted_reports() -> impl Strategy<Value = Vec<TaskReport>> {
    vec((report(), end()), 0..4).prop_map(|list| {
        let honest =
            |(report, end): (TaskReport, End)| TaskReport { end: report.state.is_terminal().then_some(end), ..report };
        let mut list: Vec<TaskReport> = list.into_iter().map(honest).collect();
        list.sort();
        list
    })
}
fn info() -> impl Strategy<Value = NodeInfo> {
    let address = || of(any::<std::net::IpAddr>());
    let pinned = || of(vec(any::<(u16, u16)>(), 0..3));
    // In the order of their words, as a worker sends them.
    let allowed = proptest::collection::vec(grant(), 0..3).prop_map(|grants| {
        let by_word: std::collections::BTreeMap<_, _> = grants.into_iter().map(|it| (it.to_string(), it)).collect();
        by_word.into_values().collect()
    });
    let places = (any::<(u16, u16)>(), address(), pinned());
    (n64(), text(), map(), text(), text(), resources(), places, allowed).prop_map(
        |(uid, name, labels, arch, os, allocatable, (port_range, address, pinned_ports), allowed)| NodeInfo {
            uid: NodeUid(uid),
            name,
            labels,
            arch,
            os,
            allocatable,
            port_range,
            address,
            versions: Box::new(Versions {
                worker: format!("1.{}", port_range.0),
                engine: format!("Docker {}", port_range.1),
                spec_level: port_range.0.into(),
            }),
            pinned_ports: pinned_ports.map(Vec::into_boxed_slice),
            allowed,
        },
    )
}
fn reach() -> impl Strategy<Value = Reach> {
    of(time()).prop_map(|since| match since {
        None => Reach::Reachable,
        Some(silent_since) => Reach::Unreachable { silent_since },
    })
}
fn decision() -> impl Strategy<Value = Decision> {
    let refusals = (text(), n32(), text()).prop_map(|(filter, nodes, example)| Refusals { filter, nodes, example });
    (n64(), n32(), n32(), vec(refusals, 0..3), vec((node_id(), n64()), 0..3))
        .prop_map(|(parent, placed, unplaced, refusals, best)| Decision { parent, placed, unplaced, refusals, best })
}
fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![Just(Condition::None), n64().prop_map(Condition::Revision), Just(Condition::Absent)]
}
fn target() -> impl Strategy<Value = Target> {
    (node_id(), ports()).prop_map(|(node, host_ports)| Target { node, host_ports })
}
fn create() -> impl Strategy<Value = Create> {
    (uid(), n32(), n32(), of(task_id()), of(target())).prop_map(|(workload, version, slot, after, target)| Create {
        workload,
        version,
        slot,
        after,
        target,
    })
}
fn plan() -> impl Strategy<Value = Plan> {
    let place = (task_id(), target()).prop_map(|(task, target)| Place { task, target });
    let ids = || vec(task_id(), 0..6);
    let first = (n64(), vec(create(), 0..8), vec(place, 0..8), ids(), ids());
    let steps = [RolloutStep::Extend, RolloutStep::AwaitPromotion, RolloutStep::Fail, RolloutStep::Finish];
    let rollouts = vec((uid(), n32(), proptest::sample::select(steps.to_vec())), 0..3);
    (first, vec((uid(), n32()), 0..3), vec(uid(), 0..3), vec((uid(), decision()), 0..2), rollouts).prop_map(
        |((parent, creates, places, stops, removes), trims, drops, decisions, rollouts)| Plan {
            rollouts,
            parent,
            creates,
            places,
            stops,
            removes,
            trims,
            drops,
            decisions,
        },
    )
}
fn update() -> impl Strategy<Value = Update> {
    prop_oneof![
        Just(Update::ONE_BY_ONE),
        (n32(), n32(), millis(), n32(), of(millis()), n32(), proptest::sample::select(&OnFailure::ALL[..])).prop_map(
            |(max_surge, max_unavailable, min_healthy, canary, deadline, max_failures, on_failure)| Update {
                max_surge,
                max_unavailable,
                min_healthy,
                canary,
                deadline,
                max_failures,
                on_failure
            }
        ),
    ]
}
fn command() -> impl Strategy<Value = Command> {
    let definition =
        (kind(), text(), map(), n32(), update(), spec()).prop_map(|(kind, name, labels, replicas, update, spec)| {
            Definition { kind, name, labels, replicas, update, spec }
        });
    let edge = (node_id(), n64(), reach()).prop_map(|(node, incarnation, reach)| ReachabilityChange {
        node,
        incarnation,
        reach,
    });
    let disk = (node_id(), n64(), any::<bool>());
    let disk = disk.prop_map(|(node, incarnation, full)| DiskChange { node, incarnation, full });
    prop_oneof![
        n64().prop_map(|id| Command::Init { cluster: ClusterId(id) }),
        n64().prop_map(|seed| Command::Barrier { seed }),
        (definition, condition(), any::<bool>(), of(text())).prop_map(
            |(definition, condition, keeps_replicas, key)| {
                Command::Put(Put { definition, condition, keeps_replicas, idempotency_key: key })
            }
        ),
        (text(), n32(), condition()).prop_map(|(name, replicas, condition)| Command::Scale {
            name,
            replicas,
            condition
        }),
        (kind(), text(), condition()).prop_map(|(kind, name, condition)| Command::Delete { kind, name, condition }),
        (text(), condition()).prop_map(|(name, condition)| Command::Restart { name, condition }),
        (text(), rollout_order(), condition()).prop_map(|(name, order, condition)| Command::Rollout {
            name,
            order,
            condition
        }),
        task_id().prop_map(|task| Command::StopTask { task }),
        (info(), vec(report(), 0..3)).prop_map(|(info, inventory)| Command::Register(Registration { info, inventory })),
        vec(edge, 0..3).prop_map(Command::Reach),
        vec(disk, 0..3).prop_map(Command::Disks),
        any::<bool>().prop_map(|adopt| Command::SettleUnknown { adopt }),
        vec(node_reports(), 0..3).prop_map(Command::Reports),
        text().prop_map(|name| Command::Forget { name }),
        text().prop_map(|name| Command::RemoveVolume { name }),
        (text(), availability_order()).prop_map(|(name, order)| Command::SetAvailability { name, order }),
        plan().prop_map(Command::Plan),
        (node_id(), uid(), n32(), end()).prop_map(|(node, workload, version, end)| Command::PrefetchFailed {
            node,
            workload,
            version,
            end,
        }),
    ]
}
fn rollout_order() -> impl Strategy<Value = RolloutOrder> {
    prop_oneof![
        Just(RolloutOrder::Pause),
        Just(RolloutOrder::Resume),
        Just(RolloutOrder::Promote),
        of(n32()).prop_map(|to| RolloutOrder::Undo { to }),
    ]
}
fn rollout() -> impl Strategy<Value = Rollout> {
    use RolloutState::*;
    let state = proptest::sample::select(vec![Running, Paused, Canary, Failed, Done]);
    (state, time(), time(), n32(), any::<bool>(), of(n32()), n32()).prop_map(
        |(state, since, progress_at, settled, promoted, failed, failures)| Rollout {
            state,
            since,
            progress_at,
            settled,
            promoted,
            failed,
            failures,
        },
    )
}
fn availability_order() -> impl Strategy<Value = AvailabilityOrder> {
    prop_oneof![
        Just(AvailabilityOrder::Uncordon),
        Just(AvailabilityOrder::Cordon),
        of(millis()).prop_map(|deadline| AvailabilityOrder::Drain { deadline }),
    ]
}
fn availability() -> impl Strategy<Value = Availability> {
    prop_oneof![
        Just(Availability::Active),
        Just(Availability::Cordoned),
        (time(), of(time())).prop_map(|(since, deadline)| Availability::Draining { since, deadline }),
    ]
}
pub fn entry() -> impl Strategy<Value = Entry> {
    (n64(), n64(), time(), n64(), actor(), command()).prop_map(|(index, term, at, wall_ms, actor, command)| Entry {
        actor,
        index,
        term,
        at,
        wall_ms,
        command,
    })
}
fn sorted_ids() -> impl Strategy<Value = Vec<TaskId>> {
    vec(task_id(), 0..6).prop_map(|mut ids| {
        ids.sort();
        ids
    })
}
fn node_reports() -> impl Strategy<Value = NodeReports> {
    (node_id(), n64(), vec(report(), 0..3)).prop_map(|(node, incarnation, reports)| NodeReports {
        node,
        incarnation,
        reports,
    })
}
pub fn to_manager() -> impl Strategy<Value = ToManager> {
    prop_oneof![
        (of(n64()), (n32(), n64()), n64(), info(), sorted_reports(), any::<(bool, bool)>()).prop_map(
            |(cluster, seen, nonce, info, inventory, (takes_parts, prefetches))| ToManager::Register(Hello {
                cluster: cluster.map(ClusterId),
                seen,
                nonce,
                info,
                inventory,
                takes_parts,
                prefetches,
            })
        ),
        (n64(), n64(), any::<bool>()).prop_map(|(seq, assigned_seq, disk_full)| ToManager::Heartbeat {
            seq,
            assigned_seq,
            disk_full
        }),
        (n64(), sorted_reports()).prop_map(|(seq, reports)| ToManager::Report { seq, reports }),
        Just(ToManager::ProbeAck),
        (uid(), n32(), of(end())).prop_map(|(workload, version, failure)| ToManager::Prefetched {
            workload,
            version,
            failure
        }),
    ]
}
fn assigned() -> impl Strategy<Value = Assigned> {
    let specs = vec(spec().prop_map(std::sync::Arc::new), 1..4);
    let labels = (kind(), text(), n32());
    let image = prop_oneof![
        Just(ImageBytes::AsWritten),
        Just(ImageBytes::Unresolved),
        text().prop_map(|digest| ImageBytes::Digest(digest.into())),
    ];
    let mounted = (ports(), vec(uid(), 0..3));
    let order = (task_id(), n32(), desired(), any::<bool>(), labels, spec(), mounted, image).prop_map(
        |(task, generation, desired, ended, (kind, name, slot), spec, (host_ports, volumes), image)| Assignment {
            image,
            task,
            generation,
            desired,
            ended,
            kind,
            name: name.into(),
            slot,
            spec: spec.into(),
            host_ports,
            volumes: volumes.into(),
        },
    );
    // Most orders share a spec with others, some have one of their own.
    let tasks = vec((order, of(any::<prop::sample::Index>())), 0..8);
    (n64(), any::<bool>(), specs, tasks, sorted_ids(), sorted_ids()).prop_map(
        |(seq, full, specs, tasks, follow, removed)| {
            let share = |(order, which): (Assignment, Option<prop::sample::Index>)| match which {
                Some(which) => Assignment { spec: which.get(&specs).clone(), ..order },
                None => order,
            };
            let mut tasks: Vec<Assignment> = tasks.into_iter().map(share).collect();
            tasks.sort_by_key(|t| t.task);
            Assigned { seq, full, tasks, follow, removed }
        },
    )
}
pub fn to_worker() -> impl Strategy<Value = ToWorker> {
    let logs = (any::<bool>(), of(n32()), of(n64()), any::<bool>())
        .prop_map(|(follow, tail, since_s, timestamps)| StreamOf::Logs(LogRange { follow, tail, since_s, timestamps }));
    let exec = (vec(text(), 1..4), any::<bool>(), any::<bool>())
        .prop_map(|(command, tty, stdin)| StreamOf::Exec(ExecRequest { command, tty, stdin }));
    let stream = (any::<[u8; 16]>(), task_id(), prop_oneof![logs, exec])
        .prop_map(|(token, task, what)| StreamRequest { token: StreamToken(token), task, what });
    // A heartbeat or a lease of no time at all is refused.
    let some = |span: Millis| span.max(Millis(1));
    prop_oneof![
        (n64(), n32(), n64(), node_id(), n64(), millis(), millis(), assigned()).prop_map(
            move |(cluster, epoch, term, node, incarnation, heartbeat, lease, assigned)| ToWorker::Welcome(Welcome {
                cluster: ClusterId(cluster),
                epoch,
                term,
                node,
                incarnation,
                heartbeat: some(heartbeat),
                lease: some(lease),
                assigned,
            })
        ),
        text().prop_map(|message| ToWorker::Refused { message }),
        assigned().prop_map(ToWorker::Assigned),
        n64().prop_map(|seq| ToWorker::HeartbeatAck { seq }),
        (n64(), vec((task_id(), state(), probed()), 0..4)).prop_map(|(seq, mut states)| {
            states.sort();
            ToWorker::Committed { seq, states }
        }),
        Just(ToWorker::Probe),
        (uid(), n32(), text(), any_pull(), millis()).prop_map(|(workload, version, image, pull, keep)| {
            ToWorker::Prefetch { workload, version, image, pull, keep }
        }),
        stream.prop_map(ToWorker::Open),
    ]
}
fn node() -> impl Strategy<Value = Node> {
    let quarantined = proptest::collection::btree_map(any::<u16>(), time(), 0..3);
    let workloads = proptest::collection::btree_set(uid(), 0..3);
    let failed = (n32(), workloads, of(time())).prop_map(|(count, workloads, avoided_until)| FailedStarts {
        count,
        workloads,
        avoided_until,
    });
    let failed = (failed, of(time()), proptest::collection::btree_set(task_id(), 0..3));
    (info(), n64(), time(), reach(), availability(), quarantined, any::<u16>(), failed).prop_map(
        |(
            info,
            incarnation,
            at,
            reach,
            availability,
            quarantined,
            next_port,
            (failed_starts, disk_full_since, unknown),
        )| {
            let mut node = Node::bare(NodeId(0), info, incarnation, at, reach, availability, quarantined, next_port);
            (node.failed_starts, node.disk_full_since, node.unknown) = (failed_starts, disk_full_since, unknown);
            node
        },
    )
}
fn workload() -> impl Strategy<Value = Workload> {
    let version = (n32(), spec(), time(), any::<bool>(), any::<bool>(), of(text()), of(text())).prop_map(
        |(number, spec, created_at, is_restart, was_stable, digest, image_id)| {
            let mut version = Version::bare(number.max(1), std::sync::Arc::new(spec), created_at);
            (version.is_restart, version.was_stable) = (is_restart, was_stable);
            (version.digest, version.image_id) = (digest.map(Into::into), image_id.map(Into::into));
            version
        },
    );
    let slot = (n32(), n32(), time(), n32());
    let slot = slot.prop_map(|(failures, version, not_before, own)| Slot::bare(failures, version, not_before, own));
    let first = (uid(), kind(), text(), map(), n32(), update(), n64(), time());
    let more = (any::<usize>(), of(n32()), rollout());
    (first, vec(version, 0..3), any::<bool>(), of(decision()), vec(slot, 0..4), more).prop_map(
        |(
            (uid, kind, name, labels, replicas, update, revision, created_at),
            versions,
            deleting,
            decision,
            slots,
            (current, stable, rollout),
        )| {
            Workload {
                version: versions.get(current % versions.len().max(1)).map_or(0, |version| version.number),
                stable,
                rollout: (kind == Kind::Service).then_some(rollout),
                uid,
                kind,
                name: name.into(),
                labels,
                replicas,
                update,
                revision,
                created_at,
                versions,
                deleting,
                decision,
                slots,
            }
        },
    )
}
fn task() -> BoxedStrategy<Task> {
    let first = (task_id(), uid(), n32(), n32(), time());
    let times = (of(time()), of(time()), of(time()));
    (first, of(node_id()), n32(), state(), desired(), ports(), of(end()), times, probed())
        .prop_map(
            |((id, workload, slot, version, at), node, generation, state, desired, host_ports, end, times, probed)| {
                let (running, serving, ended) = times;
                let mut task = Task::new(id, workload, slot, version, at);
                task.node = node;
                task.generation = generation;
                task.state = state;
                task.desired = desired;
                task.host_ports = host_ports;
                task.end = end.map(Box::new);
                task.running_at = running;
                task.serving_since = serving.filter(|_| running.is_some());
                task.probed = probed;
                task.ended_at = ended;
                task
            },
        )
        .boxed()
}
pub fn snapshot() -> impl Strategy<Value = Snapshot> {
    let answer = prop_oneof![
        (uid(), n64(), n32(), any::<bool>(), of(task_id())).prop_map(|(uid, revision, version, created, task)| {
            Answer::Workload { uid, revision, version, created, task }
        }),
        (node_id(), n64()).prop_map(|(node, incarnation)| Answer::Node { node, incarnation }),
        Just(Answer::Done),
    ];
    let key = (text(), n64(), answer).prop_map(|(key, fingerprint, answer)| KeyRecord { key, fingerprint, answer });
    let subject = prop_oneof![
        Just(Subject::Node),
        (kind(), uid(), text()).prop_map(|(kind, uid, name)| Subject::Workload(kind, uid, name.into())),
    ];
    let what = proptest::sample::select(&What::ALL[..]);
    let event = (n64(), time(), actor(), what, subject, of(task_id()), of((node_id(), text())), text()).prop_map(
        |(index, at, actor, what, subject, task, node, message)| HistoryEvent {
            index,
            at,
            actor,
            what,
            subject,
            task,
            node: node.as_ref().map(|(id, _)| *id),
            // Nobody has an empty name, which stands for one that an older snapshot leaves to its nodes.
            node_name: node.map_or_else(Default::default, |(_, name)| format!("n{name}").into()),
            message,
        },
    );
    let head = (of(n64()), n32(), n32(), n64(), n64(), time(), n64(), n64());
    let volume = (text(), uid(), n64(), text(), time()).prop_map(|(name, uid, node, node_name, at)| {
        Volume::bare(name.into(), uid, NodeUid(node), node_name.into(), at)
    });
    let tasks = (vec(task(), 0..8), vec(volume, 0..4));
    (head, vec(node(), 0..4), vec(workload(), 0..4), tasks, vec(key, 0..4), vec(event, 0..4)).prop_map(
        |(
            (cluster, epoch, schema, index, term, at, wall_ms, seed),
            mut nodes,
            mut workloads,
            (mut tasks, volumes),
            keys,
            history,
        )| {
            // Every second one was forgotten, and so was the last that was given.
            nodes.iter_mut().zip(0..).for_each(|(node, id)| node.id = NodeId(2 * id + 1));
            let next_node = NodeId(2 * nodes.len() as u32 + 1);
            workloads.sort_by_key(|w| w.uid);
            workloads.dedup_by_key(|w| w.uid);
            tasks.sort_by_key(|t| t.id);
            tasks.dedup_by_key(|t| t.id);
            let cluster = cluster.map(ClusterId);
            Snapshot {
                cluster,
                epoch,
                unknown: [UnknownTasks::Removed, UnknownTasks::Held, UnknownTasks::Adopted][epoch as usize % 3],
                schema,
                index,
                term,
                at,
                wall_ms,
                seed,
                nodes,
                next_node,
                workloads,
                tasks,
                volumes,
                keys,
                history,
            }
        },
    )
}
pub fn ledger_task() -> impl Strategy<Value = LedgerTask> {
    let fence = of((millis(), millis()).prop_map(|(after, grace)| TimedFence { after, grace }));
    let container = of("[0-9a-f]{0,64}");
    (any::<bool>(), container, of(report()), fence, any::<bool>())
        .prop_map(|(attempted, container, end, fence, fenced)| LedgerTask { attempted, container, end, fence, fenced })
}
fn any_pull() -> impl Strategy<Value = Pull> {
    prop_oneof![Just(Pull::Missing), Just(Pull::Always), Just(Pull::Never)]
}

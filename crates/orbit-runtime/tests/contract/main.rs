//! What a worker may rely on, whatever engine is behind `ContainerRuntime`.
//!
//! Each test of the contract is written once and runs against the fake and, where an engine answers,
//! against Docker with the image of `examples/web`. So the fake is known to behave like the real one,
//! and what the simulator finds out with it holds.

#![cfg(all(feature = "docker", not(madsim)))]

mod docker;
mod engine;
mod fake;

use engine::{Does, Engine, TestEngine, soon, text};
use futures_util::{FutureExt, StreamExt};
use orbit_core::model::{ExecRequest, LogRange, Logging, Millis, NodeUid, Protocol, Pull, Security, Setup, Tmpfs};
use orbit_core::worker::{
    ContainerSpec, ContainerState, EngineContainer, EngineVolume, ImageFound, Op, OpErrorKind, OpOutput, OpResult,
    ProbeOf, Published,
};
use orbit_runtime::{ExecInput, ExecOutput, Identity};

/// Makes of each function a test against the fake and one against Docker.
macro_rules! contract {
    ($($test:ident)*) => {
        mod on_fake {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::fake::engine()).await;
            })*
        }
        mod on_docker {
            $(#[tokio::test]
            async fn $test() {
                if let Some(engine) = crate::docker::engine().await {
                    super::$test(engine).await;
                }
            })*
        }
    };
}

contract! {
    the_life_of_a_container_with_every_step_taken_twice
    a_name_is_taken_unless_by_the_same_task_with_the_same_spec
    how_it_is_set_up_changes_nothing_in_the_life_of_a_container
    a_volume_that_was_made_before_and_is_gone_is_not_made_again
    an_image_that_is_absent_is_missing_and_cannot_be_had
    an_image_goes_by_its_reference_if_it_is_the_one_that_is_meant_and_no_container_is_of_it
    a_pull_that_hangs_ends_at_its_deadline
    a_bad_entrypoint_is_refused_at_the_start_and_leaves_a_created_container
    an_image_that_cannot_be_run_fails_without_saying_that_it_is_to_blame
    an_exit_code_is_seen_by_inspection_and_in_the_list
    a_kill_from_outside_is_hinted_at_and_told_apart_from_want_of_memory
    want_of_memory_is_told_apart_from_a_kill
    a_port_is_taken_while_its_holder_runs
    a_port_that_a_process_holds_is_taken
    a_port_is_taken_for_its_protocol_alone
    only_the_owners_containers_are_seen
    a_probe_is_answered_by_what_runs_and_by_nobody_for_what_does_not
    a_stop_that_is_ignored_ends_in_a_kill_after_the_grace
    a_stop_sends_the_signal_of_the_spec
    what_somebody_stops_ends_as_its_program_does
    what_somebody_pauses_runs_and_can_be_stopped
    logs_are_whole_or_a_tail_and_are_followed_to_the_end
    a_process_in_a_container_is_fed_and_heard_to_its_end
    a_process_cannot_be_started_where_nothing_runs
    a_container_removed_by_another_is_absent_and_hinted_at
    a_container_is_known_by_its_id_whatever_it_is_called_and_one_with_its_labels_is_another
    an_engine_out_of_reach_says_nothing_about_containers
    an_engine_describes_its_machine
}

const NO_HURRY: Millis = Millis(10_000);
const FOLLOW: LogRange = LogRange { follow: true, tail: None, since_s: None, timestamps: false };

fn exited(code: i32) -> ContainerState {
    ContainerState::Exited { code, out_of_memory: false }
}

async fn the_life_of_a_container_with_every_step_taken_twice(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let Engine { owner, .. } = *engine.base();
    let name = spec.name.clone();
    let identity = engine.base().identity_of(&spec);
    let seen = |id: &String, state| {
        let (id, name, Identity { task, spec, .. }) = (id.clone(), name.clone(), identity);
        Some(EngineContainer { id, name, task, spec, state, image_health: None })
    };
    let stop = || Op::Stop { name: name.clone(), grace: NO_HURRY };

    assert_eq!(engine.inspect(&name).await, None);
    let id = &engine.create(spec.clone()).await;
    assert_eq!(engine.create(spec.clone()).await, *id);
    assert_eq!(engine.inspect(&name).await, seen(id, ContainerState::Created));
    assert_eq!(engine.perform(stop()).await, Ok(OpOutput::Done), "nothing runs, so nothing is to be done");
    assert_eq!(engine.inspect(&name).await, seen(id, ContainerState::Created));
    for _ in 0..2 {
        assert_eq!(engine.perform(Op::Start(name.clone())).await, Ok(OpOutput::Done));
        assert_eq!(engine.inspect(&name).await, seen(id, ContainerState::Running));
    }
    assert_eq!(engine.create(spec.clone()).await, *id, "it is there");
    assert_eq!(engine.list(owner).await, Vec::from_iter(seen(id, ContainerState::Running)));
    assert_eq!(engine.fails(Op::Remove(name.clone())).await, OpErrorKind::Refused, "it runs");
    for _ in 0..2 {
        assert_eq!(engine.perform(stop()).await, Ok(OpOutput::Done));
        assert_eq!(engine.inspect(&name).await, seen(id, exited(143)));
    }
    assert_eq!(engine.perform(Op::Start(name.clone())).await, Ok(OpOutput::Done), "it was started already");
    assert_eq!(engine.inspect(&name).await, seen(id, exited(143)), "and is not started again");
    for _ in 0..2 {
        assert_eq!(engine.perform(Op::Remove(name.clone())).await, Ok(OpOutput::Done));
        assert_eq!(engine.inspect(&name).await, None);
    }
    assert_eq!(engine.list(owner).await, []);
    assert_eq!(engine.fails(Op::Start(name.clone())).await, OpErrorKind::NotFound);
    assert_eq!(engine.fails(stop()).await, OpErrorKind::NotFound);
}

async fn a_probe_is_answered_by_what_runs_and_by_nobody_for_what_does_not(mut engine: impl TestEngine) {
    let mut spec = engine.spec(Does::EndWell);
    spec.env = vec![("PORT".to_owned(), "8080".to_owned())];
    let name = spec.name.clone();
    let probe = |timeout| Op::Probe { name: name.clone(), ask: ProbeOf::Tcp(8080), timeout: Millis(timeout) };
    assert_eq!(engine.fails(probe(1000)).await, OpErrorKind::NotFound, "there is no container");
    engine.run(spec).await;
    let answered = async {
        while engine.perform(probe(1000)).await != Ok(OpOutput::Done) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    soon(answered).await;
    engine.done(Op::Stop { name: name.clone(), grace: NO_HURRY }).await;
    assert_eq!(engine.fails(probe(1000)).await, OpErrorKind::Refused, "it does not run");
    engine.done(Op::Remove(name.clone())).await;
}

async fn a_name_is_taken_unless_by_the_same_task_with_the_same_spec(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let ours = engine.base().identity_of(&spec);
    engine.create(spec.clone()).await;
    let mut other = spec.clone();
    other.labels = engine.base().labels(Identity { spec: ours.spec + 1, ..ours });
    assert_eq!(engine.fails(Op::Create(Box::new(other))).await, OpErrorKind::NameTaken);

    let foreign = engine.spec(Does::Run);
    engine.add_foreign(&foreign.name).await;
    assert_eq!(engine.fails(Op::Create(Box::new(foreign.clone()))).await, OpErrorKind::NameTaken);
    assert_eq!(engine.inspect(&foreign.name).await, None, "it is not ours to see");
    assert!(engine.foreign_runs(&foreign.name).await);
}

async fn how_it_is_set_up_changes_nothing_in_the_life_of_a_container(mut engine: impl TestEngine) {
    let mut spec = engine.spec(Does::Run);
    let identity = engine.base().identity_of(&spec);
    let label = ("team".to_owned(), "shop".to_owned());
    spec.labels.push(label.clone());
    spec.setup = Setup {
        init: true,
        tty: true,
        stdin: true,
        hostname: Some("db".to_owned()),
        tmpfs: vec![Tmpfs { path: "/tmp".to_owned(), size_bytes: Some(1 << 20) }],
        security: Security { read_only_root: true, ..Security::default() },
        logging: Some(Logging::default()),
        ..Setup::default()
    };
    let name = engine.run(spec).await;
    let found = engine.inspect(&name).await.expect("it is there");
    assert_eq!((found.task, found.spec, found.state), (identity.task, identity.spec, ContainerState::Running));
    assert_eq!(engine.list(identity.owner).await, [found]);
    engine.done(Op::Stop { name: name.clone(), grace: Millis::secs(10) }).await;
    engine.ended(&name).await;
    engine.done(Op::Remove(name.clone())).await;
    assert_eq!(engine.inspect(&name).await, None);
}

async fn a_volume_that_was_made_before_and_is_gone_is_not_made_again(mut engine: impl TestEngine) {
    let base = engine.spec(Does::Run);
    let name = format!("orbit-contract-{}", engine.base().owner.cluster);
    let with_volume = |is_made| {
        let (name, volume, path) = (name.clone(), "data".to_owned(), "/data".to_owned());
        ContainerSpec { volumes: vec![EngineVolume { name, volume, path, read_only: false, is_made }], ..base.clone() }
    };
    let refused = engine.perform(Op::Create(Box::new(with_volume(true)))).await.expect_err("there is none");
    assert_eq!(refused.kind, OpErrorKind::Refused);
    assert_eq!(refused.message, "the data of volume `data` is not on this machine any more");
    assert_eq!(engine.inspect(&base.name).await, None);
    for is_made in [false, true, false] {
        // An answer that was not heard is asked for once more.
        let id = engine.create(with_volume(is_made)).await;
        assert_eq!(engine.create(with_volume(is_made)).await, id);
        engine.done(Op::Start(base.name.clone())).await;
        engine.done(Op::Stop { name: base.name.clone(), grace: NO_HURRY }).await;
        engine.ended(&base.name).await;
        engine.done(Op::Remove(base.name.clone())).await;
    }
}

async fn an_image_that_is_absent_is_missing_and_cannot_be_had(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let ensure =
        |image: &str| Op::EnsureImage { image: image.to_owned(), pull: Pull::Missing, deadline: Millis(60_000) };
    for _ in 0..2 {
        let found = image_of(engine.perform(ensure(&spec.image)).await);
        assert_eq!((found.digest, found.was_pulled), (None, false));
    }
    let absent = engine.absent_image();
    let here = |image: &str| Op::EnsureImage { image: image.to_owned(), pull: Pull::Never, deadline: Millis(60_000) };
    assert_eq!(image_of(engine.perform(here(&spec.image)).await).digest, None);
    assert_eq!(engine.fails(here(&absent)).await, OpErrorKind::Refused);
    let error = engine.perform(ensure(&absent)).await.unwrap_err();
    assert_eq!(error.kind, OpErrorKind::Refused);
    assert_ne!(error.message, "");
    let mut spec = spec;
    spec.image = absent;
    assert_eq!(engine.fails(Op::Create(Box::new(spec.clone()))).await, OpErrorKind::ImageMissing);
    assert_eq!(engine.inspect(&spec.name).await, None);
    assert_eq!(engine.fails(ensure("Not A Reference")).await, OpErrorKind::Refused);
}

async fn an_image_goes_by_its_reference_if_it_is_the_one_that_is_meant_and_no_container_is_of_it(
    mut engine: impl TestEngine,
) {
    let image = engine.own_image().await;
    let look = Op::EnsureImage { image: image.clone(), pull: Pull::Never, deadline: Millis(60_000) };
    let found = image_of(engine.perform(look.clone()).await);
    assert!(!found.was_pulled, "{found:?}");
    let remove = |id: &str| Op::RemoveImage { image: image.clone(), id: id.to_owned() };
    // Somebody else's, under the same reference.
    engine.done(remove("another")).await;
    assert_eq!(image_of(engine.perform(look.clone()).await).id, found.id);
    // One that does not run counts, too.
    let mut spec = engine.spec(Does::Run);
    spec.image.clone_from(&image);
    let name = engine.create(spec).await;
    assert_eq!(engine.fails(remove(&found.id)).await, OpErrorKind::Refused);
    engine.done(Op::Remove(name)).await;
    // Somebody else's tag of the same image keeps it.
    let tag = format!("{image}-of-somebody");
    engine.tag(&image, &tag).await;
    for _ in 0..2 {
        engine.done(remove(&found.id)).await;
        assert_eq!(engine.fails(look.clone()).await, OpErrorKind::Refused, "its reference is gone");
    }
    let look = Op::EnsureImage { image: tag, pull: Pull::Never, deadline: Millis(60_000) };
    assert_eq!(image_of(engine.perform(look).await).id, found.id);
}

/// What an engine says of an image that is there.
fn image_of(result: OpResult) -> ImageFound {
    match result {
        Ok(OpOutput::Image(found)) => found,
        other => panic!("not an image: {other:?}"),
    }
}

async fn a_pull_that_hangs_ends_at_its_deadline(mut engine: impl TestEngine) {
    let image = engine.hanging_image().await;
    let begun = tokio::time::Instant::now();
    let deadline = Millis(300);
    assert_eq!(engine.fails(Op::EnsureImage { image, pull: Pull::Missing, deadline }).await, OpErrorKind::Timeout);
    assert!(begun.elapsed().as_millis() >= u128::from(deadline.0), "gave up after {:?}", begun.elapsed());
}

async fn a_bad_entrypoint_is_refused_at_the_start_and_leaves_a_created_container(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::NotExist);
    let name = spec.name.clone();
    engine.create(spec).await;
    let error = engine.perform(Op::Start(name.clone())).await.unwrap_err();
    assert_eq!(error.kind, OpErrorKind::Refused, "{}", error.message);
    assert!(error.message.contains("no such file"), "{}", error.message);
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Created));
    engine.done(Op::Remove(name.clone())).await;
    assert_eq!(engine.inspect(&name).await, None);
}

async fn an_image_that_cannot_be_run_fails_without_saying_that_it_is_to_blame(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::HaveNoUser);
    let name = spec.name.clone();
    engine.create(spec).await;
    let error = engine.perform(Op::Start(name.clone())).await.unwrap_err();
    assert_eq!(error.kind, OpErrorKind::Unclear, "{}", error.message);
    assert!(error.message.contains("unable to find user nosuch"), "{}", error.message);
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Created));

    let spec = engine.spec(Does::HaveNoDirectory);
    let name = spec.name.clone();
    let error = engine.perform(Op::Create(Box::new(spec))).await.unwrap_err();
    assert_eq!(error.kind, OpErrorKind::Unclear, "{}", error.message);
    assert!(error.message.contains("/web is not a directory"), "{}", error.message);
    assert_eq!(engine.inspect(&name).await, None);
}

async fn an_exit_code_is_seen_by_inspection_and_in_the_list(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Exit(7));
    let name = engine.run(spec).await;
    assert_eq!(engine.ended(&name).await, exited(7));
    let owner = engine.base().owner;
    assert_eq!(engine.list(owner).await.iter().map(|it| it.state).collect::<Vec<_>>(), [exited(7)]);
}

async fn a_kill_from_outside_is_hinted_at_and_told_apart_from_want_of_memory(mut engine: impl TestEngine) {
    let (ours, mut strangers) = (engine.spec(Does::Run), engine.spec(Does::Run));
    let owner = engine.base().owner;
    let identity = engine.base().identity_of(&ours);
    let stranger = engine.base().other_node();
    strangers.labels = engine.base().labels(Identity { owner: stranger, ..engine.base().identity_of(&strangers) });
    let (ours, strangers) = (engine.run(ours).await, engine.run(strangers).await);

    let mut hints = engine.runtime().hints(owner);
    engine.kill(&strangers).await;
    engine.kill(&ours).await;
    assert_eq!(soon(hints.next()).await, Some(Ok(identity.task)), "and not the stranger's");
    assert_eq!(engine.ended(&ours).await, exited(137));
}

async fn want_of_memory_is_told_apart_from_a_kill(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::EatTooMuch);
    let name = engine.run(spec).await;
    assert_eq!(engine.ended(&name).await, ContainerState::Exited { code: 137, out_of_memory: true });
}

async fn a_port_is_taken_while_its_holder_runs(mut engine: impl TestEngine) {
    let port = engine.free_port();
    let (mut first, mut second) = (engine.spec(Does::Run), engine.spec(Does::Run));
    first.ports = vec![Published::tcp(80, port)];
    second.ports = vec![Published::tcp(80, port)];
    let first = engine.run(first).await;
    let name = second.name.clone();
    engine.create(second).await;
    assert_eq!(engine.fails(Op::Start(name.clone())).await, OpErrorKind::PortTaken(Some(port)));
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Created));
    engine.done(Op::Stop { name: first, grace: NO_HURRY }).await;
    engine.done(Op::Start(name.clone())).await;
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Running));
}

async fn a_port_that_a_process_holds_is_taken(mut engine: impl TestEngine) {
    let port = engine.hold_a_port().await;
    let mut spec = engine.spec(Does::Run);
    spec.ports = vec![Published::tcp(80, port)];
    let name = spec.name.clone();
    engine.create(spec).await;
    assert_eq!(engine.fails(Op::Start(name)).await, OpErrorKind::PortTaken(Some(port)));
}

async fn a_port_is_taken_for_its_protocol_alone(mut engine: impl TestEngine) {
    let port = engine.free_port();
    let mut of = |protocol| {
        let mut spec = engine.spec(Does::Run);
        spec.ports = vec![Published { protocol, ..Published::tcp(53, port) }];
        spec
    };
    let (tcp, udp, both) = (of(Protocol::Tcp), of(Protocol::Udp), of(Protocol::Both));
    engine.run(tcp).await;
    engine.run(udp).await;
    let name = both.name.clone();
    engine.create(both).await;
    let taken = engine.fails(Op::Start(name)).await;
    assert!(matches!(taken, OpErrorKind::PortTaken(named) if named.is_none_or(|named| named == port)), "{taken:?}");
}

async fn only_the_owners_containers_are_seen(mut engine: impl TestEngine) {
    let (ours, mut strangers, mut unreadable) =
        (engine.spec(Does::Run), engine.spec(Does::Run), engine.spec(Does::Run));
    let (owner, stranger) = (engine.base().owner, engine.base().other_node());
    strangers.labels = engine.base().labels(Identity { owner: stranger, ..engine.base().identity_of(&strangers) });
    for (key, value) in &mut unreadable.labels {
        if key == orbit_core::worker::LABEL_TASK {
            *value = "none".to_owned();
        }
    }
    let foreign = engine.base().name("foreign");
    engine.add_foreign(&foreign).await;
    for spec in [&ours, &strangers, &unreadable] {
        engine.create(spec.clone()).await;
    }
    let names = |found: Vec<EngineContainer>| found.into_iter().map(|it| it.name).collect::<Vec<_>>();
    assert_eq!(names(engine.list(owner).await), [ours.name.as_str()]);
    assert_eq!(names(engine.list(stranger).await), [strangers.name.as_str()]);
    let nobody = orbit_core::worker::Owner { node: NodeUid(owner.node.0 ^ 2), ..owner };
    assert_eq!(engine.list(nobody).await, []);
    assert!(engine.inspect(&ours.name).await.is_some());
    for name in [&strangers.name, &unreadable.name, &foreign] {
        assert_eq!(engine.inspect(name).await, None, "{name}");
    }
    assert!(engine.foreign_runs(&foreign).await);
}

async fn a_stop_that_is_ignored_ends_in_a_kill_after_the_grace(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::IgnoreStop);
    let name = engine.run(spec).await;
    // It says when it is ready to ignore the signal.
    let mut logs = engine.runtime().logs(&name, FOLLOW);
    let first = soon(logs.next()).await.expect("it says something").expect("and that can be read");
    assert!(first.bytes.starts_with(b"stubborn"), "{first:?}");
    let (begun, grace) = (tokio::time::Instant::now(), Millis(1000));
    engine.done(Op::Stop { name: name.clone(), grace }).await;
    assert!(begun.elapsed().as_millis() >= u128::from(grace.0), "killed after {:?}", begun.elapsed());
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(exited(137)));
}

/// One that cannot be ignored, to one that ignores the usual one, which would have a minute.
async fn a_stop_sends_the_signal_of_the_spec(mut engine: impl TestEngine) {
    let mut spec = engine.spec(Does::IgnoreStop);
    spec.stop_signal = Some("SIGKILL".to_owned());
    let name = engine.run(spec).await;
    let mut logs = engine.runtime().logs(&name, FOLLOW);
    soon(logs.next()).await.expect("it says that it is ready").expect("and that can be read");
    soon(engine.done(Op::Stop { name: name.clone(), grace: Millis::secs(60) })).await;
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(exited(137)));
}

/// With 0, if that is how it ends: nobody can tell that from an end of its own.
async fn what_somebody_stops_ends_as_its_program_does(mut engine: impl TestEngine) {
    for (does, code) in [(Does::Run, 143), (Does::EndWell, 0)] {
        let spec = engine.spec(does);
        let name = engine.run(spec).await;
        engine.stop_by_hand(&name).await;
        assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(exited(code)), "{does:?}");
    }
}

async fn what_somebody_pauses_runs_and_can_be_stopped(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let name = engine.run(spec).await;
    engine.pause(&name).await;
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Running));
    let listed: Vec<ContainerState> = engine.list(engine.base().owner).await.into_iter().map(|it| it.state).collect();
    assert_eq!(listed, [ContainerState::Running]);
    engine.done(Op::Stop { name: name.clone(), grace: NO_HURRY }).await;
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(exited(143)));
}

async fn logs_are_whole_or_a_tail_and_are_followed_to_the_end(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Print(5));
    let name = engine.run(spec).await;
    let following = engine.runtime().logs(&name, FOLLOW);
    engine.logged(&name, "line 5\n").await;
    assert_eq!(engine.log(&name, None).await, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(engine.log(&name, Some(2)).await, "line 4\nline 5\n");
    assert_eq!(engine.log(&name, Some(0)).await, "");
    let range = LogRange { timestamps: true, ..LogRange::default() };
    let timed = text(soon(engine.runtime().logs(&name, range).collect()).await);
    let mut times = Vec::new();
    for (nth, line) in timed.lines().enumerate() {
        let (time, line) = line.split_once(' ').expect("a time in front of each line");
        assert_eq!(line, format!("line {}", nth + 1));
        assert!(time.len() == "2026-01-31T12:00:00.000000000Z".len() && time.ends_with('Z'), "{time}");
        times.push(time);
    }
    assert!(times.len() == 5 && times.is_sorted(), "{times:?}");
    engine.done(Op::Stop { name: name.clone(), grace: NO_HURRY }).await;
    let followed: Vec<_> = soon(following.collect()).await;
    assert_eq!(engine::text(followed), "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(engine.log(&name, Some(1)).await, "line 5\n", "also after its end");
    engine.done(Op::Remove(name.clone())).await;
    let mut absent = engine.runtime().logs(&name, FOLLOW);
    assert_eq!(soon(absent.next()).await.unwrap().unwrap_err().kind, OpErrorKind::NotFound);
    assert_eq!(soon(absent.next()).await, None);
}

async fn a_process_in_a_container_is_fed_and_heard_to_its_end(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let name = engine.run(spec).await;
    let exec = |words: &[&str], input: Vec<ExecInput>| {
        let command = words.iter().map(|word| word.to_string()).collect();
        let request = ExecRequest { command, tty: false, stdin: !input.is_empty() };
        // What is not said to end goes on.
        let input = futures_util::stream::iter(input).chain(futures_util::stream::pending()).boxed();
        let output = engine.runtime().exec(&name, request, input);
        async { soon(output.collect::<Vec<_>>()).await }
    };
    assert_eq!(exec(&["/web", "exit", "3"], Vec::new()).await, [Ok(ExecOutput::Exited(3))]);
    let said = exec(&["/web", "cat"], vec![ExecInput::Stdin("hello\n".into()), ExecInput::StdinEnd]).await;
    assert_eq!(said, [Ok(ExecOutput::Stdout("hello\n".into())), Ok(ExecOutput::Exited(0))]);
    let failed = exec(&["/no-such-program", "now"], Vec::new()).await;
    // The engine says so in words, among the output, and gives a shell's code for it.
    assert!(matches!(failed.last(), Some(Ok(ExecOutput::Exited(126 | 127)))), "{failed:?}");
    engine.done(Op::Stop { name: name.clone(), grace: NO_HURRY }).await;
}

async fn a_process_cannot_be_started_where_nothing_runs(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let name = engine.run(spec).await;
    engine.done(Op::Stop { name: name.clone(), grace: NO_HURRY }).await;
    let request = || ExecRequest { command: vec!["/web".into(), "cat".into()], tty: false, stdin: false };
    let nothing = || futures_util::stream::empty().boxed();
    let mut ended = engine.runtime().exec(&name, request(), nothing());
    assert_eq!(soon(ended.next()).await.unwrap().unwrap_err().kind, OpErrorKind::Refused);
    engine.done(Op::Remove(name.clone())).await;
    let mut absent = engine.runtime().exec(&name, request(), nothing());
    assert_eq!(soon(absent.next()).await.unwrap().unwrap_err().kind, OpErrorKind::NotFound);
    assert_eq!(soon(absent.next()).await, None);
}

async fn a_container_is_known_by_its_id_whatever_it_is_called_and_one_with_its_labels_is_another(
    mut engine: impl TestEngine,
) {
    let spec = engine.spec(Does::Run);
    let Engine { owner, .. } = *engine.base();
    let (name, task) = (spec.name.clone(), engine.base().identity_of(&spec).task);
    let mut hints = engine.runtime().hints(owner);
    let id = engine.create(spec).await;
    engine.done(Op::Start(id.clone())).await;

    engine.rename(&name, &format!("{name}-renamed")).await;
    assert_eq!(soon(hints.next()).await, Some(Ok(task)));
    engine.copy(&id, &format!("{name}-copy")).await;
    let seen = engine.inspect(&id).await.expect("it is there");
    assert_eq!((&seen.id, &seen.name, seen.task), (&id, &format!("{name}-renamed"), task));
    let mut all: Vec<String> = engine.list(owner).await.into_iter().map(|it| it.name).collect();
    all.sort();
    assert_eq!(all, [format!("{name}-copy"), format!("{name}-renamed")], "the copy has its labels");

    engine.done(Op::Stop { name: id.clone(), grace: Millis(0) }).await;
    engine.done(Op::Remove(id.clone())).await;
    assert_eq!(engine.inspect(&id).await, None);
    let copy = engine.inspect(&format!("{name}-copy")).await.expect("nobody touched the copy");
    assert_eq!(copy.state, ContainerState::Running);
    assert_ne!(copy.id, id);
}

async fn a_container_removed_by_another_is_absent_and_hinted_at(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let (owner, identity) = (engine.base().owner, engine.base().identity_of(&spec));
    let name = engine.run(spec).await;
    let mut hints = engine.runtime().hints(owner);
    engine.remove_by_force(&name).await;
    assert_eq!(soon(hints.next()).await, Some(Ok(identity.task)));
    assert_eq!(engine.inspect(&name).await, None);
    assert_eq!(engine.list(owner).await, []);
    engine.done(Op::Remove(name)).await;
}

async fn an_engine_out_of_reach_says_nothing_about_containers(mut engine: impl TestEngine) {
    let spec = engine.spec(Does::Run);
    let name = spec.name.clone();
    let owner = engine.base().owner;
    let runtime = engine.out_of_reach();
    let ops = [
        Op::List(owner),
        Op::Inspect { owner, name: name.clone() },
        Op::EnsureImage { image: spec.image.clone(), pull: Pull::Missing, deadline: NO_HURRY },
        Op::Create(Box::new(spec)),
        Op::Start(name.clone()),
        Op::Stop { name: name.clone(), grace: NO_HURRY },
        Op::Remove(name.clone()),
    ];
    for op in ops {
        let result = runtime.perform(op.clone()).await;
        assert_eq!(result.map_err(|error| error.kind), Err(OpErrorKind::Engine), "{op:?}");
    }
    assert_eq!(runtime.info().await.map_err(|error| error.kind), Err(OpErrorKind::Engine));
    let mut hints = runtime.hints(owner);
    assert_eq!(soon(hints.next()).await.unwrap().unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(soon(hints.next()).await, None, "it ends with the error");
    let mut logs = runtime.logs(&name, FOLLOW);
    assert_eq!(soon(logs.next()).await.unwrap().unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(logs.next().now_or_never(), Some(None));
}

async fn an_engine_describes_its_machine(engine: impl TestEngine) {
    let info = engine.runtime().info().await.expect("it answers");
    assert!(["amd64", "arm64"].contains(&info.arch.as_str()), "{info:?}");
    assert_eq!(info.os, "linux");
    assert!(info.capacity.cpu_millis >= 1000 && info.capacity.memory_bytes >= 64 << 20, "{info:?}");
}

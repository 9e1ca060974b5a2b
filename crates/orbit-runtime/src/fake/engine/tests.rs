//! What no contract says: faults, and what the world does.

use super::*;
use crate::fake::ImagePlace;
use orbit_core::{
    model::{ClusterId, NodeUid},
    testing,
};

const TASK: TaskId = TaskId { epoch: 1, index: 1, ordinal: 0 };

fn engine() -> FakeEngine {
    let mut engine = FakeEngine::default();
    engine.add_image("web", ImagePlace::Present, Program::Run);
    engine
}

fn spec(name: &str) -> ContainerSpec {
    let owner = Owner { cluster: ClusterId(1), node: NodeUid(2) };
    ContainerSpec {
        ports: vec![Published::tcp(80, 20_000)],
        labels: Identity { owner, task: TASK, spec: 3 }.labels(),
        ..testing::container_spec(name, "web")
    }
}

#[test]
fn a_lost_response_leaves_its_effect_and_the_repetition_adds_none() {
    let mut engine = engine();
    let create = Op::Create(Box::new(spec("a")));
    engine.lose_response(OpKind::Create);
    assert_eq!(engine.perform(&create).unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(engine.perform(&create), Ok(OpOutput::Created("a".to_owned())));
    let start = Op::Start("a".to_owned());
    engine.lose_response(OpKind::Start);
    assert_eq!(engine.perform(&start).unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(engine.perform(&start), Ok(OpOutput::Done));
    assert_eq!(engine.lives_of(TASK), Lives { created: 1, started: 1, removed: 0 });
}

#[test]
fn a_fault_without_effect_waits_for_its_kind_of_operation_and_strikes_once() {
    let mut engine = engine();
    let error = op_error(OpErrorKind::PortTaken(None), "taken");
    engine.fail_next(Fault { on: OpKind::Start, takes_place: false, error: error.clone() });
    assert_eq!(engine.perform(&Op::Create(Box::new(spec("a")))), Ok(OpOutput::Created("a".to_owned())));
    assert_eq!(engine.perform(&Op::Start("a".to_owned())), Err(error));
    assert_eq!(engine.lives_of(TASK).started, 0);
    assert_eq!(engine.perform(&Op::Start("a".to_owned())), Ok(OpOutput::Done));
    assert_eq!(engine.lives_of(TASK).started, 1);
}

#[test]
fn an_ended_container_gives_its_port_back_and_is_not_started_again() {
    let mut engine = engine();
    for name in ["a", "b"] {
        assert_eq!(engine.perform(&Op::Create(Box::new(spec(name)))), Ok(OpOutput::Created(name.to_owned())));
    }
    let start = |name: &str| Op::Start(name.to_owned());
    assert_eq!(engine.perform(&start("a")), Ok(OpOutput::Done));
    assert_eq!(engine.perform(&start("b")).unwrap_err().kind, OpErrorKind::PortTaken(Some(20_000)));
    engine.exit("a", 3);
    assert_eq!(engine.perform(&start("a")), Ok(OpOutput::Done));
    let ended = ContainerState::Exited { code: 3, out_of_memory: false };
    assert_eq!(engine.container("a").map(|it| it.state), Some(ended));
    assert_eq!(engine.perform(&start("b")), Ok(OpOutput::Done));
}

#[test]
fn a_reboot_ends_what_ran_and_brings_the_engine_back() {
    let mut engine = engine();
    engine.add_foreign("other", &[]);
    assert_eq!(engine.perform(&Op::Create(Box::new(spec("a")))), Ok(OpOutput::Created("a".to_owned())));
    assert_eq!(engine.perform(&Op::Start("a".to_owned())), Ok(OpOutput::Done));
    let seen = engine.events_count();
    engine.engine_down(true);
    assert_eq!(engine.perform(&Op::Start("a".to_owned())).unwrap_err().kind, OpErrorKind::Engine);
    assert!(engine.container("a").is_some_and(FakeContainer::is_running));
    engine.reboot();
    assert_eq!(engine.containers().filter(|it| it.is_running()).count(), 0);
    assert_eq!(engine.events_since(seen).map(|(_, it)| it.task).collect::<Vec<_>>(), [TASK]);
    assert!(engine.info().is_ok());
}

#[test]
fn a_pull_takes_its_time_and_never_more_than_the_deadline() {
    let mut engine = engine();
    let pull = |image: &str, deadline| Op::EnsureImage {
        image: image.to_owned(),
        pull: Pull::Missing,
        deadline: Millis(deadline),
    };
    engine.add_image("far", ImagePlace::Pullable(Millis(500)), Program::Run);
    engine.add_image("hung", ImagePlace::Hanging, Program::Run);
    assert_eq!(engine.takes(&pull("far", 100)), Millis(100));
    assert_eq!(engine.perform(&pull("far", 100)).unwrap_err().kind, OpErrorKind::Timeout);
    assert_eq!(engine.takes(&pull("far", 900)), Millis(500));
    assert!(matches!(
        engine.perform(&pull("far", 900)),
        Ok(OpOutput::Image(ImageFound { digest: None, was_pulled: true, .. }))
    ));
    assert_eq!(engine.takes(&pull("far", 900)), Millis(0));
    let always = Op::EnsureImage { image: "far".to_owned(), pull: Pull::Always, deadline: Millis(900) };
    assert_eq!(engine.takes(&always), Millis(500), "the registry is asked again");
    assert_eq!(engine.perform(&pull("hung", 900)).unwrap_err().kind, OpErrorKind::Timeout);
    assert_eq!(engine.perform(&pull("nowhere", 900)).unwrap_err().kind, OpErrorKind::Refused);
}

#[test]
fn only_the_newest_happenings_are_kept_and_their_count_goes_on() {
    let mut engine = engine();
    for _ in 0..EVENTS_MAX + 5 {
        assert_eq!(engine.perform(&Op::Create(Box::new(spec("a")))), Ok(OpOutput::Created("a".to_owned())));
        assert_eq!(engine.perform(&Op::Remove("a".to_owned())), Ok(OpOutput::Done));
    }
    assert_eq!(engine.events_count(), EVENTS_MAX as u64 + 5);
    assert_eq!(engine.events_since(0).count(), EVENTS_MAX);
    assert_eq!(engine.events_since(engine.events_count() - 2).count(), 2);
}

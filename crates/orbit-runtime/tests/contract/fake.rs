//! The fake under test.

use crate::FOLLOW;
use crate::engine::{Does, Engine, TestEngine};
use async_trait::async_trait;
use orbit_core::model::Millis;
use orbit_core::worker::ContainerSpec;
use orbit_runtime::{
    ContainerRuntime,
    fake::{FakeEngine, FakeRuntime, ImagePlace, Program},
};

pub struct Fake {
    base: Engine,
    runtime: FakeRuntime,
    next_port: u16,
}

pub fn engine() -> Fake {
    Fake { base: Engine::new(), runtime: FakeRuntime::new(FakeEngine::default()), next_port: 20_000 }
}

#[async_trait]
impl TestEngine for Fake {
    fn base(&self) -> &Engine {
        &self.base
    }
    fn runtime(&self) -> &dyn ContainerRuntime {
        &self.runtime
    }
    fn spec(&mut self, does: Does) -> ContainerSpec {
        let program = match does {
            Does::Run => Program::Run,
            Does::EndWell => Program::Polite,
            Does::IgnoreStop => Program::Stubborn,
            Does::Exit(code) => Program::Exit(code.into()),
            Does::EatTooMuch => Program::OutOfMemory,
            Does::Print(lines) => Program::Print(lines),
            Does::NotExist => Program::BadEntrypoint,
            Does::HaveNoUser => Program::NoSuchUser,
            Does::HaveNoDirectory => Program::NoSuchDirectory,
        };
        let image = format!("{program:?}");
        self.runtime.with(|engine| engine.add_image(&image, ImagePlace::Present, program));
        ContainerSpec { image, ..self.base.blank() }
    }
    fn absent_image(&self) -> String {
        "absent".to_owned()
    }
    async fn own_image(&mut self) -> String {
        self.runtime.with(|engine| engine.add_image("own", ImagePlace::Present, Program::Run));
        "own".to_owned()
    }
    async fn tag(&mut self, image: &str, new: &str) {
        self.runtime.with(|engine| engine.tag(image, new));
    }
    async fn hanging_image(&mut self) -> String {
        self.runtime.with(|engine| engine.add_image("hanging", ImagePlace::Hanging, Program::Run));
        "hanging".to_owned()
    }
    fn free_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }
    async fn hold_a_port(&mut self) -> u16 {
        let port = self.free_port();
        self.runtime.with(|engine| engine.hold_port(port, true));
        port
    }
    async fn kill(&mut self, name: &str) {
        self.runtime.with(|engine| engine.kill(name));
    }
    async fn stop_by_hand(&mut self, name: &str) {
        self.runtime.with(|engine| engine.stop_behind_our_back(name));
    }
    async fn pause(&mut self, name: &str) {
        self.runtime.with(|engine| engine.pause(name));
    }
    async fn remove_by_force(&mut self, name: &str) {
        self.runtime.with(|engine| engine.remove_behind_our_back(name));
    }
    async fn rename(&mut self, name: &str, new: &str) {
        self.runtime.with(|engine| engine.rename(name, new));
    }
    async fn copy(&mut self, name: &str, new: &str) {
        self.runtime.with(|engine| engine.copy(name, new));
    }
    async fn add_foreign(&mut self, name: &str) {
        self.runtime.with(|engine| engine.add_foreign(name, &[]));
    }
    async fn foreign_runs(&mut self, name: &str) -> bool {
        self.runtime.with(|engine| engine.container(name).is_some_and(|it| it.is_running()))
    }
    fn out_of_reach(&mut self) -> Box<dyn ContainerRuntime> {
        self.runtime.with(|engine| engine.engine_down(true));
        Box::new(self.runtime.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn hints_and_logs_break_with_the_engine_even_if_it_is_back_at_once() {
    use futures_util::StreamExt;
    use orbit_core::worker::{Op, OpErrorKind};
    let mut engine = engine();
    let spec = engine.spec(Does::Print(1));
    let owner = engine.base.owner;
    let name = engine.run(spec).await;
    let (mut hints, mut logs) = (engine.runtime.hints(owner), engine.runtime.logs(&name, FOLLOW));
    assert_eq!(logs.next().await.map(|chunk| chunk.map(|it| it.bytes)), Some(Ok("line 1\n".into())));
    engine.runtime.with(|engine| {
        engine.engine_down(true);
        engine.engine_down(false);
    });
    assert_eq!(hints.next().await.unwrap().unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(logs.next().await.unwrap().unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!((hints.next().await, logs.next().await), (None, None));
    engine.done(Op::Stop { name, grace: Millis(0) }).await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_dropped_has_taken_place_or_not_by_when_it_was() {
    use orbit_core::worker::Op;
    use orbit_runtime::fake::Latency;
    use std::time::Duration;
    let mut engine = engine();
    let second = Duration::from_secs(1);
    engine.runtime.set_latency(|_| Latency { before: Duration::from_secs(1), after: Duration::from_secs(1) });
    for (patience, created) in [(second / 2, false), (second * 3 / 2, true)] {
        let spec = engine.spec(Does::Run);
        let name = spec.name.clone();
        let create = engine.runtime.perform(Op::Create(Box::new(spec)));
        assert!(tokio::time::timeout(patience, create).await.is_err(), "no answer after {patience:?}");
        assert_eq!(engine.runtime.with(|engine| engine.container(&name).is_some()), created);
    }
}

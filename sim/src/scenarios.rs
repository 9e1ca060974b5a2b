//! What bit real orchestrators, each by name, as a script with what has to come of it.
//!
//! Every scenario is also lived through once for each boundary between two of its effects, with the
//! process that acts dying there: it has to end as it ends without (the differential oracle of
//! Sieve, OSDI'22).

use crate::{
    input::{Ask, Harm, If, Input, Order, Point, Roll, Script, Step, Strike, Want, WantDisconnect, WantUpdate},
    options::Options,
    world::{CrashPoint, Failure, Outcome, Phase, Plan, Report, run, run_watched},
};

/// A named course of events.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For the command line.
    pub name: &'static str,
    /// What it stands for, and where it was seen.
    pub about: &'static str,
    /// What happens.
    pub script: Script,
    /// By name, how many containers are started in all, at least and at most.
    pub started: Vec<(&'static str, u32, u32)>,
    /// A crash of one process anywhere changes neither how many containers are started nor how the last
    /// ones ended. Elsewhere that depends on when something happens; how many run in the end never does.
    pub exact: bool,
}

/// The crash of a process at every boundary: how many there were, by moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Before an effect.
    pub before: u64,
    /// Applied, and not acknowledged.
    pub applied: u64,
    /// Acknowledged.
    pub acknowledged: u64,
}

impl Scenario {
    /// Lives through it.
    ///
    /// # Errors
    /// An invariant that did not hold, or an end that is not the one expected.
    pub fn run(&self) -> Result<(Report, Outcome), Box<Failure>> {
        let (report, outcome) = run(&Plan::script(&self.script))?;
        for &(name, least, most) in &self.started {
            let started = outcome.started.get(name).copied().unwrap_or(0);
            if !(least..=most).contains(&started) {
                return Err(self.failed(format!("{started} containers of {name} were started, not {least} to {most}")));
            }
        }
        Ok((report, outcome))
    }

    fn failed(&self, found: String) -> Box<Failure> {
        Box::new(Failure {
            invariant: "I26",
            found: format!("{}: {found}", self.name),
            at_ms: 0,
            event: 0,
            script: self.script.clone(),
            tail: Vec::new(),
        })
    }

    /// Lives through it once for each boundary from `first` on, in steps, with a crash there.
    ///
    /// # Errors
    /// The first boundary at which a crash makes a difference that matters.
    pub fn crash_points(&self, first: u64, step: usize) -> Result<Coverage, Box<Failure>> {
        // How it waits to converge costs most and changes nothing here.
        let mut script = self.script.clone();
        script.options.rest_ms = 15_000;
        let without = Script { steps: without_expectations(&script.steps), ..script };
        // What comes after the scenario is the way to rest, in which nothing goes wrong.
        let mut report = Report::default();
        let (_, outcome) = run_watched(&Plan::script(&without), &mut |phase, so_far| {
            if phase == Phase::Healing {
                report = *so_far;
            }
        })?;
        for boundary in (first..report.boundaries).step_by(step) {
            // What is being synced there may be durable, or not.
            for durable in [0, usize::MAX] {
                let crash = Some(CrashPoint { boundary, down_ms: 1500, durable });
                let (_, faulted) = run(&Plan { crash, ..Plan::script(&without) }).map_err(|mut failure| {
                    failure.found = format!("{}, a crash at boundary {boundary}: {}", self.name, failure.found);
                    failure
                })?;
                let same = if self.exact { faulted == outcome } else { faulted.objects == outcome.objects };
                if !same {
                    let found = format!("a crash at boundary {boundary} gives\n{faulted:#?}\nnot\n{outcome:#?}");
                    return Err(self.failed(found));
                }
            }
        }
        let [before, applied, acknowledged] = report.moments;
        Ok(Coverage { before, applied, acknowledged })
    }
}

/// What is expected at a certain time comes later where a process was away.
fn without_expectations(steps: &[Step]) -> Vec<Step> {
    let expects = |input: &Input| matches!(input, Input::Expect { .. } | Input::ExpectDrained { .. });
    steps.iter().filter(|step| !expects(&step.input)).cloned().collect()
}

/// A scenario in the making.
struct Course {
    options: Options,
    steps: Vec<Step>,
}

impl Course {
    fn with(workers: usize) -> Course {
        Course { options: Options::calm(workers), steps: Vec::new() }
    }
    fn at(mut self, at: u64, input: Input) -> Course {
        self.steps.push(Step { at, skip: 0, input });
        self
    }
    fn ask(self, at: u64, ask: Ask) -> Course {
        self.at(at, Input::Ask(ask))
    }
    fn put(self, at: u64, want: Want) -> Course {
        self.ask(at, Ask::Put(want))
    }
    fn scale(self, at: u64, name: &str, replicas: u32) -> Course {
        self.ask(at, Ask::Scale { name: name.into(), replicas, condition: If::Always })
    }
    fn roll(self, at: u64, order: Roll) -> Course {
        self.ask(at, Ask::Rollout { name: "web".into(), order, condition: If::Always })
    }
    fn delete(self, at: u64, name: &str) -> Course {
        self.ask(at, Ask::Delete { once: name.starts_with("once"), name: name.into(), condition: If::Always })
    }
    fn expect(self, at: u64, name: &str, running: usize) -> Course {
        self.at(at, Input::Expect { name: name.into(), running })
    }
    /// Strikes the next thing of a kind.
    fn strike(self, at: u64, point: Point, kind: &str, strike: Strike) -> Course {
        self.at(at, Input::Strike { point, worker: 0, only: Some(kind.into()), strike })
    }
    fn cut(self, from: u64, to: u64, worker: usize) -> Course {
        self.at(from, Input::Cut { worker, up: true, down: true }).at(to, Input::Mend { worker })
    }
    fn crash_manager(self, at: u64, durable: usize) -> Course {
        self.at(at, Input::ManagerCrash { down_ms: 1000, durable })
    }
    fn named(
        self,
        name: &'static str,
        about: &'static str,
        lasts_ms: u64,
        started: &[(&'static str, u32, u32)],
        exact: bool,
    ) -> Scenario {
        let Course { mut options, mut steps } = self;
        options.chaos_ms = lasts_ms;
        steps.sort_by_key(|step| step.at);
        let script = Script { about: format!("{name}: {about}"), options, steps };
        Scenario { name, about, script, started: started.to_vec(), exact }
    }
}

fn web(replicas: u32, image: &str) -> Want {
    Want::service("web", replicas, image)
}

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let stubborn = |replicas, grace_ms| Want { grace_ms, cpu_millis: 400, ..web(replicas, "web:2") };
    let updated = |replicas, update| Want { update, ..web(replicas, "web:2") };
    let apart = |disconnect| Course::with(2).put(1000, Want { disconnect, ..web(2, "web:1") });
    let timed = WantDisconnect { replace_ms: Some(15_000), fence: 1, ..WantDisconnect::default() };
    let confirmed = WantDisconnect { fence: 2, ..WantDisconnect::default() };
    let original = WantDisconnect { original: true, ..WantDisconnect::default() };
    let small =
        |workers, cpu_millis| Course { options: Options { cpu_millis, ..Options::calm(workers) }, steps: Vec::new() };
    let pinned =
        |name: &str, image: &str| Want { pinned: Some(8080), grace_ms: 20_000, ..Want::service(name, 1, image) };
    let everybody = |course: Course, from, to, workers| (0..workers).fold(course, |course, w| course.cut(from, to, w));
    let times = |course: Course, times: u64, from: u64, point: Point, kind: &str, strike: Strike| {
        (0..times).fold(course, |course, nth| course.strike(from + nth, point, kind, strike))
    };
    vec![
        Course::with(3).put(1000, web(3, "web:1")).expect(2500, "web", 3).named(
            "deploy",
            "three replicas are asked for, and run",
            8000,
            &[("web", 3, 3)],
            true,
        ),
        Course::with(2).put(1000, web(2, "web:1")).put(4000, web(2, "web:2")).expect(3900, "web", 2).named(
            "rollout",
            "a new version replaces the old one slot by slot",
            14_000,
            &[("web", 4, 4)],
            true,
        ),
        Course::with(2)
            .put(1000, web(4, "web:1"))
            .put(4000, updated(4, WantUpdate { surge: 2, healthy_ms: 1000, ..WantUpdate::default() }))
            .expect(3900, "web", 4)
            .named(
                "rollout-several-at-once",
                "two at a time, which count after a while",
                16_000,
                &[("web", 8, 8)],
                true,
            ),
        Course::with(2)
            .put(1000, web(3, "web:1"))
            .put(4000, updated(3, WantUpdate { surge: 0, unavailable: 2, ..WantUpdate::default() }))
            .expect(3900, "web", 3)
            .named("rollout-stop-first", "two at a time go before others come", 16_000, &[("web", 6, 6)], true),
        Course::with(3)
            .put(1000, web(3, "web:1"))
            .put(4000, updated(3, WantUpdate { healthy_ms: 5000, ..WantUpdate::default() }))
            .cut(6000, 40_000, 0)
            .expect(69_000, "web", 3)
            .named(
                "partition-in-an-update",
                "a node is cut off in the middle of an update: no more live than may be: nomad#12503",
                70_000,
                &[("web", 6, 8)],
                false,
            ),
        Course::with(3)
            .put(1000, web(3, "web:1"))
            .put(4000, updated(3, WantUpdate { canary: 1, ..WantUpdate::default() }))
            .cut(7000, 40_000, 0)
            .expect(25_000, "web", 4)
            .expect(54_000, "web", 3)
            .roll(55_000, Roll::Promote)
            .expect(69_000, "web", 3)
            .named(
                "partition-in-a-canary",
                "a node is cut off while a canary waits: no other slot has one, no more live than may be: nomad#12503",
                70_000,
                &[("web", 6, 8)],
                false,
            ),
        Course::with(2)
            .put(1000, web(3, "web:1"))
            .put(
                4000,
                Want {
                    // Wherever a crash moves the attempts, none is under way when the deadline passes: how the
                    // last one ends would depend on that.
                    update: WantUpdate { deadline_ms: Some(10_500), rollback: true, ..WantUpdate::default() },
                    ..web(3, "absent:1")
                },
            )
            .expect(13_000, "web", 3)
            .expect(40_000, "web", 3)
            .named(
                "rollback",
                "a version that cannot run is taken back when its deadline has passed, and what serves goes on",
                60_000,
                &[("web", 3, 3)],
                true,
            ),
        Course::with(2)
            .put(1000, web(3, "web:1"))
            .put(4000, updated(3, WantUpdate { healthy_ms: 5000, ..WantUpdate::default() }))
            .roll(6000, Roll::Pause)
            .expect(29_000, "web", 3)
            .roll(30_000, Roll::Undo { to: Some(1) })
            .expect(59_000, "web", 3)
            .named(
                "paused-and-undone",
                "an update that stands still in the middle is undone: one task is made anew",
                60_000,
                &[("web", 5, 5)],
                false,
            ),
        Course::with(2)
            .put(1000, web(2, "web:1"))
            .scale(3000, "web", 5)
            .scale(6000, "web", 1)
            .expect(5900, "web", 5)
            .named("scale", "up, then down", 12_000, &[("web", 5, 5)], true),
        Course::with(2).put(1000, web(3, "web:1")).delete(4000, "web").expect(3900, "web", 3).named(
            "delete",
            "a service is deleted, and nothing of it remains",
            10_000,
            &[("web", 3, 3)],
            true,
        ),
        Course::with(1).put(1000, Want::once("once", "exit:0")).expect(6000, "once", 0).named(
            "run-once",
            "a task runs to its end, once",
            8000,
            &[("once", 1, 1)],
            true,
        ),
        everybody(Course::with(2).put(1000, web(1, "web:1")), 10_000, 40_000, 1)
            .at(25_000, Input::WorkerCrash { worker: 0, reboot: false, down_ms: 1000 })
            .expect(35_000, "web", 2)
            .expect(49_000, "web", 1)
            .named(
                "task-moved-while-its-node-was-away",
                "a task is replaced elsewhere, and its worker restarts before it hears of that: kubernetes#59848",
                50_000,
                &[("web", 2, 2)],
                false,
            ),
        times(Course::with(2).put(1000, web(3, "web:1")), 8, 1010, Point::Up, "report", Strike::Late { ms: 30_000 })
            .named(
                "status-delayed",
                "no extra tasks while their status is late: kubernetes#129795",
                40_000,
                &[("web", 3, 3)],
                false,
            ),
        Course::with(2)
            .put(1000, web(2, "web:2"))
            .delete(1100, "web")
            .put(1150, Want { key: "again".into(), ..web(2, "web:1") })
            .expect(11_900, "web", 2)
            .named(
                "deleted-and-recreated-in-flight",
                "the same name again while the first is being pulled: kubernetes#131917",
                12_000,
                &[("web", 2, 4)],
                false,
            ),
        small(1, 1000)
            .put(1000, stubborn(2, 60_000))
            .scale(6000, "web", 0)
            .put(6500, Want { cpu_millis: 400, ..Want::service("next", 2, "web:1") })
            .expect(60_000, "next", 0)
            .expect(75_000, "next", 2)
            .named(
                "stop-hangs",
                "what is told to stop holds its room until it has ended: kubernetes#106884",
                76_000,
                &[("web", 2, 2), ("next", 2, 2)],
                true,
            ),
        // Both on the first worker, until it is drained.
        Course::with(2)
            .put(1000, Want { grace_ms: 60_000, spread: false, ..web(2, "web:2") })
            .ask(10_000, Ask::Availability { worker: 0, order: Order::Drain { deadline_ms: None } })
            .at(20_000, Input::ExpectDrained { worker: 0, drained: false })
            .at(60_000, Input::ExpectDrained { worker: 0, drained: false })
            .expect(60_000, "web", 4)
            .at(90_000, Input::ExpectDrained { worker: 0, drained: true })
            .expect(90_000, "web", 2)
            .named(
                "drained-when-stopped",
                "a drain is done when the last task was seen to have stopped, however long its grace: nomad#14293",
                91_000,
                &[("web", 4, 4)],
                false,
            ),
        Course::with(2)
            .put(1000, web(2, "web:1"))
            .at(5000, Input::EngineDown { worker: 0, ms: 4000, live_restore: false, killed: false })
            .strike(8500, Point::Up, "report", Strike::Late { ms: 9000 })
            .expect(29_000, "web", 2)
            .named(
                "exit-while-nobody-looked",
                "a late status does not revive what has ended: kubernetes#58711",
                30_000,
                &[("web", 3, 4)],
                false,
            ),
        everybody(Course::with(3).put(1000, web(6, "web:1")), 10_000, 610_000, 3).expect(615_000, "web", 6).named(
            "manager-isolated",
            "ten minutes without anybody, and nothing is replaced: kubernetes#6228, #24200, #32510",
            620_000,
            &[("web", 6, 6)],
            true,
        ),
        Course::with(1).put(1000, web(2, "absent:1")).put(60_000, web(2, "web:1")).expect(61_000, "web", 2).named(
            "bad-image-then-good",
            "the fix does not wait for the backoff of what it fixes: kubernetes#60164, #67250",
            62_000,
            &[("web", 2, 2)],
            true,
        ),
        Course::with(2)
            .put(1000, web(2, "web:1"))
            .cut(5000, 30_000, 0)
            .expect(29_000, "web", 3)
            .expect(39_000, "web", 2)
            .named(
                "node-returns-after-replacement",
                "of the original and its replacement one goes, and none starts twice: nomad#12680",
                40_000,
                &[("web", 3, 3)],
                false,
            ),
        apart(timed).cut(10_000, 50_000, 0).expect(23_000, "web", 1).expect(35_000, "web", 2).named(
            "fenced-while-cut-off",
            "a node that hears of nobody stops what is replaced after that",
            60_000,
            &[("web", 3, 3)],
            false,
        ),
        apart(timed)
            .cut(10_000, 50_000, 0)
            .at(11_000, Input::WorkerCrash { worker: 0, reboot: false, down_ms: 500 })
            .expect(23_500, "web", 1)
            .expect(35_000, "web", 2)
            .named(
                "restarted-while-cut-off",
                "so it does where its worker was restarted, and has no order",
                60_000,
                &[("web", 3, 3)],
                false,
            ),
        apart(confirmed).cut(10_000, 70_000, 0).expect(69_000, "web", 2).expect(79_000, "web", 2).named(
            "nobody-has-confirmed",
            "nothing is replaced that was not seen to have ended",
            80_000,
            &[("web", 2, 2)],
            false,
        ),
        apart(confirmed)
            .cut(10_000, 70_000, 0)
            .ask(30_000, Ask::Forget { worker: 0 })
            .expect(60_000, "web", 3)
            .expect(89_000, "web", 2)
            .named(
                "forgotten-and-back",
                "what was forgotten with its node is replaced, and removed when that comes back as a new one",
                90_000,
                &[("web", 3, 3)],
                false,
            ),
        apart(original).cut(10_000, 40_000, 0).expect(39_000, "web", 3).expect(54_000, "web", 2).named(
            "original-kept",
            "of the original and its replacement the one goes that was made later, as its spec says",
            55_000,
            &[("web", 3, 3)],
            false,
        ),
        Course::with(2)
            .put(1000, Want { probes: 1, ..web(4, "web:1") })
            .at(10_000, Input::Container { worker: 0, nth: 0, harm: Harm::SickenAll })
            .expect(59_000, "web", 4)
            .named(
                "unhealthy-all-at-once",
                "what all of them rely on is gone: each is replaced in its turn, once",
                60_000,
                &[("web", 8, 8)],
                false,
            ),
        Course::with(1).put(1000, web(2, "web:1")).crash_manager(1002, 1).expect(9000, "web", 2).named(
            "intent-without-follow-up",
            "the manager dies between a request and what follows from it: nomad#8435",
            10_000,
            &[("web", 2, 2)],
            true,
        ),
        Course::with(1)
            .put(1000, pinned("web", "web:2"))
            .delete(6000, "web")
            .put(6100, pinned("next", "web:1"))
            .expect(20_000, "next", 0)
            .expect(30_000, "next", 1)
            .named(
                "host-port-of-what-is-stopping",
                "a host port is given on when its holder has ended: nomad#24904",
                31_000,
                &[("web", 1, 1), ("next", 1, 1)],
                true,
            ),
        Course::with(1)
            .put(1000, web(1, "web:1"))
            .strike(1000, Point::Engine, "create", Strike::Lose)
            .strike(1001, Point::Engine, "start", Strike::Lose)
            .expect(9000, "web", 1)
            .named(
                "create-response-lost",
                "what was created and not heard of is adopted: nomad#3419, #2084",
                10_000,
                &[("web", 1, 1)],
                true,
            ),
        Course::with(1)
            .put(1000, Want::once("once", "exit:0"))
            .crash_manager(1004, 9)
            .crash_manager(3000, 0)
            .crash_manager(5000, 9)
            .named(
                "once-under-three-crashes",
                "three restarts of the manager, one run: moby#53632",
                10_000,
                &[("once", 1, 1)],
                true,
            ),
        times(Course::with(1).put(1000, web(3, "web:1")), 20, 1005, Point::Up, "report", Strike::Double).named(
            "status-doubled",
            "a status that comes twice counts once: swarmkit#2046",
            6000,
            &[("web", 3, 3)],
            true,
        ),
        Course::with(2)
            .put(1000, web(2, "web:1"))
            .cut(9500, 50_000, 1)
            .at(18_500, Input::Container { worker: 0, nth: 0, harm: Harm::Exit(1) })
            .expect(45_000, "web", 3)
            .named(
                "restart-then-node-lost",
                "a restart is due just before another node is given up: swarmkit#1305",
                60_000,
                &[("web", 4, 4)],
                false,
            ),
        Course::with(2)
            .put(1000, web(2, "web:1"))
            .cut(9500, 50_000, 1)
            .at(19_300, Input::Container { worker: 0, nth: 0, harm: Harm::Exit(1) })
            .expect(45_000, "web", 3)
            .named(
                "node-lost-then-restart",
                "a restart is due just after another node is given up: swarmkit#1305",
                60_000,
                &[("web", 4, 4)],
                false,
            ),
    ]
}

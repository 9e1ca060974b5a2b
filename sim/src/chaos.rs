//! What goes wrong, and when: drawn from a seed and written down, or read from a script.

use crate::{
    input::{Harm, Input, Point, Step, Strike},
    options::{LATE_MS_MAX, Options},
    random::Random,
};

/// Decides about faults. One stream for those at random times, one for those that strike what
/// passes by.
#[derive(Debug)]
pub(crate) struct Chaos {
    timed: Random,
    strikes: Random,
    rates: [u64; Point::COUNT],
    lose: u64,
    double: u64,
    /// In a scripted world: the strikes still to come, by point and worker, soonest last.
    script: Option<Vec<Vec<Step>>>,
    /// How many things of each point and worker passed within which millisecond.
    passed: Vec<(u64, u32)>,
    /// Everything that came into the world so far.
    pub record: Vec<Step>,
    calm: bool,
}

fn place(point: Point, worker: usize) -> usize {
    worker * Point::COUNT + point as usize
}

impl Chaos {
    pub fn new(options: &Options, script: Option<&[Step]>) -> Chaos {
        let Options { lose, double, late, manager_crash, worker_crash, engine_faults, hint_faults, .. } = *options;
        let messages = lose + double + late;
        let script = script.map(|steps| {
            let mut by_place = vec![Vec::new(); Point::COUNT * options.workers];
            for step in steps.iter().rev() {
                if let Input::Strike { point, worker, .. } = step.input
                    && let Some(list) = by_place.get_mut(place(point, worker))
                {
                    list.push(step.clone());
                }
            }
            by_place
        });
        Chaos {
            timed: Random::new(options.seed, 4),
            strikes: Random::new(options.seed, 7),
            rates: [manager_crash, worker_crash, messages, messages, engine_faults, hint_faults],
            lose,
            double,
            script,
            passed: vec![(0, 0); Point::COUNT * options.workers],
            record: Vec::new(),
            calm: false,
        }
    }

    /// Nothing goes wrong any more.
    pub fn end(&mut self) {
        self.calm = true;
    }

    /// Something of a kind passes a point: whether it is struck.
    pub fn strike(&mut self, now: u64, point: Point, worker: usize, kind: &str) -> Option<Strike> {
        if self.calm {
            return None;
        }
        let place = place(point, worker);
        match &mut self.script {
            None => {
                let draw = self.strikes.bits() % 1000;
                if draw >= self.rates[point as usize] {
                    self.pass(now, place);
                    return None;
                }
                let strike = self.draw_strike(point, draw);
                let skip = self.pass(now, place);
                let input = Input::Strike { point, worker, only: None, strike };
                self.record.push(Step { at: now, skip, input });
                Some(strike)
            }
            Some(script) => {
                let next = script[place].last()?;
                let Input::Strike { only, .. } = &next.input else { unreachable!("only strikes are filed") };
                if next.at > now || only.as_ref().is_some_and(|only| only != kind) {
                    return None;
                }
                let skip = if next.at == now { next.skip } else { 0 };
                let count = self.pass(now, place);
                if count < skip {
                    return None;
                }
                let step = self.script.as_mut().and_then(|script| script[place].pop()).expect("just looked");
                let Input::Strike { strike, .. } = step.input else { unreachable!("only strikes are filed") };
                self.record.push(Step { at: now, skip: count, ..step });
                Some(strike)
            }
        }
    }

    /// Counts what passes a place within one millisecond.
    fn pass(&mut self, now: u64, place: usize) -> u32 {
        let (at, count) = &mut self.passed[place];
        if *at != now {
            (*at, *count) = (now, 0);
        }
        *count += 1;
        *count - 1
    }

    fn draw_strike(&mut self, point: Point, draw: u64) -> Strike {
        let random = &mut self.strikes;
        match point {
            Point::ManagerAction => Strike::Crash { down_ms: random.between(50, 8000), durable: random.below(8) },
            Point::WorkerAction => Strike::Crash { down_ms: random.between(50, 20_000), durable: 0 },
            Point::Up | Point::Down if draw < self.lose => Strike::Lose,
            Point::Up | Point::Down if draw < self.lose + self.double => Strike::Double,
            Point::Up | Point::Down => Strike::Late { ms: random.between(1000, LATE_MS_MAX) },
            Point::Engine => match random.below(5) {
                0 => Strike::Lose,
                1 => Strike::Late { ms: random.between(100, 8000) },
                2 => Strike::Hang { ms: random.between(1000, 60_000) },
                _ => Strike::Fail { refused: random.chance(300) },
            },
            Point::Hint => match random.below(3) {
                0 => Strike::Lose,
                1 => Strike::Double,
                _ => Strike::Late { ms: random.between(100, 20_000) },
            },
        }
    }

    /// How long until something goes wrong again, in milliseconds.
    pub fn pause(&mut self) -> u64 {
        self.timed.between(100, 11_000)
    }

    /// What goes wrong now: inputs, each after so many milliseconds.
    pub fn wreak(&mut self, options: &Options) -> Vec<(u64, Input)> {
        let random = &mut self.timed;
        let worker = random.below(options.workers);
        let now = |input| vec![(0, input)];
        if options.crowded {
            return self.partition(worker, options);
        }
        match random.below(19) {
            0 if options.outages => {
                now(Input::ManagerCrash { down_ms: random.between(50, 8000), durable: random.below(8) })
            }
            1 if options.outages => {
                let (reboot, down_ms) = (random.chance(300), random.between(50, 20_000));
                now(Input::WorkerCrash { worker, reboot, down_ms })
            }
            2 if options.pauses => now(Input::ManagerPause { ms: random.between(100, 20_000) }),
            3 if options.pauses => now(Input::WorkerPause { worker, ms: random.between(100, 20_000) }),
            4 | 13 if options.partitions => self.partition(worker, options),
            14 if options.partitions => self.unheard(worker, options),
            15 if options.container_faults && random.chance(500) => now(Input::PushAgain),
            15 if options.container_faults => now(Input::BuildAgain { worker }),
            5 if options.engine_outages => {
                let (ms, live_restore, killed) = (random.between(100, 15_000), random.chance(500), random.chance(500));
                now(Input::EngineDown { worker, ms, live_restore, killed })
            }
            6 if options.hint_faults > 0 => now(Input::HintsBreak { worker }),
            7 | 8 if options.container_faults => {
                let harms = [
                    Harm::Exit(0),
                    Harm::Exit(1),
                    Harm::Kill,
                    Harm::OutOfMemory,
                    Harm::Remove,
                    Harm::Start,
                    Harm::Stop,
                    Harm::Pause,
                    Harm::Sicken,
                    Harm::SickenAll,
                    Harm::Cure,
                    Harm::Rename,
                    Harm::Copy,
                ];
                now(Input::Container { worker, nth: random.below(64), harm: harms[random.below(harms.len())] })
            }
            9 if options.container_faults && random.chance(500) => {
                now(Input::Prune { worker, told: random.chance(500) })
            }
            9 if options.container_faults => {
                let port = [8080, 20_000, 20_001, 20_005][random.below(4)];
                now(Input::HoldPort { worker, port, ms: random.between(1000, 60_000) })
            }
            16 if options.container_faults => {
                let ms = random.between(5000, 60_000);
                now(match random.chance(500) {
                    true => Input::StartsNothing { worker, ms },
                    false => Input::WorkerDiskFull { worker, ms },
                })
            }
            18 if options.container_faults => now(Input::PruneVolumes { worker }),
            17 if options.outages => {
                now(Input::Allow { worker, more: random.chance(600), down_ms: random.between(50, 4000) })
            }
            10 if options.disk_faults => now(Input::DiskFull { ms: random.between(10, 5000) }),
            12 if options.twins => {
                now(Input::Twin { worker, copied: random.chance(500), ms: random.between(100, 20_000) })
            }
            11 if options.clock_jumps => {
                let ms = random.between(0, 7_200_000) as i64 - 3_600_000;
                now(Input::WallJump { ms })
            }
            _ => Vec::new(),
        }
    }

    /// One worker is cut off, once or again and again; or two by turns; or all at once; or some one after the other, which
    /// come back in another order (swizzle-clog, as FoundationDB calls it).
    fn partition(&mut self, worker: usize, options: &Options) -> Vec<(u64, Input)> {
        let (random, workers) = (&mut self.timed, options.workers);
        let kind = if options.crowded { 0 } else { random.below(7) };
        let (up, down) = [(true, true), (true, false), (false, true)][random.below(3)];
        let ms = random.between(500, 40_000);
        let cut = |worker| Input::Cut { worker, up, down };
        let mend = |worker| Input::Mend { worker };
        match kind {
            0 => {
                // A manager that hears of nobody is started again, and has to find out for itself.
                let crash = options.outages && random.chance(400);
                let ms = if crash { 20_000 + ms } else { ms };
                let down_ms = random.between(50, 4000);
                let crash = crash.then(|| (random.between(5000, 15_000), Input::ManagerCrash { down_ms, durable: 0 }));
                let all = (0..workers).map(|worker| (0, cut(worker)));
                all.chain((0..workers).map(|worker| (ms, mend(worker)))).chain(crash).collect()
            }
            1 => {
                let mut inputs = Vec::new();
                for worker in 0..workers {
                    if random.chance(600) {
                        inputs.push((random.between(0, 10_000), cut(worker)));
                        inputs.push((random.between(10_001, 40_000), mend(worker)));
                    }
                }
                inputs
            }
            2 => {
                let (mut inputs, mut at) = (Vec::new(), 0);
                for _ in 0..random.between(2, 4) {
                    inputs.push((at, cut(worker)));
                    at += random.between(5000, 30_000);
                    inputs.push((at, mend(worker)));
                    at += random.between(1000, 8000);
                }
                inputs
            }
            3 => {
                let other = (worker + 1) % workers;
                let mut at = 0;
                let mut next = || {
                    let now = at;
                    at += random.between(4000, 20_000);
                    now
                };
                let turns = [cut(worker), cut(other), mend(worker), cut(worker), mend(other), mend(worker)];
                turns.into_iter().map(|turn| (next(), turn)).collect()
            }
            _ => vec![(0, cut(worker)), (ms, mend(worker))],
        }
    }

    /// A worker is cut off, and nobody hears of what happens to it meanwhile: its process is restarted, its engine is
    /// away, or somebody falls unhealthy there. Or what it was told last comes late.
    fn unheard(&mut self, worker: usize, options: &Options) -> Vec<(u64, Input)> {
        let random = &mut self.timed;
        let kind = random.below(4);
        let (up, down) = [(true, true), (true, true), (true, false)][random.below(3)];
        let cut = Input::Cut { worker, up, down };
        let ms = random.between(5000, 50_000);
        let (soon, away) = (random.between(0, 3000), random.between(1000, 30_000));
        let meanwhile = match kind {
            0 if options.outages => {
                vec![(2 * soon, Input::WorkerCrash { worker, reboot: false, down_ms: away / 10 })]
            }
            1 if options.engine_outages => {
                let (live_restore, killed) = (random.chance(500), random.chance(500));
                vec![(soon, Input::EngineDown { worker, ms: away, live_restore, killed })]
            }
            2 if options.container_faults => {
                let (nth, again) = (random.below(64), ms + random.between(0, 6000));
                let happens = |harm| Input::Container { worker, nth, harm };
                vec![(soon, happens(Harm::Sicken)), (again, happens(Harm::Cure))]
            }
            // Shorter than a lease: it would dial again.
            _ => {
                let stall = Input::Stall { worker, up: random.chance(300), down: true, ms: 5000 - soon / 2 };
                return vec![(0, stall), (soon / 2, cut), (ms, Input::Mend { worker })];
            }
        };
        let apart = [(random.between(0, 2000), cut), (ms, Input::Mend { worker })];
        meanwhile.into_iter().chain(apart).collect()
    }
}

//! Probes: a running task is asked whether it is well, again and again.
//!
//! They run beside the operations on its container, one of a kind at a time, and change nothing: what they find is
//! reported, and what follows from it is the manager's business. Trouble with the engine is no answer. A worker that
//! was restarted knows of no finding, says so, and asks anew.

use super::*;

/// How often a task that has never said yes is asked within its start period.
const START_INTERVAL: Millis = Millis(500);

/// A span between two questions, or before an answer is given up, as far as it makes sense: a manager that has not
/// checked it must not make the worker ask without a pause.
fn span(span: Millis) -> Millis {
    span.max(Millis(limits::PROBE_SPAN_MS_MIN))
}

/// The course of one of a task's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probing {
    /// When it was asked first, in this process's life.
    begun_at: Time,
    /// When it is asked next.
    next_at: Time,
    /// It is being asked.
    under_way: bool,
    /// It has said yes.
    passed: bool,
    /// So many times no in a row that count.
    failures: u32,
}

/// What a task's probes have found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub probed: Probed,
    /// Why the one that failed last did.
    pub why: String,
}

impl Worker {
    /// Asks what is due, and looks again when the next is.
    pub(super) fn probe(&mut self, now: Time, id: TaskId, actions: &mut Vec<Action>) {
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        let spec = task.order.as_ref().expect("only what is ordered is probed").spec.clone();
        for (kind, probe) in spec.container.probes.iter() {
            let first = Probing { begun_at: now, next_at: now, under_way: false, passed: false, failures: 0 };
            let task = self.tasks.get_mut(&id).expect("just found");
            let probing = task.probing.entry(kind).or_insert(first);
            if probing.under_way {
                continue;
            }
            if probing.next_at > now {
                self.looks.insert((probing.next_at, id));
                continue;
            }
            probing.under_way = true;
            let request = Op::Probe {
                name: self.container_of(id).expect("no task is known before a cluster is joined"),
                ask: question(&spec, probe),
                timeout: span(probe.timeout),
            };
            self.begin(InFlight::Probe { task: id, kind }, request, actions);
        }
    }

    /// An answer, or none.
    pub(super) fn probe_done(&mut self, now: Time, id: TaskId, kind: ProbeKind, result: OpResult) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(probing) = task.probing.get_mut(&kind) else { return };
        probing.under_way = false;
        self.due.insert(id);
        let Some(probe) = task.order.as_ref().and_then(|order| order.spec.container.probes.get(kind)) else { return };
        probing.next_at = now + span(probe.interval);
        match result {
            Ok(_) => {
                (probing.passed, probing.failures) = (true, 0);
                task.found.probed = task.found.probed.with(kind, true);
            }
            Err(OpError { kind: OpErrorKind::Unwell, message }) => {
                let starting = !probing.passed && now < probing.begun_at + probe.start_period;
                if starting {
                    probing.next_at = now + span(probe.interval).min(START_INTERVAL);
                    return;
                }
                probing.failures = probing.failures.saturating_add(1);
                if probing.failures >= probe.retries {
                    task.found.probed = task.found.probed.with(kind, false);
                    task.found.why = cut(format!("{}: {message}", kind.as_str()));
                }
            }
            Err(_) => {}
        }
    }
}

/// The question with the numbers of the ports.
fn question(spec: &Spec, probe: &Probe) -> ProbeOf {
    let number =
        |name: &String| spec.container.ports.iter().find(|port| port.name == *name).map_or(0, |port| port.container);
    match &probe.ask {
        ProbeAsk::Http { port, path } => ProbeOf::Http(number(port), path.clone()),
        ProbeAsk::Tcp { port } => ProbeOf::Tcp(number(port)),
        ProbeAsk::Command(command) => ProbeOf::Command(command.clone()),
    }
}

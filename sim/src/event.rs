//! What can happen in the world, one at a time.

use crate::input::Input;
use orbit_core::{
    manager::{Request, RequestId, SessionId},
    model::*,
    worker::{LinkId, Op, OpId, OpResult},
};
use std::fmt;

/// Something that will happen. What names a life is void if the process has died since.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub(crate) enum WorldEvent {
    /// The next input is drawn: something goes wrong.
    Chaos,
    /// The next input is drawn: a user asks.
    ClientDraws,
    /// Containers can be started on a machine again.
    StartsAgain {
        /// Which one.
        worker: usize,
    },
    /// A worker looks how much room there is on its disk.
    WorkerDisk {
        worker: usize,
        life: u32,
    },
    /// An input that was drawn earlier, or stands in the script.
    Input(Box<Input>),
    ManagerStart,
    ManagerWake {
        life: u32,
        due: u64,
    },
    ManagerSynced {
        life: u32,
    },
    ManagerHears {
        session: SessionId,
        message: ToManager,
    },
    ManagerHangup {
        session: SessionId,
    },
    ManagerAsked {
        life: u32,
        id: RequestId,
        request: Request,
    },
    AskAgain,
    Compact,
    WorkerStart {
        worker: usize,
    },
    WorkerWake {
        worker: usize,
        life: u32,
        due: u64,
    },
    WorkerLinkUp {
        worker: usize,
        life: u32,
        link: LinkId,
    },
    WorkerLinkDown {
        worker: usize,
        life: u32,
        link: LinkId,
    },
    WorkerHears {
        worker: usize,
        session: SessionId,
        message: ToWorker,
    },
    EngineBegins {
        worker: usize,
        life: u32,
        op: OpId,
        request: Op,
    },
    EngineActs {
        worker: usize,
        life: u32,
        op: OpId,
        request: Op,
    },
    EngineAnswers {
        worker: usize,
        life: u32,
        op: OpId,
        result: OpResult,
    },
    EngineHint {
        worker: usize,
        life: u32,
        task: TaskId,
    },
    EngineHintsLost {
        worker: usize,
        life: u32,
    },
    EngineUp {
        worker: usize,
    },
    PortFree {
        worker: usize,
        port: u16,
    },
    /// A second worker's machine is gone.
    TwinGoes {
        session: SessionId,
    },
    Heal,
}

/// Of two at the same millisecond, what comes from outside is first: a script then has the same
/// order as the run that it was written down from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Outside,
    Ordinary,
    Last,
}

impl WorldEvent {
    pub fn rank(&self) -> Rank {
        match self {
            WorldEvent::Chaos | WorldEvent::ClientDraws | WorldEvent::Input(_) => Rank::Outside,
            WorldEvent::Heal => Rank::Last,
            _ => Rank::Ordinary,
        }
    }

    /// Whether it happens to the manager's process.
    pub fn is_managers(&self) -> bool {
        matches!(
            self,
            WorldEvent::ManagerWake { .. }
                | WorldEvent::ManagerSynced { .. }
                | WorldEvent::ManagerHears { .. }
                | WorldEvent::ManagerHangup { .. }
                | WorldEvent::ManagerAsked { .. }
        )
    }

    /// To which worker's process it happens.
    pub fn workers(&self) -> Option<usize> {
        match self {
            WorldEvent::WorkerWake { worker, .. }
            | WorldEvent::WorkerLinkUp { worker, .. }
            | WorldEvent::WorkerLinkDown { worker, .. }
            | WorldEvent::WorkerHears { worker, .. }
            | WorldEvent::EngineAnswers { worker, .. }
            | WorldEvent::EngineHint { worker, .. }
            | WorldEvent::EngineHintsLost { worker, .. }
            | WorldEvent::WorkerDisk { worker, .. } => Some(*worker),
            _ => None,
        }
    }

    /// Adds all that it is to a hash. Without formatting: this is done for every event.
    pub fn hash_into(&self, hash: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        std::mem::discriminant(self).hash(hash);
        match self {
            WorldEvent::Chaos
            | WorldEvent::ClientDraws
            | WorldEvent::Input(_)
            | WorldEvent::ManagerStart
            | WorldEvent::AskAgain
            | WorldEvent::Compact
            | WorldEvent::Heal => {}
            WorldEvent::ManagerWake { life, due } => (life, due).hash(hash),
            WorldEvent::ManagerSynced { life } => life.hash(hash),
            WorldEvent::ManagerHears { session, message } => (session, message).hash(hash),
            WorldEvent::ManagerHangup { session } => session.hash(hash),
            WorldEvent::ManagerAsked { life, id, request } => (life, id, request).hash(hash),
            WorldEvent::WorkerStart { worker } | WorldEvent::EngineUp { worker } => worker.hash(hash),
            WorldEvent::WorkerWake { worker, life, due } => (worker, life, due).hash(hash),
            WorldEvent::WorkerLinkUp { worker, life, link } | WorldEvent::WorkerLinkDown { worker, life, link } => {
                (worker, life, link).hash(hash);
            }
            WorldEvent::WorkerHears { worker, session, message } => (worker, session, message).hash(hash),
            WorldEvent::EngineBegins { worker, life, op, request }
            | WorldEvent::EngineActs { worker, life, op, request } => {
                (worker, life, op, request).hash(hash);
            }
            WorldEvent::EngineAnswers { worker, life, op, result } => (worker, life, op, result).hash(hash),
            WorldEvent::EngineHint { worker, life, task } => (worker, life, task).hash(hash),
            WorldEvent::EngineHintsLost { worker, life } | WorldEvent::WorkerDisk { worker, life } => {
                (worker, life).hash(hash);
            }
            WorldEvent::PortFree { worker, port } => (worker, port).hash(hash),
            WorldEvent::StartsAgain { worker } => worker.hash(hash),
            WorldEvent::TwinGoes { session } => session.hash(hash),
        }
    }

    /// Who, what, and the rest, for people.
    fn columns(&self) -> (String, &'static str, String) {
        let worker = |nth: &usize| format!("worker {nth}");
        let engine = |nth: &usize| format!("engine {nth}");
        let manager = || "manager".to_string();
        match self {
            WorldEvent::Chaos => ("world".into(), "chaos", String::new()),
            WorldEvent::ClientDraws => ("world".into(), "user", String::new()),
            WorldEvent::Input(input) => ("world".into(), "input", format!("{input:?}")),
            WorldEvent::Heal => ("world".into(), "heal", String::new()),
            WorldEvent::ManagerStart => (manager(), "start", String::new()),
            WorldEvent::ManagerWake { .. } => (manager(), "wake", String::new()),
            WorldEvent::ManagerSynced { .. } => (manager(), "synced", String::new()),
            WorldEvent::ManagerHears { session, message } => {
                (manager(), "hears", format!("session {}: {message:?}", session.0))
            }
            WorldEvent::ManagerHangup { session } => (manager(), "hangup", format!("session {}", session.0)),
            WorldEvent::ManagerAsked { id, request, .. } => {
                (manager(), "asked", format!("request {}: {request:?}", id.0))
            }
            WorldEvent::AskAgain => ("world".into(), "ask again", String::new()),
            WorldEvent::Compact => (manager(), "compact", String::new()),
            WorldEvent::WorkerStart { worker: nth } => (worker(nth), "start", String::new()),
            WorldEvent::WorkerWake { worker: nth, .. } => (worker(nth), "wake", String::new()),
            WorldEvent::WorkerLinkUp { worker: nth, link, .. } => (worker(nth), "link up", format!("link {}", link.0)),
            WorldEvent::WorkerLinkDown { worker: nth, link, .. } => {
                (worker(nth), "link down", format!("link {}", link.0))
            }
            WorldEvent::WorkerHears { worker: nth, session, message } => {
                (worker(nth), "hears", format!("session {}: {message:?}", session.0))
            }
            WorldEvent::EngineBegins { worker: nth, op, request, .. } => {
                (engine(nth), "begins", format!("op {}: {request:?}", op.0))
            }
            WorldEvent::EngineActs { worker: nth, op, request, .. } => {
                (engine(nth), "acts", format!("op {}: {request:?}", op.0))
            }
            WorldEvent::EngineAnswers { worker: nth, op, result, .. } => {
                (engine(nth), "answers", format!("op {}: {result:?}", op.0))
            }
            WorldEvent::EngineHint { worker: nth, task, .. } => (engine(nth), "hint", format!("task {task}")),
            WorldEvent::EngineHintsLost { worker: nth, .. } => (engine(nth), "hints lost", String::new()),
            WorldEvent::WorkerDisk { worker: nth, .. } => (worker(nth), "disk", String::new()),
            WorldEvent::EngineUp { worker: nth } => (engine(nth), "up", String::new()),
            WorldEvent::PortFree { worker: nth, port } => (engine(nth), "port free", port.to_string()),
            WorldEvent::StartsAgain { worker: nth } => (engine(nth), "starts again", String::new()),
            WorldEvent::TwinGoes { session } => ("world".into(), "twin goes", format!("session {}", session.0)),
        }
    }
}

impl fmt::Display for WorldEvent {
    /// One line in fixed columns; what is long is cut.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const DETAIL_MAX: usize = 160;
        let (who, what, detail) = self.columns();
        write!(f, "{who:<10} {what:<10} ")?;
        match detail.char_indices().nth(DETAIL_MAX) {
            Some((end, _)) if !f.alternate() => write!(f, "{}…", &detail[..end]),
            _ => f.write_str(&detail),
        }
    }
}

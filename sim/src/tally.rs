//! The "sometimes" table: how often each fault, each fault during each activity, and each
//! interesting situation was reached. A simulator that never reaches a situation says nothing
//! about it, so a long run in which one is missing fails.

use std::fmt::Write;

/// An enum without data whose variants have names for people.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum $name { $($variant,)* }
        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// For people.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// A kind of fault.
    Fault {
        ManagerCrash "manager crashes",
        ManagerCrashAtAction "manager crashes at an effect",
        ManagerPause "manager paused",
        WallClockJump "wall clock jumps",
        DiskFull "manager's disk full",
        WorkerCrash "worker crashes",
        WorkerCrashAtAction "worker crashes at an effect",
        HostReboot "host reboots",
        HostLost "host lost for good",
        WorkerPause "worker paused",
        MessageLost "message lost",
        MessageDoubled "message doubled",
        MessageLate "message late",
        MessagesHeldUp "messages held up",
        PartitionBothWays "partition",
        PartitionOneWay "partition, one way",
        EngineDownLiveRestore "engine restarts, live-restore",
        EngineDownContainersEnd "engine restarts, containers end",
        EngineFails "engine fails an operation",
        EngineHangs "engine hangs over an operation",
        EngineAnswerLost "engine's answer lost",
        EngineAnswerLate "engine's answer late (stale)",
        HintLost "engine's event lost",
        HintDoubled "engine's event doubled",
        HintLate "engine's event late",
        HintsBreak "engine's events break off",
        ContainerExits "container exits",
        ContainerKilled "container killed by somebody",
        ContainerOutOfMemory "container out of memory",
        ContainerRemoved "container removed by somebody",
        ContainerStartedAgain "container started by somebody",
        ContainerStopped "container stopped by somebody",
        ContainerPaused "container paused by somebody",
        ContainerSick "container says no to its probes",
        ContainerRenamed "container renamed",
        ContainerCopied "container copied with its labels",
        Prune "containers pruned by somebody",
        PruneVolumes "volumes pruned by somebody",
        TagMoved "other bytes pushed under a tag",
        BuiltAgain "image built again on a machine",
        PortTakenByStranger "port taken by a stranger",
        StartsNothing "machine starts nothing",
        WorkerDiskFull "worker's disk full",
        AllowChanged "operator allows something else",
        NameTwin "second worker of a name",
        StateCopied "worker's state directory copied",
    }
}

named! {
    /// What the world was doing when a fault struck. Several hold at once.
    Activity {
        Idle "idle",
        Deploying "deploying",
        Scaling "scaling",
        Stopping "stopping",
        Reconnecting "reconnecting",
        Recovering "recovering",
    }
}

named! {
    /// Something worth reaching.
    Situation {
        ReplacedWithLostNode "task replaced with its lost node",
        OriginalReturned "node returned after its tasks were replaced",
        Braked "mass-loss brake held",
        Unplaced "no node had room",
        PlanStale "part of a plan was stale when committed",
        GroupCommit "several entries in one sync",
        EntryPartlyDurable "crash with some entries of a sync durable",
        EntryDurableUnanswered "crash with a whole sync durable, nobody told",
        LeadLost "lead lost with proposals outstanding",
        SnapshotRestored "restart from a snapshot",
        PausedBeyondLease "manager paused beyond the lease",
        WorkerPausedBeyondLease "worker paused beyond the lease",
        Probed "two connections of one worker: probe",
        WorkerRefused "worker refused",
        Resynced "worker told everything again",
        MessageToNobody "message for a connection that had ended",
        KeyRepeated "answered request repeated under its key",
        StaleConditionRefused "stale conditional write refused",
        FreshConditionAccepted "fresh conditional write accepted",
        NodeForgotten "node forgotten",
        ForgottenReturned "forgotten node came back as a new one",
        OrphanRemoved "container of a forgotten task removed",
        Vanished "task ended: vanished",
        Killed "task ended: killed",
        OutOfMemory "task ended: out of memory",
        PortTaken "task ended: port taken",
        PullFailed "task ended: pull failed",
        PullTimeout "task ended: pull timed out",
        StartFailed "task ended: start failed",
        CreateFailed "task ended: create failed",
        NotAllowed "task ended: its node's operator had taken his word back",
        WaitsForWord "task waits for a node whose operator allows what it asks for",
        WaitsForVolume "task waits for its volume",
        VolumeGone "task ended: its volume is gone",
        VolumeRemoved "volume given up",
        WaitsForOthers "task waits for another object",
        CameInTurn "task placed after what it had waited for",
        StoppedUnstarted "task stopped before it was started",
        BackoffAtCap "backoff at its cap",
        TwoVersions "two versions of a service at once",
        NameReused "name reused while its old holder is being deleted",
        ScaledToZero "service scaled to nothing",
        AllCutOff "manager cut off from every worker",
        Cordoned "node cordoned",
        Drained "node drained",
        DrainDeadline "drain's deadline passed with tasks left",
        DrainBlocked "drain blocked for want of room",
        DrainOfSilent "silent node drained",
        DrainAndRollout "drain during a rollout",
        RolloutDrainLoss "rollout, drain and lost node at once",
        SurgedTogether "several slots updated at once",
        StoppedFirst "task stopped before another took its place",
        NotCountedYet "new task that runs and does not count yet",
        FailedBeforeItCounted "new task failed while the old one served",
        TwinRefused "second worker of a name refused",
        CopyRefused "copy of a state directory refused",
        CopyTookOver "copy of a dead worker's directory took over",
        StopRanIntoGrace "stop that ran into its grace",
        Unready "task left the endpoints",
        ReadyAgain "task returned to the endpoints",
        Unhealthy "task of no good health replaced",
        SickTogether "several tasks of a service of no good health",
        SickInRollout "task of no good health during a rollout",
        NeverReady "new version that runs and is not ready",
        CanaryWaits "canaries serve and wait to be promoted",
        CanaryAndLoss "canaries wait while a node is lost",
        Promoted "canaries promoted",
        RolloutPaused "rollout paused",
        RolloutResumed "rollout resumed",
        RolloutStood "rollout failed and stood still",
        RolledBack "rollout failed and was taken back",
        RolledBackDone "stable version back in every slot",
        RollbackFailed "rollback failed, too",
        Undone "rollout undone",
        HeldSuperseded "new spec while a rollout stood still",
        HeldRefilled "task followed by one of its own version while a rollout is held",
        DeadlineMoved "deadline moved on by progress",
        Resolved "image of a version resolved",
        ImageCollected "image removed that nothing needed",
        FetchedAgain "image fetched by its digest, though its tag was there",
        FencedByNode "task stopped by its node's fence",
        ReplacedAfterFence "task replaced after its fence",
        ConfirmedWaits "task of a silent node waits to be confirmed gone",
        OriginalKept "original kept, its replacement stopped",
        SilentAgain "node silent again with a task that was replaced before",
        RestartedAlone "worker restarted while it was cut off",
        ForgetWaits "forgetting a node waits for a fence",
        FenceRefused "spec refused that cannot satisfy its fence",
    }
}

const FAULTS: usize = Fault::ALL.len();
const ACTIVITIES: usize = Activity::ALL.len();
const SITUATIONS: usize = Situation::ALL.len();

/// The counts of one run, or of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    faults: [u64; FAULTS],
    pairs: [[u64; ACTIVITIES]; FAULTS],
    situations: [u64; SITUATIONS],
}

impl Default for Tally {
    fn default() -> Self {
        Tally { faults: [0; FAULTS], pairs: [[0; ACTIVITIES]; FAULTS], situations: [0; SITUATIONS] }
    }
}

/// A set of activities.
#[derive(Clone, Copy, Debug, Default)]
pub struct Activities([bool; ACTIVITIES]);

impl Activities {
    /// Adds one if it holds.
    pub fn note(&mut self, activity: Activity, holds: bool) {
        self.0[activity as usize] |= holds;
    }
    /// Nothing else going on is an activity, too.
    pub fn or_idle(mut self) -> Activities {
        self.0[Activity::Idle as usize] = !self.0.contains(&true);
        self
    }
}

impl Tally {
    /// A fault struck while the world was so occupied.
    pub fn fault(&mut self, fault: Fault, during: Activities) {
        self.faults[fault as usize] += 1;
        for (count, holds) in self.pairs[fault as usize].iter_mut().zip(during.0) {
            *count += u64::from(holds);
        }
    }
    /// A situation was reached.
    pub fn reach(&mut self, situation: Situation) {
        self.situations[situation as usize] += 1;
    }
    /// How often a fault struck.
    pub fn of(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Tally) {
        let add = |ours: &mut [u64], theirs: &[u64]| ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        add(&mut self.faults, &other.faults);
        add(&mut self.situations, &other.situations);
        self.pairs.iter_mut().zip(&other.pairs).for_each(|(ours, theirs)| add(ours, theirs));
    }
    /// What was never reached.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (fault, pairs) in Fault::ALL.iter().zip(&self.pairs) {
            let never = Activity::ALL.iter().zip(pairs).filter(|(_, count)| **count == 0);
            missing.extend(never.map(|(activity, _)| format!("{} × {}", fault.name(), activity.name())));
        }
        let never = Situation::ALL.iter().zip(&self.situations).filter(|(_, count)| **count == 0);
        missing.extend(never.map(|(situation, _)| situation.name().to_string()));
        missing
    }
    /// The table, for people.
    pub fn table(&self) -> String {
        let mut text = format!("{:<34}{:>10}", "fault", "in all");
        Activity::ALL.iter().for_each(|activity| write!(text, "{:>14}", activity.name()).expect("a string"));
        text.push('\n');
        for (fault, pairs) in Fault::ALL.iter().zip(&self.pairs) {
            write!(text, "{:<34}{:>10}", fault.name(), self.faults[*fault as usize]).expect("a string");
            pairs.iter().for_each(|count| write!(text, "{count:>14}").expect("a string"));
            text.push('\n');
        }
        for (situation, count) in Situation::ALL.iter().zip(&self.situations) {
            writeln!(text, "{:<60}{count:>10}", situation.name()).expect("a string");
        }
        text
    }
}

//! Planted bugs: how good are the tests, and above all the simulator?
//!
//! Each [`Bug`] is a mistake that somebody could make and a reviewer could miss. It sits in the code
//! behind [`planted`], which asks whether it is in force; a caller from outside says so with `plant`.
//! Without the feature `planted` the answer is a constant and nothing of it is compiled.

/// Whether this bug is in force: never, in an ordinary build.
#[cfg(not(feature = "planted"))]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use in_force::{MARK, plant, planted};

#[cfg(feature = "planted")]
mod in_force {
    use super::Bug;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Stands in every program in which a bug can be planted, so that a release is seen to be free.
    pub const MARK: &str = "orbit-planted-bug";

    /// The bug in force, counted from 1. One for the whole process: it is not the machines' business.
    static IN_FORCE: AtomicUsize = AtomicUsize::new(0);

    /// Puts one bug in force, or none.
    pub fn plant(bug: Option<Bug>) {
        IN_FORCE.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
    }

    /// Whether this bug is in force.
    pub fn planted(bug: Bug) -> bool {
        #[cfg(test)]
        plant_from_environment();
        IN_FORCE.load(Ordering::Relaxed) == bug as usize + 1 && is_marked()
    }

    /// Keeps the mark in the program.
    #[inline(never)]
    fn is_marked() -> bool {
        !std::hint::black_box(MARK).is_empty()
    }

    /// The unit tests' own way to plant one; the other test programs do so themselves.
    #[cfg(test)]
    fn plant_from_environment() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        let named = || std::env::var_os("ORBIT_PLANTED").and_then(|name| Bug::named(name.to_str()?));
        ONCE.call_once(|| plant(named()));
    }
}

/// Where a bug lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The scheduler and the planner.
    Scheduler,
    /// The reconciler.
    Reconciler,
    /// The leases.
    Leases,
    /// Sessions, and what is sent on them.
    Sessions,
    /// `apply`, and snapshots.
    Apply,
    /// The worker's machine.
    Worker,
    /// The worker's memory.
    Ledger,
    /// The log and the ledger on disk.
    Store,
    /// The manager's shell.
    ManagerShell,
    /// The worker's shell.
    WorkerShell,
}

/// Which simulator has to find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The pure world.
    Pure,
    /// The daemons over a simulated network, clock and disk.
    Daemons,
}

impl Place {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Place::Scheduler => "scheduler",
            Place::Reconciler => "reconciler",
            Place::Leases => "leases",
            Place::Sessions => "sessions",
            Place::Apply => "apply",
            Place::Worker => "worker",
            Place::Ledger => "ledger",
            Place::Store => "store",
            Place::ManagerShell => "manager shell",
            Place::WorkerShell => "worker shell",
        }
    }
    /// Who has to find what lives there.
    pub fn level(self) -> Level {
        match self {
            Place::Store | Place::ManagerShell | Place::WorkerShell => Level::Daemons,
            _ => Level::Pure,
        }
    }
}

macro_rules! bugs {
    ($($place:ident $variant:ident $name:literal $about:literal;)*) => {
        /// A mistake that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $about] $variant,)*
        }

        #[cfg(feature = "planted")]
        impl Bug {
            /// All of them, by place.
            pub const ALL: &'static [Bug] = &[$(Bug::$variant,)*];
            /// Stable.
            pub fn name(self) -> &'static str {
                match self { $(Bug::$variant => $name,)* }
            }
            /// One sentence.
            pub fn about(self) -> &'static str {
                match self { $(Bug::$variant => $about,)* }
            }
            /// Where it lives.
            pub fn place(self) -> Place {
                match self { $(Bug::$variant => Place::$place,)* }
            }
            /// By its name.
            pub fn named(name: &str) -> Option<Bug> {
                Bug::ALL.iter().copied().find(|bug| bug.name() == name)
            }
        }
    };
}

bugs! {
    Scheduler CpuNotTaken "cpu-not-taken" "Within one plan a node is given out beyond its processors.";
    Scheduler PinnedPortNotTaken "pinned-port-not-taken" "Within one plan two tasks are given the same pinned port.";
    Scheduler FitIsTooStrict "fit-is-too-strict" "A task that fits exactly is refused.";
    Scheduler FreedForAllOrNone "freed-for-all-or-none" "A waiting class is tried again only if every changed node has room.";
    Scheduler ReasonsNotRenewed "reasons-not-renewed" "Why a task waits is not said anew when it waits for another reason.";
    Reconciler HistoryOnlyOfSettled "history-only-of-settled" "Old attempts are forgotten only in slots that serve.";
    Reconciler StoppedRunFollowed "stopped-run-followed" "A single run that was told to stop is followed by another when its node is lost.";
    Reconciler NeverIsRerun "never-is-rerun" "A run that must not be repeated is repeated when its node is silent.";
    Reconciler GiveUpUnseen "give-up-unseen" "Nothing wakes the planner when a serving task's node has been silent for long enough.";
    Reconciler GiveUpTakenBack "give-up-taken-back" "A replacement under way is stopped because a new leader gives the silent node more time.";
    Reconciler SurgeUncounted "surge-uncounted" "New tasks beside old ones that are on their way are not counted against the surge.";
    Reconciler RetryNotReserved "retry-not-reserved" "A slot whose new task failed loses its turn, and a bad version goes from slot to slot.";
    Leases BrakeForgottenInSleep "brake-forgotten-in-sleep" "A manager that slept takes nodes for which the brake held for ones that were given up.";
    Reconciler FailedTakesTheSlot "failed-takes-the-slot" "While a rollout is held, an old task that ends is followed by a new version's that failed in its slot.";
    Reconciler ProgressSampled "progress-sampled" "A rollout's progress is only looked at when its deadline has come.";
    Apply FailuresOfNoneInSnapshot "failures-of-none-kept" "A snapshot does not say of which version the failures of a slot are.";
    Apply OwnNotInSnapshot "own-not-in-snapshot" "A snapshot does not say which version a slot keeps while its rollout stands still.";
    Apply FailuresOfOthersCount "failures-of-others-count" "A slot that goes back to another version goes on counting the failures of the one before.";
    Apply CanariesUnchanged "canaries-unchanged" "A rollout that waits for its canaries does not see that there shall be more, or none.";
    Apply UnreadyForgetsHealth "unready-forgets-health" "A row of failures goes on after a long time of good health that ended with not being ready.";
    Reconciler UnheardTakesItsPlace "unheard-takes-its-place" "A new task on a silent node is taken for one that serves, and the old one is stopped for it.";
    Reconciler MoveWaitsForRetries "move-waits-for-retries" "What is of no good health waits for a slot in which another version fails for ever.";
    Reconciler BackoffUncounted "backoff-uncounted" "Slots whose task has just failed are not counted among those that are without one.";
    Reconciler HealthyAtOnce "healthy-at-once" "A new task counts as soon as it runs, whatever its update says.";
    Reconciler SettlesUnseen "settles-unseen" "Nothing wakes the planner when a new task has run for long enough.";
    Reconciler EverySlotAtOnce "every-slot-at-once" "A rollout replaces every slot at once.";
    Scheduler CordonIgnored "cordon-ignored" "Tasks are placed on nodes that shall take none.";
    Reconciler DrainDeadlineUnseen "drain-deadline-unseen" "What is left on a node after its drain's deadline goes on.";
    Leases DrainWaitsForSilent "drain-waits-for-silent" "Draining a silent node changes nothing for its tasks.";
    Leases BrakeCountsForgotten "brake-counts-forgotten" "Forgotten nodes count among those of which a third fell silent.";
    Leases WelcomeNotHeard "welcome-not-heard" "A registration does not count as a sign of life.";
    Leases ElectionNotCounted "election-not-counted" "A new leader gives a silent node no more time.";
    Leases BrakeOffAtElection "brake-off-at-election" "A new leader does not see which nodes fell silent together.";
    Leases AbsenceUnnoticed "outage-unnoticed" "A leader that was stopped while nothing was due holds its outage against the nodes.";
    Leases OthersNotLookedAt "others-not-looked-at" "When the brake lets go, what it held back is not looked at.";
    Sessions ResyncOneBehind "resync-one-behind" "A worker that is one assignment behind is taken to be up to date.";
    Sessions CloneOfAnybody "clone-of-anybody" "Any worker's word refutes whoever waits for a probe of another.";
    Sessions ForgottenNotDismissed "forgotten-not-dismissed" "The session of a forgotten node goes on.";
    Sessions UnknownNotToldOff "unknown-not-told-off" "A worker that reports a task nobody knows is not told to remove it.";
    Apply BackoffNotInSnapshot "backoff-not-in-snapshot" "A snapshot does not hold how often a slot has failed.";
    Apply RestsNotInSnapshot "rests-not-in-snapshot" "A snapshot does not hold which ports rest.";
    Apply KeysNotInSnapshot "keys-not-in-snapshot" "A snapshot does not hold the answers given under idempotency keys.";
    Apply ConditionBeforeKey "condition-before-key" "The condition of a repeated request is checked before its key.";
    Apply ScaleKeepsRevision "scale-keeps-revision" "Scaling does not change the revision.";
    Apply DeleteUnconditional "delete-unconditional" "The condition of a delete is not checked.";
    Apply HealthFromCreation "health-from-creation" "How long a task was healthy is counted from when it was made.";
    Apply ReturnUnseen "return-unseen" "What is on a node that registers again is not looked at.";
    Apply DropTakesName "drop-takes-name" "The end of a deleted object frees its name, which is another's by now.";
    Apply OldVersionCounts "old-version-counts" "Failures of an older version hold the current one up.";
    Apply StaleReportCounts "stale-report-counts" "A report from an older registration is accepted.";
    Apply StaleEdgeCounts "stale-edge-counts" "An edge of an older registration is accepted.";
    Apply RestsForgottenAtReturn "rests-forgotten-at-return" "A node that registers again forgets which ports rest.";
    Apply AllPortsRest "all-ports-rest" "All ports of a task rest when the engine has named the one that is taken.";
    Apply LeavesWhenStopped "leaves-when-stopped" "A task leaves the endpoints when it is seen stopping, not when it is told to.";
    Apply DropUntold "drop-untold" "Workers are not told of the tasks that go with a deleted object.";
    Apply ForgetKeepsId "forget-keeps-id" "A forgotten node keeps its ID, so that it can never be another one.";
    Apply RoomUnseen "room-unseen" "Nobody looks whether a task's end makes room for those that wait.";
    Apply StaleVersionMade "stale-version-made" "A plan for a version that is no longer the current one is carried out.";
    Apply FinishedRunRepeated "finished-run-repeated" "A run that has reported a good end since it was given up is repeated.";
    Apply FreedEarly "freed-early" "A task gives back what it holds when it begins to stop.";
    Worker FetchFailsForOne "fetch-fails-for-one" "Of those that wait for an image only the first learns that it cannot be had.";
    Apply ListedUnready "listed-unready" "A task that runs is an endpoint, whatever its probes say.";
    Reconciler RunsIsServes "runs-is-serves" "A new task counts once it runs, whatever its probes say.";
    Reconciler UnhealthyKept "unhealthy-kept" "A task whose health fails is not replaced.";
    Reconciler UnhealthyAtOnce "unhealthy-at-once" "All tasks whose health fails are replaced at the same time.";
    Reconciler PauseIgnored "pause-ignored" "A rollout goes on while it is paused.";
    Reconciler CanaryUnbounded "canary-unbounded" "A rollout does not wait for its canaries to be promoted.";
    Reconciler HeldSlotsMoveOn "held-slots-move-on" "While a rollout is held, an old task that ends is followed by a new version's.";
    Reconciler DoneAtOnce "done-at-once" "A rollout is done before its tasks have served for long enough.";
    Reconciler DeadlineAlwaysMoves "deadline-always-moves" "A rollout's deadline moves on though no more slots have settled.";
    Apply RollbackToNewest "rollback-to-newest" "A failed rollout goes back to the version before it, whether that ever served or not.";
    Apply RollbackForgetsCause "rollback-forgets-cause" "What failed is forgotten once a rollout goes back.";
    Apply StableAtOnce "stable-at-once" "A version counts as stable once its rollout begins.";
    Reconciler EarlierSilenceCounts "earlier-silence-counts" "What was replaced in an earlier silence of its node is given up as soon as that falls silent again.";
    Reconciler FencedNotTold "fenced-not-told" "What was given up after its fence is told to stop only when its replacement serves.";
    Apply DigestTakenBack "digest-taken-back" "What an image means is what the last of its nodes says, not the first.";
    Worker DigestNotAwaited "digest-not-awaited" "A container is created before it is known what its image means for all.";
    Worker DigestUnused "digest-unused" "An image is asked for by its tag, whatever that is known to mean.";
    Reconciler ConfirmedIsReplaced "confirmed-is-replaced" "A task whose fence is confirmed is replaced when its node is silent.";
    Reconciler DrainBeforeFence "drain-before-fence" "A drain of a silent node does not wait for the fences of its tasks.";
    Reconciler FencedBesideOthers "fenced-beside-others" "A fenced task is updated as any other: the new one is made beside it.";
    Reconciler OriginalNotKept "original-not-kept" "The replacement stays whatever its spec says.";
    Apply FencedIsFailure "fenced-is-failure" "That a node fenced a task counts as the task's failure.";
    Apply ForgetBeforeFence "forget-before-fence" "A node is forgotten while it may still run tasks whose fence is timed.";
    Leases WallClockTrusted "wall-clock-trusted" "A node is forgotten by the wall clock, which may have jumped while no manager was there.";
    Apply FencedReturnUnseen "fenced-return-unseen" "A fenced task is replaced by a plan from before its node returned.";
    Worker FenceUnseen "fence-unseen" "A node stops no task by itself, however long it hears of nobody.";
    Ledger FenceForgotten "fence-forgotten" "A worker that was restarted stops no task by itself before it is welcomed.";
    Ledger FencedUnwritten "fenced-unwritten" "A worker that was restarted does not know which tasks it had begun to stop by itself.";
    Worker FenceFromAnswer "fence-from-answer" "The fence counts from when a heartbeat was answered, not from when it was sent.";
    Worker FencedMayStart "fenced-may-start" "A node starts a task though its fence has passed.";
    Worker HelloUnsays "hello-unsays" "A finding that a hello has said is not corrected where an older one of the same kind was confirmed.";
    Worker ProbedOnce "probed-once" "Only the first finding of the probes is reported.";
    Worker NoStartPeriod "no-start-period" "A probe that fails while the task starts counts.";
    Worker FirstNoCounts "first-no-counts" "A probe fails at its first no.";
    Worker DelayUnseen "delay-unseen" "The stop signal does not wait for the delay.";
    Worker PausedForEver "paused-for-ever" "A container whose removal was refused is never looked at again.";
    Worker OldListingBelieved "old-listing-believed" "A listing that is older than an operation is believed.";
    Worker EarlierLifeKept "earlier-life-kept" "What an earlier life created late is kept.";
    Worker QueueNotAsked "queue-not-asked" "A task that was told to stop while it waited for its turn is started.";
    Worker GapTakenUp "gap-taken-up" "A difference is taken up though the one before it was lost.";
    Worker ReportSaidOnce "report-said-once" "A report that was lost is not repeated.";
    Worker OnlyWelcomeIsFull "only-welcome-is-full" "What is missing in a list of everything is removed only at the welcome.";
    Worker LostCreateIsFailure "lost-create-is-failure" "A create that was not heard of is taken for a failed one.";
    Worker VanishedIsStopped "vanished-is-stopped" "A container that is gone is reported as stopped, whatever was wanted.";
    Worker EndedMayRun "ended-may-run" "A container that somebody starts after its end is committed goes on running.";
    Ledger ForgottenOnlyIfEnded "forgotten-only-if-ended" "What was attempted and has no end is never forgotten.";
    Ledger RestoredOnlyIfEnded "restored-only-if-ended" "After a restart only ended tasks are looked after.";
    Store LastEntryCompacted "last-entry-compacted" "Compaction drops one entry that the snapshot does not hold.";
    Store SnapshotPointedFirst "snapshot-pointed-first" "A snapshot counts before all of it is written.";
    ManagerShell AcknowledgedEarly "acknowledged-early" "An entry is acknowledged before it is durable.";
    ManagerShell FailedWriteCounts "failed-write-counts" "After an error of the store the process goes on as if it had written.";
    ManagerShell AnswerAwaitedForEver "answer-awaited-for-ever" "A user waits for as long as the disk is full.";
    WorkerShell LedgerNotAwaited "ledger-not-awaited" "The next action is begun before what it relies on is durable.";
}

#[cfg(all(test, feature = "planted"))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_bug_has_a_name_of_its_own_a_sentence_and_a_place() {
        let names: BTreeSet<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(bug.name().chars().all(kebab), "{}", bug.name());
            assert!(bug.about().ends_with('.') && !bug.place().name().is_empty(), "{}", bug.name());
            assert_eq!(Bug::named(bug.name()), Some(*bug));
        }
    }
}

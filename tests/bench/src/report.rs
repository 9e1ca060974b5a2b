//! One line per figure, and what is counted and timed for it.

use std::{
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

/// The argument with which every figure is only tried, a fiftieth as large: it works, and its numbers say nothing.
pub const SMOKE: &str = "--smoke";

fn is_smoke() -> bool {
    static IS_SMOKE: OnceLock<bool> = OnceLock::new();
    *IS_SMOKE.get_or_init(|| std::env::args().any(|arg| arg == SMOKE))
}

/// How many of something there are in this run.
pub fn scaled(count: usize) -> usize {
    if is_smoke() { (count / 50).max(1) } else { count }
}

/// How long something lasts in this run.
pub fn lasting(span: Duration) -> Duration {
    if is_smoke() { span / 50 } else { span }
}

/// The columns' names.
pub fn head() {
    println!("{:<46} {:>14} {:>14}  measured against", "FIGURE", "MEASURED", "GOAL");
}

/// One figure.
pub fn line(figure: &str, measured: String, goal: &str, against: &str) {
    println!("{figure:<46} {measured:>14} {goal:>14}  {against}");
}

/// The middle value.
pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 50)
}

/// The value that so many of a hundred do not exceed.
pub fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// Something that takes too long to be worth a figure.
const NEVER: Duration = Duration::from_secs(300);

/// Looks every so often until something holds; how many seconds after `begun` that was.
pub fn seconds_until(what: &str, begun: Instant, every: Duration, mut holds: impl FnMut() -> bool) -> f64 {
    while !holds() {
        assert!(begun.elapsed() < NEVER, "never: {what}");
        sleep(every);
    }
    begun.elapsed().as_secs_f64()
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Processor time that a process has used, in seconds; all its threads, in user and system mode.
pub fn cpu_seconds(pid: u32) -> f64 {
    /// What the kernel counts in, on every architecture that Linux has kept.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything, also spaces; what follows its parenthesis does not.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>();
    ticks / TICKS_PER_SECOND
}

//! One line per figure.

/// The columns' names.
pub fn head() {
    println!("{:<46} {:>14} {:>14}  measured against", "FIGURE", "MEASURED", "GOAL");
}

/// One figure.
pub fn line(figure: &str, measured: String, goal: &str, against: &str) {
    println!("{figure:<46} {measured:>14} {goal:>14}  {against}");
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

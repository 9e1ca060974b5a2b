//! How a daemon's metrics are written, and those that every daemon has: its version, and what the kernel says of its
//! process. The process's own names (`process_…`) are those that every Prometheus client gives.

use procfs::{
    ProcResult, WithCurrentSystemInfo,
    process::{LimitValue, Process},
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};
use std::{io, path::Path};

/// What [`exposition`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything as text: what `register` puts into the registry of the names that begin with `orbit_`, the version, and the
/// process. It reads files of the kernel, so it is not for the thread of a driver.
///
/// # Panics
/// If a metric cannot be written, which is its author's bug.
pub fn exposition(register: impl FnOnce(&mut Registry)) -> String {
    let mut all = Registry::default();
    let ours = all.sub_registry_with_prefix("orbit");
    ours.register("build", "The version of this program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    register(ours);
    // A kernel that hides these leaves them out; the others are there.
    let _ = process(all.sub_registry_with_prefix("process"));
    let mut text = String::new();
    encode(&mut text, &all).expect("a string takes everything");
    text
}

fn process(registry: &mut Registry) -> ProcResult<()> {
    let this = Process::myself()?;
    let stat = this.stat()?;
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    let cpu = ConstCounter::new(seconds(stat.utime + stat.stime));
    registry.register_with_unit("cpu", "Processor time that was used", Unit::Seconds, cpu);
    let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: f64| match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, ConstGauge::new(value)),
        None => registry.register(name, help, ConstGauge::new(value)),
    };
    let resident = stat.rss_bytes().get() as f64;
    gauge("resident_memory", "Memory that is in use", Some(Unit::Bytes), resident);
    gauge("virtual_memory", "Memory that is mapped", Some(Unit::Bytes), stat.vsize as f64);
    gauge("threads", "Threads", None, stat.num_threads as f64);
    let started = procfs::boot_time_secs()? as f64 + seconds(stat.starttime);
    gauge("start_time", "When it was started, since 1970", Some(Unit::Seconds), started);
    gauge("open_fds", "Open file descriptors", None, this.fd_count()? as f64);
    if let LimitValue::Value(most) = this.limits()?.max_open_files.soft_limit {
        gauge("max_fds", "The most file descriptors that it may have", None, most as f64);
    }
    Ok(())
}

/// Bytes of the file system that a directory is on: what is free for this process, and all.
///
/// # Errors
/// When the system does not say.
pub fn disk_bytes(dir: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a series.
    fn value(text: &str, series: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().expect("a number")
    }

    #[test]
    fn every_daemon_says_its_version_and_what_its_process_uses() {
        let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let memory = vec![1_u8; 32 << 20];
        let text = exposition(|registry| registry.register("answer", "The answer", ConstGauge::new(42.0)));
        assert_eq!(value(&text, &format!("orbit_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
        assert_eq!(value(&text, "orbit_answer"), 42.0);
        assert!(value(&text, "process_cpu_seconds_total") >= 0.0);
        assert!(
            value(&text, "process_resident_memory_bytes") > memory.iter().filter(|byte| **byte == 1).count() as f64
        );
        assert!(value(&text, "process_virtual_memory_bytes") > value(&text, "process_resident_memory_bytes"));
        assert!(value(&text, "process_threads") >= 1.0);
        assert!(
            (begun - value(&text, "process_start_time_seconds")).abs() < 3600.0,
            "this test runs since a moment ago"
        );
        let (open, most) = (value(&text, "process_open_fds"), value(&text, "process_max_fds"));
        assert!(open >= 3.0 && open <= most, "{open} of {most}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_disk_of_a_directory_has_room_and_a_size() {
        let (free, size) = disk_bytes(&std::env::temp_dir()).unwrap();
        assert!(free <= size && size > 0, "{free} of {size}");
        assert!(disk_bytes(Path::new("/nowhere/at/all")).is_err());
    }
}

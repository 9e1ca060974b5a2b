//! `orbit-worker`: the daemon on every machine.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    orbit_shell::program::daemon(orbit_worker::daemon::serve)
}

#[cfg(madsim)]
fn main() {}

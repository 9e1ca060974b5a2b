//! `orbit-manager`: the daemon that decides.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    orbit_shell::program::daemon(orbit_manager::daemon::serve)
}

#[cfg(madsim)]
fn main() {}

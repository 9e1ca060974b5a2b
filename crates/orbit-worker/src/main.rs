//! `orbit-worker`: the daemon on every machine.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    use clap::Parser;
    use orbit_worker::daemon::{Flags, serve};

    /// Orbit's worker: runs on this machine what the manager decides, through Docker.
    #[derive(Parser)]
    #[command(name = "orbit-worker", version)]
    struct Args {
        #[command(flatten)]
        flags: Flags,
    }

    orbit_shell::program::daemon("orbit-worker", serve(Args::parse().flags, orbit_shell::program::asked_to_end()))
}

#[cfg(madsim)]
fn main() {}

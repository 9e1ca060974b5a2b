//! `orbit-manager`: the daemon that decides.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    use clap::Parser;
    use orbit_manager::daemon::{Flags, serve};

    /// Orbit's manager: keeps the desired state, decides what runs where.
    #[derive(Parser)]
    #[command(name = "orbit-manager", version)]
    struct Args {
        #[command(flatten)]
        flags: Flags,
    }

    orbit_shell::program::daemon("orbit-manager", serve(Args::parse().flags, orbit_shell::program::asked_to_end()))
}

#[cfg(madsim)]
fn main() {}

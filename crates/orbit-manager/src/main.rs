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

    let flags = Args::parse().flags;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_target(false).with_ansi(colours).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    let served = runtime.block_on(serve(flags, async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
        tokio::select! { biased;
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
    }));
    runtime.shutdown_background();
    match served {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orbit-manager: {error}");
            std::process::ExitCode::from(2)
        }
    }
}

#[cfg(madsim)]
fn main() {}

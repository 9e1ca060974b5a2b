//! `orbit dev`: manager and worker in one process. Here: its flags, where its state is kept, and the
//! two daemons. What is shown meanwhile is `screen`'s, in the `words` of that file.

mod facts;
mod screen;
mod words;

use crate::{client::Client, error::Error};
use clap::{Args, CommandFactory, FromArgMatches};
use orbit_core::model::Grant;
use orbit_shell::program::{Logs, Settings};
pub use screen::Screen;
use std::{
    collections::BTreeMap,
    future::{Future, pending},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use tokio::sync::{oneshot, watch};

/// Run a manager and a worker on this machine, on the local Docker engine
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Shows what happens, one line per event. If the engine does not answer, it waits for it. Ctrl-C ends
both daemons; containers keep running, and the next start adopts them.

Examples:
  orbit dev
  orbit dev --verbose                          # with the daemons' own logs
  orbit dev --allow host:/srv                  # containers may mount /srv, and what is below it
  orbit dev --listen-workers 0.0.0.0:7071      # other machines may join, on a network that you trust
  orbit dev --state-dir /tmp/orbit --listen 127.0.0.1:8070 --listen-workers 127.0.0.1:8071")]
pub struct DevArgs {
    /// Where the state is kept [default: $XDG_STATE_HOME/orbit/dev or ~/.local/state/orbit/dev]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the manager listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// Where the manager listens for workers; another address than the loopback is for networks that you trust
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    pub listen_workers: SocketAddr,
    /// On which of the machine's addresses tasks publish their ports
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub publish: IpAddr,
    /// What a container may have of this machine beyond what each has anyway, as `orbit-worker --help` lists it; may be given
    /// several times
    #[arg(long, value_name = "WHAT")]
    pub allow: Vec<Grant>,
    /// Show the daemons' own logs as well
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub logs: Logs,
}

/// What `orbit dev` runs with.
#[derive(Clone, Debug)]
pub struct DevSettings {
    /// Where the state is kept.
    pub state_dir: PathBuf,
    /// The manager's.
    pub manager: orbit_manager::daemon::Config,
    /// The worker's.
    pub worker: orbit_worker::daemon::Config,
    /// How much is logged where `RUST_LOG` does not say.
    pub usual_logs: &'static str,
}

impl DevArgs {
    /// The flags, with the defaults that depend on the environment.
    ///
    /// # Errors
    /// One sentence where neither the flag nor the environment says where the state is kept, or two
    /// flags do not go together.
    pub fn settings(self, env: &BTreeMap<String, String>) -> Result<DevSettings, String> {
        let state_dir = match self.state_dir {
            Some(dir) => dir,
            None => state_dir(env).ok_or("neither XDG_STATE_HOME nor HOME is set: say --state-dir DIR")?,
        };
        let manager = orbit_manager::daemon::Config {
            names: Vec::new(),
            listen: self.listen,
            listen_workers: self.listen_workers,
            state_dir: state_dir.join("manager"),
            logs: self.logs.clone(),
        };
        let worker = orbit_worker::daemon::Config {
            managers: vec![url(self.listen_workers)],
            state_dir: state_dir.join("worker"),
            publish: self.publish,
            pinned_ports: pinnable(self.listen),
            allow: self.allow,
            logs: self.logs,
            ..built_in()
        };
        manager.check()?;
        worker.check()?;
        // What the screen says is not said again.
        let usual_logs =
            if self.verbose { "info" } else { "warn,orbit_manager::daemon=error,orbit_worker::daemon=error" };
        Ok(DevSettings { state_dir, manager, worker, usual_logs })
    }
}

/// A worker's defaults. The environment of this process is not a worker's.
fn built_in() -> orbit_worker::daemon::Config {
    let command = orbit_worker::daemon::Config::command().mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(["orbit-worker"]).expect("the defaults are valid");
    FromArgMatches::from_arg_matches(&matches).expect("the defaults are valid")
}

/// Whoever tries a manifest on his own machine is its operator: any port that needs no privilege may be pinned, but for
/// those on which Orbit listens (the worker leaves out the others).
fn pinnable(users: SocketAddr) -> Vec<(u16, u16)> {
    const UNPRIVILEGED: u16 = 1024;
    let users = users.port();
    let around = [(UNPRIVILEGED, users.saturating_sub(1)), (users.saturating_add(1).max(UNPRIVILEGED), u16::MAX)];
    around.into_iter().filter(|(first, last)| first <= last).collect()
}

/// Where something is reached, from this machine, that listens there.
fn url(listen: SocketAddr) -> String {
    let mut reached = listen;
    match reached.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => reached.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => reached.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{reached}")
}

/// Runs both daemons until `stop` is ready, and shows what happens.
///
/// # Errors
/// One sentence where one of them cannot start, or cannot go on.
pub async fn serve(settings: DevSettings, mut screen: Screen<'_>, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let DevSettings { state_dir, manager, worker, .. } = settings;
    let facts = facts::Facts::new(&manager, &worker, &state_dir);
    let client = Client::new(url(manager.listen));
    // Both stop at the same moment; neither waits for the other.
    let (say_stop, stopped) = watch::channel(false);
    let told = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let (say_led, led) = oneshot::channel();
    let manager = orbit_manager::daemon::serve(manager, told(stopped.clone()));
    let manager = async { manager.await.map_err(|error| Error::usage(error.to_string())) };
    let worker = async {
        let stopped = told(stopped.clone());
        // What the worker brings about is shown from the first event on.
        let _ = led.await;
        orbit_worker::daemon::serve(worker, stopped).await.map_err(|error| Error::usage(error.to_string()))
    };
    let show = async {
        let shown = tokio::select! { biased;
            () = stop => Ok(()),
            failed = screen.show(&client, &facts, say_led) => failed,
        };
        if shown.is_ok() {
            screen.farewell(&client, &facts).await?;
        }
        shown?;
        let _ = say_stop.send(true);
        pending().await
    };
    tokio::select! { biased;
        ended = async { tokio::try_join!(manager, worker) } => ended.map(|_| ()),
        failed = show => failed,
    }
}

/// The XDG base directories count only where they are absolute.
fn state_dir(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let absolute = |key: &str| env.get(key).map(Path::new).filter(|path| path.is_absolute());
    let base = match absolute("XDG_STATE_HOME") {
        Some(state) => state.to_path_buf(),
        None => absolute("HOME")?.join(".local/state"),
    };
    Some(base.join("orbit/dev"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        dev: DevArgs,
    }

    fn settings(args: &[&str], env: &[(&str, &str)]) -> Result<DevSettings, String> {
        let line = Line::try_parse_from([&["dev"], args].concat()).map_err(|e| e.to_string())?;
        line.dev.settings(&env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn the_state_is_kept_where_the_flag_or_the_environment_says() {
        let dir = |args: &[&str], env: &[(&str, &str)]| settings(args, env).map(|s| s.state_dir.display().to_string());
        let both = [("XDG_STATE_HOME", "/xdg"), ("HOME", "/home/a")];
        assert_eq!(dir(&["--state-dir", "here"], &both), Ok("here".into()));
        assert_eq!(dir(&[], &both), Ok("/xdg/orbit/dev".into()));
        assert_eq!(dir(&[], &both[1..]), Ok("/home/a/.local/state/orbit/dev".into()));
        assert_eq!(dir(&[], &[("XDG_STATE_HOME", "relative"), both[1]]), Ok("/home/a/.local/state/orbit/dev".into()));
        assert!(dir(&[], &[]).unwrap_err().contains("--state-dir"));
    }

    #[test]
    fn it_listens_on_this_machine_alone_unless_told_otherwise() {
        let home = [("HOME", "/h")];
        let DevSettings { manager, worker, .. } = settings(&[], &home).unwrap();
        assert_eq!((manager.listen.to_string(), worker.publish.is_loopback()), ("127.0.0.1:7070".into(), true));
        assert_eq!(worker.managers, ["http://127.0.0.1:7071"]);
        let open = settings(&["--listen-workers", "0.0.0.0:8071", "--publish", "0.0.0.0"], &home).unwrap();
        assert_eq!(open.worker.managers, ["http://127.0.0.1:8071"], "its own worker needs no network");
        assert!(open.worker.publish.is_unspecified());
        assert!(settings(&["--listen", "nowhere"], &home).is_err());
        assert!(settings(&["--listen", "127.0.0.1:7071"], &home).unwrap_err().contains("its own port"));
    }
}

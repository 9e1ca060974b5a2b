//! `orbit dev`: manager and worker in one process. Here: its flags and where its state is kept.

use clap::Args;
use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The flags of `orbit dev`.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// Where the state is kept [default: $XDG_STATE_HOME/orbit/dev or ~/.local/state/orbit/dev]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the manager listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// Where the manager listens for workers
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    pub listen_workers: SocketAddr,
}

/// What `orbit dev` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevSettings {
    /// Where the state is kept.
    pub state_dir: PathBuf,
    /// Where the manager listens.
    pub listen: SocketAddr,
    /// Where the manager listens for workers.
    pub listen_workers: SocketAddr,
}

impl DevArgs {
    /// The flags, with the defaults that depend on the environment.
    ///
    /// # Errors
    /// One sentence where neither the flag nor the environment says where the state is kept.
    pub fn settings(&self, env: &BTreeMap<String, String>) -> Result<DevSettings, String> {
        let state_dir = match &self.state_dir {
            Some(dir) => dir.clone(),
            None => state_dir(env).ok_or("neither XDG_STATE_HOME nor HOME is set: say --state-dir DIR")?,
        };
        Ok(DevSettings { state_dir, listen: self.listen, listen_workers: self.listen_workers })
    }
}

/// Runs both daemons until `stop` is ready.
///
/// # Errors
/// One sentence where one of them cannot start, or cannot go on.
pub async fn serve(settings: DevSettings, stop: impl Future<Output = ()>) -> Result<(), String> {
    let manager = orbit_manager::daemon::Flags {
        listen: settings.listen,
        listen_workers: settings.listen_workers,
        state_dir: settings.state_dir.join("manager"),
    };
    let worker = orbit_worker::daemon::Flags::local(
        format!("http://{}", settings.listen_workers),
        settings.state_dir.join("worker"),
    );
    // Both stop at the same moment; neither waits for the other.
    let (say_stop, stopped) = tokio::sync::watch::channel(false);
    let told = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let manager = async {
        let served = orbit_manager::daemon::serve(manager, told(stopped.clone())).await;
        served.map_err(|error| error.to_string())
    };
    let worker = async {
        let served = orbit_worker::daemon::serve(worker, told(stopped.clone())).await;
        served.map_err(|error| error.to_string())
    };
    let stop = async {
        stop.await;
        let _ = say_stop.send(true);
        std::future::pending::<Result<(), String>>().await
    };
    tokio::select! { biased;
        ended = async { tokio::try_join!(manager, worker) } => ended.map(|_| ()),
        never = stop => never,
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
        assert_eq!(settings(&[], &[("HOME", "/h")]).unwrap().listen.to_string(), "127.0.0.1:7070");
        assert!(settings(&["--listen", "nowhere"], &[("HOME", "/h")]).is_err());
    }
}

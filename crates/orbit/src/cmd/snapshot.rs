//! `orbit snapshot`: save, verify and restore backups, and settle what a restored manager does not know.

use crate::{client::path, error::Error, session::Session};
use clap::{Args, Subcommand};
use http_body_util::BodyExt;
use hyper::Method;
use orbit_api::view::{SettleAction, SettleUnknown, UnknownTasks};
use orbit_manager::backup::{self, Summary};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Save the manager's state to a file, verify such a file, and restore a manager from one
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  orbit snapshot save orbit.backup
  orbit snapshot verify orbit.backup
  orbit snapshot restore orbit.backup --state-dir /var/lib/orbit/manager
  orbit snapshot settle                        # what a restored manager does not know")]
pub enum Snapshot {
    /// Save everything that the manager knows to a file; nothing waits for it
    #[command(after_help = "\
The file is written beside its place, read again and restored in memory, and only then takes its
place. It holds what manifests say, environments included: keep it as you keep those.

Examples:
  orbit snapshot save orbit.backup
  orbit snapshot save \"orbit-$(date +%F).backup\"")]
    Save {
        /// Where to
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Read a backup to its end and restore it in memory
    #[command(after_help = "\
Examples:
  orbit snapshot verify orbit.backup")]
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make the state directory of a manager from a backup
    #[command(after_help = "\
Stop the manager, move its state directory away, restore, and start it again. Workers come back by
themselves; what runs and stands in the backup is taken over. What runs and does not stand in it is
left alone until `orbit snapshot settle` says what becomes of it.

Examples:
  orbit snapshot restore orbit.backup --state-dir /var/lib/orbit/manager")]
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The directory that the manager is started with; it must have no state yet
        #[arg(long, value_name = "DIR")]
        state_dir: PathBuf,
        /// The epoch that begins: above every one that a worker has seen; a worker says if it is not [default: the backup's next]
        #[arg(long, value_name = "N")]
        epoch: Option<u32>,
    },
    /// Show what nodes run that a restored manager does not know, or say what becomes of it
    #[command(after_help = "\
Examples:
  orbit snapshot settle
  orbit snapshot settle --remove-unknown
  orbit snapshot settle --adopt-unknown")]
    Settle(Settle),
}

/// What becomes of what is not known.
#[derive(Args)]
pub struct Settle {
    /// Leave it as it is, for good: nothing starts it again, and nothing removes it
    #[arg(long, conflicts_with = "remove_unknown")]
    adopt_unknown: bool,
    /// Stop and remove it
    #[arg(long)]
    remove_unknown: bool,
}

pub async fn snapshot(session: &mut Session<'_>, command: Snapshot) -> Result<u8, Error> {
    match command {
        Snapshot::Save { file } => save(session, &file).await,
        Snapshot::Verify { file } => {
            let summary = backup::verify(&file).map_err(|fault| Error::usage(fault.to_string()))?;
            session.print(&format!("{} is whole: {}\n", file.display(), words(&summary)))?;
            Ok(0)
        }
        Snapshot::Restore { file, state_dir, epoch } => restore(session, &file, &state_dir, epoch),
        Snapshot::Settle(Settle { adopt_unknown, remove_unknown }) => match (adopt_unknown, remove_unknown) {
            (true, _) => settle(session, SettleAction::Adopt).await,
            (_, true) => settle(session, SettleAction::Remove).await,
            (false, false) => show_unknown(session).await,
        },
    }
}

/// Nothing takes the place of a file that is whole but one that is.
async fn save(session: &mut Session<'_>, file: &Path) -> Result<u8, Error> {
    let part = file.with_added_extension("part");
    let saved = download(session, &part).await.and_then(|()| {
        let summary = backup::verify(&part).map_err(|fault| Error::usage(fault.to_string()))?;
        fs::rename(&part, file).map_err(|error| unwritten(file, &error))?;
        Ok(summary)
    });
    if saved.is_err() {
        let _ = fs::remove_file(&part);
    }
    let summary = saved?;
    session.print(&format!("saved {}: {}\n", file.display(), words(&summary)))?;
    Ok(0)
}

async fn download(session: &Session<'_>, part: &Path) -> Result<(), Error> {
    let mut body = session.client.download(Method::POST, &path(&["snapshot"], &[])).await?;
    let mut out = private(part).map_err(|error| unwritten(part, &error))?;
    while let Some(frame) = body.frame().await {
        let broken = |_| Error::usage("the manager went away before the snapshot was whole: ask again");
        if let Ok(bytes) = frame.map_err(broken)?.into_data() {
            out.write_all(&bytes).map_err(|error| unwritten(part, &error))?;
        }
    }
    out.sync_all().map_err(|error| unwritten(part, &error))
}

/// A new file that its owner alone reads: what is in there is as secret as the manifests are.
fn private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn unwritten(file: &Path, error: &io::Error) -> Error {
    Error::usage(format!("{} cannot be written: {error}", file.display()))
}

fn restore(session: &mut Session<'_>, file: &Path, state_dir: &Path, epoch: Option<u32>) -> Result<u8, Error> {
    let summary = backup::restore(file, state_dir, epoch).map_err(|fault| Error::usage(fault.to_string()))?;
    session.print(&format!("restored {}: {}\n", state_dir.display(), words(&summary)))?;
    session.say(&format!(
        "start the manager with --state-dir {}; then `orbit snapshot settle` shows what runs and is not in the backup",
        state_dir.display()
    ));
    Ok(0)
}

fn words(summary: &Summary) -> String {
    let Summary { cluster, epoch, revision, wall_ms, services, tasks, attempts, nodes } = summary;
    let at = jiff::Timestamp::from_millisecond(i64::try_from(*wall_ms).unwrap_or(i64::MAX));
    let at = at.map(|at| format!(" of {at:.0}")).unwrap_or_default();
    format!(
        "cluster {cluster}, epoch {epoch}, revision {revision}{at}; {}, {}, {}, {}",
        many(*services, "service"),
        many(*tasks, "task definition"),
        many(*attempts, "living task"),
        many(*nodes, "node")
    )
}

async fn show_unknown(session: &mut Session<'_>) -> Result<u8, Error> {
    let unknown: UnknownTasks = session.client.get(&path(&["snapshot", "unknown"], &[])).await?;
    for node in &unknown.nodes {
        let left_out = node.count as usize - node.tasks.len().min(node.count as usize);
        let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
        session.print(&format!("node/{}: {}{more}\n", node.node, node.tasks.join(", ")))?;
    }
    let (tasks, one) = (many(unknown.count as usize, "task"), unknown.count == 1);
    match unknown.decision.as_str() {
        _ if unknown.count == 0 => session.say("nothing runs that this manager does not know"),
        "held" => {
            let those = if one { "it" } else { "them" };
            return Err(Error::usage(format!(
                "{tasks} run from before the restore and stand in no backup: leave {those} with --adopt-unknown, or \
                 stop and remove {those} with --remove-unknown"
            )));
        }
        decision => session.say(&format!("{tasks} from before the restore: {decision}")),
    }
    Ok(0)
}

async fn settle(session: &mut Session<'_>, action: SettleAction) -> Result<u8, Error> {
    let route = path(&["snapshot", "unknown"], &[]);
    let before: UnknownTasks = session.client.get(&route).await?;
    let _: UnknownTasks = session.client.ask(Method::POST, &route, &[], Some(&SettleUnknown { action })).await?;
    let done = match action {
        SettleAction::Adopt => "left as they are",
        SettleAction::Remove => "told to go",
    };
    session.print(&format!("{} from before the restore: {done}\n", many(before.count as usize, "task")))?;
    Ok(0)
}

/// `1 task`, `3 tasks`.
fn many(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

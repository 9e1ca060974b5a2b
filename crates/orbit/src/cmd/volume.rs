//! `orbit volume`: where the data of volumes is, and giving them up.

use super::get;
use crate::{
    args::{Format, volume_name},
    client::path,
    error::Error,
    session::Session,
};
use clap::Subcommand;
use orbit_api::view;
use orbit_shell::plain;

/// Show where the data of volumes is, and give volumes up
#[derive(Subcommand)]
#[command(after_help = "\
A volume is there from the first task on that uses it. Its data is on the node of that task, and from
then on only that node takes tasks that use it.

Examples:
  orbit volume ls
  orbit volume describe shop-data
  orbit volume rm shop-data")]
pub enum Volume {
    /// Show the volumes
    #[command(after_help = "\
Examples:
  orbit volume ls
  orbit volume ls -o wide                      # and what the engine of the node calls each
  orbit volume ls -o name")]
    Ls {
        /// The output format [env: ORBIT_FORMAT] [default: table]
        #[arg(short, long, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Show one volume, and who uses it
    #[command(after_help = "\
Examples:
  orbit volume describe shop-data")]
    Describe {
        /// The volume
        #[arg(value_name = "NAME", value_parser = volume_name)]
        name: String,
    },
    /// Give volumes up that no task uses
    #[command(after_help = "\
The data stays on its node, as a volume of the engine there, and nobody is given it again: who uses the
name next has another volume, which is empty. `docker volume rm` on the node removes the data itself.

Examples:
  orbit volume rm shop-data
  orbit volume rm shop-data shop-cache")]
    Rm {
        /// The volumes
        #[arg(value_name = "NAME", required = true, value_parser = volume_name)]
        names: Vec<String>,
    },
}

pub async fn volume(session: &mut Session<'_>, command: Volume) -> Result<u8, Error> {
    match command {
        Volume::Ls { output } => get::volumes(session, output, None).await,
        Volume::Describe { name } => describe(session, &name).await,
        Volume::Rm { names } => remove(session, &names).await,
    }
}

async fn describe(session: &mut Session<'_>, name: &str) -> Result<u8, Error> {
    let view::Volume { name, uid, node, engine_name, tasks, message, bound_at } =
        session.client.get(&path(&["volumes", name], &[])).await?;
    let tasks = if tasks.is_empty() { "no task".to_string() } else { tasks.join(", ") };
    let mut lines = vec![
        ("Name", name),
        ("UID", uid),
        ("Node", node),
        ("Since", bound_at),
        ("Engine's name", engine_name),
        ("Used by", tasks),
    ];
    if !message.is_empty() {
        lines.push(("Message", message));
    }
    let text: String =
        lines.into_iter().map(|(key, value)| format!("{:<16}{}\n", format!("{key}:"), plain::line(&value))).collect();
    session.print(&text).map(|()| 0)
}

async fn remove(session: &mut Session<'_>, names: &[String]) -> Result<u8, Error> {
    for name in names {
        let volume: view::Volume = session.client.get(&path(&["volumes", name], &[])).await?;
        session.client.delete(&path(&["volumes", name], &[])).await?;
        session.print(&format!("volume/{name} given up\n"))?;
        let view::Volume { node, engine_name, .. } = volume;
        session.say(&format!("its data stays on {node}: `docker volume rm {engine_name}` there removes it"));
    }
    Ok(0)
}

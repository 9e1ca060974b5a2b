//! `orbit context`: the managers of the configuration file.

use crate::{
    error::Error,
    session::Session,
    settings::{self, Config},
    table,
};
use clap::Subcommand;
use std::fs;
use toml_edit::{DocumentMut, value};

/// List the managers of the configuration file, and choose one
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  orbit context ls
  orbit context use home
  orbit get nodes --context home               # for one command")]
pub enum Context {
    /// List the contexts, with a mark at the current one
    #[command(after_help = "\
Examples:
  orbit context ls")]
    Ls,
    /// Choose the current context
    #[command(after_help = "\
Examples:
  orbit context use home")]
    Use {
        /// Its name
        name: String,
    },
}

pub fn context(session: &mut Session<'_>, command: Context) -> Result<u8, Error> {
    let config = settings::config(session.env)?;
    match command {
        Context::Ls => ls(session, &config)?,
        Context::Use { name } => {
            if !config.contexts.contains_key(&name) {
                return Err(settings::no_context(&name, &config));
            }
            choose(session, &name)?;
            session.print(&format!("context {name} is used from now on\n"))?;
        }
    }
    Ok(0)
}

fn ls(session: &mut Session<'_>, config: &Config) -> Result<(), Error> {
    if config.contexts.is_empty() {
        let file =
            settings::config_file(session.env).map_or("the configuration file".into(), |f| f.display().to_string());
        session.say(&format!("no contexts: `orbit --help` shows how to write {file}"));
        return Ok(());
    }
    let row = |(name, context): (&String, &settings::Context)| {
        let mark = if config.current.as_ref() == Some(name) { "*" } else { "" };
        let addr = context.addr.as_deref().unwrap_or(settings::ADDR_DEFAULT);
        vec![mark.to_string(), name.clone(), addr.to_string()]
    };
    session.print(&table::render(&["CURRENT", "NAME", "ADDR"], config.contexts.iter().map(row).collect()))
}

/// Changes one line of the file and leaves the rest as its owner wrote it.
fn choose(session: &Session<'_>, name: &str) -> Result<(), Error> {
    let file = settings::config_file(session.env).expect("it was read just now");
    let wrong = |what: &dyn std::fmt::Display| Error::usage(format!("{}: {what}", file.display()));
    let text = fs::read_to_string(&file).map_err(|e| wrong(&e))?;
    let mut document: DocumentMut = text.parse().map_err(|e| wrong(&e))?;
    document["current"] = value(name);
    // All of it or nothing, whatever happens meanwhile.
    let next = file.with_extension("toml.next");
    fs::write(&next, document.to_string()).and_then(|()| fs::rename(&next, &file)).map_err(|e| wrong(&e))
}

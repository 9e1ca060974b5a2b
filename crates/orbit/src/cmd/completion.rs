//! `orbit completion`: what a shell has to know of the command line.

use crate::{error::Error, session::Session};
use clap::{Args, Command};

/// Print a completion script
#[derive(Args)]
#[command(after_help = "\
Examples:
  source <(orbit completion bash)
  orbit completion zsh > ~/.zfunc/_orbit")]
pub struct Completion {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `line` is the whole command line.
pub fn completion(session: &mut Session<'_>, args: Completion, mut line: Command) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut line, "orbit", &mut script);
    session.print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

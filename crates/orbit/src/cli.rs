//! The command line: the options of every command, and the list of commands. Arguments and help of each stand in `cmd`,
//! beside the code that runs it.

use crate::{
    cmd::{
        apply, completion, compose, context, delete, describe, endpoints, events, exec, get, logs, node, restart,
        rollout, run, scale, snapshot, volume,
    },
    dev,
    error::Error,
    names,
    session::Session,
};
use clap::{CommandFactory, Parser, Subcommand};

/// Runs containers on many machines and keeps them running.
#[derive(Parser)]
#[command(
    name = "orbit",
    version,
    after_help = "\
Examples:
  orbit dev                                    # a manager and a worker on this machine
  orbit apply -f web.yaml --wait
  orbit get all
  orbit describe web
  orbit logs -f web

Exit codes: 0 done; 2 usage or API error; 3 cannot be placed; 4 what was applied failed;
5 timed out; 6 revision conflict; 130 interrupted. `run` ends with the container's code, or 125.

Errors have stable codes: `orbit help errors` lists them, `orbit help errors CODE` explains one.

Environment: ORBIT_ADDR (the manager), ORBIT_FORMAT (as -o), ORBIT_CONTEXT (as --context),
ORBIT_CONFIG (the configuration file), NO_COLOR. Flags override these; these override the file:

  # ~/.config/orbit/config.toml
  current = \"home\"
  [contexts.home]
  addr = \"http://10.0.0.5:7070\"
  format = \"wide\""
)]
pub struct Cli {
    /// The manager's address [env: ORBIT_ADDR] [default: http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "URL")]
    pub addr: Option<String>,
    /// Which of the configuration file's contexts [env: ORBIT_CONTEXT] [default: the file's `current`]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Dev(dev::DevArgs),
    Apply(apply::Apply),
    Run(run::Run),
    Get(get::Get),
    Describe(describe::Describe),
    Delete(delete::Delete),
    Scale(scale::Scale),
    Restart(restart::Restart),
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    Endpoints(endpoints::Endpoints),
    Exec(exec::Exec),
    Events(events::Events),
    Logs(logs::Logs),
    #[command(subcommand)]
    Node(node::Node),
    #[command(subcommand)]
    Volume(volume::Volume),
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    #[command(subcommand)]
    Compose(compose::Compose),
    #[command(subcommand)]
    Context(context::Context),
    Completion(completion::Completion),
}

impl Command {
    /// Does what the line says. Returns the exit code.
    pub async fn execute(self, mut session: Session<'_>) -> Result<u8, Error> {
        let session = &mut session;
        let done = match self {
            Command::Apply(args) => apply::apply(session, args).await,
            Command::Run(args) => run::run(session, args).await,
            Command::Get(args) => get::get(session, args).await,
            Command::Describe(args) => describe::describe(session, args).await,
            Command::Delete(args) => delete::delete(session, args).await,
            Command::Scale(args) => scale::scale(session, args).await,
            Command::Restart(args) => restart::restart(session, args).await,
            Command::Rollout(command) => rollout::rollout(session, command).await,
            Command::Endpoints(args) => endpoints::endpoints(session, args).await,
            Command::Exec(args) => exec::exec(session, args).await,
            Command::Events(args) => events::events(session, args).await,
            Command::Compose(command) => compose::compose(session, command),
            Command::Context(command) => context::context(session, command),
            Command::Logs(args) => logs::logs(session, args).await,
            Command::Node(command) => node::node(session, command).await,
            Command::Volume(command) => volume::volume(session, command).await,
            Command::Snapshot(command) => snapshot::snapshot(session, command).await,
            Command::Dev(_) => unreachable!("the daemons are run without a session"),
            Command::Completion(args) => completion::completion(session, args, Cli::command()),
        };
        match done {
            Err(error) => Err(names::with_similar(&session.client, error).await),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The help of a command and of all that are below it, each with its words on the line.
    fn helps(command: &mut clap::Command, line: String, found: &mut Vec<(String, String)>) {
        found.push((line.clone(), command.render_long_help().to_string()));
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            helps(below, format!("{line} {}", below.get_name()), found);
        }
    }

    /// The words of an example, up to what a shell does with them.
    fn example(line: &str) -> Option<Vec<&str>> {
        let ends = ["#", "|", "||", ">", ">>"];
        let words = line.strip_prefix("  ")?.split_whitespace().take_while(|word| !ends.contains(word));
        let words: Vec<&str> = words.collect();
        (words.first() == Some(&"orbit") && !line.contains("$(")).then_some(words)
    }

    #[test]
    fn every_help_shows_examples_and_they_are_right() {
        let (mut all, mut examples) = (Vec::new(), 0);
        helps(&mut Cli::command(), "orbit".to_string(), &mut all);
        assert!(all.len() > 25, "{all:?}");
        for (line, help) in &all {
            let (_, shown) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{line} --help has no example"));
            let shown = shown.split("\n\n").next().unwrap_or_default();
            assert!(shown.contains(line), "{line} --help has no example of its own: {shown}");
            for words in shown.lines().filter_map(example) {
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {}: {}", words.join(" "), parsed.err().unwrap());
                examples += 1;
            }
        }
        assert!(examples > 50, "only {examples} examples were tried");
    }
}

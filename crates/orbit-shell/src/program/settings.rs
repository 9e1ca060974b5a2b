//! The settings of a daemon: flags are stronger than the environment, that than the file, and that
//! than what is built in.
//!
//! clap reads all but the file; what stands in the file becomes the default of its flag. So whatever
//! can be a flag can stand in the file, under the flag's name in the program (`listen_workers` for
//! `--listen-workers`), and is read by the same words and refused by the same words.

use super::LogFormat;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, ValueHint, builder::OsStr, value_parser};
use std::{collections::BTreeMap, ffi::OsString, fs, path::PathBuf};
use toml::{Spanned, Value};

/// A validated whole, made of flags, environment and file by [`read`].
pub trait Settings: CommandFactory + FromArgMatches {
    /// What no value can say by itself.
    ///
    /// # Errors
    /// One line: which settings do not go together, or which is out of its range.
    fn check(&self) -> Result<(), String>;
    /// How the daemon logs.
    fn log_format(&self) -> LogFormat;
}

/// Why there are no settings.
#[derive(Debug)]
pub enum Refusal {
    /// The command line or the environment; also where help was asked for. clap says it, and how.
    Line(clap::Error),
    /// One line: where, what is wrong, and what to write.
    Settings(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Refusal::Line(usage) => write!(f, "{usage}"),
            Refusal::Settings(line) => f.write_str(line),
        }
    }
}

const FILE: &str = "config";

/// Reads the settings. `--config FILE`, or in the environment the program's name with `_CONFIG`
/// behind it, says where the file is; without them there is none.
///
/// # Errors
/// A [`Refusal`]; of a file it names the line.
pub fn read<S: Settings>(args: impl IntoIterator<Item = OsString>) -> Result<S, Refusal> {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = with_file::<S>();
    let mut matches = command.clone().try_get_matches_from(&args).map_err(Refusal::Line)?;
    if let Some(file) = matches.get_one::<PathBuf>(FILE) {
        let wrong = |what: String| Refusal::Settings(format!("{}{what}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| wrong(format!(": {error}")))?;
        let command = defaults(command, &text).map_err(wrong)?;
        matches = command.try_get_matches_from(&args).map_err(Refusal::Line)?;
    }
    let settings = S::from_arg_matches(&matches).map_err(Refusal::Line)?;
    settings.check().map_err(Refusal::Settings)?;
    Ok(settings)
}

fn with_file<S: Settings>() -> Command {
    let command = S::command();
    let variable = format!("{}_CONFIG", command.get_name().to_uppercase().replace('-', "_"));
    let arg = Arg::new(FILE).long(FILE).value_name("FILE").value_parser(value_parser!(PathBuf));
    let help = "A file (TOML) with any of these settings; flags and environment are stronger than it";
    command.arg(arg.value_hint(ValueHint::FilePath).env(variable).help(help).display_order(0))
}

/// The command with the file's values as defaults. An `Err` begins with `:LINE: `.
fn defaults(mut command: Command, text: &str) -> Result<Command, String> {
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let parsed = toml::from_str::<BTreeMap<Spanned<String>, Spanned<Value>>>(text);
    let parsed = parsed.map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        format!(":{}: {}", line(at), error.message().replace('\n', ", "))
    })?;
    let mut parsed: Vec<_> = parsed.into_iter().collect();
    parsed.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in parsed {
        let place = |what: String| format!(":{}: {what}", line(key.span().start));
        let key = key.get_ref();
        let Some(arg) = keys(&command).find(|arg| arg.get_id() == key) else {
            let mut known: Vec<_> = keys(&command).map(|arg| arg.get_id().as_str()).collect();
            known.sort_unstable();
            return Err(place(format!("unknown key `{key}`: there are {}", known.join(", "))));
        };
        let values = values(value.get_ref(), arg).map_err(|what| place(format!("`{key}`: {what}")))?;
        check(&command, arg, key, &values).map_err(place)?;
        command = command.mut_arg(key, |arg| arg.default_values(values.into_iter().map(OsStr::from)));
    }
    Ok(command)
}

/// What may stand in the file.
fn keys(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_long().is_some() && arg.get_id() != FILE)
}

/// As they would stand on the command line. A flag that takes several apart takes them from one text as well.
fn values(value: &Value, arg: &Arg) -> Result<Vec<String>, &'static str> {
    let several = matches!(arg.get_action(), ArgAction::Append);
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err("write a string or a whole number"),
    };
    match value {
        Value::Array(values) if several => values.iter().map(one).collect(),
        Value::Table(table) if several => {
            table.iter().map(|(key, value)| Ok(format!("{key}={}", one(value)?))).collect()
        }
        _ if several && arg.get_value_delimiter().is_none() => Err("write a list, or a table of keys and values"),
        value => Ok(vec![one(value)?]),
    }
}

/// Whether each value would do on the command line.
fn check(command: &Command, arg: &Arg, key: &str, values: &[String]) -> Result<(), String> {
    let long = arg.get_long().expect("only those with a name are asked for");
    for value in values {
        let line = [command.get_name().to_string(), format!("--{long}={value}")];
        if let Err(error) = command.clone().try_get_matches_from(line) {
            let text = error.to_string();
            let said = text.lines().take_while(|line| !line.starts_with("For more information"));
            let said = said.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            let said = said.trim_start_matches("error: ");
            // clap names the flag and what it takes; whoever wrote the file looks for the key.
            let flag = said.split_once(&format!("'--{long}")).and_then(|(a, b)| Some((a, b.split_once('\'')?.1)));
            return Err(flag.map_or_else(|| said.to_string(), |(before, after)| format!("{before}`{key}`{after}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::Write;

    /// Cargo sets the variable for every test.
    const VARIABLE: &str = "CARGO_PKG_NAME";

    #[derive(Debug, PartialEq, Parser)]
    #[command(name = "orbit-thing")]
    struct Thing {
        #[arg(long, default_value = "127.0.0.1:1")]
        listen: std::net::SocketAddr,
        #[arg(long, env = VARIABLE, default_value = "built-in")]
        owner: String,
        #[arg(long = "label")]
        labels: Vec<String>,
        #[arg(long)]
        pull_deadline: Option<u64>,
        #[command(flatten)]
        logs: super::super::Logs,
    }

    impl Settings for Thing {
        fn check(&self) -> Result<(), String> {
            if self.pull_deadline == Some(0) { Err("--pull-deadline: 0 is no time".into()) } else { Ok(()) }
        }
        fn log_format(&self) -> LogFormat {
            self.logs.log_format
        }
    }

    fn thing(file: &str, flags: &[&str]) -> Result<Thing, String> {
        let mut place = tempfile::NamedTempFile::new().unwrap();
        place.write_all(file.as_bytes()).unwrap();
        let path = place.path().display().to_string();
        let line = [&["orbit-thing", "--config", &path], flags].concat();
        read(line.into_iter().map(OsString::from)).map_err(|refusal| refusal.to_string().replace(&path, "FILE"))
    }

    #[test]
    fn a_flag_is_stronger_than_the_environment_and_that_than_the_file_and_that_than_what_is_built_in() {
        let file = "owner = 'file'\nlisten = '127.0.0.1:2'\nlog_format = 'json'";
        let read = thing(file, &["--owner", "flag"]).unwrap();
        assert_eq!((read.owner.as_str(), read.listen.port()), ("flag", 2));
        assert_eq!(read.log_format(), LogFormat::Json);
        assert_eq!(thing(file, &[]).unwrap().owner, std::env::var(VARIABLE).unwrap());
        assert_eq!(thing("", &[]).unwrap().listen.port(), 1);
        assert_eq!(thing(file, &["--listen", "127.0.0.1:3"]).unwrap().listen.port(), 3);
    }

    #[test]
    fn lists_tables_and_numbers_are_written_as_toml_has_them() {
        let read = thing("pull_deadline = 600\n[labels]\ndisk = 'ssd'\nrack = 7", &[]).unwrap();
        assert_eq!((read.pull_deadline, read.labels), (Some(600), vec!["disk=ssd".to_string(), "rack=7".into()]));
        assert_eq!(thing("labels = ['a=b', 'c=d']", &["--label", "e=f"]).unwrap().labels, ["e=f"]);
        assert_eq!(thing("labels = []", &[]).unwrap().labels, [""; 0]);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_in_one_line_with_its_place() {
        let said = |file: &str| thing(file, &[]).unwrap_err();
        assert_eq!(
            said("# ours\nlisten = '127.0.0.1:2'\nlisten_users = 'x'"),
            "FILE:3: unknown key `listen_users`: there are labels, listen, log_format, owner, pull_deadline"
        );
        assert_eq!(
            said("\nlisten = 'here'"),
            "FILE:2: invalid value 'here' for `listen`: invalid socket address syntax"
        );
        assert_eq!(
            said("log_format = 'xml'"),
            "FILE:1: invalid value 'xml' for `log_format` [possible values: text, json]"
        );
        assert_eq!(said("listen = [1]"), "FILE:1: `listen`: write a string or a whole number");
        assert_eq!(said("labels = 'a=b'"), "FILE:1: `labels`: write a list, or a table of keys and values");
        assert_eq!(said("config = 'other'").split(':').nth(2), Some(" unknown key `config`"));
        for broken in ["owner = ", "owner = 'a'\nowner = 'b'", "x", "[owner", "\u{0}"] {
            let said = said(broken);
            assert!(said.starts_with("FILE:") && !said.contains('\n'), "{said}");
        }
        assert_eq!(said("pull_deadline = 0"), "--pull-deadline: 0 is no time");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let refused = read::<Thing>(["orbit-thing", "--config", "no/where.toml"].map(OsString::from)).unwrap_err();
        assert!(refused.to_string().starts_with("no/where.toml: No such file"), "{refused}");
    }
}

//! Which commit a failure belongs to.

use std::process::Command;

/// The commit of the tree that this is run in, for a failure's report; `unknown` outside of one.
pub fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let said = git.ok().filter(|it| it.status.success()).and_then(|it| String::from_utf8(it.stdout).ok());
    said.map_or_else(|| "unknown".to_string(), |text| text.trim().to_string())
}

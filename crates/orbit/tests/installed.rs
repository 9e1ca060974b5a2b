//! What is installed beside the programs: example settings, units. Held to what the programs know.

#![forbid(unsafe_code)]

use orbit_shell::program::{Settings, read};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn line<S: Settings>(args: &[&str]) -> S {
    let name = S::command().get_name().to_string();
    let line: Vec<OsString> = std::iter::once(name.as_str()).chain(args.iter().copied()).map(OsString::from).collect();
    read(line).unwrap_or_else(|refusal| panic!("{args:?}: {refusal}"))
}

/// The example's text with every commented setting put in force.
fn uncommented(text: &str) -> String {
    let setting = |line: &str| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).map(str::to_string);
    text.lines().map(|line| setting(line).unwrap_or_else(|| line.to_string()) + "\n").collect()
}

fn is_whole_and_says_the_defaults<S: Settings + PartialEq + Debug>(file: &str) {
    let path = examples().join(file);
    assert_eq!(line::<S>(&["--config", path.to_str().unwrap()]), line::<S>(&[]), "{file} differs from the defaults");
    let text = fs::read_to_string(&path).unwrap();
    let mut all = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut all, uncommented(&text).as_bytes()).unwrap();
    line::<S>(&["--config", all.path().to_str().unwrap()]);
    let keys: toml::Table = uncommented(&text).parse().unwrap();
    for arg in S::command().get_arguments().filter(|arg| arg.get_long().is_some()) {
        assert!(keys.contains_key(arg.get_id().as_str()), "{file} does not tell of `{}`", arg.get_id());
    }
}

#[test]
fn the_example_settings_tell_of_every_key_and_are_the_defaults() {
    is_whole_and_says_the_defaults::<orbit_manager::daemon::Config>("orbit-manager.toml");
    is_whole_and_says_the_defaults::<orbit_worker::daemon::Config>("orbit-worker.toml");
}

/// A unit's settings by section; each key's values in order.
fn unit(name: &str) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let text = fs::read_to_string(examples().join("systemd").join(name)).unwrap();
    let mut sections: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix('[').and_then(|line| line.strip_suffix(']')), line.split_once('=')) {
            (Some(name), _) => section = name.to_string(),
            (None, Some((key, value))) => {
                sections.entry(section.clone()).or_default().entry(key.into()).or_default().push(value.into());
            }
            (None, None) => panic!("{name}: `{line}` is neither a section nor a setting"),
        }
    }
    sections
}

fn starts_the_daemon_as_it_wants_to_be<S: Settings>() -> S {
    let name = S::command().get_name().to_string();
    let unit = unit(&format!("{name}.service"));
    let one = |section: &str, key: &str| unit[section][key].concat();
    for (key, value) in [("Type", "notify"), ("KillMode", "process"), ("Restart", "always")] {
        assert_eq!(one("Service", key), value, "{name}");
    }
    assert_eq!(one("Install", "WantedBy"), "multi-user.target");
    let start = one("Service", "ExecStart");
    let words: Vec<&str> = start.split_whitespace().collect();
    let short = name.trim_start_matches("orbit-");
    assert_eq!(words, [&format!("/usr/bin/{name}"), "--config", &format!("/etc/orbit/{short}.toml")]);
    // The same line with the example in place of the file that is made of it.
    let settings = line::<S>(&[words[1], examples().join(format!("{name}.toml")).to_str().unwrap()]);
    assert_eq!(one("Service", "StateDirectory"), format!("orbit/{short}"));
    settings
}

#[test]
fn the_units_start_the_daemons_as_they_want_to_be_started() {
    let manager: orbit_manager::daemon::Config = starts_the_daemon_as_it_wants_to_be();
    assert_eq!(manager.state_dir, Path::new("/var/lib/orbit/manager"), "the unit makes this one");
    let worker: orbit_worker::daemon::Config = starts_the_daemon_as_it_wants_to_be();
    assert_eq!(worker.state_dir, Path::new("/var/lib/orbit/worker"), "the unit makes this one");
    let worker = unit("orbit-worker.service");
    assert!(worker["Unit"]["Wants"].concat().contains("docker.service"), "an absent engine is ordinary");
    assert!(worker["Unit"]["After"].concat().contains("docker.service"));
    assert!(!worker["Unit"].contains_key("Requires"));
}

/// systemd's own opinion, where it is installed.
#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let dir = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for name in ["orbit-manager.service", "orbit-worker.service"] {
        let text = fs::read_to_string(examples().join("systemd").join(name)).unwrap();
        // The programs are not installed here, and one that can be executed is asked for.
        let text = text.replace("ExecStart=/usr/bin/orbit-", "ExecStart=/bin/true orbit-");
        fs::write(dir.path().join(name), text).unwrap();
        verify.arg(dir.path().join(name));
    }
    let Ok(output) = verify.output() else {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> =
        said.lines().filter(|line| line.contains("orbit-") && !line.contains("docker.service")).collect();
    assert!(ours.is_empty(), "{said}");
}

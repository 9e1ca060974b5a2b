//! Settings: flags, then the environment, then the configuration file, then what is built in.

use crate::{args::Format, error::Error};
use clap::ValueEnum;
use orbit_api::did_you_mean;
use serde::Deserialize;
use std::{collections::BTreeMap, io, path::PathBuf};

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The context that is used unless another one is asked for.
    pub current: Option<String>,
    /// Managers by the names that their users gave them.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// How one manager is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// As `--addr`.
    pub addr: Option<String>,
    /// As `-o`.
    pub format: Option<String>,
}

/// Where the configuration file is, if there can be one.
pub fn config_file(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |key: &str| env.get(key).filter(|value| !value.is_empty());
    let below = |base: PathBuf| base.join("orbit/config.toml");
    set("ORBIT_CONFIG").map(PathBuf::from).or_else(|| {
        let home = || set("HOME").map(|home| PathBuf::from(home).join(".config"));
        set("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home).map(below)
    })
}

/// Reads the configuration file; an absent one says nothing.
pub fn config(env: &BTreeMap<String, String>) -> Result<Config, Error> {
    let Some(file) = config_file(env) else { return Ok(Config::default()) };
    let wrong = |what: &dyn std::fmt::Display| Error::usage(format!("{}: {what}", file.display()));
    match std::fs::read_to_string(&file) {
        Ok(text) => toml::from_str(&text).map_err(|e| wrong(&e.to_string().trim_end())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !env.contains_key("ORBIT_CONFIG") => {
            Ok(Config::default())
        }
        Err(error) => Err(wrong(&error)),
    }
}

/// The context that is in force: asked for, or the file's own.
pub fn context(flag: Option<&str>, env: &BTreeMap<String, String>, config: &Config) -> Result<Context, Error> {
    let from_env = env.get("ORBIT_CONTEXT").map(String::as_str).filter(|name| !name.is_empty());
    let Some(name) = flag.or(from_env).or(config.current.as_deref()) else { return Ok(Context::default()) };
    config.contexts.get(name).cloned().ok_or_else(|| no_context(name, config))
}

/// There is none of that name: which there are.
pub fn no_context(name: &str, config: &Config) -> Error {
    let known: Vec<_> = config.contexts.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "there are none".to_string() } else { format!("there are {}", known.join(", ")) };
    let meant = did_you_mean(name, config.contexts.keys().map(String::as_str));
    Error::usage(format!("no context is named `{name}`{meant} in the configuration file: {known}"))
}

/// Where a manager on this machine listens.
pub const ADDR_DEFAULT: &str = "http://127.0.0.1:7070";

/// The manager's address, without a slash at its end.
pub fn addr(flag: Option<&str>, env: &BTreeMap<String, String>, context: &Context) -> Result<String, Error> {
    let from_env = env.get("ORBIT_ADDR").map(String::as_str).filter(|addr| !addr.is_empty());
    let (source, text) = match (flag, from_env, context.addr.as_deref()) {
        (Some(flag), ..) => ("--addr", flag),
        (None, Some(env), _) => ("ORBIT_ADDR", env),
        (None, None, Some(addr)) => ("addr of the context", addr),
        (None, None, None) => return Ok(ADDR_DEFAULT.to_string()),
    };
    let wrong = |why: &str| Error::usage(format!("{source}: `{text}` {why}: write http://HOST:PORT"));
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(wrong(&format!("is {scheme}, and only http is spoken"))),
        None => text,
    };
    let addr = format!("http://{}", rest.trim_end_matches('/'));
    let uri: hyper::Uri = addr.parse().map_err(|_| wrong("is no address"))?;
    // Whatever follows the host is a port, and a number.
    let authority =
        uri.port_u16().map_or(uri.host().map(str::to_string), |port| Some(format!("{}:{port}", uri.host()?)));
    let plain = uri.authority().map(|authority| authority.to_string()) == authority;
    if !plain || uri.host().is_none_or(str::is_empty) || uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("is no address of a manager"));
    }
    Ok(addr)
}

/// How objects are shown.
pub fn format(flag: Option<Format>, env: &BTreeMap<String, String>, context: &Context) -> Result<Format, Error> {
    let from_env = env.get("ORBIT_FORMAT").filter(|format| !format.is_empty());
    let (source, text) = match (flag, from_env, &context.format) {
        (Some(format), ..) => return Ok(format),
        (None, Some(text), _) => ("ORBIT_FORMAT", text),
        (None, None, Some(text)) => ("format of the context", text),
        (None, None, None) => return Ok(Format::Table),
    };
    Format::from_str(text, false)
        .map_err(|_| Error::usage(format!("{source}: `{text}` is not a format: write table, wide, json, yaml or name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_string(), value.to_string())])
    }

    #[test]
    fn a_flag_is_stronger_than_the_environment_and_that_than_what_is_built_in() {
        let home = Context { addr: Some("home:3".into()), format: Some("yaml".into()) };
        let none = BTreeMap::new();
        assert_eq!(addr(None, &none, &home).unwrap(), "http://home:3");
        assert_eq!(format(None, &none, &home).unwrap(), Format::Yaml);
        let set = env("ORBIT_ADDR", "http://env:1/");
        assert_eq!(addr(Some("flag:2"), &set, &home).unwrap(), "http://flag:2");
        assert_eq!(addr(None, &set, &home).unwrap(), "http://env:1");
        assert_eq!(addr(None, &env("ORBIT_ADDR", ""), &Context::default()).unwrap(), ADDR_DEFAULT);
        let set = env("ORBIT_FORMAT", "wide");
        assert_eq!(format(Some(Format::Json), &set, &home).unwrap(), Format::Json);
        assert_eq!(format(None, &set, &home).unwrap(), Format::Wide);
        assert_eq!(format(None, &BTreeMap::new(), &Context::default()).unwrap(), Format::Table);
    }

    #[test]
    fn a_context_is_asked_for_by_name_and_the_file_names_the_usual_one() {
        let config: Config =
            toml::from_str("current = 'a'\n[contexts.a]\naddr = 'a:1'\n[contexts.b]\nformat = 'wide'").unwrap();
        assert_eq!(context(None, &BTreeMap::new(), &config).unwrap().addr.unwrap(), "a:1");
        assert_eq!(context(None, &env("ORBIT_CONTEXT", "b"), &config).unwrap().format.unwrap(), "wide");
        let error = context(Some("c"), &BTreeMap::new(), &config).unwrap_err();
        assert!(error.text().unwrap().ends_with("there are a, b"), "{:?}", error.text());
        assert!(context(None, &BTreeMap::new(), &Config::default()).unwrap().addr.is_none());
    }

    #[test]
    fn the_file_is_where_people_look_for_it() {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let file = |pairs| config_file(&set(pairs)).map(|file| file.display().to_string());
        assert_eq!(file(&[("HOME", "/h")]).unwrap(), "/h/.config/orbit/config.toml");
        assert_eq!(file(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]).unwrap(), "/x/orbit/config.toml");
        assert_eq!(file(&[("HOME", "/h"), ("ORBIT_CONFIG", "/c.toml")]).unwrap(), "/c.toml");
        assert_eq!(file(&[]), None);
    }

    #[test]
    fn what_is_no_address_or_format_is_said() {
        for bad in ["https://a:1", "http://", "http://a b", "http://a:1/v1", "http://a:x", "http://me@a:1", "unix:///x"]
        {
            let error = addr(None, &env("ORBIT_ADDR", bad), &Context::default()).unwrap_err();
            assert!(error.text().unwrap().starts_with(&format!("ORBIT_ADDR: `{bad}` is ")), "{:?}", error.text());
            assert_eq!(error.exit_code(), 2);
        }
        assert!(
            format(None, &env("ORBIT_FORMAT", "xml"), &Context::default())
                .unwrap_err()
                .text()
                .unwrap()
                .contains("`xml`")
        );
    }
}

//! Settings: flags, then the environment, then what is built in.

use crate::{cli::Format, error::Error};
use clap::ValueEnum;
use std::collections::BTreeMap;

/// Where a manager on this machine listens.
pub const ADDR_DEFAULT: &str = "http://127.0.0.1:7070";

/// The manager's address, without a slash at its end.
pub fn addr(flag: Option<&str>, env: &BTreeMap<String, String>) -> Result<String, Error> {
    let from_env = env.get("ORBIT_ADDR").map(String::as_str).filter(|addr| !addr.is_empty());
    let (source, text) = match (flag, from_env) {
        (Some(flag), _) => ("--addr", flag),
        (None, Some(env)) => ("ORBIT_ADDR", env),
        (None, None) => return Ok(ADDR_DEFAULT.to_string()),
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
pub fn format(flag: Option<Format>, env: &BTreeMap<String, String>) -> Result<Format, Error> {
    match (flag, env.get("ORBIT_FORMAT").filter(|format| !format.is_empty())) {
        (Some(format), _) => Ok(format),
        (None, Some(text)) => Format::from_str(text, false).map_err(|_| {
            Error::usage(format!("ORBIT_FORMAT: `{text}` is not a format: write table, wide, json, yaml or name"))
        }),
        (None, None) => Ok(Format::Table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_string(), value.to_string())])
    }

    #[test]
    fn a_flag_is_stronger_than_the_environment_and_that_than_what_is_built_in() {
        let set = env("ORBIT_ADDR", "http://env:1/");
        assert_eq!(addr(Some("flag:2"), &set).unwrap(), "http://flag:2");
        assert_eq!(addr(None, &set).unwrap(), "http://env:1");
        assert_eq!(addr(None, &env("ORBIT_ADDR", "")).unwrap(), ADDR_DEFAULT);
        let set = env("ORBIT_FORMAT", "wide");
        assert_eq!(format(Some(Format::Json), &set).unwrap(), Format::Json);
        assert_eq!(format(None, &set).unwrap(), Format::Wide);
        assert_eq!(format(None, &BTreeMap::new()).unwrap(), Format::Table);
    }

    #[test]
    fn what_is_no_address_or_format_is_said() {
        for bad in ["https://a:1", "http://", "http://a b", "http://a:1/v1", "http://a:x", "http://me@a:1", "unix:///x"]
        {
            let error = addr(None, &env("ORBIT_ADDR", bad)).unwrap_err();
            assert!(error.text().unwrap().starts_with(&format!("ORBIT_ADDR: `{bad}` is ")), "{:?}", error.text());
            assert_eq!(error.exit_code(), 2);
        }
        assert!(format(None, &env("ORBIT_FORMAT", "xml")).unwrap_err().text().unwrap().contains("`xml`"));
    }
}

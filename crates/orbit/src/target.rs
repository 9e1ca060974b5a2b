//! Which object, or which kind of object, an argument names.

use crate::error::Error;
use clap::{
    builder::{PossibleValue, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};
use orbit_api::{did_you_mean, similar};
use std::ffi::OsStr;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Service,
    Task,
    Node,
}

impl ObjectKind {
    pub const ALL: [ObjectKind; 3] = [ObjectKind::Service, ObjectKind::Task, ObjectKind::Node];

    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Service => "service",
            ObjectKind::Task => "task",
            ObjectKind::Node => "node",
        }
    }
    /// As in the API's paths.
    pub fn plural(self) -> &'static str {
        match self {
            ObjectKind::Service => "services",
            ObjectKind::Task => "tasks",
            ObjectKind::Node => "nodes",
        }
    }
    fn short(self) -> &'static str {
        match self {
            ObjectKind::Service => "svc",
            ObjectKind::Task => "task",
            ObjectKind::Node => "no",
        }
    }
    /// Reads the singular, the plural or the short form.
    pub fn parse(text: &str) -> Option<ObjectKind> {
        ObjectKind::ALL.into_iter().find(|kind| [kind.as_str(), kind.plural(), kind.short()].contains(&text))
    }
    /// The words that people write in full.
    fn words<'a>() -> impl Iterator<Item = &'a str> {
        ObjectKind::ALL.into_iter().flat_map(|kind| [kind.as_str(), kind.plural()])
    }
    /// There is no such kind.
    pub fn unknown(text: &str) -> Error {
        let meant = did_you_mean(text, ObjectKind::words());
        Error::usage(format!("`{text}` is not a kind{meant}: write services, tasks or nodes"))
    }
}

/// `KIND` or `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: ObjectKind,
    pub name: Option<String>,
}

impl Target {
    /// Reads `KIND` or `KIND/NAME`.
    pub fn parse(text: &str) -> Option<Target> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) if !name.is_empty() => (kind, Some(name.to_string())),
            _ => (text, None),
        };
        ObjectKind::parse(kind).map(|kind| Target { kind, name })
    }
    /// The name that may stand in it or after it.
    pub fn one_name(&self, name: Option<String>) -> Result<Option<String>, Error> {
        match (&self.name, name) {
            (Some(first), Some(second)) => Err(Error::usage(format!(
                "{}/{first} names one object already: what is `{second}`?",
                self.kind.as_str()
            ))),
            (Some(name), None) => Ok(Some(name.clone())),
            (None, name) => Ok(name),
        }
    }
}

/// Reads a [`Target`], and tells completion the kinds.
#[derive(Clone)]
pub struct TargetParser;

impl TypedValueParser for TargetParser {
    type Value = Target;

    fn parse_ref(&self, cmd: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<Target, clap::Error> {
        let text = value.to_string_lossy();
        Target::parse(&text).ok_or_else(|| unknown_kind(cmd, arg, &text, &[]))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            ObjectKind::ALL
                .into_iter()
                .map(|kind| PossibleValue::new(kind.plural()).aliases([kind.as_str(), kind.short()])),
        ))
    }
}

/// clap's own error for a kind that there is none of. `also` are words beside the kinds.
pub fn unknown_kind(cmd: &clap::Command, arg: Option<&clap::Arg>, text: &str, also: &[&str]) -> clap::Error {
    let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(cmd);
    let kinds = ObjectKind::ALL.iter().map(|kind| kind.plural()).chain(also.iter().copied());
    let arg = arg.map(ToString::to_string).unwrap_or_default();
    error.insert(ContextKind::InvalidArg, ContextValue::String(arg));
    error.insert(ContextKind::InvalidValue, ContextValue::String(text.to_string()));
    error.insert(ContextKind::ValidValue, ContextValue::Strings(kinds.map(str::to_string).collect()));
    let written = text.split('/').next().unwrap_or_default();
    if let Some(meant) = similar(written, ObjectKind::words().chain(also.iter().copied())) {
        error.insert(ContextKind::SuggestedValue, ContextValue::String(meant.to_string()));
    }
    error
}

/// A [`Target`], or a name without a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Target(Target),
    Name(String),
}

/// Reads a [`Word`], and tells completion the kinds.
#[derive(Clone)]
pub struct WordParser;

impl TypedValueParser for WordParser {
    type Value = Word;

    fn parse_ref(&self, cmd: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<Word, clap::Error> {
        let text = value.to_string_lossy();
        match Target::parse(&text) {
            Some(target) => Ok(Word::Target(target)),
            None if text.contains('/') => Err(unknown_kind(cmd, arg, &text, &[])),
            None => Ok(Word::Name(text.into_owned())),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        TargetParser.possible_values().map(|kinds| Box::new(kinds.collect::<Vec<_>>().into_iter()) as Box<_>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_in_every_form_that_people_write() {
        for text in ["service", "services", "svc"] {
            assert_eq!(ObjectKind::parse(text), Some(ObjectKind::Service));
        }
        assert_eq!(ObjectKind::parse("tasks"), Some(ObjectKind::Task));
        assert_eq!(ObjectKind::parse("no"), Some(ObjectKind::Node));
        assert_eq!(ObjectKind::parse("pods"), None);
    }
}

//! Why bytes are not a message of ours.

use std::net::IpAddr;

/// Bytes that no core value corresponds to: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct DecodeError {
    /// The path of the field, for example `plan.creates[3].workload`; empty for the message itself.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

/// A conversion that may refuse.
pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

impl DecodeError {
    pub(crate) fn new(what: impl Into<String>) -> DecodeError {
        DecodeError { path: String::new(), what: what.into() }
    }
    /// The error, seen from the message that holds the field.
    pub(crate) fn within(mut self, field: &str) -> DecodeError {
        if self.path.is_empty() || self.path.starts_with('[') {
            self.path.insert_str(0, field);
        } else {
            self.path = format!("{field}.{}", self.path);
        }
        self
    }
}

impl From<prost::DecodeError> for DecodeError {
    fn from(e: prost::DecodeError) -> DecodeError {
        DecodeError::new(e.to_string())
    }
}

/// Names the field in which a conversion failed.
pub(crate) trait Within<T> {
    fn within(self, field: &str) -> Result<T>;
}

impl<T> Within<T> for Result<T> {
    fn within(self, field: &str) -> Result<T> {
        self.map_err(|e| e.within(field))
    }
}

/// Converts a field that must be there.
pub(crate) fn need<P, C: TryFrom<P, Error = DecodeError>>(field: &str, value: Option<P>) -> Result<C> {
    let value = value.ok_or_else(|| DecodeError::new("is missing")).within(field)?;
    C::try_from(value).within(field)
}

/// Converts a field that may be absent.
pub(crate) fn maybe<P, C: TryFrom<P, Error = DecodeError>>(field: &str, value: Option<P>) -> Result<Option<C>> {
    value.map(C::try_from).transpose().within(field)
}

/// Converts a list, naming the place of what is refused.
pub(crate) fn each<P, C: TryFrom<P, Error = DecodeError>>(field: &str, list: Vec<P>) -> Result<Vec<C>> {
    let convert = |(i, value)| C::try_from(value).map_err(|e: DecodeError| e.within(&format!("[{i}]")));
    list.into_iter().enumerate().map(convert).collect::<Result<Vec<C>>>().within(field)
}

/// A port, which the format writes as a wider number.
pub(crate) fn port(field: &str, value: u32) -> Result<u16> {
    u16::try_from(value).map_err(|_| DecodeError::new(format!("{value} is not a port"))).within(field)
}

/// An address as text; none where it is empty.
pub(crate) fn address(field: &str, text: &str) -> Result<Option<IpAddr>> {
    let parsed = (!text.is_empty()).then(|| text.parse());
    parsed.transpose().map_err(|_| DecodeError::new(format!("{text:?} is not an address"))).within(field)
}

/// Ports, in order.
pub(crate) fn ports(field: &str, list: &[u32]) -> Result<Box<[u16]>> {
    list.iter().map(|&p| port(field, p)).collect()
}

/// Refuses a list that is not in the order that its field promises.
pub(crate) fn sorted<T, K: Ord>(field: &str, list: &[T], key: impl Fn(&T) -> K) -> Result<()> {
    match list.windows(2).position(|w| key(&w[0]) > key(&w[1])) {
        None => Ok(()),
        Some(i) => Err(DecodeError::new("is out of order").within(&format!("{field}[{}]", i + 1))),
    }
}

/// Refuses a list that is not strictly ascending.
pub(crate) fn ascending<T, K: Ord>(field: &str, list: &[T], key: impl Fn(&T) -> K) -> Result<()> {
    match list.windows(2).position(|w| key(&w[0]) >= key(&w[1])) {
        None => Ok(()),
        Some(i) => Err(DecodeError::new("is out of order or repeated").within(&format!("{field}[{}]", i + 1))),
    }
}

/// Refuses a list that is longer than anybody honest sends.
pub(crate) fn at_most<T>(max: usize, field: &str, list: &[T]) -> Result<()> {
    if list.len() > max { Err(DecodeError::new(format!("has more than {max} entries"))).within(field) } else { Ok(()) }
}

/// Refuses a list that its field promises never to be empty.
pub(crate) fn not_empty<T>(field: &str, list: &[T]) -> Result<()> {
    if list.is_empty() { Err(DecodeError::new("is empty")).within(field) } else { Ok(()) }
}

//! Values as bytes and back: what holds for every format.

use orbit_core::{
    model::{Entry, ToManager, ToWorker},
    state::Snapshot,
};
use orbit_proto::{DecodeError, decode_entry, decode_snapshot, encode_entry, encode_snapshot, v1};
use prost::Message;
use std::fmt::Debug;

/// What arrives of a value at the other end of a connection: the value, or that it is refused.
fn arrival<C, P>(value: &C) -> Result<C, DecodeError>
where
    P: Message + Default + for<'a> From<&'a C>,
    C: TryFrom<P, Error = DecodeError>,
{
    P::decode(&P::from(value).encode_to_vec()[..]).expect("our own bytes").try_into()
}

/// Sends a message that a worker may have made up: `None` where the wire refuses it.
pub fn to_manager(message: &ToManager) -> Option<ToManager> {
    let arrived = arrival::<_, v1::ToManager>(message).ok()?;
    assert_eq!(arrived, *message, "it arrives as it was sent");
    Some(arrived)
}

/// Sends a message of our own worker: it is never refused.
pub fn from_our_worker(message: &ToManager) {
    assert_eq!(arrival::<_, v1::ToManager>(message).as_ref(), Ok(message), "the wire takes what our worker says");
}

/// Sends a message of our own manager: it is never refused.
pub fn from_our_manager(message: &ToWorker) {
    assert_eq!(arrival::<_, v1::ToWorker>(message).as_ref(), Ok(message), "the wire takes what our manager says");
}

/// Reads a message from any bytes. What is accepted is written and read back as the same value.
pub fn message<C, P>(bytes: &[u8]) -> Option<C>
where
    P: Message + Default + for<'a> From<&'a C>,
    C: TryFrom<P, Error = DecodeError> + PartialEq + Debug,
{
    let value: C = P::decode(bytes).ok()?.try_into().ok()?;
    assert_eq!(arrival::<C, P>(&value).as_ref(), Ok(&value), "an accepted message is written and read back");
    Some(value)
}

/// Records as the golden files hold them: each with its length before it, four bytes,
/// little-endian. A length beyond the end means all that is left.
pub fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (record, rest) = rest.split_at(rest.len().min(u32::from_le_bytes(*len) as usize));
        records.push(record);
        bytes = rest;
    }
    records
}

/// Writes an entry and reads it back.
pub fn entry(entry: &Entry) {
    assert_eq!(decode_entry(&encode_entry(entry)).as_ref(), Ok(entry), "an entry is read back");
}

/// Writes a snapshot and reads it back.
pub fn snapshot(snapshot: &Snapshot) -> Snapshot {
    let stored = decode_snapshot(encode_snapshot(snapshot));
    assert_eq!(stored.as_ref(), Ok(snapshot), "a snapshot is read back");
    stored.expect("just looked")
}

//! A backup: a snapshot in a file that says what it is, and whether it is whole.
//!
//! ```text
//! "orbit backup 1\n"                  what it is, and of which version
//! [length: u32, little-endian] [chunk]   of the snapshot, again and again
//! [0: u32]                            the last chunk stands before this
//! [SHA-256 of all before it]
//! ```

use crate::{DecodeError, SnapshotReader, SnapshotWriter};
use orbit_core::state::Snapshot;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// The first line of every backup of this version.
const HEAD: &[u8] = b"orbit backup 1\n";
/// What the first lines of all versions begin with.
const NAME: &[u8] = b"orbit backup ";
/// No chunk is longer: a chunk is closed at a mebibyte, and a record has one spec at most.
const CHUNK_BYTES_MAX: u32 = 16 << 20;

/// The bytes of a backup, in pieces of about a mebibyte: an iterator.
pub struct BackupWriter<'a> {
    chunks: SnapshotWriter<'a>,
    hash: Sha256,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    Chunks,
    Over,
}

impl<'a> BackupWriter<'a> {
    /// Begins with the first line.
    pub fn new(snapshot: &'a Snapshot) -> BackupWriter<'a> {
        BackupWriter { chunks: SnapshotWriter::new(snapshot), hash: Sha256::new(), state: State::Head }
    }
}

impl Iterator for BackupWriter<'_> {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> {
        let piece = match self.state {
            State::Head => {
                self.state = State::Chunks;
                HEAD.to_vec()
            }
            State::Chunks => match self.chunks.next() {
                Some(chunk) => {
                    let length = u32::try_from(chunk.len()).expect("a chunk is small");
                    [&length.to_le_bytes(), chunk.as_slice()].concat()
                }
                None => {
                    self.state = State::Over;
                    self.hash.update(0_u32.to_le_bytes());
                    return Some([&0_u32.to_le_bytes(), self.hash.finalize_reset().as_slice()].concat());
                }
            },
            State::Over => return None,
        };
        self.hash.update(&piece);
        Some(piece)
    }
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is none.
    #[error("it is no backup of Orbit's")]
    NotOne,
    /// A newer program has written it.
    #[error("it is a backup of another version (`{0}`): run the version of Orbit that wrote it, or a newer one")]
    OtherVersion(String),
    /// It ends before its end, or was changed.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The system does not give it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<DecodeError> for BackupError {
    fn from(error: DecodeError) -> Self {
        BackupError::Damaged(error.to_string())
    }
}

/// Reads a backup to its end, and checks that it is whole. What it says is not checked: restore it for that.
///
/// # Errors
/// Why it cannot be read.
pub fn read_backup(source: impl Read) -> Result<Snapshot, BackupError> {
    let mut source = Hashing { source, hash: Sha256::new() };
    let mut head = [0; HEAD.len()];
    source.fill(&mut head).map_err(|error| match error {
        BackupError::Damaged(_) => BackupError::NotOne,
        other => other,
    })?;
    match head.strip_prefix(NAME) {
        Some(_) if head == HEAD => {}
        Some(version) => return Err(BackupError::OtherVersion(String::from_utf8_lossy(version).trim().to_string())),
        None => return Err(BackupError::NotOne),
    }
    let mut reader = SnapshotReader::default();
    loop {
        let mut length = [0; 4];
        source.fill(&mut length)?;
        match u32::from_le_bytes(length) {
            0 => break,
            length if length > CHUNK_BYTES_MAX => {
                return Err(BackupError::Damaged(format!("a chunk of {length} bytes is none")));
            }
            length => {
                let mut chunk = vec![0; length as usize];
                source.fill(&mut chunk)?;
                reader.push(&chunk)?;
            }
        }
    }
    let expected = source.hash.finalize_reset();
    let (mut said, mut behind) = ([0; 32], [0; 1]);
    source.fill(&mut said)?;
    if said != expected.as_slice() {
        return Err(BackupError::Damaged("its checksum is wrong".to_string()));
    }
    match source.source.read(&mut behind)? {
        0 => Ok(reader.finish()?),
        _ => Err(BackupError::Damaged("something stands behind its end".to_string())),
    }
}

/// Hashes what is read.
struct Hashing<R> {
    source: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Damaged("it ends too early".to_string()),
            _ => BackupError::Io(error),
        })?;
        self.hash.update(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::state::Cluster;

    fn backup() -> Vec<u8> {
        BackupWriter::new(&Cluster::default().snapshot()).flatten().collect()
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read_backup(&backup()[..]).unwrap(), Cluster::default().snapshot());
    }

    #[test]
    fn a_backup_of_another_version_says_so() {
        let other = [b"orbit backup 2\n", &backup()[HEAD.len()..]].concat();
        assert!(matches!(read_backup(&other[..]), Err(BackupError::OtherVersion(version)) if version == "2"));
        for none in [&b""[..], b"orbit", b"{\"kind\": \"Service\"}"] {
            assert!(matches!(read_backup(none), Err(BackupError::NotOne)), "{none:?}");
        }
    }

    #[test]
    fn one_byte_less_more_or_other_is_noticed() {
        let whole = backup();
        for end in HEAD.len()..whole.len() {
            assert!(matches!(read_backup(&whole[..end]), Err(BackupError::Damaged(_))), "cut at {end}");
        }
        let more = [&whole[..], b"\n"].concat();
        assert!(matches!(read_backup(&more[..]), Err(BackupError::Damaged(_))));
        for place in HEAD.len()..whole.len() {
            let mut other = whole.clone();
            other[place] ^= 1;
            assert!(matches!(read_backup(&other[..]), Err(BackupError::Damaged(_))), "changed at {place}");
        }
    }
}

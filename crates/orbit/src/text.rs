//! Texts from outside, up to a bound.

use std::{fs::File, io::Read, path::Path};

/// So many bytes of a file are read at most: as many as all specs of a cluster may have.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The text of a file, up to a bound.
pub fn read_text(file: &Path) -> Result<String, String> {
    bounded(File::open(file).map_err(|error| error.to_string())?)
}

/// A text, up to a bound.
pub fn bounded(from: impl Read) -> Result<String, String> {
    let mut text = String::new();
    from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("larger than {FILE_BYTES_MAX} bytes")),
        false => Ok(text),
    }
}

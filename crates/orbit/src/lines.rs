//! A log cut into lines.

/// A line that does not end is cut here.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Keeps what has come without an end of line.
#[derive(Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// The lines that are whole with this chunk, each with its end.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for part in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") || self.partial.len() >= LINE_BYTES_MAX {
                whole.extend(self.rest());
            }
        }
        whole
    }

    /// What has come without an end of line, with one.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        let mut line = std::mem::take(&mut self.partial);
        if line.is_empty() {
            return None;
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"on"), [b""; 0]);
        assert_eq!(lines.push(b"e\n\ntw"), [&b"one\n"[..], b"\n"]);
        assert_eq!(lines.push(b"o\xff"), [b""; 0]);
        assert_eq!(lines.rest().as_deref(), Some(&b"two\xff\n"[..]));
        assert_eq!(lines.rest(), None);
        let cut = lines.push(&vec![b'x'; LINE_BYTES_MAX]);
        assert!(cut.len() == 1 && cut[0].ends_with(b"x\n") && lines.partial.is_empty());
    }
}

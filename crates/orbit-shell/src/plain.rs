//! Text from elsewhere, as it reaches a terminal or a text log.
//!
//! Names, messages and problems come from manifests, registries, engines and workers, and so from anybody. A control
//! character in them could move the cursor, hide what stands there, or make one line of a log look like two. What a
//! container itself writes (`orbit logs`, `orbit exec`) is handed on as it is, as Docker does.

use std::{
    borrow::Cow,
    io::{self, Write},
};

/// So many characters of one text are shown.
pub const CHARS_MAX: usize = 2000;

/// Control characters, and those that change the direction of what follows or break lines unseen.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line: a blank in place of each control character, and cut where it is longer than anybody reads.
pub fn line(text: &str) -> Cow<'_, str> {
    cut(text, is_control)
}

/// Several lines, each as [`line()`]: line ends and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    let cuts = |line: &str| line.len() > CHARS_MAX && line.chars().nth(CHARS_MAX).is_some();
    if !text.lines().any(cuts) && !text.contains(|c| is_control(c) && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    text.split_inclusive('\n')
        .map(|whole| {
            let bare = whole.strip_suffix('\n');
            let plain = cut(bare.unwrap_or(whole), |c| is_control(c) && c != '\t');
            if bare.is_some() { plain.into_owned() + "\n" } else { plain.into_owned() }
        })
        .collect()
}

/// Data for a program or a terminal: not cut, and only what a terminal would act on is replaced.
pub fn data(text: &str) -> Cow<'_, str> {
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(acts) { Cow::Owned(text.replace(acts, " ")) } else { Cow::Borrowed(text) }
}

/// JSON says the same with escapes, and then no terminal acts on it.
pub fn json(text: String) -> String {
    if !text.contains(|c| is_control(c) && c != '\n') {
        return text;
    }
    // Outside of strings there is none of these, and all have four digits.
    let escaped = |c: char| if is_control(c) && c != '\n' { format!("\\u{:04x}", c as u32) } else { c.to_string() };
    text.chars().map(escaped).collect()
}

fn cut(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    let end = text.char_indices().nth(CHARS_MAX).map(|(end, _)| end);
    let kept = &text[..end.unwrap_or(text.len())];
    let kept = if kept.contains(&is_bad) { Cow::Owned(kept.replace(&is_bad, " ")) } else { Cow::Borrowed(kept) };
    if end.is_some() { Cow::Owned(kept.into_owned() + "…") } else { kept }
}

/// Lines of a log, one in each call of `write`: what is in it makes no second one.
#[derive(Debug)]
pub struct OneLine<W>(pub W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let one = text.strip_suffix('\n').unwrap_or(&text);
        // The log's own colours are not what somebody else said: those have been escaped by then.
        let plain = one.replace(|c| is_control(c) && c != '\u{1b}', " ");
        self.0.write_all(format!("{plain}\n").as_bytes())?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_acts_on_a_terminal() {
        let bad = "a\u{1b}[2Jb\rc\u{7}d\u{9b}e\u{202e}f\ng\th\u{7f}";
        assert_eq!(line(bad), "a [2Jb c d e f g h ");
        assert_eq!(lines(bad), "a [2Jb c d e f\ng\th ");
        assert_eq!(data("a\u{1b}\u{9b}b\n"), "a  b\n");
        assert_eq!(lines("as it is\n"), "as it is\n");
    }

    #[test]
    fn what_nobody_reads_to_its_end_is_cut() {
        let long = "ü".repeat(CHARS_MAX + 1);
        assert_eq!(line(&long).chars().count(), CHARS_MAX + 1);
        assert!(line(&long).ends_with("ü…"));
        assert_eq!(lines(&format!("{long}\nb\n")).lines().map(|line| line.chars().count()).max(), Some(CHARS_MAX + 1));
        let fits = "ü".repeat(CHARS_MAX);
        assert_eq!(line(&fits), fits);
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = "{\n  \"a\": \"x\u{9b}\u{202e}\u{7f}ü\"\n}\n";
        assert_eq!(json(value.to_string()), "{\n  \"a\": \"x\\u009b\\u202e\\u007fü\"\n}\n");
    }

    #[test]
    fn a_log_line_is_one() {
        let mut log = OneLine(Vec::new());
        log.write_all(b"INFO node said: x\nERROR forged\r\n").unwrap();
        assert_eq!(log.0, b"INFO node said: x ERROR forged \n");
    }
}

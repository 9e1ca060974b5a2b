//! Files of variables: `.env` beside a compose file, and what `env_file` names.

use crate::{
    Error,
    interpolate::{Variables, interpolate},
};
use std::collections::BTreeMap;

/// So many bytes of values are taken of a file.
const BYTES_MAX: usize = 4 << 20;

/// Reads the variables of a file, in its order. A value may name those before it, and `variables`.
///
/// # Errors
/// The first line that sets nothing, or that does not end.
pub fn read_env(text: &str, variables: &Variables) -> Result<Vec<(String, String)>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut found: Vec<(String, String)> = Vec::new();
    let (mut latest, mut bytes) = (BTreeMap::new(), 0);
    let (mut rest, mut line) = (&*text, 1);
    while !rest.is_empty() {
        let at = line;
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let fail = |message: String| Err(Error { file: None, line: at, message });
        let trimmed = trimmed.strip_prefix("export ").map_or(trimmed, str::trim_start);
        let Some((name, value)) = trimmed.split_once('=') else {
            // A name alone is passed through, where it has a value.
            let name = trimmed.split(" #").next().unwrap_or_default().trim_end();
            if !is_name(name) {
                return fail(format!("`{name:.64}` sets nothing: NAME=VALUE"));
            }
            found.extend(variables(name).map(|value| (name.to_string(), value)));
            (rest, line) = (after, line + 1);
            continue;
        };
        let name = name.trim_end();
        if !is_name(name) {
            return fail(format!("`{name:.64}` is not the name of a variable"));
        }
        let value = value.trim_start_matches([' ', '\t']);
        let begin = rest.len() - after.len() - usize::from(rest.len() > first.len()) - value.len();
        let (value, end) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => match quoted(&rest[begin + 1..], quote) {
                Some((inside, len)) => (inside, begin + 1 + len),
                None => return fail(format!("the value of `{name}` has no second {quote}")),
            },
            _ => (unquoted(value).to_string(), begin + value.len()),
        };
        let is_literal = rest[begin..].starts_with('\'');
        let value = match is_literal {
            true => value,
            false => {
                let known = |it: &str| latest.get(it).cloned().or_else(|| variables(it));
                let mut wrong = Vec::new();
                let value = interpolate(&value, &known, &mut wrong);
                // Also where one is missing: a dollar that is meant as one stands between single quotes.
                match wrong.first() {
                    Some(wrong) => return fail(format!("the value of `{name}`: {wrong}")),
                    None => value,
                }
            }
        };
        bytes += value.len();
        if bytes > BYTES_MAX {
            return fail(format!("more than {BYTES_MAX} bytes"));
        }
        latest.insert(name.to_string(), value.clone());
        found.push((name.to_string(), value));
        // Behind a second quote there may be a comment.
        let behind = rest[end..].split('\n').next().unwrap_or_default().trim_start();
        if !behind.is_empty() && !behind.starts_with('#') {
            return fail(format!("`{behind:.64}` stands behind the value of `{name}`"));
        }
        let skipped = rest[end..].find('\n').map_or(rest.len(), |newline| end + newline + 1);
        line += rest[..skipped].matches('\n').count();
        rest = &rest[skipped..];
    }
    Ok(found)
}

/// Programs that nest their settings have dots and hyphens in them.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-:[]".contains(&b))
}

/// Up to a comment, which has a space before it.
fn unquoted(value: &str) -> &str {
    let comment = value.match_indices('#').find(|(at, _)| *at == 0 || value[..*at].ends_with([' ', '\t']));
    value[..comment.map_or(value.len(), |(at, _)| at)].trim_end()
}

/// What stands before the second quote, and how far that is.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((inside, at + 1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => inside.push('\n'),
                'r' => inside.push('\r'),
                't' => inside.push('\t'),
                // A dollar that stays one.
                '$' => inside.push_str("$$"),
                other @ ('"' | '\\') => inside.push(other),
                other => inside.extend(['\\', other]),
            },
            _ => inside.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let outside = |name: &str| (name == "HOME").then(|| "/root".to_string());
        read_env(text, &outside).map_err(|error| error.to_string())
    }
    fn is(text: &str, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn each_form_of_a_line_is_read() {
        is(
            "A=1\n# note\n\nexport B = two words  # comment\nC=#none\nD=a#b\n",
            &[("A", "1"), ("B", "two words"), ("C", ""), ("D", "a#b")],
        );
        is("A='$HOME \\n' # x\nB=\"a\\n\\\"b\\\" \\$X\"\n", &[("A", "$HOME \\n"), ("B", "a\n\"b\" $X")]);
        is("A=\"two\nlines\"\nB=2", &[("A", "two\nlines"), ("B", "2")]);
        is("A=$HOME/x\nB=${A}/y\nC=${NONE:-z}\n", &[("A", "/root/x"), ("B", "/root/x/y"), ("C", "z")]);
        is("HOME\nNONE\nserver.port=80\nA=\r\n", &[("HOME", "/root"), ("server.port", "80"), ("A", "")]);
        is("\u{feff}A=é", &[("A", "é")]);
    }

    #[test]
    fn what_sets_nothing_is_said_with_its_line() {
        assert_eq!(read("A=1\n\nno name"), Err("3: `no name` sets nothing: NAME=VALUE".into()));
        assert_eq!(read("A=\"1\n2\nB=3"), Err("1: the value of `A` has no second \"".into()));
        assert_eq!(read("A=\"1\n2\"\n=3"), Err("3: `` is not the name of a variable".into()));
        assert_eq!(read("A=$B"), Err("1: the value of `A`: B has no value and no default".into()));
        assert_eq!(read("A='x'yz"), Err("1: `yz` stands behind the value of `A`".into()));
        assert_eq!(read("A=${B"), Err("1: the value of `A`: `${` without its `}`".into()));
    }

    proptest! {
        #[test]
        fn no_text_ends_it(text in "[A='\"\\\\$# \n{}é]{0,40}") {
            let _ = read(&text);
        }
    }
}

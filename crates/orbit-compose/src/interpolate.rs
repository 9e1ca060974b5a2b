//! Variables in a compose file: `$V`, `${V}`, `${V:-else}`, `${V?message}`, `${V:+then}`, with defaults in defaults. `$$` is a
//! dollar, and so is one that names nothing: `$(date)`.

use std::fmt;

/// The value of a variable, if it has one.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Defaults in defaults, so deep.
const DEPTH_MAX: usize = 32;
/// A default may be repeated by defaults that name it: bounded.
const BYTES_MAX: usize = 1 << 20;

/// What was wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A variable has no value and no default.
    Missing(String),
    /// A variable that the file says is needed, and what the file says about it.
    Needed(String, String),
    /// What stands there is none of the forms.
    Form(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Wrong::Missing(name) => write!(f, "{name} has no value and no default"),
            Wrong::Needed(name, message) if message.is_empty() => write!(f, "{name} has no value"),
            Wrong::Needed(name, message) => write!(f, "{name} has no value: {message}"),
            Wrong::Form(message) => f.write_str(message),
        }
    }
}

/// Puts in the values. What is missing is empty, and in `wrong`.
pub fn interpolate(text: &str, variables: &Variables, wrong: &mut Vec<Wrong>) -> String {
    within(text, variables, wrong, DEPTH_MAX)
}

fn within(text: &str, variables: &Variables, wrong: &mut Vec<Wrong>, depth: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            match (braced(after), depth) {
                (Some((inside, after)), 1..) => {
                    out.push_str(&value(inside, variables, wrong, depth - 1));
                    rest = after;
                }
                (Some(_), 0) => {
                    wrong.push(Wrong::Form(format!("defaults in defaults, deeper than {DEPTH_MAX}")));
                    return out;
                }
                (None, _) => {
                    wrong.push(Wrong::Form("`${` without its `}`".to_string()));
                    return out;
                }
            }
        } else if let name = name_of(rest)
            && !name.is_empty()
        {
            out.push_str(&plain(name, variables, wrong));
            rest = &rest[name.len()..];
        } else {
            out.push('$');
        }
        if out.len() > BYTES_MAX {
            wrong.push(Wrong::Form(format!("more than {BYTES_MAX} bytes")));
            return String::new();
        }
    }
    out.push_str(rest);
    out
}

/// The beginning of a text that is a variable's name.
fn name_of(text: &str) -> &str {
    let is_name = |(at, b): (usize, u8)| b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit());
    let len = text.bytes().enumerate().take_while(|it| is_name(*it)).count();
    &text[..len]
}

/// What stands up to the brace that closes, and what follows. Braces in a default come in pairs.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut open = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

fn plain(name: &str, variables: &Variables, wrong: &mut Vec<Wrong>) -> String {
    variables(name).unwrap_or_else(|| {
        wrong.push(Wrong::Missing(name.to_string()));
        String::new()
    })
}

/// Of what stands between the braces.
fn value(inside: &str, variables: &Variables, wrong: &mut Vec<Wrong>, depth: usize) -> String {
    let name = name_of(inside);
    let form = &inside[name.len()..];
    if name.is_empty() {
        wrong.push(Wrong::Form(format!("`${{{inside:.64}}}` names no variable")));
        return String::new();
    }
    let (counts_empty, form) = form.strip_prefix(':').map_or((true, form), |form| (false, form));
    let found = variables(name).filter(|value| counts_empty || !value.is_empty());
    let Some(operator) = form.chars().next() else {
        if !counts_empty {
            wrong.push(Wrong::Form(format!("`${{{inside:.64}}}` has nothing behind its colon")));
        }
        return plain(name, variables, wrong);
    };
    let word = &form[operator.len_utf8()..];
    match (operator, found) {
        ('-', Some(value)) | ('?', Some(value)) => value,
        ('-', None) | ('+', Some(_)) => within(word, variables, wrong, depth),
        ('+', None) => String::new(),
        ('?', None) => {
            let message = within(word, variables, wrong, depth);
            wrong.push(Wrong::Needed(name.to_string(), message));
            String::new()
        }
        _ => {
            wrong.push(Wrong::Form(format!("`${{{inside:.64}}}` is none of the forms of a variable")));
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            "MONEY" => Some("$A".into()),
            _ => None,
        }
    }
    fn put(text: &str) -> (String, Vec<Wrong>) {
        let mut wrong = Vec::new();
        (interpolate(text, &known, &mut wrong), wrong)
    }
    fn is(text: &str, expected: &str) {
        assert_eq!(put(text), (expected.to_string(), vec![]), "{text}");
    }

    #[test]
    fn each_form_has_its_value() {
        is("$A/${A}/x$A.y", "a/a/xa.y");
        is("${A:-x}${A-x}${NONE:-x}${NONE-x}", "aaxx");
        is("${EMPTY:-x}${EMPTY-x}", "x");
        is("${A:+x}${A+x}${EMPTY:+x}${EMPTY+x}${NONE+x}", "xxx");
        is("${A:?no}${EMPTY?no}", "a");
        is("${NONE:-http://h:80/{id}/a b}", "http://h:80/{id}/a b");
        is("${NONE:-${ALSO:-${A}}}", "a");
        is("${NONE:-}", "");
        is("${MONEY}", "$A");
    }

    #[test]
    fn a_dollar_that_names_nothing_stays() {
        is("$$A $$$$ ${A}$$", "$A $$ a$");
        is("$(seq 1 60) $2y$10$", "$(seq 1 60) $2y$10$");
        is("cost: 5$", "cost: 5$");
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |names: [&str; 2]| Vec::from(names.map(|name| Wrong::Missing(name.into())));
        assert_eq!(put("$B-${C}"), ("-".into(), missing(["B", "C"])));
        let needed = |name: &str, said: &str| vec![Wrong::Needed(name.into(), said.into())];
        assert_eq!(put("${B:?set $A}").1, needed("B", "set a"));
        assert_eq!(put("${EMPTY:?}").1, needed("EMPTY", ""));
        for wrong in ["${A", "${}", "${A:}", "${A!x}", "${1}"] {
            assert!(matches!(put(wrong).1[..], [Wrong::Form(_)]), "{wrong}: {:?}", put(wrong));
        }
    }

    #[test]
    fn defaults_in_defaults_end_somewhere() {
        let deep = format!("{}x{}", "${N:-".repeat(1000), "}".repeat(1000));
        assert!(matches!(put(&deep).1[..], [Wrong::Form(_)]));
    }

    proptest! {
        #[test]
        fn no_text_ends_it_and_one_without_a_dollar_is_itself(text in "[$${}:?A-C+ -]{0,40}", plain in "[^$]{0,40}") {
            put(&text);
            is(&plain, &plain);
        }
    }
}

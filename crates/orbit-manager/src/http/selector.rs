//! Which objects of a list, by their labels.

use super::{Answered, Fault};
use orbit_core::model::Rejection;
use std::collections::BTreeMap;

/// `key=value`, `key!=value`, `key` and `!key`, with commas between them: all must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl Selector {
    pub fn parse(text: Option<&str>) -> Answered<Selector> {
        let terms = text.unwrap_or("").split(',').map(str::trim).filter(|term| !term.is_empty());
        Ok(Selector(terms.map(term).collect::<Answered<_>>()?))
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match term {
            Term::Is(key, value) => labels.get(key) == Some(value),
            Term::IsNot(key, value) => labels.get(key) != Some(value),
            Term::Has(key) => labels.contains_key(key),
            Term::HasNot(key) => !labels.contains_key(key),
        })
    }
}

fn term(text: &str) -> Answered<Term> {
    let wrong = || {
        let message = format!("`{text}` is none of KEY=VALUE, KEY!=VALUE, KEY and !KEY");
        Fault(Rejection::invalid("selector", message).into())
    };
    let key = |key: &str| match key.trim() {
        "" => Err(wrong()),
        key if key.contains(['=', '!']) => Err(wrong()),
        key => Ok(key.to_string()),
    };
    let value = |value: &str| match value.trim() {
        value if value.contains('=') => Err(wrong()),
        value => Ok(value.to_string()),
    };
    match (text.split_once("!="), text.split_once('='), text.strip_prefix('!')) {
        (Some((left, right)), ..) => Ok(Term::IsNot(key(left)?, value(right)?)),
        (None, Some((left, right)), _) => Ok(Term::Is(key(left)?, value(right.strip_prefix('=').unwrap_or(right))?)),
        (None, None, Some(left)) => Ok(Term::HasNot(key(left)?)),
        (None, None, None) => Ok(Term::Has(key(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_terms_must_hold() {
        let labels: BTreeMap<String, String> =
            [("team", "shop"), ("tier", "web")].map(|(key, value)| (key.into(), value.into())).into();
        let holds = |text: &str| Selector::parse(Some(text)).ok().unwrap().matches(&labels);
        for text in ["", "team=shop", "team==shop", "team=shop,tier!=db", "tier", "!zone", " team = shop , tier "] {
            assert!(holds(text), "{text}");
        }
        for text in ["team=other", "team!=shop", "zone", "!team", "team=shop,zone", "zone=a", "team="] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_term_is_refused() {
        for text in ["=shop", "!=shop", "!", "a=b=c", "a!b", "a=!b=c"] {
            assert!(Selector::parse(Some(text)).is_err(), "{text}");
        }
    }
}

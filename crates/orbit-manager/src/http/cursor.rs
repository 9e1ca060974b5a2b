//! Where a page of events goes on. It comes back from outside, so its parser is total and nothing is reckoned with it
//! that could overflow.

use super::{Answered, extract::revision};
use orbit_core::model::Rejection;
use std::fmt;

/// Behind an event: its revision, and how many events of that revision were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub revision: u64,
    pub shown: u64,
}

impl Cursor {
    /// Before the first event after a revision.
    pub fn after(revision: u64) -> Cursor {
        Cursor { revision: revision.saturating_add(1), shown: 0 }
    }

    /// Behind the event that is the `nth` of its revision, counted from 0.
    pub fn behind(revision: u64, nth: u64) -> Cursor {
        Cursor { revision, shown: nth.saturating_add(1) }
    }

    /// As it was written on the page before.
    pub fn parse(text: &str) -> Answered<Cursor> {
        let parts = text.split_once('.').and_then(|(at, shown)| Some((revision(at)?, revision(shown)?)));
        match parts {
            Some((revision @ 1.., shown)) => Ok(Cursor { revision, shown }),
            _ => Err(Rejection::invalid("continue", "is not from a page of events").into()),
        }
    }

    /// Everything that may still have to be shown came after this revision.
    pub fn since(self) -> u64 {
        self.revision.saturating_sub(1)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}", self.revision, self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_what_it_wrote_and_nothing_else() {
        for cursor in [Cursor::after(0), Cursor::after(u64::MAX), Cursor::behind(7, 0), Cursor::behind(7, u64::MAX)] {
            assert_eq!(Cursor::parse(&cursor.to_string()).ok(), Some(cursor));
            assert!(cursor.since() < cursor.revision);
        }
        for bad in
            ["", ".", "0.0", "0.5", "1", "1.", ".1", "1.2.3", "-1.0", "+1.0", "1.+1", "a.b", "99999999999999999999.0"]
        {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }
}

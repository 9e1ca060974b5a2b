//! The managers that a worker may work for, and whose turn it is to be dialled.

/// In the order in which their operator named them.
pub(crate) struct Managers {
    addresses: Vec<String>,
    current: usize,
}

impl Managers {
    /// # Panics
    /// If there is none.
    pub fn new(addresses: Vec<String>) -> Managers {
        assert!(!addresses.is_empty(), "a worker has a manager");
        Managers { addresses, current: 0 }
    }
    /// The one that is dialled next, or that this worker works for.
    pub fn current(&self) -> &str {
        &self.addresses[self.current]
    }
    /// A connection to the current one has ended. One that has welcomed this worker before is dialled again, because it may
    /// have been started again. Any other is passed over for the next; the first follows the last.
    pub fn ended(&mut self, had_welcomed: bool) {
        if !had_welcomed {
            self.current = (self.current + 1) % self.addresses.len();
        }
    }
    /// Each, and whether it is the current one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.addresses.iter().enumerate().map(|(i, address)| (address.as_str(), i == self.current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_dialled_where_one_does_not_welcome_the_worker_and_the_same_where_it_had() {
        let mut managers = Managers::new(vec!["a".into(), "b".into()]);
        let mut ended = |had_welcomed| {
            managers.ended(had_welcomed);
            managers.current().to_string()
        };
        assert_eq!([false, true, true, false, true].map(&mut ended), ["b", "b", "b", "a", "a"]);
    }
}

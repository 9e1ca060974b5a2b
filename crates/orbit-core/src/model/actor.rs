//! Who asks for something.

use std::fmt;

/// Who asked for what an entry of the log says. It is known from the transport on which it was asked, never from what
/// was said there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// Nobody knows: it was written before it was recorded.
    #[default]
    Unknown,
    /// Whoever reaches the API: there are no identities yet.
    Local,
    /// Workers, by what they observed.
    Worker,
    /// The leader: what the state asks for.
    Manager,
}

impl Actor {
    /// All, in order.
    pub const ALL: [Actor; 4] = [Actor::Unknown, Actor::Local, Actor::Worker, Actor::Manager];

    /// Stable text, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Actor::Unknown => "unknown",
            Actor::Local => "local",
            Actor::Worker => "worker",
            Actor::Manager => "manager",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! Where tasks may run, and which of the possible nodes is preferred.

use std::fmt;

/// Where tasks may run, and which of the possible nodes is preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placement {
    /// Which of the possible nodes is preferred.
    pub strategy: Strategy,
    /// All of them must hold.
    pub constraints: Vec<Constraint>,
}

/// Which of the possible nodes is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// The fullest node on which the task still fits: few nodes are in use, large tasks find room.
    #[default]
    Binpack,
    /// The node with the fewest tasks of the same service, then the least loaded one.
    Spread,
}

/// A condition on a node's attribute, written `node.labels.disk == ssd`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// Which attribute is compared.
    pub attribute: Attribute,
    /// Whether it must be equal or different.
    pub equal: bool,
    /// With what. An absent label is different from every value.
    pub value: String,
}

/// An attribute of a node that a constraint can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// `node.name`
    Name,
    /// `node.arch`, as Docker writes it: `amd64`, `arm64`.
    Arch,
    /// `node.os`
    Os,
    /// `node.labels.KEY`
    Label(String),
}

impl Constraint {
    /// Reads `node.arch == amd64` or `node.labels.disk != ssd`.
    ///
    /// # Errors
    /// One sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Constraint, String> {
        let (left, equal, right) = match (text.split_once("=="), text.split_once("!=")) {
            (Some((l, r)), None) => (l, true, r),
            (None, Some((l, r))) => (l, false, r),
            _ => return Err(format!("`{text}` is not ATTRIBUTE == VALUE or ATTRIBUTE != VALUE")),
        };
        let (left, value) = (left.trim(), right.trim());
        let attribute = match left {
            "node.name" => Attribute::Name,
            "node.arch" => Attribute::Arch,
            "node.os" => Attribute::Os,
            _ => match left.strip_prefix("node.labels.") {
                Some(key) if !key.is_empty() => Attribute::Label(key.to_string()),
                _ => {
                    return Err(format!(
                        "`{left}` is not an attribute of a node: \
                         use node.name, node.arch, node.os or node.labels.KEY"
                    ));
                }
            },
        };
        if value.is_empty() {
            return Err(format!("`{text}` compares with nothing"));
        }
        Ok(Constraint { attribute, equal, value: value.to_string() })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.attribute {
            Attribute::Name => f.write_str("node.name")?,
            Attribute::Arch => f.write_str("node.arch")?,
            Attribute::Os => f.write_str("node.os")?,
            Attribute::Label(key) => write!(f, "node.labels.{key}")?,
        }
        write!(f, " {} {}", if self.equal { "==" } else { "!=" }, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_read_back_what_they_wrote() {
        for text in ["node.labels.disk == ssd", "node.arch != arm64", "node.name == a", "node.os == linux"] {
            assert_eq!(Constraint::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "node.arch", "arch == amd64", "node.labels. == x", "node.arch ==", "a == b != c"] {
            assert!(Constraint::parse(bad).is_err(), "{bad}");
        }
    }
}

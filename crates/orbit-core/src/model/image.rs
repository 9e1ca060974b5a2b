//! What an image's tag means: it may be another tomorrow, and all tasks of one version run the same bytes. The first node
//! that has the image says by which digest its registry knows it; from then on, it is asked for by that.

use std::sync::Arc;

/// What a task's image is asked for by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ImageBytes {
    /// By the reference in its spec.
    #[default]
    AsWritten,
    /// By the reference in its spec; what that means is said to the manager, and nothing is created before the manager
    /// has said what it means for all. An image that no registry knows means what it is.
    Unresolved,
    /// By this digest.
    Digest(Arc<str>),
}

/// Whether a text is a digest as registries write it: `sha256:` and 64 hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// Whether a reference names its digest already.
pub fn is_pinned(image: &str) -> bool {
    image.contains('@')
}

/// The repository of a reference: without its tag and its digest.
pub fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        // A port stands before a slash.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// The reference of an image by its digest.
pub fn pinned(image: &str, digest: &str) -> String {
    format!("{}@{digest}", repository(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_makes_room_for_a_digest_and_a_port_does_not() {
        for (image, repo) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("registry.example:5000/shop/web", "registry.example:5000/shop/web"),
            ("registry.example:5000/shop/web:2", "registry.example:5000/shop/web"),
            ("web@sha256:0", "web"),
        ] {
            assert_eq!(repository(image), repo);
            assert_eq!(pinned(image, "sha256:1"), format!("{repo}@sha256:1"));
        }
        assert!(is_digest(&format!("sha256:{}", "0a".repeat(32))));
        for bad in ["", "sha256:", "sha256:0a", &format!("sha256:{}", "0A".repeat(32)), &"0a".repeat(32)] {
            assert!(!is_digest(bad), "{bad}");
        }
    }
}

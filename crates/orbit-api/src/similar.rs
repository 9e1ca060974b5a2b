//! The word that somebody meant who wrote another one.

/// The candidate that comes closest to a word, if they differ by no more than slips of the fingers: one letter in three
/// is missing, added, another one, or changed places with its neighbour.
pub fn similar<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let letters = word.chars().count();
    let slips_max = (letters / 3).max(1);
    let distance = |candidate: &'a str| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate);
    let closest = candidates.into_iter().map(distance).min()?;
    // Otherwise any letter would be meant by any other.
    Some(closest.1).filter(|_| closest.0 <= slips_max && closest.0 < letters)
}

/// ` (did you mean …?)`, or nothing where no candidate is similar.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    similar(word, candidates).map(|meant| format!(" (did you mean `{meant}`?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_seen_through() {
        let names = ["web", "web-api", "worker-1", "worker-2", "database"];
        for (word, meant) in [
            ("wbe", Some("web")),
            ("Web", Some("web")),
            ("web-ap", Some("web-api")),
            ("worker1", Some("worker-1")),
            ("databsae", Some("database")),
            ("worker-3", Some("worker-1")),
            ("mail", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(similar(word, names), meant, "{word}");
        }
        assert_eq!(similar("web", []), None);
    }
}

//! Sizes and times as compose files write them.

use orbit_api::quantity::{Cpu, Memory, Span};

/// `128mb`, `2G`, `64m` or bytes: in powers of 1024, whatever the letters are.
pub fn size(text: &str) -> Result<Memory, String> {
    let wrong = || format!("`{text:.64}` is no size: 128m, 2G or bytes");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = match unit.trim() {
        "" | "b" => "",
        "k" | "kb" | "kib" => "Ki",
        "m" | "mb" | "mib" => "Mi",
        "g" | "gb" | "gib" => "Gi",
        "t" | "tb" | "tib" => "Ti",
        _ => return Err(wrong()),
    };
    Memory::parse(&format!("{number}{unit}")).map_err(|_| wrong())
}

pub fn cpus(text: &str) -> Result<Cpu, String> {
    Cpu::parse(text.trim())
}

/// `1m30s`, `500ms`.
pub fn span(text: &str) -> Result<Span, String> {
    Span::parse(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let bytes = |text| size(text).map(|it| it.bytes);
        for (text, expected) in [
            ("128mb", 128 << 20),
            ("2G", 2 << 30),
            ("64M", 64 << 20),
            ("1.5g", 3 << 29),
            ("1000", 1000),
            ("10 kb", 10 << 10),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "g", "1.2.3m", "-1m", "1x", "99999999999g", "1e3"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_stand_without_spaces() {
        assert_eq!(span("1m30s").map(|it| it.millis), Ok(90_000));
        assert!(span("90").is_err());
        assert_eq!(cpus("0.75").map(|it| it.millis), Ok(750));
    }
}

//! Numbers with units, as a person writes them: `250m`, `128Mi`, `10s`.
//!
//! Each type reads what people write and always writes one spelling.

use orbit_core::model::{Bytes, Millis};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::fmt;

/// An amount of processor time: `250m` (thousandths), `2` or `0.5` (processors).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Thousandths of a processor.
    pub millis: u64,
}

/// An amount of memory: `128Mi`, `1Gi`, `500M`, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
}

/// A span of time: `10s`, `5m`, `1h 30m`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Milliseconds.
    pub millis: u64,
}

impl Cpu {
    /// Reads `250m`, `2` or `0.5`.
    pub fn parse(text: &str) -> Result<Cpu, String> {
        let wrong = || format!("`{text}` is not an amount of cpu: write 250m, 0.5 or 2");
        if let Some(millis) = text.strip_suffix('m') {
            return digits(millis).map(|millis| Cpu { millis }).ok_or_else(wrong);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let whole = digits(whole).ok_or_else(wrong)?;
        if fraction.len() > 3 {
            return Err(format!("`{text}` is finer than a thousandth of a processor"));
        }
        let fraction = digits(&format!("{fraction:0<3}")).ok_or_else(wrong)?;
        whole
            .checked_mul(1000)
            .and_then(|millis| millis.checked_add(fraction))
            .map(|millis| Cpu { millis })
            .ok_or_else(wrong)
    }
}

/// Up to here every whole number of bytes is exact where an amount is written with a fraction.
const EXACT_BYTES_MAX: u64 = 1 << 53;

impl Memory {
    /// Reads `128Mi`, `1Gi`, `500M`, or bytes.
    pub fn parse(text: &str) -> Result<Memory, String> {
        let wrong = || format!("`{text}` is not an amount of memory: write 128Mi, 1Gi or bytes");
        if !text.starts_with(|c: char| c.is_ascii_digit()) || text.ends_with('m') {
            return Err(wrong()); // a small m is thousandths elsewhere: too easily confused
        }
        let bytes = text.parse::<bytesize::ByteSize>().map_err(|_| wrong())?.as_u64();
        // Beyond this, it is not read exactly, and what is shown would be read as something else.
        match bytes <= EXACT_BYTES_MAX {
            true => Ok(Memory { bytes }),
            false => Err(format!("`{text}` is more memory than any machine has")),
        }
    }
}

impl Span {
    /// Reads `10s`, `5m`, `1h 30m` or `500ms`.
    pub fn parse(text: &str) -> Result<Span, String> {
        let wrong = |why: String| format!("`{text}` is not a span of time ({why}): write 500ms, 10s or 5m");
        let span = humantime::parse_duration(text).map_err(|e| wrong(e.to_string()))?;
        let millis = u64::try_from(span.as_millis()).map_err(|_| wrong("too long".into()))?;
        Ok(Span { millis })
    }
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.millis % 1000 {
            0 => write!(f, "{}", self.millis / 1000),
            _ => write!(f, "{}m", self.millis),
        }
    }
}
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        Bytes(self.bytes).fmt(f)
    }
}
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        Millis(self.millis).fmt(f)
    }
}

macro_rules! as_text {
    ($name:ident, $expecting:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, n: u64) -> Result<$name, E> {
                        $name::parse(&n.to_string()).map_err(E::custom)
                    }
                    fn visit_f64<E: de::Error>(self, n: f64) -> Result<$name, E> {
                        $name::parse(&n.to_string()).map_err(E::custom)
                    }
                }
                d.deserialize_any(Text)
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some($expecting))
                    .examples([serde_json::json!($example)])
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}
as_text!(Cpu, "an amount of cpu: 250m, 0.5 or 2", "250m");
as_text!(Memory, "an amount of memory: 128Mi, 1Gi or bytes", "128Mi");
as_text!(Span, "a span of time: 500ms, 10s or 5m", "10s");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_as_people_write_it() {
        let millis = |text| Cpu::parse(text).map(|cpu| cpu.millis);
        assert_eq!(millis("250m"), Ok(250));
        assert_eq!(millis("2"), Ok(2000));
        assert_eq!(millis("0.5"), Ok(500));
        assert_eq!(millis("1.25"), Ok(1250));
        for bad in ["", "-1", "m", "250Mi", "1.2345", "1e3", ".5", "99999999999999999999", "NaN"] {
            assert!(Cpu::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_is_read_as_people_write_it() {
        let bytes = |text| Memory::parse(text).map(|memory| memory.bytes);
        assert_eq!(bytes("128Mi"), Ok(128 << 20));
        assert_eq!(bytes("1Gi"), Ok(1 << 30));
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("500M"), Ok(500_000_000));
        for bad in ["", "-1", "128Q", "250m", "Mi", "x", "8888888888888888888888881Gi", "9P1"] {
            assert!(Memory::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        let millis = |text| Span::parse(text).map(|span| span.millis);
        assert_eq!(millis("10s"), Ok(10_000));
        assert_eq!(millis("1h 30m"), Ok(5_400_000));
        for bad in ["", "10", "-1s", "10 parsecs"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }
}

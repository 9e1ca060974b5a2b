//! What the types of a manifest cannot refuse: a key that stands twice in a map, of which the last would win without a
//! word, and a YAML `null` where a text is expected, which would be the text `null`.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::{collections::BTreeSet, fmt};

/// Something that is refused, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it, as a sentence without its subject.
    pub what: &'static str,
}

/// What is done with a `null`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// JSON says with it that an optional field is not there; anywhere else the types refuse it.
    Taken,
    /// A YAML text says with it that somebody forgot a value, or has a variable that is empty.
    Refused,
    /// As `Refused` below fields of this name, and as `Taken` elsewhere.
    RefusedIn(&'static str),
}

/// Walks a whole document. The deserializer's own error stands where it is not well formed; the error of something that
/// is refused is in `wrong`, too.
pub(super) struct Strict<'a> {
    path: String,
    nulls: Nulls,
    wrong: &'a mut Option<Wrong>,
}

impl<'a> Strict<'a> {
    pub fn document(nulls: Nulls, wrong: &'a mut Option<Wrong>) -> Strict<'a> {
        Strict { path: String::new(), nulls, wrong }
    }
    fn below(&mut self, key: &str) -> Strict<'_> {
        let path = match (self.path.is_empty(), key.starts_with('[')) {
            (true, _) => key.to_string(),
            (false, true) => format!("{}{key}", self.path),
            (false, false) => format!("{}.{key}", self.path),
        };
        Strict { path, nulls: self.nulls, wrong: self.wrong }
    }
    fn refuse<E: Error>(self, field: String, what: &'static str) -> E {
        let error = E::custom(format_args!("`{field}` {what}"));
        *self.wrong = Some(Wrong { field, what });
        error
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        Ok(())
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let refused = match self.nulls {
            Nulls::Taken => false,
            // The document itself may be empty.
            Nulls::Refused => !self.path.is_empty(),
            Nulls::RefusedIn(field) => self.path.split('.').any(|part| part == field),
        };
        if !refused {
            return Ok(());
        }
        let field = self.path.clone();
        Err(self
            .refuse(field, "is null: leave the key out, or write \"\" for an empty text and \"null\" for that word"))
    }
    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        inner.deserialize_any(self)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        inner.deserialize_any(self)
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, inner) = tagged.variant::<Key>()?;
        inner.newtype_variant_seed(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut number = 0;
        while items.next_element_seed(self.below(&format!("[{number}]")))?.is_some() {
            number += 1;
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(Key(key)) = fields.next_key()? {
            let below = self.below(&key);
            if !keys.insert(key) {
                let field = below.path.clone();
                return Err(below.refuse(field, "stands twice, and only one of them would count"));
            }
            fields.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// A key as a person reads it: YAML has other keys than texts.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_bool<E: Error>(self, key: bool) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_i64<E: Error>(self, key: i64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_u64<E: Error>(self, key: u64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_i128<E: Error>(self, key: i128) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_u128<E: Error>(self, key: u128) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_f64<E: Error>(self, key: f64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_unit<E: Error>(self) -> Result<Key, E> {
                Ok(Key("null".to_string()))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

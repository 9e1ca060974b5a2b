//! Maps of texts, in the order of their keys.

use crate::{DecodeError, error::*, v1};
use std::collections::BTreeMap;

pub(crate) fn pairs(map: &BTreeMap<String, String>) -> Vec<v1::KeyValue> {
    map.iter().map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone() }).collect()
}

pub(crate) fn map(field: &str, pairs: Vec<v1::KeyValue>) -> Result<BTreeMap<String, String>> {
    if let Some(i) = pairs.windows(2).position(|w| w[0].key >= w[1].key) {
        return Err(DecodeError::new("is out of order or repeated").within(&format!("{field}[{}]", i + 1)));
    }
    Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}

//! One page of an ordered list.

use super::answer::{Answered, Fault};
use orbit_api::view;
use orbit_core::model::Rejection;
use serde::Deserialize;
use utoipa::ToSchema;

/// The most objects on one page of a list.
const PAGE_MAX: usize = 1000;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct Page {
    pub limit: Option<usize>,
    #[serde(rename = "continue")]
    pub after: Option<String>,
}

impl Page {
    pub fn limit(&self) -> Answered<usize> {
        match self.limit.unwrap_or(PAGE_MAX) {
            0 => Err(Fault(Rejection::invalid("limit", "0 is no page").into())),
            limit => Ok(limit.min(PAGE_MAX)),
        }
    }
}

/// One page of an ordered list: as many as the limit, and where the next begins.
pub(super) fn page<T, V>(
    revision: u64,
    limit: usize,
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> String,
    show: impl Fn(T) -> V,
) -> view::List<V> {
    let (mut shown, mut next, mut last) = (Vec::new(), None, None);
    for item in items {
        if shown.len() == limit {
            next = last;
            break;
        }
        last = Some(key(&item));
        shown.push(show(item));
    }
    view::List { revision, items: shown, next }
}

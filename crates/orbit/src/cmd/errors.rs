//! `orbit help errors [CODE]`: a page for each stable code.

use crate::{error::Error, table};
use orbit_api::{
    did_you_mean,
    errors::{Page, pages},
};
use std::borrow::Cow;

/// The list of codes, or the page of one.
pub fn help(args: &[Cow<'_, str>]) -> Result<String, Error> {
    match args {
        [] => Ok(list()),
        [code] => match pages().into_iter().find(|page| page.code == code) {
            Some(page) => Ok(shown(&page)),
            None => {
                let meant = did_you_mean(code, pages().iter().map(|page| page.code));
                Err(Error::usage(format!("there is no error code `{code}`{meant}: `orbit help errors` lists them")))
            }
        },
        _ => Err(Error::usage("one code at a time: orbit help errors CODE")),
    }
}

fn list() -> String {
    let first =
        |text: &str| text.split_inclusive(['.', ':']).next().unwrap_or(text).trim_end_matches(['.', ':']).to_string();
    let row = |page: &Page| vec![page.code.to_string(), page.status.to_string(), first(page.means)];
    let table = table::render(&["CODE", "STATUS", "MEANS"], pages().iter().map(row).collect());
    format!("{table}\n`orbit help errors CODE` shows an example and what to do.\n")
}

fn shown(page: &Page) -> String {
    let Page { code, status, means, example, remedy } = page;
    format!("{code} (HTTP {status})\n\n{means}\n\nExample:\n  {example}\n\nWhat to do:\n  {remedy}\n")
}

//! From a text to manifests, with the place of what is wrong.

use super::{
    Manifest,
    strict::{Nulls, Strict},
};
use crate::did_you_mean;
use orbit_core::model::Rejection;
use serde::{
    Deserialize,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny},
};

/// Why a file is no list of manifests. One sentence, with the line where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(pub String);

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for ReadError {}

/// Reads all documents of a YAML (or JSON) text. Empty documents are passed over.
///
/// # Errors
/// The first thing that is wrong, with its line; also when there is no document at all.
pub fn read_all(text: &str) -> Result<Vec<Manifest>, ReadError> {
    let manifests: Vec<_> = read_documents(text).into_iter().map(|(_, manifest)| manifest).collect::<Result<_, _>>()?;
    if manifests.is_empty() {
        return Err(ReadError("no manifest in it".to_string()));
    }
    Ok(manifests)
}

/// Reads each document of a YAML (or JSON) text by itself, with its number in the text (from 1).
/// Empty documents are counted and passed over; what is no YAML ends the text. In an object as `orbit get -o yaml` prints
/// it, and in a list of these, the manifest is what is desired.
pub fn read_documents(text: &str) -> Vec<(usize, Result<Manifest, ReadError>)> {
    let mut manifests = Vec::new();
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = || serde_yaml_ng::Deserializer::from_str(text);
    let documents = documents().zip(documents()).zip(documents().zip(documents()));
    for (number, ((whole, document), (strict, again))) in (1..).zip(documents) {
        // Behind a document that it could not read to its end the parser goes on in the middle of it, and knows less and less.
        if let Err(error) = IgnoredAny::deserialize(whole) {
            manifests.push((number, Err(ReadError(error.to_string()))));
            break;
        }
        let form = Form::of(document);
        let mut wrong = None;
        if let Err(error) = Strict::document(form.nulls(), &mut wrong).deserialize(strict) {
            let Some(wrong) = wrong else {
                manifests.push((number, Err(ReadError(error.to_string()))));
                break;
            };
            let line = error.location().map_or_else(String::new, |at| format!(" (line {})", at.line()));
            manifests.push((number, Err(ReadError(format!("`{}` {}{line}", wrong.field, wrong.what)))));
            continue;
        }
        match form.read(again) {
            Ok(read) => manifests.extend(read.into_iter().map(|manifest| (number, Ok(manifest)))),
            Err(error) => manifests.push((number, Err(ReadError(with_similar(error.to_string()))))),
        }
    }
    manifests
}

/// What a document is.
enum Form {
    Manifest,
    /// An object of the API, as it was printed.
    Object,
    /// A list of those.
    List,
}

/// An object of the API. What is actual is not read.
#[derive(Deserialize)]
struct Object {
    desired: Manifest,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

impl Form {
    /// By the fields that an object has and a manifest has not. What cannot be read is taken for a manifest, and refused as
    /// one.
    fn of(document: serde_yaml_ng::Deserializer) -> Form {
        let fields = serde_yaml_ng::Value::deserialize(document).unwrap_or_default();
        let has = |field: &str| fields.get(field).is_some();
        match () {
            () if has("kind") => Form::Manifest,
            () if has("uid") && has("desired") => Form::Object,
            () if has("revision") && has("items") => Form::List,
            () => Form::Manifest,
        }
    }

    fn nulls(&self) -> Nulls {
        match self {
            Form::Manifest => Nulls::Refused,
            Form::Object | Form::List => Nulls::RefusedIn("desired"),
        }
    }

    fn read(&self, document: serde_yaml_ng::Deserializer) -> Result<Vec<Manifest>, serde_yaml_ng::Error> {
        Ok(match self {
            Form::Manifest => Option::<Manifest>::deserialize(document)?.into_iter().collect(),
            Form::Object => vec![Object::deserialize(document)?.desired],
            Form::List => List::deserialize(document)?.items.into_iter().map(|object| object.desired).collect(),
        })
    }
}

/// Reads one JSON document: a manifest, or what else a request may have for its body.
///
/// # Errors
/// A rejection with the path of the offending field.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    let mut wrong = None;
    let walked =
        Strict::document(Nulls::Taken, &mut wrong).deserialize(&mut serde_json::Deserializer::from_slice(body));
    if let (Err(_), Some(wrong)) = (walked, wrong) {
        return Err(Rejection::invalid(wrong.field, wrong.what));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // `.` is the document itself, `?` a place in it that has no name yet.
        let path = error.path().to_string();
        let field = path.trim_end_matches(['.', '?']).to_string();
        Rejection::invalid(field, with_similar(error.into_inner().to_string()))
    })?;
    json.end().map_err(|error| Rejection::invalid("", error.to_string()))?;
    Ok(value)
}

/// What serde says of an unknown word, with the expected one that was probably meant.
fn with_similar(said: String) -> String {
    let Some(begin) =
        ["unknown field `", "unknown variant `"].into_iter().find_map(|of| Some(said.find(of)? + of.len()))
    else {
        return said;
    };
    let Some((word, expected)) = said[begin..].split_once("`, expected ") else { return said };
    // Every second piece of the list stands between backticks.
    let meant = did_you_mean(word, expected.split('`').skip(1).step_by(2));
    format!("{}{word}`{meant}, expected {expected}", &said[..begin])
}

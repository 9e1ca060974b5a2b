//! What users write: YAML files, and the JSON bodies of the REST API.

use orbit_api::manifest::{Manifest, read_all, read_documents, read_json};

/// Any bytes as a JSON body, any text as a YAML file.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = read_json::<Manifest>(data) {
        defined(&manifest);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let documents = read_documents(text);
    let all = read_all(text);
    let readable: Option<Vec<Manifest>> = documents.iter().map(|(_, read)| read.clone().ok()).collect();
    assert_eq!(all.ok(), readable.filter(|manifests| !manifests.is_empty()), "a file is its documents");
    documents.into_iter().filter_map(|(_, read)| read.ok()).for_each(|manifest| defined(&manifest));
}

/// A manifest is refused, or becomes a definition that keeps the core's limits and is shown as a
/// manifest that means the same.
fn defined(manifest: &Manifest) {
    let json = serde_json::to_vec(manifest).expect("a manifest is JSON");
    assert_eq!(read_json::<Manifest>(&json).as_ref(), Ok(manifest), "a manifest is read back");
    let Ok(definition) = manifest.definition() else { return };
    assert_eq!(definition.validate(), Ok(()), "a definition keeps the limits");
    assert_eq!(Manifest::of(&definition).definition(), Ok(definition), "a definition is shown as it is");
}

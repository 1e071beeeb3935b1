//! Files with manifests: several documents, lists, YAML or JSON. Knows nothing of what they mean.
//!
//! A file is somebody's: how deep it goes, how many nodes it has and what its aliases grow to is bounded by the reader.

use anyhow::{Result, bail};
use serde_json::Value;

use super::word;
use crate::cli::view::plain;

/// Most objects that are taken from one file.
const MOST: usize = 10_000;

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub file: String,
    pub object: Value,
}

impl Manifest {
    /// Whether it is of this kind, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        word(&self.object, "/kind") == kind
            && word(&self.object, "/apiVersion").split_once('/').is_some_and(|(of, _)| of == group)
    }

    pub fn name(&self) -> &str {
        word(&self.object, "/metadata/name")
    }

    /// Empty when none is written.
    pub fn namespace(&self) -> &str {
        word(&self.object, "/metadata/namespace")
    }

    /// `shop/checkout`
    pub fn full_name(&self) -> String {
        let name = if self.name().is_empty() { "(no name)" } else { self.name() };
        match self.namespace() {
            "" => plain(name),
            namespace => plain(&format!("{namespace}/{name}")),
        }
    }
}

/// The objects of a file, those of lists one by one.
///
/// # Errors
/// When it is no YAML, or so much of it that nobody wrote it.
pub fn read(file: &str, text: &str) -> Result<Vec<Manifest>> {
    let documents: Vec<Value> = match serde_saphyr::from_multiple(text) {
        Ok(documents) => documents,
        Err(error) => {
            let said = error.without_snippet().to_string();
            let said: String = said.chars().take(300).collect();
            bail!("{file} is not YAML, or too much of it: {}", plain(&said));
        }
    };
    let mut found = Vec::new();
    for document in documents {
        flatten(file, document, &mut found);
    }
    if found.len() > MOST {
        bail!("{file} holds {} objects: more than {MOST} are not looked at", found.len());
    }
    Ok(found)
}

fn flatten(file: &str, document: Value, found: &mut Vec<Manifest>) {
    let is_list = word(&document, "/kind").ends_with("List") && document["items"].is_array();
    match document {
        Value::Object(mut members) if is_list => {
            if let Some(Value::Array(items)) = members.remove("items") {
                items.into_iter().for_each(|item| flatten(file, item, found));
            }
        }
        Value::Array(items) => items.into_iter().for_each(|item| flatten(file, item, found)),
        object @ Value::Object(_) => found.push(Manifest { file: file.to_owned(), object }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

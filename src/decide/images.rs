//! Which images a template names, and what the name of one says: which content it is (a digest), or only where a tag points today.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::letters::on_one_line;

/// Images of a revision that are kept in status and in the record of a run.
pub const KEPT: usize = 64;
/// Characters that are kept of the name of one: more than any registry takes.
const LONGEST: usize = 512;

/// The images that a template of pods names, each once: those of its containers first, then those of containers that run before them or, as
/// sidecars, beside them.
///
/// ```
/// use serde_json::json;
/// use tidegate::decide::images::of_template;
/// let (app, setup) = (json!({"image": "shop:v2"}), json!({"image": "setup:v1"}));
/// let template = json!({"spec": {"initContainers": [setup, app], "containers": [app]}});
/// assert_eq!(of_template(&template), ["shop:v2", "setup:v1"]);
/// ```
pub fn of_template(template: &Value) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| template["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default());
    let images = containers.filter_map(|container| container["image"].as_str());
    images.filter(|image| seen.insert(*image)).map(str::to_owned).collect()
}

/// Images as status and the record of a run have them, and whoever is told of them. Nobody but registries says what a name may be: one is kept as far as
/// such a name can go, on one line.
pub fn kept(images: &[String]) -> Vec<String> {
    images.iter().take(KEPT).map(|image| on_one_line(image).take(LONGEST).collect()).collect()
}

/// Whether the same name may mean another image tomorrow: no digest, and the tag `latest` or none.
pub fn moves(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest" || tag.is_empty())
}

/// The digest in the name of an image, whatever registry it is pulled from.
///
/// ```
/// use tidegate::decide::images::digest;
/// assert_eq!(digest("registry.example.com/shop:v2@sha256:0a1b"), Some("sha256:0a1b"));
/// assert_eq!(digest("registry.example.com:5000/shop:v2"), None);
/// ```
pub fn digest(image: &str) -> Option<&str> {
    let (_, digest) = image.rsplit_once('@')?;
    let (algorithm, hex) = digest.split_once(':')?;
    (!algorithm.is_empty() && !hex.is_empty()).then_some(digest)
}

/// What tells an image: its digest, else all of its name.
pub fn identity(image: &str) -> &str {
    digest(image).unwrap_or(image)
}

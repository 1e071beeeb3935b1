//! What the name of an image says: which content it is (a digest), or only where a tag points today.

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

//! `config` checks: keys of Secrets and ConfigMaps. Values are looked at here and go nowhere else: an answer names keys and objects,
//! never what is in them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use sha2::{Digest, Sha256};

use super::{Answer, LOOKED_AT, Untried, failed, found, passed, unknown};
use crate::api::Right;
use crate::api::check::{ConfigCheck, ConfigKey, ConfigObject, OtherKey};
use crate::api::text::is_object_name;
use crate::decide::lint::{LONGEST_PLACEHOLDER, placeholder};

/// A kind of object that has keys.
#[derive(Clone, Copy)]
enum Kind {
    Secret,
    ConfigMap,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
        }
    }
}

/// Reads the objects, one after the other.
pub async fn ask(client: &Client, namespace: &str, check: &ConfigCheck) -> Answer {
    let all = || check.secrets.iter().chain(&check.config_maps);
    if let Some(wanted) = all().find(|wanted| !is_object_name(&wanted.name)) {
        return failed(format!("'{}' is not the name of an object", wanted.name));
    }
    let secrets = check.secrets.iter().map(|wanted| (Kind::Secret, wanted));
    let maps = check.config_maps.iter().map(|wanted| (Kind::ConfigMap, wanted));
    let mut keys = 0;
    for (kind, wanted) in secrets.chain(maps) {
        match verify(&Place { client, namespace, own: true }, kind, wanted).await {
            Ok(checked) => keys += checked,
            Err(answer) => return answer,
        }
    }
    passed(format!("{keys} keys are as they should be"))
}

/// Where objects are read.
struct Place<'a> {
    client: &'a Client,
    namespace: &'a str,
    /// The Release's.
    own: bool,
}

/// What an object has, by key. `Err`: why it cannot be told.
async fn read(place: &Place<'_>, kind: Kind, name: &str) -> Result<BTreeMap<String, Vec<u8>>, Answer> {
    let Place { client, namespace, own } = *place;
    let client = client.clone();
    let read = match kind {
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client, namespace);
            let found = api.get_opt(name).await;
            found.map(|found| {
                found.map(|secret| {
                    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
                })
            })
        }
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client, namespace);
            let found = api.get_opt(name).await;
            found.map(|found| {
                found.map(|map| {
                    let text = map
                        .data
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(key, value)| (key, value.into_bytes()));
                    let bytes =
                        map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                    text.chain(bytes).collect()
                })
            })
        }
    };
    let object = match own {
        true => format!("{} {name}", kind.word()),
        false => format!("{} {name} in namespace {namespace}", kind.word()),
    };
    match read {
        Ok(Some(data)) => Ok(data),
        Ok(None) => Err(failed(format!("there is no {object}"))),
        Err(error) => Err(unknown(match Right::within(&error) {
            Some(right) => format!("the operator may not read {object}: {}", right.remedy()),
            None => format!("{object} could not be read"),
        })),
    }
}

async fn verify(place: &Place<'_>, kind: Kind, wanted: &ConfigObject) -> Result<usize, Answer> {
    let data = read(place, kind, &wanted.name).await?;
    for key in &wanted.keys {
        let of = format!("{} {}, key {}", kind.word(), wanted.name, key.key);
        let Some(value) = data.get(&key.key).filter(|value| !value.is_empty()) else {
            return Err(failed(format!(
                "{} {} has no key {}, or it is empty",
                kind.word(),
                wanted.name,
                key.key
            )));
        };
        is_as_wanted(place.namespace, &of, key, value).await?;
        if let Some(other) = &key.differs_from {
            differs(place, kind, wanted, (key, value), other).await?;
        }
    }
    Ok(wanted.keys.len())
}

/// A value may have a mebibyte, and be looked at for many keys: no more of it is than each question needs.
async fn is_as_wanted(namespace: &str, of: &str, key: &ConfigKey, value: &[u8]) -> Result<(), Answer> {
    if !key.allow_placeholder && is_placeholder(value) {
        return Err(failed(format!(
            "{of} looks like a placeholder: write the real value, or allowPlaceholder: true"
        )));
    }
    let least = key.min_length.map_or(0, |least| usize::try_from(least).unwrap_or(0));
    if characters(value).take(least).count() < least {
        return Err(failed(format!("{of} is shorter than {least} characters")));
    }
    if let Some(pattern) = &key.pattern {
        // With one byte more than a pattern is tried on it is known to be too long.
        let text = String::from_utf8_lossy(&value[..value.len().min(LOOKED_AT + 1)]).into_owned();
        match found(namespace, pattern, text).await {
            Err(long @ Untried::TooLong) => return Err(failed(format!("{of} {long}"))),
            Err(Untried::NoPattern(_) | Untried::BrokenOff) => {
                return Err(failed(format!("pattern of {of} is no regular expression")));
            }
            Ok(false) => return Err(failed(format!("{of} does not match {pattern}"))),
            Ok(true) => {}
        }
    }
    Ok(())
}

/// By their hashes only: the other value is never kept beside this one.
async fn differs(
    place: &Place<'_>,
    kind: Kind,
    wanted: &ConfigObject,
    (key, value): (&ConfigKey, &[u8]),
    other: &OtherKey,
) -> Result<(), Answer> {
    let name = other.name.as_deref().unwrap_or(&wanted.name);
    if let Some(odd) = [name, &other.namespace].into_iter().find(|name| !is_object_name(name)) {
        return Err(failed(format!("differsFrom: '{odd}' is not the name of an object")));
    }
    let hash = |value: &[u8]| Sha256::digest(value);
    let there = Place { client: place.client, namespace: &other.namespace, own: false };
    let theirs = read(&there, kind, name).await?;
    let theirs = theirs.get(other.key.as_deref().unwrap_or(&key.key)).map(|value| hash(value));
    if theirs == Some(hash(value)) {
        let of = format!("{} {}, key {}", kind.word(), wanted.name, key.key);
        return Err(failed(format!(
            "{of} is the same as that of namespace {}: it needs a value of its own",
            other.namespace
        )));
    }
    Ok(())
}

/// The characters of a value, as many as are asked for. What is no text counts as one each time.
fn characters(value: &[u8]) -> impl Iterator<Item = char> {
    value.utf8_chunks().flat_map(|chunk| {
        let is_broken = !chunk.invalid().is_empty();
        chunk.valid().chars().chain(is_broken.then_some(char::REPLACEMENT_CHARACTER))
    })
}

/// Whether all of this stands for something that somebody meant to write. Nobody looks at more than 4 KiB to find out.
fn is_placeholder(value: &[u8]) -> bool {
    if value.len() > LONGEST_PLACEHOLDER {
        return false;
    }
    let text = String::from_utf8_lossy(value);
    let text = text.trim().trim_matches(['"', '\'']);
    placeholder(text) == Some(text)
        || text.starts_with("${") && text.ends_with('}')
        || text.starts_with("{{") && text.ends_with("}}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{failed, is_as_wanted, is_placeholder};
    use crate::api::check::ConfigKey;

    #[tokio::test]
    async fn a_pattern_is_not_tried_on_a_long_value() {
        let key: ConfigKey =
            serde_json::from_value(json!({"key": "roots", "pattern": "^-----BEGIN"})).unwrap();
        let of = "configmap shop, key roots";
        let value = |length: usize| format!("-----BEGIN{}", "x".repeat(length - 10)).into_bytes();
        assert_eq!(is_as_wanted("ns", of, &key, &value(64 << 10)).await, Ok(()));
        let long = format!("{of} is longer than 64 KiB: a pattern is not tried on so much");
        assert_eq!(is_as_wanted("ns", of, &key, &value((64 << 10) + 1)).await, Err(failed(long)));
    }

    #[tokio::test]
    async fn a_value_has_as_many_characters_as_are_wanted_whatever_its_bytes() {
        let of = "configmap shop, key blob";
        let key = |least: i32| -> ConfigKey {
            serde_json::from_value(json!({"key": "blob", "minLength": least})).unwrap()
        };
        for (value, characters) in [
            ("x".repeat(1 << 20).into_bytes(), 65_536),
            (vec![0xff; 1 << 20], 65_536),
            ("中".repeat(7).into_bytes(), 7),
            ([b"ab".as_slice(), &[0xff, 0xe4, 0xb8], b"c"].concat(), 5),
        ] {
            assert_eq!(is_as_wanted("ns", of, &key(characters), &value).await, Ok(()), "{characters}");
        }
        let short = format!("{of} is shorter than 6 characters");
        let value = [b"ab".as_slice(), &[0xff, 0xe4, 0xb8], b"c"].concat();
        assert_eq!(is_as_wanted("ns", of, &key(6), &value).await, Err(failed(short)));
    }

    #[test]
    fn what_is_too_long_to_be_written_by_hand_is_no_placeholder() {
        let spaced = |length: usize| format!("TODO{}", "\n".repeat(length - 4)).into_bytes();
        assert!(is_placeholder(&spaced(4 << 10)));
        assert!(!is_placeholder(&spaced((4 << 10) + 1)));
        assert!(!is_placeholder(format!("${{{}}}", "x".repeat(1 << 20)).as_bytes()));
        for bracket in ["[", "]", "<", ">"] {
            assert!(!is_placeholder(bracket.repeat(1 << 20).as_bytes()));
        }
    }

    #[test]
    fn a_value_that_is_nothing_but_such_a_word_is_a_placeholder() {
        for text in
            ["changeme", " TODO\n", "\"your_api_key\"", "<token>", "${STRIPE_KEY}", "{{ .Values.key }}"]
        {
            assert!(is_placeholder(text.as_bytes()), "{text}");
        }
        for text in ["<config><url>x</url></config>", "sk_live_4eC39", "todo-service", "{\"a\": 1}", "none"] {
            assert!(!is_placeholder(text.as_bytes()), "{text}");
        }
    }
}

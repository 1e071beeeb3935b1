//! What has the name already under which a template is to be kept. It is kept there only where a look finds it there: as the same template, of this Release
//! and of this Deployment. What is in the way is for people to take away: nothing that others have made is taken over here, or deleted.

use super::error::ActError;
use crate::api::RELEASE_LABEL;
use crate::decide::decision::kubectl;
use crate::decide::{Key, Owner};
use crate::watch::slim::StoredTemplate;

/// Whether it is what was to be kept.
///
/// # Errors
/// What is in the way, and what to do about it.
pub fn is_kept(found: &StoredTemplate, key: &Key, fingerprint: &str, owner: &Owner) -> Result<(), ActError> {
    let StoredTemplate { metadata, data, is_outline: _ } = found;
    let release = key.name.as_str();
    let line = |verb: &str| kubectl(key, &format!("{verb} controllerrevision {}", metadata.key.name()));
    let deleted = || format!("if nobody needs it: {}", line("delete"));
    let is_owned = metadata.owners.is_empty() || metadata.is_owned_by(&owner.uid);
    let (what, remedy) = if metadata.deleted {
        ("is on its way out".to_owned(), format!("{} -o yaml", line("get")))
    } else if !is_owned {
        let what = format!("belongs to others than {} {}, and goes with them", owner.kind, owner.name);
        (what, deleted())
    } else if *data.fingerprint != *fingerprint {
        ("holds another template".to_owned(), deleted())
    } else if metadata.label(RELEASE_LABEL) != Some(release) {
        let label = format!("{RELEASE_LABEL}={release}");
        (format!("does not carry label {label}"), format!("{} --overwrite {label}", line("label")))
    } else {
        return Ok(());
    };
    Err(ActError::Taken { words: format!("one of this name is there already, and {what}"), remedy })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::watch::slim;

    #[test]
    fn what_has_the_name_is_kept_only_where_a_look_would_find_it() {
        let template = json!({"spec": {"version": 1}});
        let fingerprint = slim::fingerprint(&template);
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let owner =
            Owner { api_version: "apps/v1", kind: "Deployment", name: "shop".into(), uid: "d1".into() };
        let by =
            |uid: &str| json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": uid}]);
        let said = |change: &dyn Fn(&mut Value)| {
            let mut found = json!({
                "metadata": {
                    "name": "shop-1", "namespace": "ns", "uid": "k1", "labels": {RELEASE_LABEL: "shop"},
                    "ownerReferences": by("d1"),
                },
                "data": template,
            });
            change(&mut found);
            match is_kept(&from_value(found).unwrap(), &key, &fingerprint, &owner) {
                Ok(()) => String::new(),
                Err(ActError::Taken { words, remedy }) => format!("{words}: {remedy}"),
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(said(&|_| {}), "");
        assert_eq!(said(&|found| found["metadata"]["ownerReferences"] = json!([])), "", "from a backup");
        let delete = "if nobody needs it: kubectl delete controllerrevision shop-1 -n ns";
        let there = "one of this name is there already, and";
        let of_others =
            format!("{there} belongs to others than Deployment shop, and goes with them: {delete}");
        assert_eq!(said(&|found| found["metadata"]["ownerReferences"] = by("d0")), of_others);
        let another = format!("{there} holds another template: {delete}");
        assert_eq!(said(&|found| found["data"]["spec"]["version"] = json!(2)), another);
        let line = "kubectl label controllerrevision shop-1 -n ns --overwrite tidegate.dev/release=shop";
        let unlabelled = format!("{there} does not carry label tidegate.dev/release=shop: {line}");
        for labels in [Value::Null, json!({"team": "a"}), json!({RELEASE_LABEL: "other"})] {
            assert_eq!(said(&|found| found["metadata"]["labels"] = labels.clone()), unlabelled);
        }
        let ends = said(&|found| found["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        assert_eq!(
            ends,
            format!("{there} is on its way out: kubectl get controllerrevision shop-1 -n ns -o yaml")
        );
    }
}

//! The people of a runbook: who may say what, as `people.yaml` binds it, and each of them in front of the API server.
//!
//! They are impersonated by the administrator of the control plane: what RBAC does not give them they cannot say.

use std::path::Path;

use anyhow::{Context, Result};
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::client_as;
use crate::stage;

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum May {
    /// Sign in this role.
    Sign(String),
    /// Say in this role that something is so.
    Attest(String),
    /// Let a run pass this freeze, on this ground.
    Pass { freeze: String, ground: String },
    /// Retry, skip, abort, acknowledge, clear a rejection.
    Manage,
}

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub struct People(Vec<(May, String)>);

impl People {
    /// As roles and their bindings say.
    pub fn of(documents: &[Value]) -> Self {
        let bindings = documents.iter().filter(|document| !document["roleRef"].is_null());
        let mut people = Vec::new();
        for binding in bindings {
            let Some(person) = binding["subjects"][0]["name"].as_str() else { continue };
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
            if role == "tidegate-release-manager" {
                people.push((May::Manage, person.to_owned()));
            }
            let bound = documents
                .iter()
                .find(|it| it["kind"] == binding["roleRef"]["kind"] && it["metadata"]["name"] == role);
            let rules = bound.and_then(|role| role["rules"].as_array()).into_iter().flatten();
            people.extend(rules.flat_map(allowed).map(|may| (may, person.to_owned())));
        }
        Self(people)
    }

    /// Who signs in this role.
    pub fn signer(&self, role: &str) -> Option<&str> {
        self.whoever(|may| matches!(may, May::Sign(signed) if signed == role))
    }

    /// Who says in one of these roles that something is so, and in which.
    pub fn attester<'a>(&'a self, roles: &'a [String]) -> Option<(&'a str, &'a str)> {
        let attests = |role: &&'a String| {
            self.whoever(|may| matches!(may, May::Attest(attested) if attested == *role))
                .map(|person| (person, role.as_str()))
        };
        roles.iter().find_map(|role| attests(&role))
    }

    /// Who may retry, skip, abort and acknowledge.
    pub fn manager(&self) -> Option<&str> {
        self.whoever(|may| *may == May::Manage)
    }

    /// Who lets a run pass this freeze, and on which ground.
    pub fn passer(&self, freeze: &str) -> Option<(&str, &str)> {
        self.0.iter().find_map(|(may, person)| match may {
            May::Pass { freeze: passed, ground } if passed == freeze => {
                Some((person.as_str(), ground.as_str()))
            }
            May::Pass { .. } | May::Sign(_) | May::Attest(_) | May::Manage => None,
        })
    }

    fn whoever(&self, may: impl Fn(&May) -> bool) -> Option<&str> {
        self.0.iter().find(|(it, _)| may(it)).map(|(_, person)| person.as_str())
    }
}

/// What a rule of a role lets people say.
fn allowed(rule: &Value) -> Vec<May> {
    let words = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let sub = |resource: &str| {
        words("resources").filter_map(|it| it.strip_prefix(resource)?.strip_prefix('/')).collect::<Vec<_>>()
    };
    let roles = |verb: &str, may: fn(String) -> May| {
        let roles = if words("verbs").any(|it| it == verb) { sub("releases") } else { Vec::new() };
        roles.into_iter().map(|role| may(role.to_owned())).collect::<Vec<_>>()
    };
    let signing = [roles("approve", May::Sign), roles("attest", May::Attest)].concat();
    if !signing.is_empty() {
        return signing;
    }
    if words("verbs").any(|verb| verb == "pass") {
        let passes = |freeze: &str| {
            let freeze = freeze.to_owned();
            sub("freezes")
                .into_iter()
                .map(move |ground| May::Pass { freeze: freeze.clone(), ground: ground.to_owned() })
                .collect::<Vec<_>>()
        };
        return words("resourceNames").flat_map(passes).collect();
    }
    Vec::new()
}

/// A person says something about a release.
///
/// # Errors
/// What the API server answers.
pub async fn say(kubeconfig: &Path, person: &str, namespace: &str, spec: Value) -> Result<()> {
    let release = spec["release"].as_str().context("an action is about a release")?;
    let action = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseAction",
        "metadata": {"generateName": format!("{release}-"), "namespace": namespace}, "spec": spec,
    });
    let client = client_as(kubeconfig, person).await?;
    let actions = stage::api_of(&client, &action)?;
    actions.create(&PostParams::default(), &serde_json::from_value(action)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbooks::Runbook;

    #[test]
    fn who_may_say_what_is_read_from_roles_and_their_bindings() {
        let people = People::of(&Runbook::read("mobile-and-payments").unwrap().people);
        assert_eq!(people.signer("legal"), Some("lou"));
        assert_eq!(people.signer("cto"), None);
        assert_eq!(people.signer("mobile-lead"), None);
        let roles = ["legal", "mobile-lead"].map(str::to_owned);
        assert_eq!(people.attester(&roles), Some(("mona", "mobile-lead")));
        assert_eq!(people.manager(), Some("ole"));
        assert_eq!(people.passer("wallet-code-freeze"), Some(("eva", "launch")));
    }
}

//! The commands that only look: fetches what is to be shown and hands it to those who render it.

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::connect::{Cluster, answer};
use super::follow::{Follow, Until, follow};
use super::view::Look;
use super::{Code, status, terminal, why};
use crate::api::{Phase, Release, ReleaseAction};

/// What to show of where releases stand.
#[derive(Args, Debug)]
pub struct Show {
    /// Release; default: a table of all
    name: Option<String>,
    /// Releases of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Show every change as it comes: on a terminal in place, elsewhere as a line each
    #[arg(short, long)]
    watch: bool,
    /// Watch until the run that is under way (or else the next) has ended, its watch included; see the exit codes
    #[arg(long, requires = "name")]
    until_done: bool,
    /// More, or the object itself
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Wide,
    Json,
    Yaml,
}

/// Where releases stand: once, or until somebody interrupts.
///
/// # Errors
/// When there is no such Release, or no answer.
pub async fn status(cluster: &Cluster, show: Show) -> Result<Code> {
    let Show { name, all_namespaces, watch, until_done, output } = show;
    let wide = match output {
        Some(Output::Json | Output::Yaml) if watch || until_done => {
            bail!("the object itself is watched by kubectl get releases --watch -o json (or yaml)")
        }
        Some(Output::Json) => return object(cluster, name.as_deref(), all_namespaces, json_text).await,
        Some(Output::Yaml) => return object(cluster, name.as_deref(), all_namespaces, yaml_text).await,
        Some(Output::Wide) => true,
        None => false,
    };
    let api = if all_namespaces { Api::all(cluster.client.clone()) } else { cluster.api::<Release>() };
    let one = match &name {
        Some(name) => Some(cluster.release(name).await?),
        None => None,
    };
    if watch || until_done {
        let until = one.as_ref().filter(|_| until_done).map(Until::seeing);
        let what = Follow { name: name.as_deref(), namespaces: all_namespaces, wide, until };
        return follow(api, what).await;
    }
    let look = Look { now: terminal::now(), width: terminal::width(), wide };
    if let Some(release) = one {
        terminal::print(&status::render(&release, look));
        return Ok(Code::Yes);
    }
    let releases = answer(api.list(&ListParams::default())).await?.items;
    if !releases.is_empty() {
        terminal::print(&status::table(&releases, all_namespaces, look));
    } else if all_namespaces {
        terminal::complain("no releases in this cluster");
    } else {
        terminal::complain(&format!("no releases in namespace {}", cluster.namespace));
    }
    Ok(Code::Yes)
}

/// Why releases stand where they stand: one, or all that are not Idle.
///
/// # Errors
/// When there is no such Release, or no answer.
pub async fn why(cluster: &Cluster, name: Option<&str>) -> Result<Code> {
    let releases = if let Some(name) = name {
        vec![cluster.release(name).await?]
    } else {
        let mut all = answer(cluster.api::<Release>().list(&ListParams::default())).await?.items;
        if all.is_empty() {
            bail!(
                "no releases in namespace {}: kubectl tidegate status -A lists all there are",
                cluster.namespace
            );
        }
        all.retain(|release| release.status.as_ref().and_then(|status| status.phase) != Some(Phase::Idle));
        all
    };
    if releases.is_empty() {
        terminal::print(
            "every release is Idle: nothing is happening. kubectl tidegate why NAME explains one\n",
        );
    }
    for (index, release) in releases.iter().enumerate() {
        let selected = ListParams::default().fields(&format!("spec.release={}", release.name_any()));
        // Not everybody may list what others said; the rest is worth saying without it.
        let actions = answer(cluster.api::<ReleaseAction>().list(&selected)).await.map(|list| list.items);
        let look = Look { now: terminal::now(), width: terminal::width(), wide: false };
        let gap = if index > 0 { "\n" } else { "" };
        terminal::print(&format!("{gap}{}", why::explain(release, &actions.unwrap_or_default(), look)));
    }
    Ok(Code::Yes)
}

/// The object as the API server has it: also with fields that this build does not know.
async fn object(
    cluster: &Cluster,
    name: Option<&str>,
    all_namespaces: bool,
    text: fn(&Value) -> Result<String>,
) -> Result<Code> {
    let resource = ApiResource::erase::<Release>(&());
    let client = cluster.client.clone();
    let api: Api<DynamicObject> = if all_namespaces {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &cluster.namespace, &resource)
    };
    let tidy = |mut object: DynamicObject| {
        object.metadata.managed_fields = None;
        object
    };
    let value = if let Some(name) = name {
        cluster.release(name).await?;
        serde_json::to_value(tidy(answer(api.get(name)).await?))?
    } else {
        let items = answer(api.list(&ListParams::default())).await?.items;
        json!({ "apiVersion": "v1", "kind": "List", "items": items.into_iter().map(tidy).collect::<Vec<_>>() })
    };
    terminal::print(&text(&value)?);
    Ok(Code::Yes)
}

/// An object as JSON.
///
/// # Errors
/// None for what was JSON before.
pub fn json_text(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// An object as YAML.
///
/// # Errors
/// When it is nothing that YAML can say.
pub fn yaml_text(value: &Value) -> Result<String> {
    serde_saphyr::to_string(value).map_err(|error| anyhow!("cannot write YAML: {error}"))
}

//! `kubectl tidegate report`: the record of a run as a document for people, as the object it is, or as a link of a chain.
//!
//! Only reads. [`document`] says what a report says, [`markdown`] and [`html`] how that is written, [`chain`] whether the records of a
//! Release are what was written. What nobody but people can know (lessons, actions) is left for them to fill in.

pub mod chain;
pub mod document;
pub mod html;
pub mod markdown;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use self::chain::{Newest, Record};
use super::connect::{Cluster, answer};
use super::{Code, show, terminal};
use crate::api::status::ReportsStatus;
use crate::api::{Release, ReleaseReport};

/// What to show of the records of a Release.
#[derive(Args, Debug)]
pub struct Flags {
    /// Release; it may be deleted by now
    name: String,
    /// Run, such as r7; default: the one that ended last
    #[arg(long)]
    run: Option<String>,
    /// How to write it
    #[arg(short, long, value_name = "FORMAT", default_value = "markdown")]
    output: Output,
    /// Walk the chain of all records: is each what was written, and is none missing between two? Exit code 1: no
    #[arg(long, conflicts_with_all = ["run", "output"])]
    verify: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Markdown,
    Html,
    Yaml,
    Json,
}

/// Shows a record, or verifies all of a Release.
///
/// # Errors
/// When there is no such record, or no answer.
pub async fn report(cluster: &Cluster, flags: &Flags) -> Result<Code> {
    let Flags { name, run, output, verify } = flags;
    let resource = ApiResource::erase::<ReleaseReport>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let selected = ListParams::default().fields(&format!("spec.release={name}"));
    let mut found = answer(api.list(&selected)).await?.items;
    let ended = |object: &DynamicObject| object.data["spec"]["endedAt"].as_str().map(str::to_owned);
    found.sort_by_key(|object| (ended(object), object.name_any()));
    if *verify {
        return walk(cluster, name, &found).await;
    }
    let Some(object) = chosen(&found, run.as_deref()) else {
        bail!(missing(cluster, name, run.as_deref(), &found));
    };
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    object.types.get_or_insert_with(kube::core::TypeMeta::resource::<ReleaseReport>);
    let value = serde_json::to_value(&object)?;
    let text = match output {
        Output::Yaml => show::yaml_text(&value)?,
        Output::Json => show::json_text(&value)?,
        Output::Markdown => markdown::render(&document::document(&read(value)?)),
        Output::Html => html::render(&document::document(&read(value)?)),
    };
    terminal::print(&text);
    Ok(Code::Yes)
}

/// Of two Releases that had the name one after the other, each with a run of this name, the later one's.
fn chosen<'o>(found: &'o [DynamicObject], run: Option<&str>) -> Option<&'o DynamicObject> {
    found.iter().rev().find(|object| run.is_none_or(|run| object.data["spec"]["run"] == *run))
}

fn read(value: Value) -> Result<ReleaseReport> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    serde_json::from_value(value)
        .with_context(|| format!("{name} cannot be read by this version: show it with -o yaml"))
}

fn missing(cluster: &Cluster, name: &str, run: Option<&str>, found: &[DynamicObject]) -> anyhow::Error {
    let namespace = &cluster.namespace;
    match run {
        Some(run) if !found.is_empty() => {
            let word = |object: &DynamicObject| object.data["spec"]["run"].as_str().map(str::to_owned);
            let runs: Vec<String> = found.iter().filter_map(word).collect();
            anyhow!(
                "no record of run {run} of release {name} in namespace {namespace}: there is {}",
                runs.join(", ")
            )
        }
        Some(_) | None => anyhow!(
            "no record of a run of release {name} in namespace {namespace}: a run leaves one when it ends. \
             kubectl get releasereports -n {namespace} lists all there are"
        ),
    }
}

async fn walk(cluster: &Cluster, name: &str, found: &[DynamicObject]) -> Result<Code> {
    let release = answer(cluster.api::<Release>().get_opt(name)).await?;
    let newest = release.as_ref().and_then(newest);
    if found.is_empty() && newest.is_none() {
        bail!(missing(cluster, name, None, found));
    }
    let records: Vec<Record> =
        found.iter().map(|object| Record::of(object.name_any(), &object.data["spec"])).collect();
    let walked = chain::walk(name, &records, newest.as_ref());
    terminal::print(&walked.text);
    Ok(if walked.broken { Code::No } else { Code::Yes })
}

/// The newest record as the Release's status names it.
fn newest(release: &Release) -> Option<Newest> {
    let ReportsStatus { digest, kept } = release.status.as_ref()?.reports.clone()?;
    Some(Newest { release_uid: release.uid()?, name: kept.last()?.name.clone(), digest })
}

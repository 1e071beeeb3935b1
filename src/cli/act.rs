//! What people say about a release: makes a `ReleaseAction`, waits for what comes of it, and says so in a line.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::connect::{Cluster, answer, code};
use super::view::plain;
use super::{Code, terminal};
use crate::api::{Action, Release, ReleaseAction, ReleaseActionSpec, ReleaseActionStatus};

/// Something that is about to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    pub action: Action,
    pub release: String,
    pub role: Option<String>,
    /// Which check is attested.
    pub check: Option<String>,
    /// It is about the undo that status asks about.
    pub undo: bool,
    pub pass: Option<Passing>,
    pub reason: Option<String>,
    /// How long to wait for what comes of it; `None`: not at all.
    pub wait: Option<Duration>,
}

/// Which freeze is passed, and on which of its grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    pub freeze: String,
    pub ground: String,
}

/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// An API server that has just started refuses whatever a policy looks at whose parameters are of a kind that it does not know yet: for half a
/// minute, and for a right that is missing it has other words.
const STARTS: &str = "failed to find resource referenced by paramKind";
/// To one that does, it is said again so many times, so often.
const TIMES: u32 = 45;
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Says it.
///
/// # Errors
/// When the Release does not exist, a role is missing, the API server cannot be asked, or nobody answers in time.
pub async fn say(cluster: &Cluster, saying: &Saying) -> Result<Code> {
    let release = cluster.release(&saying.release).await?;
    let by = whoami(cluster).await?;
    let action = compose(saying, &release, by)?;
    let actions: Api<ReleaseAction> = cluster.api();
    let made = match make(&actions, &action).await {
        Ok(made) => made,
        Err(error) if code(&error) == Some(403) => {
            terminal::complain(&forbidden(&error.to_string(), saying, &cluster.namespace));
            return Ok(Code::No);
        }
        Err(error) => return Err(error),
    };
    let name = made.name_any();
    let Some(wait) = saying.wait else {
        terminal::print(&format!("said: releaseaction {}/{name}\n", cluster.namespace));
        return Ok(Code::Yes);
    };
    let Ok(result) = tokio::time::timeout(wait, result(&actions, &name)).await else {
        return Err(anyhow!(
            "said, and no answer within {} s: is an operator running? kubectl get releaseaction {name} -n {} shows the answer \
             when it comes",
            wait.as_secs(),
            cluster.namespace
        ));
    };
    let (code, line) = outcome(saying, &cluster.namespace, &result?);
    if code == Code::Yes {
        terminal::print(&format!("{line}\n"));
    } else {
        terminal::complain(&line);
    }
    Ok(code)
}

/// The [`ReleaseAction`] that says it, about the run that is under way.
///
/// # Errors
/// When a signature has no role: which one is never guessed.
pub fn compose(saying: &Saying, release: &Release, by: Option<String>) -> Result<ReleaseAction> {
    let Saying { action, release: name, role, check, undo, pass, reason, wait: _ } = saying;
    if matches!(action, Action::Approve | Action::Reject | Action::Attest) && role.is_none() {
        return Err(anyhow!("{} needs --role: {}", action.command(), awaited(release)));
    }
    let run = release.status.as_ref().and_then(|status| status.run.as_ref());
    let is_bound = !undo && matches!(action, Action::Approve | Action::Attest);
    let content = run.map(|run| run.content.clone()).filter(|content| is_bound && !content.is_empty());
    let spec = ReleaseActionSpec {
        release: name.clone(),
        action: *action,
        role: role.clone(),
        check: check.clone(),
        undo: *undo,
        freeze: pass.as_ref().map(|pass| pass.freeze.clone()),
        ground: pass.as_ref().map(|pass| pass.ground.clone()),
        run: run.map(|run| run.id.clone()),
        content,
        reason: reason.clone(),
        by,
    };
    let mut made = ReleaseAction::new("", spec);
    made.metadata.name = None;
    made.metadata.generate_name = Some(format!("{name}-"));
    Ok(made)
}

/// The command that shows the missing right. A role is a subresource of releases, a ground one of freezes, and two actions share another's
/// verb.
pub fn can_i(saying: &Saying, namespace: &str) -> String {
    if let Some(Passing { freeze, ground }) = &saying.pass {
        return format!("kubectl auth can-i pass freezes.tidegate.dev/{freeze} --subresource={ground}");
    }
    let right = match saying.action {
        Action::Approve | Action::Reject => "approve",
        Action::Pause | Action::Resume => "pause",
        other @ (Action::Attest
        | Action::Abort
        | Action::Retry
        | Action::Skip
        | Action::PassFreeze
        | Action::Acknowledge
        | Action::ClearRejection
        | Action::HandBack) => other.command(),
    };
    let role = saying.role.as_ref().map(|role| format!(" --subresource={role}")).unwrap_or_default();
    format!("kubectl auth can-i {right} releases.tidegate.dev/{}{role} -n {namespace}", saying.release)
}

/// The API server's sentence about a right that is missing, and the command that shows it.
pub fn forbidden(sentence: &str, saying: &Saying, namespace: &str) -> String {
    let show = if sentence.contains("cannot create resource \"releaseactions\"") {
        format!("kubectl auth can-i create releaseactions.tidegate.dev -n {namespace}")
    } else {
        can_i(saying, namespace)
    };
    format!("{}\nshown by: {show}", plain(sentence))
}

/// What came of it, in a line.
pub fn outcome(saying: &Saying, namespace: &str, status: &ReleaseActionStatus) -> (Code, String) {
    let what = format!("{} {namespace}/{}", saying.action.command(), saying.release);
    let message = plain(if status.message.is_empty() { &status.result } else { &status.message });
    if status.result == "Done" {
        (Code::Yes, format!("{what}: {message}"))
    } else {
        (Code::No, format!("{what} refused: {message}"))
    }
}

fn awaited(release: &Release) -> String {
    let blocker = release.status.as_ref().and_then(|status| status.blocked_by.as_ref());
    match blocker
        .filter(|blocker| blocker.reason.starts_with("Awaiting") && blocker.reason != "AwaitingStable")
    {
        Some(blocker) => plain(&blocker.message),
        None => format!(
            "no approval is waited for now: kubectl tidegate status {} -n {} shows what is",
            release.name_any(),
            release.namespace().unwrap_or_default()
        ),
    }
}

/// Who asks, as the API server sees it. Where its policies are served it writes `by` itself; elsewhere this must be right.
async fn whoami(cluster: &Cluster) -> Result<Option<String>> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    match answer(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username)),
        // Not served, or not allowed: the API server says what it thinks of an action without a name.
        Err(error) if matches!(code(&error), Some(403 | 404)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn make(actions: &Api<ReleaseAction>, action: &ReleaseAction) -> Result<ReleaseAction> {
    for time in 0..TIMES {
        match answer(actions.create(&PostParams::default(), action)).await {
            Err(error) if error.to_string().contains(STARTS) => {
                if time == 0 {
                    terminal::complain(
                        "the API server has just started and knows no Releases yet: saying it again until it does",
                    );
                }
                tokio::time::sleep(SAY_EVERY).await;
            }
            answered => return answered,
        }
    }
    answer(actions.create(&PostParams::default(), action)).await
}

async fn result(actions: &Api<ReleaseAction>, name: &str) -> Result<ReleaseActionStatus> {
    loop {
        match answer(actions.get(name)).await {
            Ok(ReleaseAction { status: Some(status), .. }) if !status.result.is_empty() => return Ok(status),
            Ok(_) => {}
            Err(error) if code(&error).is_none_or(|code| code >= 500 || code == 429) => {}
            Err(error) => bail!("said (releaseaction {name}), but its answer cannot be read: {error}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server that refuses so many times with these words, and takes what is said after that. How often it was asked.
    fn refusing(times: u32, words: &'static str) -> (Api<ReleaseAction>, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            let is_refused = count.fetch_add(1, Ordering::Relaxed) < times;
            async move {
                let (code, body) = match is_refused {
                    true => (
                        403,
                        json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": words, "code": 403}),
                    ),
                    false => (
                        201,
                        json!({"metadata": {"name": "checkout-x"}, "spec": {"release": "checkout", "action": "Abort"}}),
                    ),
                };
                let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, std::io::Error>(answer.expect("a response"))
            }
        });
        (Api::namespaced(Client::new(service, "shop"), "shop"), asked)
    }

    fn abort() -> ReleaseAction {
        let action = json!({"metadata": {"generateName": "checkout-"}, "spec": {"release": "checkout", "action": "Abort"}});
        serde_json::from_value(action).expect("an action")
    }

    #[tokio::test(start_paused = true)]
    async fn to_an_api_server_that_has_just_started_it_is_said_again() {
        let words = "policy 'tidegate-action-run' with binding 'tidegate-action-run' denied request: failed to configure binding: \
                     failed to find resource referenced by paramKind: 'tidegate.dev/v1alpha1, Kind=Release'";
        let (actions, asked) = refusing(25, words);
        assert_eq!(make(&actions, &abort()).await.expect("taken").name_any(), "checkout-x");
        assert_eq!(asked.load(Ordering::Relaxed), 26);
        let (actions, asked) = refusing(u32::MAX, words);
        assert_eq!(code(&make(&actions, &abort()).await.expect_err("refused for ever")), Some(403));
        assert_eq!(asked.load(Ordering::Relaxed), TIMES + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_right_is_missing_it_is_said_once() {
        let (actions, asked) = refusing(u32::MAX, "bob may not abort release checkout");
        assert_eq!(code(&make(&actions, &abort()).await.expect_err("refused")), Some(403));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}

//! What answers to checks say: over HTTP, by Jobs, and by pods that are about to go.

use http::{HeaderName, HeaderValue, StatusCode};
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;
use tidegate::api::check::{Expect, JobResult, ResultFrom};
use tidegate::decide::jobs;
use tidegate::decide::snapshot::ProbeResult;
use tidegate::observe::probes::http as http_check;
use tidegate::observe::{gather, happened, outputs};

use super::split;

/// Letters of any sentence that is told of them.
const LONGEST: usize = 2048;

/// What comes of something that waits, on this thread.
pub(super) fn awaited<T>(waiting: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(waiting)
}

/// Whether the API server lets it through.
fn is_let_through(expect: &Expect) -> bool {
    let is_short =
        |text: &Option<String>, most: usize| text.as_ref().is_none_or(|text| text.chars().count() <= most);
    is_short(&expect.body_matches, 256)
        && is_short(&expect.expression, 1024)
        && expect.headers.len() <= 16
        && expect.headers.iter().all(|(name, text)| name.len() <= 64 && text.chars().count() <= 256)
}

/// A status, a header a line, an empty line, and the body.
pub(super) fn response(answer: &[u8]) -> http::Response<Vec<u8>> {
    let end = answer.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) =
        end.map_or((answer, &answer[answer.len()..]), |end| (&answer[..end], &answer[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok()).unwrap_or_default();
    let mut response = http::Response::new(body.to_vec());
    *response.status_mut() = status;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// What an `http` check expects, a line break, and the answer: its status, a header a line, an empty line, and the body.
pub fn http_answer(data: &[u8]) {
    let (expect, answer) = split(data);
    let Ok(expect) = serde_json::from_slice::<Expect>(expect) else { return };
    if !is_let_through(&expect) {
        return;
    }
    let response = response(answer);
    let (status, body) = (response.status(), response.body().clone());
    let headers = response.headers().clone();
    let looked_at = async {
        let answered = http_check::read(&expect, response.into()).await?;
        http_check::expected("shop", &expect, answered).await
    };
    match awaited(looked_at) {
        Ok(told) => {
            assert_eq!((told, i32::from(status.as_u16())), (expect.status, expect.status));
            assert!(expect.headers.keys().all(|name| headers.contains_key(name.as_str())), "{headers:?}");
            assert!(expect.expression.is_none() || serde_json::from_slice::<Value>(&body).is_ok());
        }
        Err((result, message)) => {
            assert_ne!(result, ProbeResult::Passed, "{message}");
            assert!(!message.is_empty() && message.chars().count() <= LONGEST, "{message}");
            // It is said of what panics on a thread of its own.
            let broke_off = [" could not be evaluated", " could not be searched for"];
            assert!(!broke_off.iter().any(|words| message.ends_with(words)), "{message}");
        }
    }
}

/// An expression, a line break, and what a Job said: at the end of its log, and as its termination message.
pub fn job_result(data: &[u8]) {
    let (expression, said) = split(data);
    // As many letters as the API server lets through.
    let expression: String = String::from_utf8_lossy(expression).chars().take(1024).collect();
    let said = String::from_utf8_lossy(said).into_owned();
    let end = outputs::end_of(&said, true);
    assert!(end.lines.len() <= 20 && end.lines.iter().map(String::len).sum::<usize>() <= 2048, "{end:?}");
    end.lines.iter().for_each(|line| harmless(line, 512));
    let last = end.last.clone().expect("all of it is there");
    assert!(said.contains(&last) && !last.contains('\n'), "{last:?}");
    let half = outputs::end_of(&said, false);
    assert_eq!((half.last, &half.lines), (None, &end.lines), "of half a line nothing is judged");
    for (from, text) in [(ResultFrom::LastLogLine, &last), (ResultFrom::TerminationMessage, &said)] {
        let to = JobResult { from, expression: expression.clone() };
        let answer = jobs::answer(&to, &Ok(end.clone()), &Ok(said.clone()));
        assert!(!answer.message.is_empty() && answer.message.chars().count() <= LONGEST, "{answer:?}");
        if answer.result == ProbeResult::Passed {
            assert!(
                serde_json::from_str::<Value>(text).is_ok(),
                "what is no JSON is not as expected: {text}"
            );
        }
        let unread = jobs::answer(&to, &Err("it is gone".to_owned()), &Err("it is gone".to_owned()));
        assert_eq!(unread.result, ProbeResult::Unknown, "{unread:?}");
    }
}

/// An event about a pod, a line break, and the pod's log.
pub fn left_of_pods(data: &[u8]) {
    let (event, log) = split(data);
    if let Ok(event) = serde_json::from_slice::<Event>(event) {
        let (_, line) = happened::line(&event);
        harmless(&line, 500);
    }
    let many = gather::last_lines(log, 200);
    many.iter().for_each(|line| harmless(line, 500));
    assert!(many.len() <= 200);
    let few = gather::last_lines(log, 3);
    assert_eq!(few, many[many.len().saturating_sub(3)..], "the last ones of them");
    assert!(gather::last_lines(log, 0).is_empty());
}

/// No letter in it colours a terminal, moves its cursor or turns the direction of writing.
pub(super) fn harmless(line: &str, most: usize) {
    let turns = |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(line.chars().count() <= most, "{line:?}");
    assert!(!line.chars().any(|letter| letter.is_control() || turns(letter)), "{line:?}");
}

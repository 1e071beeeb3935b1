use serde_json::json;
use tidegate::api::Outcome;
use tidegate::cli::Code;
use tidegate::cli::follow::{Until, judge};

use super::{release, soaking, undone};

#[test]
fn the_run_under_way_is_waited_for() {
    let until = Until::seeing(&soaking());
    assert_eq!(until.ended(&soaking()), None);
    let mut over = undone();
    over["number"] = json!(7);
    assert!(until.ended(&release(json!({ "lastRun": over }))).is_some());
}

#[test]
fn at_rest_the_next_run_is_waited_for() {
    let at_rest = release(json!({ "lastRun": undone() }));
    let until = Until::seeing(&at_rest);
    assert_eq!(until.ended(&at_rest), None);
    assert_eq!(until, Until::seeing(&soaking()));
}

#[test]
fn only_a_success_is_a_success() {
    assert_eq!(judge(Outcome::Succeeded), Code::Yes);
    for other in [Outcome::Undone, Outcome::Aborted, Outcome::Superseded, Outcome::HandedBack] {
        assert_eq!(judge(other), Code::No);
    }
}

use jiff::SignedDuration;
use tidegate::cli::view::{plain, span, visible, wrap};

#[test]
fn words_are_wrapped_by_what_is_seen_of_them() {
    let text = "one \u{1b}[31mtwo\u{1b}[0m three";
    assert_eq!(visible(text), 13);
    assert_eq!(wrap(text, Some(7)), ["one \u{1b}[31mtwo\u{1b}[0m", "three"]);
    assert_eq!(wrap(text, None).len(), 1);
    assert_eq!(wrap("indivisible", Some(3)), ["indivisible"]);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    assert_eq!(plain("ok\u{1b}[2J\nno"), "ok [2J no");
    assert_eq!(plain("ok\u{2028}no\u{2029}"), "ok no ");
}

#[test]
fn nothing_is_shown_in_another_order_than_it_is_written_in() {
    let turning = ['\u{200e}', '\u{200f}', '\u{061c}'].into_iter();
    for letter in turning.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
        assert_eq!(plain(&format!("un{letter}done")), "undone", "{}", letter.escape_unicode());
    }
    assert_eq!(plain("שלום, мир, 世界"), "שלום, мир, 世界", "letters of any direction are letters");
}

#[test]
fn lengths_of_time_have_two_units_and_are_never_negative() {
    let of = |seconds| span(SignedDuration::from_secs(seconds));
    assert_eq!([of(-5), of(0), of(59), of(60), of(185)], ["0s", "0s", "59s", "1m", "3m 5s"]);
    assert_eq!([of(1800), of(3600), of(11100), of(183_600)], ["30m", "1h", "3h 5m", "2d 3h"]);
}

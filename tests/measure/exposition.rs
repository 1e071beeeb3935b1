use proptest::prelude::*;
use tidegate::observe::measure::exposition::{ExpositionError, Limits, Read, read};

type Seen = (String, Vec<(String, String)>, String);

/// The samples of a page; values as text, so that NaN equals NaN.
fn samples(page: &str) -> (Vec<Seen>, Read) {
    let mut seen = Vec::new();
    let read = read(page.as_bytes(), Limits::default(), |sample| {
        let labels = sample.labels.iter().map(|(label, value)| (label.to_string(), value.to_string()));
        seen.push((sample.name.to_string(), labels.collect(), sample.value.to_string()));
    });
    (seen, read.expect("a page with samples"))
}

/// The only sample of a line.
fn one(line: &str) -> Seen {
    let (seen, read) = samples(line);
    assert_eq!((seen.len(), read.skipped), (1, 0), "{line}");
    seen.into_iter().next().expect("one sample")
}

fn labelled(name: &str, labels: &[(&str, &str)], value: &str) -> Seen {
    let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    (name.to_owned(), labels.collect(), value.to_owned())
}

#[test]
fn every_way_to_write_a_sample_is_read() {
    for (line, expected) in [
        ("a 1", labelled("a", &[], "1")),
        ("a:b_c9\t2.5  1700000000000", labelled("a:b_c9", &[], "2.5")),
        ("a{} 3", labelled("a", &[], "3")),
        ("a {b=\"c\"} 4", labelled("a", &[("b", "c")], "4")),
        ("a{b=\"c\",}5", labelled("a", &[("b", "c")], "5")),
        ("a{ b = \"c\" , d = \"\" , } 6", labelled("a", &[("b", "c"), ("d", "")], "6")),
        (r#"a{b="q\"s\\n\nl\x}, 1 # "} 7"#, labelled("a", &[("b", "q\"s\\n\nl\\x}, 1 # ")], "7")),
        ("a{b=\"søk\"} +Inf", labelled("a", &[("b", "søk")], "inf")),
        ("a -Inf", labelled("a", &[], "-inf")),
        ("a NaN", labelled("a", &[], "NaN")),
        ("a 1.5724e+04\r", labelled("a", &[], "15724")),
        ("a 2E-3", labelled("a", &[], "0.002")),
        (r#"{"http.requests",code="500"} 8"#, labelled("http.requests", &[("code", "500")], "8")),
        (r#"{"a", "http.route"="/x"} 9"#, labelled("a", &[("http.route", "/x")], "9")),
        (r#"a{"http.route"="/x"} 10"#, labelled("a", &[("http.route", "/x")], "10")),
        (r#"a 11 # {trace="x y"} 0.5 1.2"#, labelled("a", &[], "11")),
        (r#"a 12 1.5 # {} 0.5"#, labelled("a", &[], "12")),
    ] {
        assert_eq!(one(line), expected, "{line}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_skipped_and_counted() {
    for line in [
        "a",
        "a b",
        "a-b 1",
        "9a 1",
        "a{b} 1",
        "a{b=c} 1",
        "a{b=\"c} 1",
        "a{b=\"c\" d=\"e\"} 1",
        "a{\"b\"} 1",
        "a{9=\"x\"} 1",
        "{b=\"c\"} 1",
        "{\"\"} 1",
        "{\"a\",\"b\"} 1",
        "a 1 2 3",
        "a 1 x",
        "a{b=\"\\",
    ] {
        let (seen, read) = samples(&format!("{line}\ngood 1\n"));
        assert_eq!((seen.len(), read.skipped), (1, 1), "{line}");
    }
    let mut count = 0;
    let read = read(b"a{b=\"\xff\"} 1\ngood 1", Limits::default(), |_| count += 1).expect("one good line");
    assert_eq!((count, read.skipped), (1, 1));
}

#[test]
fn nothing_after_the_end_mark_is_read() {
    let (seen, read) = samples(super::PROM_CLIENT);
    assert!(read.eof);
    assert_eq!((read.samples, read.skipped), (9, 0));
    assert!(seen.iter().all(|(name, ..)| name != "after_the_end_total"));
}

#[test]
fn real_pages_are_read_without_a_skipped_line() {
    for page in [super::GO, super::MICROMETER, super::OPENTELEMETRY] {
        let (seen, read) = samples(page);
        assert!(!read.eof);
        assert_eq!(read.skipped, 0);
        assert_eq!(seen.len(), page.lines().filter(|line| !line.starts_with('#')).count());
    }
}

#[test]
fn a_page_without_a_sample_is_an_error() {
    for page in
        ["", "\n# HELP a b\n", "<!DOCTYPE html>\n<html>\n<body>404</body>\n</html>", r#"{"status":"up"}"#]
    {
        let error = read(page.as_bytes(), Limits::default(), |_| {}).expect_err(page);
        assert!(matches!(error, ExpositionError::Nothing { .. }), "{page}: {error}");
    }
}

#[test]
fn a_page_over_the_limits_is_an_error_and_a_line_over_them_is_skipped() {
    let limits = Limits { bytes: 100, samples: 2, line: 20, labels: 2 };
    let at = |page: &str| read(page.as_bytes(), limits, |_| {});
    assert_eq!(at(&"a 1\n".repeat(26)), Err(ExpositionError::TooLong { bytes: 104, limit: 100 }));
    assert_eq!(at("a 1\nb 2\nc 3"), Err(ExpositionError::TooManySamples { limit: 2 }));
    assert_eq!(at("a 1\na_very_long_name_indeed 2").map(|read| (read.samples, read.skipped)), Ok((1, 1)));
    assert_eq!(at("a{b=\"\",c=\"\"} 1").map(|read| read.samples), Ok(1));
    assert_eq!(at("z 1\na{b=\"\",c=\"\",d=\"\"}1").map(|read| (read.samples, read.skipped)), Ok((1, 1)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(page in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _read = read(&page, Limits::default(), |_| {});
    }

    #[test]
    fn arbitrary_near_misses_never_panic(page in r#"([a-z_:]{0,3}|[{}=,"\\# \n\t0-9.eé+-]|NaN|\+Inf|# EOF){0,60}"#) {
        let _read = read(page.as_bytes(), Limits::default(), |_| {});
    }

    #[test]
    fn any_label_value_survives_escaping(value in any::<String>()) {
        let escaped = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
        // A raw carriage return and friends stay as they are inside the quotes.
        prop_assert_eq!(one(&format!("a{{b=\"{escaped}\"}} 1")), labelled("a", &[("b", &value)], "1"));
    }
}

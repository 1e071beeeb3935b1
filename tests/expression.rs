//! Expressions of users: what they say, what is said of wrong ones, and that none of them takes long or ends the process.

use serde_json::{Value, json};
use tidegate::decide::expression::{Expression, LONGEST, Purse, Unsure};

fn holds(text: &str, object: &Value) -> Result<bool, Unsure> {
    Expression::parse(text, &["object"])
        .unwrap_or_else(|problem| panic!("{text}: {problem}"))
        .holds(&[("object", object)])
}

fn refused(text: &str) -> String {
    match Expression::parse(text, &["object"]) {
        Ok(_) => panic!("{} is taken", text.chars().take(80).collect::<String>()),
        Err(problem) => {
            assert!(problem.chars().count() < 300, "{problem}");
            problem
        }
    }
}

fn backup() -> Value {
    json!({
        "metadata": {"name": "nightly-7", "labels": {"tier": "db"}, "generation": 3},
        "status": {"phase": "Completed", "progress": {"done": 120, "total": 120}, "ratio": 0.5,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}]},
        "list": [1, 2, 3], "empty": null,
    })
}

#[test]
fn a_condition_over_an_object_holds_or_does_not() {
    for text in [
        "object.status.phase == 'Completed'",
        "object.status.phase in ['Completed', 'Finalizing'] && object.metadata.generation >= 3",
        "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
        "object.status.conditions.filter(c, c.status == 'True').map(c, c.type) == ['Ready']",
        "object.status.conditions.exists_one(c, c.type == 'Ready')",
        "object.status.conditions.all(c, c.status != 'Unknown')",
        "object.status.progress.done == object.status.progress.total",
        "!has(object.spec) && has(object.status.phase)",
        "object.?spec.?size.orValue(7) == 7",
        "object.metadata.labels['tier'] == 'db'",
        "object.list[object.status.ratio * 2.0] == 2 && object.list[1.0] == 2",
        "{1700000000: 'then'}[1.7e9] == 'then'",
        "object.metadata.name.matches('^nightly-[0-9]+$') && object.metadata.name.startsWith('nightly')",
        "object.status.ratio < 1 && object.status.ratio * 2.0 == 1.0",
        "size(object.list) == 3 && object.list[2] - 2 == 1",
        "object.empty == null",
        "object.list.map(n, n * 2).exists(n, n == 6) ? true : false",
        "string(object.metadata.generation) + '-' + object.metadata.name == '3-nightly-7'",
        "{'a': object.list}.a.size() == 3",
        "type(object.list) == list",
    ] {
        assert_eq!(holds(text, &backup()), Ok(true), "{text}");
    }
    assert_eq!(holds("object.status.phase == 'Failed'", &backup()), Ok(false));
}

#[test]
fn what_cannot_be_told_is_an_error_without_values() {
    let object =
        json!({"status": {"phase": "s3cret-value"}, "number": 3, "zero": 0.0, "list": ["s3cret-value"]});
    for (text, expected) in [
        ("object.status.message == ''", "there is no message: write has(...), or .?message and orValue(...)"),
        ("object.status", "the expression gives an object, not true or false"),
        ("object.number", "the expression gives a number, not true or false"),
        ("object.zero / object.zero > 1.0", "a number is not a number (NaN)"),
        ("object.zero / 0.0 > 1.0", "a number is not a number (NaN)"),
        ("1 / (object.number - 3) == 1", "it divides by zero"),
        ("object.status.phase > 3", "found no matching overload for '_>_' applied to '(string, int)'"),
        (
            "object.status.phase + 3 == ''",
            "types do not fit each other (add): convert one with int(...), double(...) or string(...)",
        ),
        ("object.list[7] == ''", "a list has no element at that place"),
        // The whole list would be copied into an error, for each of its elements.
        ("object.list.all(x, object.list[0.5] == x)", "a place or a key is no whole number, or too large"),
        ("object.list[object.zero + 1e300] == ''", "a place or a key is no whole number, or too large"),
        ("object.list[object.zero + 1e10] == ''", "a list has no element at that place"),
        ("{1: 's3cret'}[0.5] == ''", "a place or a key is no whole number, or too large"),
        ("int(object.status.phase) == 3", "int(...) cannot be told of that value"),
        ("object.status.phase.matches('(')", "a pattern is no regular expression, or too large"),
        (
            "object.status.phase.matches('((a{200}){200}){200}')",
            "a pattern is no regular expression, or too large",
        ),
        ("object.number * 9223372036854775807 > 1", "a number is too large"),
        ("object.?spec", "the expression gives an optional: end it with orValue(...), not true or false"),
    ] {
        let said = holds(text, &object).expect_err(text).to_string();
        assert_eq!(said, expected, "{text}");
        assert!(!said.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_text_is_given_as_it_is() {
    let text = |text: &str| {
        Expression::parse(text, &["object"]).unwrap().text(&[("object", &backup())], &Purse::for_many())
    };
    assert_eq!(text("object.metadata.name").as_deref(), Ok("nightly-7"));
    assert_eq!(text("object.status.phase == 'Failed' ? object.metadata.name : ''").as_deref(), Ok(""));
    assert_eq!(
        text("object.metadata.generation").unwrap_err().to_string(),
        "the expression gives a number, not a text"
    );
}

#[test]
fn what_is_wrong_with_a_text_is_said_before_it_is_evaluated() {
    assert_eq!(refused("objct.status.phase == ''"), "there is no objct here: it is about object");
    assert_eq!(refused("object.list.exists(x, y == 1)"), "there is no y here: it is about object");
    assert!(
        refused("object.phase = 'x'").starts_with("line 1, column 14: "),
        "{}",
        refused("object.phase = 'x'")
    );
    assert!(refused("object.phase == 'x' &&\n  (object.a").starts_with("line 2, column"));
    assert!(refused("now() > 3").starts_with("there is no function now: has, all, exists,"));
    assert!(refused("foo_bar(object)").starts_with("there is no function foo_bar"));
    assert!(refused("object.list.map(x)").starts_with("there is no function map: "));
    assert!(refused("Thing{a: 1}.a == 1").contains("write a map"));
    assert!(
        refused("object.x == @purse").starts_with("line 1, column 13: "),
        "{}",
        refused("object.x == @purse")
    );
    assert_eq!(refused(""), "is empty");
    assert_eq!(refused(&"x".repeat(LONGEST + 1)), "is longer than 1024 characters");
}

#[test]
fn no_text_however_long_or_deep_ends_the_process() {
    let many = |piece: &str, times: usize| piece.repeat(times);
    for text in [
        format!("-1{}", many("+1", 511)),
        format!("1{} == 1", many("+1", 480)),
        format!("[1{}] == [] ", many(",1", 507)),
        format!("{}1{}", many("{1:[", 170), many("]}", 170)),
        format!("{}1{} == 1", many("(", 500), many(")", 500)),
        format!("{}1{} == 1", many("[", 500), many("]", 500)),
        many("[", 1024),
        many("(", 1024),
        many("{", 1024),
        many("{1:", 340),
        many("a[", 500),
        many("f(", 500),
        many("-(", 500),
        many("!(", 500),
        format!("{}true", many("!-", 500)),
        format!("{}true", many("!", 1000)),
        format!("{}1", many("1?1:", 250)),
        format!("{}1{}", many("1?", 255), many(":1", 255)),
        format!("object{} == 1", many(".a", 500)),
        format!("object{} == 1", many("[0]", 330)),
        format!("object{} == 1", many(".?a", 330)),
        format!("object{} == 1", many(".size()", 140)),
        format!("object.list{}", many(".map(x,x)", 110)),
        format!("object.list{}", many(".map(x,[x]", 90)),
        format!("true{}", many("||true", 160)),
        format!("'{}", many("\\", 1000)),
        many("\"", 1023),
        many("'''", 300),
        many("r'", 500),
        many("é", 1024),
        many("1e", 500),
        many(".", 1024),
        many("//", 500),
    ] {
        assert!(text.chars().count() <= LONGEST, "refused before anything of it is looked at: {text}");
        // Some are taken; what counts is that each comes back.
        if let Ok(expression) = Expression::parse(&text, &["object"]) {
            let _told = expression.holds(&[("object", &backup())]);
        }
    }
    assert!(refused(&format!("1{} == 1", many("+1", 480))).contains("nested more than 32 deep"));
    assert!(refused(&format!("[1{}] == [] ", many(",1", 507))).contains("has more than 400 terms"));
    let longest = format!("true{}", many("&&true", 170));
    assert_eq!(longest.len(), LONGEST);
    assert_eq!(holds(&longest, &json!({})), Ok(true), "such chains are no deep ones");
    assert_eq!(refused(&format!("{longest} ")), "is longer than 1024 characters");
}

/// Texts of twenty thousand terms: a sum, what is nested as deep, what is turned as often, and a list.
pub fn of_twenty_thousand() -> [String; 4] {
    const MANY: usize = 20_000;
    [
        "1".to_owned() + &"+1".repeat(MANY),
        "(".repeat(MANY) + "true" + &")".repeat(MANY),
        "!".repeat(MANY) + "true",
        "[1".to_owned() + &",1".repeat(MANY - 1) + "]",
    ]
}

#[test]
fn a_text_of_twenty_thousand_terms_is_refused_by_its_length() {
    for text in of_twenty_thousand() {
        assert_eq!(refused(&text), "is longer than 1024 characters");
    }
}

#[test]
fn loops_within_loops_and_values_that_grow_come_to_an_end() {
    let hundred: Vec<usize> = (0..100).collect();
    let object = json!({"list": hundred, "text": "x".repeat(10_000), "deep": {"a": hundred, "b": hundred}});
    let doubled = |times: usize| format!("[object.text]{}.size() > 0", ".map(x,x+x)".repeat(times));
    let listed = |times: usize| format!("[object.list]{} != []", ".map(x,[x,x])".repeat(times));
    for text in [
        "object.list.map(a, object.list.map(b, object.list.map(c, object.list.map(d, object.list.map(e, object.list.map(f, 1)))))) == []",
        "object.list.all(a, object.list.all(b, object.list.all(c, object.list.all(d, object.list.all(e, object.list.all(f, true))))))",
        "object.list.exists(a, object.list.exists(b, object.list.exists(c, object.list.exists(d, object.list.exists(e, false))))) || true",
        "object.list.all(a, object.list.map(b, object.list.map(c, object.list.map(d, d))) == []) || true",
        "object.list.map(a, object.list.map(b, object.text + object.text)).size() == 100",
        "object.list.map(a, object.list.map(b, object.deep)).size() == 100",
        "object.list.all(a, object.list.all(b, object.deep == object.deep))",
        "object.list.all(a, object.list.all(b, !(object.text in [object.text + 'y'])))",
        "object.list.all(a, object.list.all(b, object.text.matches('^(x|y)*z$') == false))",
        "object.list.all(a, object.list.all(b, object.list.all(c, object.?deep.?a.hasValue())))",
        &doubled(20),
        &listed(13),
    ] {
        assert_eq!(holds(text, &object), Err(Unsure::TooMuchWork), "{text}");
    }
    assert_eq!(
        holds("object.list.all(a, object.list.exists(b, a == b))", &object),
        Ok(true),
        "what is not much is done"
    );
}

#[test]
fn what_map_and_filter_make_of_a_long_list_costs_what_the_list_does() {
    let numbers = |most: usize| json!((0..most).collect::<Vec<_>>());
    let (long, shorter) = (numbers(18_000), numbers(7_000));
    for text in [
        "object.map(x, x).size() == 18000",
        "object.filter(x, x >= 0).size() == 18000",
        "object.map(x, x >= 9000, x).size() == 9000",
    ] {
        assert_eq!(holds(text, &long), Ok(true), "{text}");
    }
    assert_eq!(holds("object.map(x, [x].map(y, y)).size() == 7000", &shorter), Ok(true));
    for text in [
        "object.map(x, x).map(x, x).size() > 0",
        "object.map(x, object.map(y, y)).size() > 0",
        "object.filter(x, object.filter(y, y > x).size() > 0).size() > 0",
        "object.map(x, [object]).size() > 0",
    ] {
        assert_eq!(holds(text, &long), Err(Unsure::TooMuchWork), "{text}");
    }
}

#[test]
fn an_object_of_any_size_and_depth_is_looked_at_or_refused() {
    let large = Value::Array(vec![json!(1); 200_000]);
    assert_eq!(holds("size(object) > 0", &large), Err(Unsure::InputTooLarge));
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    assert_eq!(holds("size(object) > 0", &deep), Err(Unsure::InputTooLarge));
    let wide = Value::Array(vec![json!({"phase": "Completed", "at": "2026-11-22T00:00:00Z"}); 10_000]);
    assert_eq!(holds("object.all(o, o.phase == 'Completed')", &wide), Ok(true));
}

//! The fuzz targets (`fuzz/`), each over its seeds and a bounded number of mutations of them: the same every time, and without a fuzzer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Inputs a target, beside its seeds.
const MUTATIONS: usize = 3000;
/// Of those that take the longest to look at.
const FEWER: usize = 600;
/// Of those with a whole cluster around them.
const FEWEST: usize = 150;
/// No input becomes longer than this.
const LONGEST: usize = 16 << 10;

/// Words that turn one thing into another.
const WORDS: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "\n",
    " ",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "NaN",
    "+Inf",
    "18446744073709551616",
    "9223372036854775807",
    "0.0000000001",
    "%",
    "999999h",
    "100%",
    "# EOF",
    "_bucket",
    "_total",
    "le=\"",
    "code=\"5xx\"",
    "\u{0}",
    "\u{feff}",
    "é",
    "{{",
    "&a [*a,*a]",
    "<<: *a",
];

/// A small generator of numbers (xorshift64*), the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).expect("small")).expect("small")
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories = vec![root.join("fuzz/seeds").join(target)];
    if target == "exposition" {
        directories.push(root.join("tests/measure/pages"));
    }
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    for directory in directories {
        for entry in
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                seeds.push((path.display().to_string(), std::fs::read(&path).expect("a seed")));
            }
        }
    }
    if target == "judge_state" {
        let slots = std::fs::read(root.join("fuzz/seeds/slots/good")).expect("slots");
        seeds.push(("as it is kept now".to_owned(), targets::kept_after(&slots)));
    }
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds.into_iter().map(|(_, seed)| seed).collect()
}

/// A few changes to one of the seeds.
fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(input.len() + 1);
        let end = (at + dice.below(40)).min(input.len());
        match dice.below(7) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 if at < input.len() => input[at] = u8::try_from(dice.below(256)).expect("a byte"),
            2 => drop(input.drain(at..end)),
            3 => {
                let copied = input[at..end].to_vec();
                let to = dice.below(input.len() + 1);
                input.splice(to..to, copied);
            }
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                let piece = other[from..(from + dice.below(200)).min(other.len())].to_vec();
                input.splice(at..end, piece);
            }
            _ => {
                let word = WORDS[dice.below(WORDS.len())];
                let times = if dice.below(20) == 0 { 300 } else { 1 };
                input.splice(at..at, word.repeat(times).bytes());
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn holds(name: &str, mutations: usize) {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds(name);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mutations = (0..mutations).map(|_| mutated(&seeds, &mut dice)).collect::<Vec<_>>();
    for input in seeds.iter().chain(&mutations) {
        let done = catch_unwind(AssertUnwindSafe(|| target(input)));
        assert!(
            done.is_ok(),
            "{name} does not take this: keep it in fuzz/seeds/{name}\n{}",
            input.escape_ascii()
        );
    }
}

macro_rules! targets {
    ($($test:ident: $name:literal, $mutations:expr;)*) => {
        $(#[test]
        fn $test() {
            holds($name, $mutations);
        })*

        #[test]
        fn every_target_is_among_them_and_known_to_the_fuzzer() {
            let here = [$($name),*];
            assert!(targets::TARGETS.iter().map(|(name, _)| *name).eq(here), "{here:?}");
            let manifest = include_str!("../fuzz/Cargo.toml");
            for name in here {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets! {
    a_page_may_hold_anything: "exposition", FEWER;
    an_answer_of_prometheus_may_hold_anything: "prometheus", MUTATIONS;
    an_answer_of_numbers_may_hold_anything: "numbers", MUTATIONS;
    a_json_answer_may_hold_anything: "json_number", MUTATIONS;
    a_file_of_criteria_may_hold_anything: "criteria", FEWER;
    a_file_of_slots_may_hold_anything: "slots", FEWER;
    what_the_judge_kept_may_have_become_anything: "judge_state", FEWER;
    a_manifest_may_hold_anything: "manifest", FEWER;
    a_release_may_hold_anything: "release", MUTATIONS;
    the_cluster_may_hold_anything: "world", MUTATIONS;
    a_text_may_hold_anything: "texts", MUTATIONS;
    a_pattern_may_hold_anything: "pattern", FEWER;
    an_address_may_hold_anything: "addresses", MUTATIONS;
    windows_may_hold_anything: "windows", FEWER;
    a_file_to_lint_may_hold_anything: "lint", FEWER;
    what_surrounds_a_workload_may_hold_anything: "surroundings", MUTATIONS;
    a_record_that_was_brought_may_hold_anything: "brought", FEWER;
    an_expression_may_hold_anything: "expression", MUTATIONS;
    a_certificate_may_hold_anything: "certificate", MUTATIONS;
    an_answer_of_a_dns_server_may_hold_anything: "dns_answer", MUTATIONS;
    an_answer_over_http_may_hold_anything: "http_answer", FEWER;
    what_a_job_said_may_hold_anything: "job_result", FEWER;
    what_is_left_of_pods_may_hold_anything: "left_of_pods", FEWER;
    an_annotation_may_hold_anything: "annotations", FEWEST;
    what_a_watch_sends_may_hold_anything: "watched", FEWEST;
    a_message_and_its_words_may_hold_anything: "notification", FEWER;
    a_secret_may_hold_anything: "secrets", FEWER;
    the_records_of_a_release_may_hold_anything: "records", FEWER;
    what_an_object_check_finds_may_hold_anything: "objects", FEWER;
    what_a_config_check_finds_may_hold_anything: "config", FEWER;
    what_a_server_knows_of_the_past_may_hold_anything: "past", FEWEST;
    a_lease_may_hold_anything: "lease", FEWER;
    what_status_and_why_show_may_hold_anything: "cli_status", FEWER;
    what_receivers_answer_may_hold_anything: "receivers", FEWEST;
    what_the_api_server_answers_may_hold_anything: "answers_of_the_api_server", FEWER;
    what_is_given_back_without_an_operator_may_hold_anything: "cli_hand_back", FEWER;
}

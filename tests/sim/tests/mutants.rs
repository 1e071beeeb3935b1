//! `make mutants` makes the bugs; here it is seen to that each can still be made.

use std::path::Path;

use tidegate_sim::mutants::MUTANTS;

#[test]
fn what_each_bug_changes_stands_where_it_says_and_nowhere_else_in_the_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for mutant in &MUTANTS {
        let text = std::fs::read_to_string(root.join(mutant.file)).expect(mutant.file);
        assert_eq!(text.matches(mutant.finds).count(), 1, "{}: {}", mutant.file, mutant.finds);
    }
}

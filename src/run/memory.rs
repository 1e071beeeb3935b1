//! How much memory the process may have: what it keeps of others' texts is a part of that.

use std::path::Path;

/// Where the kernel says it, by version of control groups.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Where it says nothing, as much as this is there.
const UNSAID: usize = 1 << 30;
/// The part for texts.
const PART: usize = 4;
/// For texts at least, and at most, in bytes.
const TEXTS: [usize; 2] = [64 << 20, 1 << 30];

/// Bytes for texts of Releases and of what belongs to them: a quarter of what the container may have.
pub fn for_texts() -> usize {
    let said = LIMITS.iter().find_map(|path| std::fs::read_to_string(Path::new(path)).ok());
    of_limit(said.as_deref())
}

fn of_limit(said: Option<&str>) -> usize {
    // `max`: there is none. Who has none is told a number with which nobody could count.
    let limit = said.and_then(|said| said.trim().parse::<usize>().ok()).unwrap_or(UNSAID);
    let [least, most] = TEXTS;
    (limit / PART).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_quarter_of_what_the_container_may_have() {
        assert_eq!(of_limit(Some("2147483648\n")), 512 << 20);
        assert_eq!(of_limit(Some("268435456\n")), 64 << 20);
        assert_eq!(of_limit(Some("1000000\n")), 64 << 20, "with less nothing is done well");
        assert_eq!(of_limit(Some("9223372036854771712\n")), 1 << 30, "no limit, as version 1 says it");
        assert_eq!((of_limit(Some("max\n")), of_limit(None)), (256 << 20, 256 << 20));
    }
}

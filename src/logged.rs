//! What others said, as a line of the log has it: errors in the words of the API server, of webhooks and of whoever is asked, and what people wrote. It
//! is one line, since each line of the log is something that happened here; it is read as it is written, and no longer than the note of an event.

use std::fmt::Display;

use crate::decide::decision::LONGEST_NOTE;
use crate::letters::bounded;

/// What somebody else said.
pub fn logged(said: impl Display) -> String {
    bounded(&said.to_string(), LONGEST_NOTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_begins_no_line_turns_none_and_ends() {
        let said = "no\n2027-01-15T00:00:00Z  INFO gave the lease up\r\u{1b}[2J\u{202e}\u{2028}";
        assert_eq!(logged(said), "no 2027-01-15T00:00:00Z  INFO gave the lease up  [2J ");
        let said = std::io::Error::other("é\n".repeat(100_000));
        assert_eq!(logged(&said), "é ".repeat(332) + "…");
    }
}

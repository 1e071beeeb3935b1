//! Letters that turn the direction of writing: what follows one is shown in another order than it is written in. Texts of other people's are shown
//! without them, on a terminal, in a record and to receivers of messages: what is read is what was written.
//!
//! Which other letters do harm depends on where a text goes, and is for whoever takes it there.

/// Whether it shows what follows in another order than it is written in.
pub fn turns_writing(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without them.
pub fn in_order(text: &str) -> String {
    text.chars().filter(|letter| !turns_writing(*letter)).collect()
}

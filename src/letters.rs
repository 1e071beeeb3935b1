//! Letters that do harm wherever a text of other people's is shown: those that turn the direction of writing, after which what follows is shown in
//! another order than it is written in, and those that begin a line of their own. Such texts are shown without them, on a terminal, in a
//! record, in status and to receivers of messages: what is read is what was written.
//!
//! Which other letters do harm depends on where a text goes, and is for whoever takes it there.

/// Whether it shows what follows in another order than it is written in.
pub fn turns_writing(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether what follows begins a line, or it is another control character.
pub fn breaks_line(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// The text without letters that turn the direction of writing.
pub fn in_order(text: &str) -> String {
    text.chars().filter(|letter| !turns_writing(*letter)).collect()
}

/// The same, and on one line. Letter by letter: most texts are cut somewhere.
pub fn on_one_line(text: &str) -> impl Iterator<Item = char> {
    let shown = text.chars().filter(|letter| !turns_writing(*letter));
    shown.map(|letter| if breaks_line(letter) { ' ' } else { letter })
}

/// The same as far as so many bytes go. Where there is more, `…` ends it.
pub fn bounded(text: &str, most: usize) -> String {
    let mut shown: String = on_one_line(text).take(most + 1).collect();
    if shown.len() > most {
        shown.truncate(shown.floor_char_boundary(most.saturating_sub('…'.len_utf8())));
        shown.push('…');
    }
    shown
}

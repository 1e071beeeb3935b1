//! What a container is told to run, as words: its command with its arguments, and the commands of a text that it gives to a shell.
//!
//! This is no shell: nothing is expanded, and what stands in a script of the image is not known. It is enough to see which program is called
//! with which words.

use serde_json::Value;

/// They run the text that follows `-c`.
const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "ksh", "zsh", "su"];
/// So many texts within texts are looked into.
const DEPTH: usize = 3;

/// The commands of a container. Where it names no program its image stands for one: that is what most are called.
pub fn commands(container: &Value) -> Vec<Vec<String>> {
    let list = |field: &str| {
        let all = container[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut words = list("command");
    if words.is_empty() {
        words.extend(container["image"].as_str().map(str::to_owned));
    }
    words.extend(list("args"));
    let mut found = Vec::new();
    collect(words, DEPTH, &mut found);
    found
}

/// What a word calls: `rails` of `/app/bin/rails`, `prisma` of `prisma@5`, `flyway` of the image `flyway/flyway:10`.
pub fn program(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or_default();
    name.split(['@', ':']).next().unwrap_or_default()
}

fn collect(words: Vec<String>, deeper: usize, found: &mut Vec<Vec<String>>) {
    let text = shell_text(&words).filter(|_| deeper > 0);
    for command in text.map(split).unwrap_or_default() {
        collect(command, deeper - 1, found);
    }
    found.push(words);
}

/// `flyway migrate` of `bash -ec "flyway migrate"`.
fn shell_text(words: &[String]) -> Option<&str> {
    let is_option = |word: &String| {
        let letters = word.strip_prefix('-').unwrap_or_default();
        letters.contains('c') && letters.chars().all(|letter| letter.is_ascii_alphabetic())
    };
    let shell = words.iter().position(|word| SHELLS.contains(&program(word)))?;
    let option = words[shell..].iter().position(is_option)?;
    words.get(shell + option + 1).map(String::as_str)
}

/// The commands of a text, without their quotes and comments.
fn split(text: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let ends_command = match letter {
            // A line that goes on on the next one ends nothing.
            '\\' => {
                if let Some(escaped) = letters.next().filter(|escaped| *escaped != '\n') {
                    word.get_or_insert_default().push(escaped);
                }
                continue;
            }
            '\'' | '"' => {
                word.get_or_insert_default().push_str(&quoted(letter, &mut letters));
                continue;
            }
            '#' if word.is_none() => {
                _ = letters.find(|letter| *letter == '\n');
                true
            }
            ';' | '&' | '|' | '(' | ')' | '`' | '\n' => true,
            blank if blank.is_whitespace() => false,
            other => {
                word.get_or_insert_default().push(other);
                continue;
            }
        };
        commands.last_mut().expect("there is always one").extend(word.take());
        if ends_command {
            commands.push(Vec::new());
        }
    }
    commands.last_mut().expect("there is always one").extend(word);
    commands.retain(|command| !command.is_empty());
    commands
}

/// What follows up to the closing quote. Within double ones a backslash takes the next letter as it is.
fn quoted(quote: char, letters: &mut std::str::Chars<'_>) -> String {
    let mut inner = String::new();
    while let Some(letter) = letters.next().filter(|letter| *letter != quote) {
        match letter {
            '\\' if quote == '"' => inner.extend(letters.next()),
            other => inner.push(other),
        }
    }
    inner
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::commands;

    fn shown(container: Value) -> Vec<String> {
        commands(&container).iter().map(|words| words.join("|")).collect()
    }

    #[test]
    fn a_text_for_a_shell_is_taken_apart_into_its_commands() {
        let text = "set -e; cd /app && FOO=1 exec \\\n  bin/rails 'db:migrate' \"a \\\" b\"# c\n# flyway migrate\necho $(flyway info)|tee x";
        assert_eq!(
            shown(json!({"command": ["/bin/bash"], "args": ["-ec", text]})),
            [
                "set|-e",
                "cd|/app",
                "FOO=1|exec|bin/rails|db:migrate|a \" b#|c",
                "echo|$",
                "flyway|info",
                "tee|x",
                &format!("/bin/bash|-ec|{text}"),
            ]
        );
        let nested = json!({"command": ["tini", "--", "sh", "-c", "su app -c 'goose up'"]});
        assert_eq!(shown(nested)[0], "goose|up");
    }

    #[test]
    fn an_image_stands_for_the_program_that_is_not_named() {
        let image = "registry:5000/flyway/flyway:10";
        assert_eq!(shown(json!({"image": image, "args": ["migrate"]})), [format!("{image}|migrate")]);
        assert_eq!(shown(json!({"image": image, "command": ["x"], "args": [1, "y"]})), ["x|y"]);
        assert_eq!(shown(json!({})), [""]);
        assert_eq!(super::program(image), "flyway");
        assert_eq!(super::program("node_modules/.bin/prisma@5.1"), "prisma");
    }

    #[test]
    fn a_text_that_nobody_wrote_ends() {
        for text in ["", "\\", "\"", "'", "a\\", "sh -c", "((((", "# ", "`'\"\\\n"] {
            let depth = json!({"command": ["sh", "-c", text]});
            assert!(!commands(&depth).is_empty(), "{text}");
        }
        let endless = "sh -c 'sh -c \"sh -c \\\"sh -c x\\\"\"'";
        assert!(shown(json!({"command": ["sh", "-c", endless]})).len() < 10);
    }
}

//! Words with fields in them: `{{release}} was undone: {{message}}`. Nothing else: no expressions, no loops, no other objects.

use super::Message;
use crate::api::notify::Owed;

/// Longer than any text that the API server takes.
const LONGEST: usize = 4096;
/// Letters that come of one: a block of Slack's takes no more than 3000.
const LONGEST_TEXT: usize = 2900;

/// A text with fields; without any part, the words that are used where nothing is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// What can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Release,
    Namespace,
    Run,
    Event,
    Phase,
    Step,
    Share,
    Message,
    Unblock,
    Images,
    Report,
}

impl Field {
    const ALL: [Self; 11] = [
        Self::Release,
        Self::Namespace,
        Self::Run,
        Self::Event,
        Self::Phase,
        Self::Step,
        Self::Share,
        Self::Message,
        Self::Unblock,
        Self::Images,
        Self::Report,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Namespace => "namespace",
            Self::Run => "run",
            Self::Event => "event",
            Self::Phase => "phase",
            Self::Step => "step",
            Self::Share => "share",
            Self::Message => "message",
            Self::Unblock => "unblock",
            Self::Images => "images",
            Self::Report => "report",
        }
    }

    fn of(self, message: &Message) -> String {
        let Owed { event, run, phase, step, share, message: sentence, unblock, images, report, .. } =
            &message.owed;
        match self {
            Self::Release => message.key.name.clone(),
            Self::Namespace => message.key.namespace.clone(),
            Self::Run => run.clone(),
            Self::Event => format!("{event:?}"),
            Self::Phase => phase.clone(),
            Self::Step => step.clone(),
            Self::Share => share.clone(),
            Self::Message => sentence.clone(),
            Self::Unblock => unblock.clone(),
            Self::Images => images.join(", "),
            Self::Report => report.clone(),
        }
    }
}

impl Template {
    /// Understands a text.
    ///
    /// ```
    /// use tidegate::decide::notify::Template;
    /// assert!(Template::parse("{{release}} was undone: {{ message }}").is_ok());
    /// assert!(Template::parse("{{secret}}").unwrap_err().starts_with("there is no field 'secret'"));
    /// ```
    ///
    /// # Errors
    /// A sentence: a field that there is not, or one that does not end.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err("has a '{{' without its '}}'".into());
            };
            let name = name.trim();
            let field = Field::ALL.into_iter().find(|field| field.name() == name);
            let field = field.ok_or_else(|| {
                let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
                let shown: String = name.chars().take(40).collect();
                format!("there is no field '{shown}': write one of {}", names.join(", "))
            })?;
            parts.extend([Part::Text(before.to_owned()), Part::Field(field)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// The words, where somebody wrote some. `escape`: what makes a value harmless where it goes; the template's own text is its author's.
    pub fn render(&self, message: &Message, escape: impl Fn(&str) -> String) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(field) => escape(&field.of(message)),
        };
        Some(self.0.iter().map(part).collect::<String>().chars().take(LONGEST_TEXT).collect())
    }

    /// The words, whoever wrote them: the title, the sentence, and what unblocks it.
    pub fn text(&self, message: &Message, escape: impl Fn(&str) -> String) -> String {
        if let Some(text) = self.render(message, &escape) {
            return text;
        }
        let Owed { message: sentence, unblock, .. } = &message.owed;
        let mut text = escape(&message.title());
        if !sentence.is_empty() {
            text = format!("{text}: {}", escape(sentence));
        }
        if !unblock.is_empty() {
            text = format!("{text}\nWhat unblocks it: {}", escape(unblock));
        }
        text.chars().take(LONGEST_TEXT).collect()
    }
}

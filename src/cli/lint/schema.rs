//! A Release held against the schema of its CRD, as an API server would: unknown fields, types, bounds, and those of the schema's rules
//! that look at one text only. Rules that look at more are functions of [`crate::decide::lint`].

use std::sync::OnceLock;

use kube::CustomResourceExt;
use regex_lite::Regex;
use serde_json::Value;

use crate::api::Release;

/// Something that an API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub field: String,
    pub problem: String,
    pub fix: String,
}

/// Longest name of a Release; `-` and a run's name must fit behind it.
const LONGEST_NAME: usize = 52;

/// What is wrong with a Release as an object.
pub fn look(object: &Value) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut add = |field: &str, problem: String, fix: &str| {
        wrong.push(Wrong { field: field.to_owned(), problem, fix: fix.to_owned() });
    };
    let version = object["apiVersion"].as_str().unwrap_or_default();
    if version != "tidegate.dev/v1alpha1" {
        add("apiVersion", format!("{version} is not served"), "write tidegate.dev/v1alpha1");
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        add("metadata.name", "it is missing".to_owned(), "write one");
    } else if name.len() > LONGEST_NAME {
        add("metadata.name", format!("it has {} characters", name.len()), "write at most 52");
    } else if !is_subdomain(name) {
        add(
            "metadata.name",
            format!("'{name}' is not the name of an object"),
            "write lower case letters, digits and '-'",
        );
    }
    for unknown in object.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&&**unknown) {
            add(unknown, "there is no such field".to_owned(), "fields of a Release stand under spec");
        }
    }
    if object["spec"].is_null() {
        add("spec", "it is missing".to_owned(), "write spec.targetRef");
    } else {
        held(&object["spec"], schema(), "spec", &mut wrong);
    }
    wrong
}

/// The schema of `spec`.
pub fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let crd = serde_json::to_value(Release::crd()).unwrap_or_default();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    })
}

fn held(value: &Value, schema: &Value, path: &str, wrong: &mut Vec<Wrong>) {
    // The API server leaves out what is null.
    if value.is_null() {
        return;
    }
    let mut add = |problem: String, fix: &str| {
        wrong.push(Wrong { field: path.to_owned(), problem, fix: fix.to_owned() });
    };
    let wanted = schema["type"].as_str().unwrap_or_default();
    let either = schema["x-kubernetes-int-or-string"] == true;
    let fits = match value {
        _ if either => value.is_string() || value.is_i64(),
        Value::Object(_) => wanted == "object",
        Value::Array(_) => wanted == "array",
        Value::String(_) => wanted == "string",
        Value::Bool(_) => wanted == "boolean",
        Value::Number(number) => {
            wanted == "number" || wanted == "integer" && (number.is_i64() || number.is_u64())
        }
        Value::Null => true,
    };
    let anything = wanted.is_empty() && !either;
    if !fits && !anything {
        let wanted = if either { "integer or string" } else { wanted };
        let fix = if wanted == "string" { "write it in quotes" } else { "" };
        return add(format!("it is {}, and must be {wanted}", kind(value)), fix);
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let all: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return add(
            format!("there is no such value as {}", shown(value)),
            &format!("write {}", all.join(", ")),
        );
    }
    bounds(value, schema, &mut add);
    match value {
        Value::String(text) => text_rules(text, schema, &mut add),
        Value::Array(items) => {
            let key = schema["x-kubernetes-list-map-keys"][0].as_str();
            for (index, item) in items.iter().enumerate() {
                let field = format!("{path}[{index}]");
                let same =
                    |other: &Value| key.is_some_and(|key| !item[key].is_null() && other[key] == item[key]);
                if let Some(key) = key.filter(|_| items[..index].iter().any(same)) {
                    let problem = format!("another one is called {} too", shown(&item[key]));
                    let fix = "give each a name of its own".to_owned();
                    wrong.push(Wrong { field: format!("{field}.{key}"), problem, fix });
                }
                held(item, &schema["items"], &field, wrong);
            }
        }
        Value::Object(members) => {
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if members.get(required).is_none_or(Value::is_null) {
                    let field = format!("{path}.{required}");
                    wrong.push(Wrong {
                        field,
                        problem: "it is missing".to_owned(),
                        fix: "write it".to_owned(),
                    });
                }
            }
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
            for (name, member) in members {
                let field = format!("{path}.{name}");
                if let Some(of) = schema["properties"].get(name) {
                    held(member, of, &field, wrong);
                } else if let Some(of) = schema.get("additionalProperties") {
                    held(member, of, &field, wrong);
                } else if !open {
                    let problem = "there is no such field".to_owned();
                    wrong.push(Wrong { field, problem, fix: nearest(name, &schema["properties"]) });
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// How long, how many, how much.
fn bounds(value: &Value, schema: &Value, add: &mut impl FnMut(String, &str)) {
    let number = |name: &str| schema[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let size = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength", "characters")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems", "entries")),
        Value::Object(members) => Some((members.len(), "minProperties", "maxProperties", "entries")),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    };
    if let Some((size, least, most, what)) = size {
        if let Some(most) = number(most).filter(|most| size > *most) {
            add(format!("it has {size} {what}"), &format!("write at most {most}"));
        }
        if let Some(least) = number(least).filter(|least| size < *least) {
            add(format!("it has {size} {what}"), &format!("write at least {least}"));
        }
    }
    if let Some(found) = value.as_f64() {
        if let Some(most) = schema["maximum"].as_f64().filter(|most| found > *most) {
            add(format!("{found} is too much"), &format!("write at most {most}"));
        }
        if let Some(least) = schema["minimum"].as_f64().filter(|least| found < *least) {
            add(format!("{found} is too little"), &format!("write at least {least}"));
        }
    }
}

/// Rules about one text: a pattern, a name, a URL.
fn text_rules(text: &str, schema: &Value, add: &mut impl FnMut(String, &str)) {
    if schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern, text)) {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        add(format!("'{text}' does not match {pattern}"), "");
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let kept = rule["rule"].as_str().and_then(TextRule::read).is_none_or(|rule| rule.holds(text));
        if !kept {
            let said = rule["message"]
                .as_str()
                .filter(|said| !said.is_empty())
                .unwrap_or("is not a name: write lower case letters, digits and '-'");
            let said = if said.starts_with("is ") { format!("'{text}' {said}") } else { said.to_owned() };
            add(said, "");
            return;
        }
    }
}

/// A rule of the CRD that can be held without a CEL interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextRule {
    Matches(String),
    Label,
    Subdomain,
    Is(String),
    StartsWith(String),
    /// Small letters.
    NoneOf(Vec<String>),
    Not(Box<TextRule>),
    All(Vec<TextRule>),
    Any(Vec<TextRule>),
}

impl TextRule {
    /// Reads CEL, as far as the CRD's rules about one text go.
    pub fn read(rule: &str) -> Option<Self> {
        let each = |separator: &str| rule.split(separator).map(Self::read).collect::<Option<Vec<_>>>();
        if let Some(single) = Self::single(rule) {
            return Some(single);
        }
        if rule.contains(" || ") {
            return each(" || ").map(Self::Any);
        }
        if rule.contains(" && ") {
            return each(" && ").map(Self::All);
        }
        None
    }

    fn single(rule: &str) -> Option<Self> {
        match rule {
            "!format.dns1123Label().validate(self).hasValue()" => return Some(Self::Label),
            "!format.dns1123Subdomain().validate(self).hasValue()" => return Some(Self::Subdomain),
            _ => {}
        }
        let quoted = |before: &str, after: &str| {
            let inner = rule.strip_prefix(before)?.strip_suffix(after)?;
            (!inner.contains('\'')).then(|| inner.to_owned())
        };
        let not = |rule: Self| Self::Not(Box::new(rule));
        let list = || rule.strip_prefix("!(self.lowerAscii() in [")?.strip_suffix("])");
        quoted("self.matches('", "')")
            .map(Self::Matches)
            .or_else(|| quoted("!self.matches('", "')").map(|pattern| not(Self::Matches(pattern))))
            .or_else(|| quoted("self == '", "'").map(Self::Is))
            .or_else(|| quoted("self != '", "'").map(|text| not(Self::Is(text))))
            .or_else(|| quoted("self.startsWith('", "')").map(Self::StartsWith))
            .or_else(|| {
                let words = list()?.split(", ").map(|word| word.trim_matches('\'').to_owned());
                Some(Self::NoneOf(words.collect()))
            })
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Matches(pattern) => matches(pattern, text),
            Self::Label => is_label(text),
            Self::Subdomain => is_subdomain(text),
            Self::Is(wanted) => text == wanted,
            Self::StartsWith(start) => text.starts_with(start),
            Self::NoneOf(words) => !words.contains(&text.to_ascii_lowercase()),
            Self::Not(rule) => !rule.holds(text),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(text)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(text)),
        }
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    // Patterns are this program's own: one that is none of this library's is no reason to refuse anything.
    Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text))
}

fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"))
}

/// What somebody may have meant.
fn nearest(name: &str, properties: &Value) -> String {
    let known: Vec<&String> = properties.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    let lower = name.to_ascii_lowercase();
    let close = |known: &&&String| {
        let known = known.to_ascii_lowercase();
        lower == known
            || lower.len() > 2 && known.len() > 2 && (lower.starts_with(&known) || known.starts_with(&lower))
    };
    match known.iter().find(close) {
        Some(meant) => format!("did you mean {meant}?"),
        None => {
            let all: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
            format!("there is {}", all.join(", "))
        }
    }
}

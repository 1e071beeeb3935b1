//! Quantities as Kubernetes writes them: `500m`, `1.5`, `128Mi`, `2e3`. In thousandths, rounded up, so that sums are exact.

use std::collections::BTreeMap;

use serde_json::Value;

/// Digits of a number that is read; more is none of a cluster's.
const MOST_DIGITS: usize = 25;

/// Amounts by resource, in thousandths.
pub type Amounts = BTreeMap<String, i128>;

/// A quantity in thousandths, rounded up; `None` when it is none, or beyond everything.
///
/// ```
/// use tidegate::decide::workload::quantity::milli;
/// assert_eq!([milli("500m"), milli("1.5"), milli("2"), milli("1e3"), milli("100n")], [500, 1500, 2000, 1_000_000, 1].map(Some));
/// assert_eq!([milli("128Mi"), milli("1G"), milli("1E")], [134_217_728_000, 1_000_000_000_000, 10_i128.pow(21)].map(Some));
/// assert_eq!([milli("many"), milli(""), milli("."), milli("-1"), milli("1.5.2")], [None; 5]);
/// ```
pub fn milli(text: &str) -> Option<i128> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || digits.len() > MOST_DIGITS || part.contains('.') {
        return None;
    }
    let (times, below) = factor(suffix)?;
    let times = digits.parse::<i128>().ok()?.checked_mul(times)?;
    let below = below.checked_mul(10_i128.checked_pow(u32::try_from(part.len()).ok()?)?)?;
    Some(times / below + i128::from(times % below != 0))
}

/// What a suffix makes of a number in thousandths: times this, divided by that.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power) * 1000, 1));
    let decimal = |power: u32| Some((10_i128.pow(power + 3), 1));
    match suffix {
        "n" => Some((1, 1_000_000)),
        "u" => Some((1, 1000)),
        "m" => Some((1, 1)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let whole = |power: i32| u32::try_from(power).ok().filter(|power| *power <= 18);
            match whole(power) {
                Some(power) => decimal(power),
                None => Some((1000, 10_i128.pow(whole(-power)?))),
            }
        }
    }
}

/// The amounts in a map of quantities. What cannot be read is left out: the API server has refused it.
pub fn amounts(quantities: &Value) -> Amounts {
    let read = |value: &Value| match value {
        Value::String(text) => milli(text),
        Value::Number(number) => milli(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let all = quantities.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), read(value)?))).collect()
}

/// As people write it: cpu and counts to the thousandth, bytes in the largest binary unit that says enough.
pub fn in_words(resource: &str, milli: i128) -> String {
    let is_bytes = ["memory", "storage", "hugepages"].iter().any(|part| resource.contains(part));
    if !is_bytes {
        return if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") };
    }
    let bytes = milli / 1000;
    let units = [("Gi", 1_i128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    match units.into_iter().find(|(_, size)| bytes >= 10 * size || bytes >= *size && bytes % size == 0) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

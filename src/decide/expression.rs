//! Expressions that users write over JSON (CEL): a condition that holds or not, or a text.
//!
//! The `cel` crate parses and evaluates; it has no bounds of its own. Here a text is bounded in length, depth and number of terms before
//! anything of it is evaluated, and what it is evaluated over in size. While it is evaluated it has a budget: each operand is paid for
//! by its size when it is handed to an operator, a function, a list or a loop, which is written into the expression once it is parsed
//! ([`paying`]). So there is an end to it however loops are nested and however values are doubled, without a clock.
//!
//! What is wrong with a text is found when it is parsed, unknown names and functions included. What goes wrong over some data (a field
//! that is not there, types that do not fit, NaN, too much work) is [`Unsure`], which says names and types and never values.

mod paying;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString,
    CelUInt, DYN_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::parser::PrattParser;
use cel::{Context, Env, ExecutionError};
use regex_lite::RegexBuilder;
use serde_json::Value;

use self::paying::{MATCHES, PAY, PLACE, PURSE, TURNS, paid};
use crate::letters::on_one_line;

/// Characters of a text.
pub const LONGEST: usize = 1024;
/// Terms (names, values, operators, calls) of an expression, with what its macros stand for.
const MOST_TERMS: usize = 400;
/// Expressions within each other. Evaluation takes stack for each.
const DEEPEST: usize = 32;
/// Values and texts in what an expression is evaluated over, and how deep they may be nested.
const MOST_NODES: usize = 100_000;
const DEEPEST_INPUT: usize = 100;
/// What one question about some data may spend: a unit for each value that is handed on, and for each [`TEXT_A_UNIT`] bytes of text in it.
const BUDGET: u64 = 300_000;
const TEXT_A_UNIT: usize = 32;
/// What each turn of a loop costs beside: it makes a scope.
const TURN_UNITS: u64 = 10;
/// What `matches` costs beside: a pattern is understood anew each time.
const PATTERN_UNITS: u64 = 500;
/// Bytes that an understood pattern may take.
const PATTERN_BYTES: usize = 8 * 1024;
/// What is given with a point (`2.0`) is a place in a list, or a key of a map, below this one: the first that is no `i64`.
const BEYOND_PLACES: f64 = 9_223_372_036_854_775_808.0;
const NO_PLACE: &str = "a place or a key is no whole number, or too large";
const NO_SUCH_PLACE: &str = "a list has no element at that place";
/// Characters of a text that an expression gives.
const LONGEST_RESULT: usize = 256;

/// Functions that may be called, beside the macros.
const FUNCTIONS: [&str; 17] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "type",
    "dyn",
    "orValue",
    "hasValue",
    "value",
    "or",
];
/// What operators are called once they are parsed.
const OPERATORS: [&str; 21] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::INDEX,
    operators::OPT_INDEX,
    operators::OPT_SELECT,
];
/// Names of types, which `type(x)` is compared with.
const TYPES: [&str; 10] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// An expression that can be evaluated.
#[derive(Clone, Debug)]
pub struct Expression {
    paid: IdedExpr,
}

/// Why an expression says nothing about some data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsure {
    /// More to look at, or deeper, than is looked at.
    #[error(
        "there is too much to look at: an expression is evaluated over at most {MOST_NODES} values, {DEEPEST_INPUT} deep"
    )]
    InputTooLarge,
    /// The budget is spent.
    #[error("the expression takes too much work: nest fewer loops, or loop over less")]
    TooMuchWork,
    /// Something else than was asked for.
    #[error("the expression gives {got}, not {wanted}")]
    Other {
        /// A type.
        got: &'static str,
        /// What it should give.
        wanted: &'static str,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

impl Expression {
    /// Understands a text about these names.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    ///
    /// ```
    /// use serde_json::json;
    /// use tidegate::decide::expression::Expression;
    ///
    /// let done = Expression::parse("object.status.phase == 'Completed'", &["object"]).unwrap();
    /// let backup = json!({"status": {"phase": "Completed"}});
    /// assert_eq!(done.holds(&[("object", &backup)]), Ok(true));
    /// assert!(done.holds(&[("object", &json!({}))]).is_err());
    /// assert!(Expression::parse("object.status.phase = 'Completed'", &["object"]).is_err());
    /// ```
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, String> {
        if text.chars().count() > LONGEST {
            return Err(format!("is longer than {LONGEST} characters"));
        }
        if text.trim().is_empty() {
            return Err("is empty".to_owned());
        }
        let parser = PrattParser::new()
            .max_recursion_depth(u16::try_from(DEEPEST).unwrap_or(u16::MAX))
            .max_expression_node_count(MOST_TERMS)
            .enable_optional_syntax(true);
        let parsed = parser.parse(text).map_err(|errors| {
            let first = errors.errors.iter().find(|error| error.pos.0 > 0).or(errors.errors.first());
            first.map_or_else(
                || "is not understood".to_owned(),
                |error| {
                    let problem = one_line(&error.msg, 160);
                    match error.pos {
                        (line, column) if line > 0 => format!("line {line}, column {column}: {problem}"),
                        _ => problem,
                    }
                },
            )
        })?;
        let mut look = Look { names: names.to_vec(), bound: Vec::new(), terms: 0 };
        look.at(&parsed, 0)?;
        Ok(Self { paid: paid(parsed) })
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn holds(&self, about: &[(&str, &Value)]) -> Result<bool, Unsure> {
        self.evaluated(about, &Purse::of(BUDGET), |value| match value.downcast_ref::<CelBool>() {
            Some(holds) => Ok(*holds.inner()),
            None => Err(Unsure::Other { got: kind(value), wanted: "true or false" }),
        })
    }

    /// The text that it gives, for what is left in a purse.
    ///
    /// # Errors
    /// When it gives none, or one that is longer than a moment or a name.
    pub fn text(&self, about: &[(&str, &Value)], purse: &Purse) -> Result<String, Unsure> {
        self.evaluated(about, purse, |value| match value.downcast_ref::<CelString<'_>>() {
            Some(text) if text.inner().chars().count() <= LONGEST_RESULT => Ok(text.inner().to_owned()),
            Some(_) => Err(Unsure::Other { got: "a long text", wanted: "a short one" }),
            None => Err(Unsure::Other { got: kind(value), wanted: "a text" }),
        })
    }

    fn evaluated<T>(
        &self,
        about: &[(&str, &Value)],
        purse: &Purse,
        read: impl FnOnce(&dyn Val) -> Result<T, Unsure>,
    ) -> Result<T, Unsure> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        let mut left = MOST_NODES;
        for (name, value) in about {
            context.add_variable_as_val(*name, input(value, DEEPEST_INPUT, &mut left)?);
        }
        context.add_variable_as_val(PURSE, Box::new(purse.clone()));
        let result = cel::Value::resolve_val(&self.paid, &context);
        // Whatever became of it: an error is swallowed where the other side of `||` is true, and then it is a matter of chance.
        if purse.is_empty() {
            return Err(Unsure::TooMuchWork);
        }
        match result {
            Ok(value) => read(value.as_ref()),
            Err(error) => Err(Unsure::Failed(said(&error))),
        }
    }
}

/// A look at what was parsed: how much it is, and whether everything in it is known.
struct Look<'t> {
    names: Vec<&'t str>,
    /// Variables of the loops around.
    bound: Vec<String>,
    terms: usize,
}

impl Look<'_> {
    fn at(&mut self, term: &IdedExpr, depth: usize) -> Result<(), String> {
        self.terms += 1;
        if self.terms > MOST_TERMS {
            return Err(format!("has more than {MOST_TERMS} terms"));
        }
        if depth > DEEPEST {
            return Err(format!("is nested more than {DEEPEST} deep (a + b + c is two deep)"));
        }
        let depth = depth + 1;
        match &term.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.known(name),
            Expr::Select(select) => self.at(&select.operand, depth),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
                    return Err(format!(
                        "there is no function {}: has, all, exists, exists_one, map, filter, {} can be called",
                        one_line(name, 40),
                        FUNCTIONS.join(", ")
                    ));
                }
                call.target
                    .iter()
                    .map(|target| &**target)
                    .chain(&call.args)
                    .try_for_each(|term| self.at(term, depth))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|term| self.at(term, depth)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.at(&entry.key, depth)?;
                    self.at(&entry.value, depth)
                }
                EntryExpr::StructField(_) => Err("makes an object of a type: write a map".to_owned()),
            }),
            Expr::Comprehension(each) => {
                self.at(&each.iter_range, depth)?;
                self.at(&each.accu_init, depth)?;
                let before = self.bound.len();
                self.bound.extend([each.accu_var.clone(), each.iter_var.clone()]);
                self.bound.extend(each.iter_var2.clone());
                let within = [&each.loop_cond, &each.loop_step, &each.result];
                within.into_iter().try_for_each(|term| self.at(term, depth))?;
                self.bound.truncate(before);
                Ok(())
            }
            Expr::Struct(_) => Err("makes an object of a type: write a map".to_owned()),
            Expr::Unspecified => Err("is not understood".to_owned()),
        }
    }

    fn known(&self, name: &str) -> Result<(), String> {
        let is_known = self.names.contains(&name)
            || TYPES.contains(&name)
            || self.bound.iter().any(|bound| bound.as_str() == name);
        if is_known {
            return Ok(());
        }
        Err(format!("there is no {} here: it is about {}", one_line(name, 40), self.names.join(", ")))
    }
}

/// What is left of a budget, of one evaluation or of several.
#[derive(Clone, Debug)]
pub struct Purse(Arc<AtomicU64>);

const PURSE_NAME: &str = "tidegate.purse";
static PURSE_TYPE: Type = Type::new_unspecified_type(PURSE_NAME);

impl Val for Purse {
    fn get_type(&self) -> &Type {
        &PURSE_TYPE
    }

    fn cel_type() -> &'static Type {
        &PURSE_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Purse {}

impl Purse {
    /// For one expression over many objects. Ten times what one evaluation has: all of them together are not much larger than one may be.
    pub fn for_many() -> Self {
        Self::of(10 * BUDGET)
    }

    fn of(units: u64) -> Self {
        Self(Arc::new(AtomicU64::new(units)))
    }

    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Takes that many units out; what is not there empties it.
    fn take(&self, units: u64) -> Result<(), ExecutionError> {
        // One thread: it is shared only with the values of its evaluations, which come one after the other.
        let left = self.0.load(Ordering::Relaxed).saturating_sub(units);
        self.0.store(left, Ordering::Relaxed);
        if left == 0 { Err(ExecutionError::function_error(PAY, "too much work")) } else { Ok(()) }
    }

    /// Pays for a value, and for all that is in it.
    fn pay(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        let text = |length: usize| u64::try_from(length / TEXT_A_UNIT).unwrap_or(u64::MAX);
        self.take(1)?;
        if let Some(string) = value.downcast_ref::<CelString<'_>>() {
            return self.take(text(string.inner().len()));
        }
        if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
            return self.take(text(bytes.inner().len()));
        }
        if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            return list.inner().iter().try_for_each(|value| self.pay(value.as_ref()));
        }
        if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            self.take(u64::try_from(map.inner().len()).unwrap_or(u64::MAX))?;
            return map.inner().values().try_for_each(|value| self.pay(value.as_ref()));
        }
        if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
            return optional.option().map_or(Ok(()), |value| self.pay(value));
        }
        match value.downcast_ref::<CelDouble>() {
            Some(number) if number.inner().is_nan() => {
                Err(ExecutionError::function_error(PAY, "a number is not a number (NaN)"))
            }
            _ => Ok(()),
        }
    }
}

/// Types and functions, the same for every evaluation.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let once = "the names cannot be written, so that nobody else has declared them";
    let purse = || Type::new_unspecified_type(PURSE_NAME);
    env.add_overload(PAY, "pay", vec![purse(), DYN_TYPE], pay).expect(once);
    env.add_overload(TURNS, "pay_turns", vec![purse(), DYN_TYPE], pay_turns).expect(once);
    env.add_overload(PLACE, "pay_place", vec![purse(), DYN_TYPE], pay_place).expect(once);
    env.add_overload(MATCHES, "pay_matches", vec![purse(), DYN_TYPE, DYN_TYPE], matches).expect(once);
    Arc::new(env)
});

fn pay<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (value, purse) = (args.pop(), args.pop());
    match (purse.as_ref().and_then(|purse| purse.downcast_ref::<Purse>()), value) {
        (Some(purse), Some(value)) => {
            purse.pay(value.as_ref())?;
            Ok(value)
        }
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

fn pay_turns<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    if let [purse, range] = args.as_slice()
        && let (Some(purse), Some(size)) = (purse.downcast_ref::<Purse>(), range.as_sizer())
    {
        let turns = u64::try_from(*size.size().inner()).unwrap_or_default();
        purse.take(turns.saturating_mul(TURN_UNITS))?;
    }
    pay(args)
}

/// What is no whole number that an `i64` holds is refused here: the crate's error has a copy of the whole list in it.
fn pay_place<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    if let [_, place] = args.as_slice()
        && let Some(number) = place.downcast_ref::<CelDouble>()
        && (number.inner().fract() != 0.0 || number.inner().abs() >= BEYOND_PLACES)
    {
        return Err(ExecutionError::function_error(PAY, NO_PLACE));
    }
    pay(args)
}

/// Not the crate's: that one takes any pattern, however large it is once understood.
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [purse, text, pattern] = args.as_slice() else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    let text_of =
        |value: &CowVal<'b, 'v>| value.downcast_ref::<CelString<'_>>().map(|text| text.inner().to_owned());
    let (Some(purse), Some(text), Some(pattern)) =
        (purse.downcast_ref::<Purse>(), text_of(text), text_of(pattern))
    else {
        return Err(ExecutionError::function_error("matches", "matches is for texts"));
    };
    purse.take(PATTERN_UNITS + 2 * u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    let wanted = RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES).build();
    let wanted = wanted.map_err(|_| {
        ExecutionError::function_error("matches", "a pattern is no regular expression, or too large")
    })?;
    Ok(CowVal::owned(CelBool::from(wanted.is_match(&text))))
}

/// JSON as values. Texts are not copied.
fn input<'v>(value: &'v Value, depth: usize, left: &mut usize) -> Result<Box<dyn Val + 'v>, Unsure> {
    if depth == 0 || *left == 0 {
        return Err(Unsure::InputTooLarge);
    }
    *left -= 1;
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(values) => {
            let values =
                values.iter().map(|value| input(value, depth - 1, left)).collect::<Result<Vec<_>, _>>()?;
            Box::new(CelList::from(values))
        }
        Value::Object(fields) => {
            let mut map = HashMap::with_capacity(fields.len());
            for (name, value) in fields {
                map.insert(CelMapKey::from(name.as_str()), input(value, depth - 1, left)?);
            }
            Box::new(CelMap::from(map))
        }
    })
}

/// What a value is, in words.
fn kind(value: &dyn Val) -> &'static str {
    const KINDS: [(&str, &str); 9] = [
        ("bool", "true or false"),
        ("int", "a number"),
        ("uint", "a number"),
        ("double", "a number"),
        ("string", "a text"),
        ("list", "a list"),
        ("map", "an object"),
        ("null_type", "null"),
        ("optional_type", "an optional: end it with orValue(...)"),
    ];
    let name = value.get_type().name();
    KINDS.iter().find(|(known, _)| *known == name).map_or("something else", |(_, words)| words)
}

/// An error without the values that it is about.
fn said(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => {
            format!(
                "there is no {}: write has(...), or .?{} and orValue(...)",
                one_line(name, 60),
                one_line(name, 60)
            )
        }
        ExecutionError::NoSuchOverload(overload) => one_line(&overload.to_string(), 160),
        ExecutionError::UnexpectedType { got, want } => {
            format!("something is of type {}, and should be {}", one_line(got, 40), one_line(want, 40))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number is too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => NO_SUCH_PLACE.to_owned(),
        ExecutionError::ValuesNotComparable(..) => "values that it compares cannot be compared".to_owned(),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!(
                "types do not fit each other ({operator}): convert one with int(...), double(...) or string(...)"
            )
        }
        ExecutionError::FunctionError { function, message }
            if [PAY, "matches"].contains(&function.as_str()) =>
        {
            message.clone()
        }
        ExecutionError::FunctionError { function, .. } => {
            format!("{}(...) cannot be told of that value", one_line(function, 40))
        }
        _ => "it cannot be evaluated over this".to_owned(),
    }
}

fn one_line(text: &str, most: usize) -> String {
    on_one_line(text).take(most).collect()
}

//! Where an expression pays: each operand is paid for before it is handed on, which is written into the expression once it is parsed. What a value
//! costs is not known here.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};

/// The name of the variable that holds the budget, and of the functions that take from it. None can be written in a text.
pub const PURSE: &str = "@purse";
pub const PAY: &str = "@pay";
pub const TURNS: &str = "@turns";
pub const MATCHES: &str = "@matches";
pub const PLACE: &str = "@place";

/// The same expression, in which each operand is paid for before it is handed on.
///
/// What stays unpaid costs nothing that grows: conditions, what is selected from, and the accumulators of loops, which are numbers,
/// conditions, or lists that grow in place and whose elements are paid for.
pub fn paid(term: IdedExpr) -> IdedExpr {
    let IdedExpr { id, expr } = term;
    let all = |terms: Vec<IdedExpr>| terms.into_iter().map(handed_on).collect::<Vec<_>>();
    let expr = match expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Struct(_) => expr,
        Expr::Select(mut select) => {
            *select.operand = paid(*select.operand);
            Expr::Select(select)
        }
        Expr::Call(mut call) => {
            let name = call.func_name.as_str();
            let is_condition = [
                operators::CONDITIONAL,
                operators::LOGICAL_AND,
                operators::LOGICAL_OR,
                operators::LOGICAL_NOT,
                operators::NOT_STRICTLY_FALSE,
            ];
            if is_condition.contains(&name) || grows(&call) {
                call.args = call.args.into_iter().map(paid).collect();
            } else if name == operators::INDEX {
                let mut args = call.args.into_iter();
                call.args = args.next().map(paid).into_iter().chain(args.map(place)).collect();
            } else {
                let target = call.target.take().map(|target| handed_on(*target));
                let args = all(call.args);
                if call.func_name == "matches" {
                    call.func_name = MATCHES.to_owned();
                    call.args = std::iter::once(purse(id)).chain(target).chain(args).collect();
                } else {
                    call.target = target.map(Box::new);
                    call.args = args;
                }
            }
            Expr::Call(call)
        }
        Expr::List(mut list) => {
            list.elements = all(list.elements);
            Expr::List(list)
        }
        Expr::Map(mut map) => {
            map.entries = map.entries.into_iter().map(paid_entry).collect();
            Expr::Map(map)
        }
        Expr::Comprehension(mut each) => {
            // An element is copied for each turn: together they are the range.
            each.iter_range = paid_by(TURNS, each.iter_range);
            // Loops that bear errors in their turns must still end when the budget does.
            each.loop_cond = handed_on(each.loop_cond);
            each.loop_step = paid(each.loop_step);
            each.result = paid(each.result);
            Expr::Comprehension(each)
        }
    };
    IdedExpr { id, expr }
}

/// Whether it is the step of `map` or `filter`: the list so far, and one of what comes to it. The crate appends to the former in place where it finds a
/// list that stands there as such; where there is anything else, it copies the list so far at each turn.
fn grows(call: &CallExpr) -> bool {
    let [so_far, more] = call.args.as_slice() else { return false };
    call.func_name == operators::ADD && is_accumulator(so_far) && matches!(more.expr, Expr::List(_))
}

fn is_accumulator(term: &IdedExpr) -> bool {
    matches!(&term.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn paid_entry(entry: IdedEntryExpr) -> IdedEntryExpr {
    let expr = match entry.expr {
        EntryExpr::MapEntry(mut entry) => {
            entry.key = handed_on(entry.key);
            entry.value = handed_on(entry.value);
            EntryExpr::MapEntry(entry)
        }
        EntryExpr::StructField(field) => EntryExpr::StructField(field),
    };
    IdedEntryExpr { id: entry.id, expr }
}

/// An operand, paid for. Values that stand in the text, and accumulators, are not.
fn handed_on(term: IdedExpr) -> IdedExpr {
    let is_free = matches!(term.expr, Expr::Literal(_)) || is_accumulator(&term);
    if is_free { term } else { paid_by(PAY, term) }
}

/// The place of something in what it is selected from.
fn place(term: IdedExpr) -> IdedExpr {
    match &term.expr {
        Expr::Literal(LiteralValue::Int(_) | LiteralValue::String(_)) => term,
        _ => paid_by(PLACE, term),
    }
}

fn paid_by(function: &str, term: IdedExpr) -> IdedExpr {
    let id = term.id;
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![purse(id), paid(term)] };
    IdedExpr { id, expr: Expr::Call(call) }
}

fn purse(id: u64) -> IdedExpr {
    IdedExpr { id, expr: Expr::Ident(PURSE.to_owned()) }
}

#[cfg(test)]
mod tests {
    use cel::common::ast::ComprehensionExpr;
    use cel::parser::PrattParser;

    use super::*;

    /// The loops in it.
    fn loops<'e>(term: &'e IdedExpr, found: &mut Vec<&'e ComprehensionExpr>) {
        match &term.expr {
            Expr::Comprehension(each) => {
                found.push(each);
                [&each.iter_range, &each.loop_step].into_iter().for_each(|term| loops(term, found));
            }
            Expr::Call(call) => {
                let terms = call.target.iter().map(|target| &**target).chain(&call.args);
                terms.for_each(|term| loops(term, found));
            }
            Expr::List(list) => list.elements.iter().for_each(|term| loops(term, found)),
            _ => {}
        }
    }

    /// What a loop appends in place, as the crate finds it (its `AppendStep`).
    fn appended(each: &ComprehensionExpr) -> Option<&[IdedExpr]> {
        let is_so_far = |term: &IdedExpr| matches!(&term.expr, Expr::Ident(name) if *name == each.accu_var);
        let step = match &each.loop_step.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => match call.args.as_slice() {
                [_, step, otherwise] if is_so_far(otherwise) => step,
                _ => return None,
            },
            _ => &each.loop_step,
        };
        let Expr::Call(CallExpr { func_name, target: None, args }) = &step.expr else { return None };
        let [so_far, more] = args.as_slice() else { return None };
        let is_one = func_name == operators::ADD && is_so_far(so_far) && is_so_far(&each.result);
        match (&more.expr, &each.loop_cond.expr) {
            (Expr::List(list), Expr::Literal(_)) if is_one => Some(list.elements.as_slice()),
            _ => None,
        }
    }

    #[test]
    fn the_lists_of_map_and_filter_grow_in_place_and_what_comes_to_them_is_paid_for() {
        for (text, number) in [
            ("l.map(x, x)", 1),
            ("l.filter(x, x > 1)", 1),
            ("l.map(x, x > 1, x + x)", 1),
            ("l.map(x, l.filter(y, y == x).map(z, [z, z]))", 3),
            ("size(l.filter(x, l.map(y, y > x, y + x).size() > 1)) > 0", 2),
        ] {
            let whole = paid(PrattParser::new().parse(text).expect("an expression"));
            let mut found = Vec::new();
            loops(&whole, &mut found);
            assert_eq!(found.len(), number, "{text}: {found:?}");
            for each in found {
                let elements = appended(each).unwrap_or_else(|| panic!("{text}: {each:?}"));
                let is_paid =
                    |term: &IdedExpr| matches!(&term.expr, Expr::Call(call) if call.func_name == PAY);
                assert!(elements.len() == 1 && elements.iter().all(is_paid), "{text}: {elements:?}");
            }
        }
    }
}

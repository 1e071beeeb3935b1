//! Where an expression pays: each operand is paid for before it is handed on, which is written into the expression once it is parsed. What a value
//! costs is not known here.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, operators};

/// The name of the variable that holds the budget, and of the functions that take from it. None can be written in a text.
pub const PURSE: &str = "@purse";
pub const PAY: &str = "@pay";
pub const TURNS: &str = "@turns";
pub const MATCHES: &str = "@matches";

/// The same expression, in which each operand is paid for before it is handed on.
///
/// What stays unpaid costs nothing that grows: conditions, what is selected from, and the accumulators of loops, which are numbers,
/// conditions, or lists whose elements are paid for.
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
            if is_condition.contains(&name) {
                call.args = call.args.into_iter().map(paid).collect();
            } else if name == operators::INDEX {
                let mut args = call.args.into_iter();
                call.args = args.next().map(paid).into_iter().chain(args.map(handed_on)).collect();
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
    let is_free = match &term.expr {
        Expr::Literal(_) => true,
        Expr::Ident(name) => name.starts_with('@'),
        _ => false,
    };
    if is_free {
        return term;
    }
    paid_by(PAY, term)
}

fn paid_by(function: &str, term: IdedExpr) -> IdedExpr {
    let id = term.id;
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![purse(id), paid(term)] };
    IdedExpr { id, expr: Expr::Call(call) }
}

fn purse(id: u64) -> IdedExpr {
    IdedExpr { id, expr: Expr::Ident(PURSE.to_owned()) }
}

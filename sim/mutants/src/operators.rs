//! The machine-made mutants of a source: one operator at one place each. A mutant is a replacement in the text, so that
//! nothing else about the file changes.
//!
//! Left out are tests, what macros are given (among it the messages of asserts), and the texts of `Display` and `Debug`.

use proc_macro2::Span;
use std::{fmt, ops::Range};
use syn::{
    spanned::Spanned,
    visit::{self, Visit},
    *,
};

/// One way of getting code wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// A condition is the other way round.
    Negate,
    /// One side of `&&` or `||` is missing.
    DropOperand,
    /// `<` is `<=`, and so on.
    ShiftComparison,
    /// `<` is `>`, `==` is `!=`, and so on.
    TurnComparison,
    /// The smaller is taken for the larger.
    SwapMinMax,
    /// `+` is `-`.
    SwapPlusMinus,
    /// A number is one too large, or one too small.
    ShiftConstant,
    /// A call or an assignment is missing.
    DropStatement,
    /// An element of a chain of iterators is missing.
    DropLink,
    /// A function does nothing, and returns the simplest value of its type.
    ReturnEarly,
    /// There is nothing where there should be something.
    SomeToNone,
    /// The last comes first.
    TurnOrder,
    /// An arm of a match does what its neighbour does.
    MergeArms,
    /// A tie is no longer broken.
    ShortenKey,
}

impl Operator {
    /// Stable: it stands in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Negate => "negate",
            Operator::DropOperand => "drop-operand",
            Operator::ShiftComparison => "shift-comparison",
            Operator::TurnComparison => "turn-comparison",
            Operator::SwapMinMax => "swap-min-max",
            Operator::SwapPlusMinus => "swap-plus-minus",
            Operator::ShiftConstant => "shift-constant",
            Operator::DropStatement => "drop-statement",
            Operator::DropLink => "drop-link",
            Operator::ReturnEarly => "return-early",
            Operator::SomeToNone => "some-to-none",
            Operator::TurnOrder => "turn-order",
            Operator::MergeArms => "merge-arms",
            Operator::ShortenKey => "shorten-key",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One operator at one place of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub operator: Operator,
    /// The function or constant around it, with its type: `Worker::restore`.
    pub function: String,
    /// Counted from 1.
    pub line: usize,
    /// The bytes that are replaced.
    pub range: Range<usize>,
    /// What they are replaced by.
    pub by: String,
}

impl Change {
    /// The text of the whole source with the change in it.
    pub fn apply(&self, text: &str) -> String {
        [&text[..self.range.start], &self.by, &text[self.range.end..]].concat()
    }
}

/// All changes of a source, in the order of the text.
///
/// # Errors
/// It is not Rust.
pub fn changes(text: &str) -> Result<Vec<Change>> {
    let file = parse_file(text)?;
    let mut finder = Finder { text, around: Vec::new(), found: Vec::new() };
    finder.visit_file(&file);
    let mut found = finder.found;
    found.sort_by(|a, b| {
        (a.range.start, a.operator, a.range.end, &a.by).cmp(&(b.range.start, b.operator, b.range.end, &b.by))
    });
    Ok(found)
}

struct Finder<'t> {
    text: &'t str,
    /// The types and functions around the present place, outermost first.
    around: Vec<String>,
    found: Vec<Change>,
}

impl Finder<'_> {
    fn replace(&mut self, operator: Operator, at: Span, by: impl Into<String>) {
        let (range, line) = (at.byte_range(), at.start().line);
        self.push(operator, line, range, by.into());
    }

    fn push(&mut self, operator: Operator, line: usize, range: Range<usize>, by: String) {
        self.found.push(Change { operator, function: self.around.join("::"), line, range, by });
    }

    fn text_of(&self, node: &impl Spanned) -> String {
        self.text[node.span().byte_range()].to_string()
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.around.push(name);
        visit(self);
        self.around.pop();
    }

    fn condition(&mut self, condition: &Expr) {
        if !binds(condition) {
            let by = format!("!({})", self.text_of(condition));
            self.replace(Operator::Negate, condition.span(), by);
        }
    }

    /// What a function returns that does nothing.
    fn return_early(&mut self, output: &ReturnType, block: &Block) {
        let Some(first) = block.stmts.first() else { return };
        let values: &[&str] = match output {
            ReturnType::Default => &["return;"],
            ReturnType::Type(_, ty) => match self.text_of(ty).as_str() {
                "bool" => &["return false;", "return true;"],
                ty if ty.starts_with("Option<") => &["return None;"],
                ty if ty.starts_with("Vec<") => &["return Vec::new();"],
                ty if ty.starts_with("Result<()") => &["return Ok(());"],
                _ => &[],
            },
        };
        let start = block.brace_token.span.open().byte_range().end;
        for value in values {
            // A body that is that value already.
            if self.text_of(block).trim_matches(['{', '}', ' ', '\n'])
                != value.trim_start_matches("return ").trim_end_matches(';')
            {
                self.push(Operator::ReturnEarly, first.span().start().line, start..start, format!(" {value}"));
            }
        }
    }

    fn function(&mut self, name: &Ident, output: &ReturnType, block: &Block, visit: impl FnOnce(&mut Self)) {
        self.within(name.to_string(), |finder| {
            finder.return_early(output, block);
            visit(finder);
        });
    }

    fn method(&mut self, call: &ExprMethodCall) {
        let name = call.method.to_string();
        let swapped = match name.as_str() {
            "min" => "max",
            "max" => "min",
            "min_by_key" => "max_by_key",
            "max_by_key" => "min_by_key",
            _ => "",
        };
        if !swapped.is_empty() {
            self.replace(Operator::SwapMinMax, call.method.span(), swapped);
        }
        let turned = match name.as_str() {
            "first" => "last",
            "last" => "first",
            "pop_first" => "pop_last",
            "pop_last" => "pop_first",
            "first_key_value" => "last_key_value",
            "last_key_value" => "first_key_value",
            "pop_front" => "pop_back",
            "front" => "back",
            _ => "",
        };
        if !turned.is_empty() {
            self.replace(Operator::TurnOrder, call.method.span(), turned);
        }
        let other_sign = match name.as_str() {
            "saturating_add" => "saturating_sub",
            "saturating_sub" => "saturating_add",
            _ => "",
        };
        if !other_sign.is_empty() {
            self.replace(Operator::SwapPlusMinus, call.method.span(), other_sign);
        }
        let links = ["filter", "rev", "skip", "skip_while", "take", "take_while", "chain", "or", "or_else", "dedup"];
        if links.contains(&name.as_str()) && !(name == "take" && call.args.is_empty()) {
            let range = call.receiver.span().byte_range().end..call.span().byte_range().end;
            self.push(Operator::DropLink, call.method.span().start().line, range, String::new());
        }
        self.key(call, &name);
    }

    /// A sort key that is a tuple, as the value of a closure or on both sides of a comparison.
    fn key(&mut self, call: &ExprMethodCall, name: &str) {
        let by_key = ["sort_by_key", "sort_unstable_by_key", "min_by_key", "max_by_key"].contains(&name);
        if by_key
            && let Some(Expr::Closure(closure)) = call.args.first()
            && let Expr::Tuple(tuple) = &*closure.body
            && let Some(by) = self.shortened(tuple)
        {
            self.replace(Operator::ShortenKey, tuple.span(), by);
        }
        if name == "cmp"
            && let Expr::Tuple(left) = strip(&call.receiver)
            && let Some(Expr::Reference(right)) = call.args.first()
            && let Expr::Tuple(right) = strip(&right.expr)
            && let (Some(left), Some(right)) = (self.shortened(left), self.shortened(right))
        {
            self.replace(Operator::ShortenKey, call.span(), format!("{left}.cmp(&{right})"));
        }
    }

    /// The tuple without its last element.
    fn shortened(&self, tuple: &ExprTuple) -> Option<String> {
        let kept = tuple.elems.len().checked_sub(1).filter(|kept| *kept > 0)?;
        let kept: Vec<String> = tuple.elems.iter().take(kept).map(|element| self.text_of(element)).collect();
        Some(format!("({},)", kept.join(", ")))
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(it) => &it.attrs,
            Item::Mod(it) => &it.attrs,
            Item::Impl(it) => &it.attrs,
            Item::Const(it) => &it.attrs,
            _ => &Vec::new(),
        };
        if !of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let of_trait = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        if of_trait.is_some_and(|name| name.ident == "Display" || name.ident == "Debug") {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|name| name.ident.to_string()).unwrap_or_default(),
            other => self.text_of(other),
        };
        self.within(name, |finder| visit::visit_item_impl(finder, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig.ident, &item.sig.output, &item.block, |finder| visit::visit_item_fn(finder, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !of_tests(&item.attrs) {
            let visit = |finder: &mut Self| visit::visit_impl_item_fn(finder, item);
            self.function(&item.sig.ident, &item.sig.output, &item.block, visit);
        }
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.within(item.ident.to_string(), |finder| visit::visit_item_const(finder, item));
    }

    fn visit_expr_if(&mut self, expr: &'ast ExprIf) {
        self.condition(&expr.cond);
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_while(&mut self, expr: &'ast ExprWhile) {
        self.condition(&expr.cond);
        visit::visit_expr_while(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast ExprMatch) {
        for pair in expr.arms.windows(2) {
            let bodies = [&pair[0].body, &pair[1].body].map(|body| self.text_of(body));
            if pair.iter().any(|arm| binds_names(&arm.pat)) || bodies[0] == bodies[1] {
                continue;
            }
            let [first, second] = bodies;
            self.replace(Operator::MergeArms, pair[0].body.span(), second);
            self.replace(Operator::MergeArms, pair[1].body.span(), first);
        }
        visit::visit_expr_match(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        if let Some((_, guard)) = &arm.guard {
            self.condition(guard);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_binary(&mut self, expr: &'ast ExprBinary) {
        let at = expr.op.span();
        match expr.op {
            BinOp::And(_) | BinOp::Or(_) => {
                for kept in [&expr.left, &expr.right] {
                    let by = self.text_of(kept);
                    self.replace(Operator::DropOperand, expr.span(), by);
                }
            }
            BinOp::Add(_) => self.replace(Operator::SwapPlusMinus, at, "-"),
            BinOp::Sub(_) => self.replace(Operator::SwapPlusMinus, at, "+"),
            BinOp::AddAssign(_) => self.replace(Operator::SwapPlusMinus, at, "-="),
            BinOp::SubAssign(_) => self.replace(Operator::SwapPlusMinus, at, "+="),
            BinOp::Eq(_) => self.replace(Operator::TurnComparison, at, "!="),
            BinOp::Ne(_) => self.replace(Operator::TurnComparison, at, "=="),
            _ => {}
        }
        let shifted = match expr.op {
            BinOp::Lt(_) => ["<=", ">"],
            BinOp::Le(_) => ["<", ">="],
            BinOp::Gt(_) => [">=", "<"],
            BinOp::Ge(_) => [">", "<="],
            _ => return visit::visit_expr_binary(self, expr),
        };
        self.replace(Operator::ShiftComparison, at, shifted[0]);
        self.replace(Operator::TurnComparison, at, shifted[1]);
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_lit(&mut self, expr: &'ast ExprLit) {
        if let Lit::Int(literal) = &expr.lit
            && let Ok(value) = literal.base10_parse::<u64>()
        {
            let suffix = literal.suffix();
            for value in [value.checked_add(1), value.checked_sub(1)].into_iter().flatten() {
                self.replace(Operator::ShiftConstant, literal.span(), format!("{value}{suffix}"));
            }
        }
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        if let Stmt::Expr(expr, Some(_)) = stmt {
            let call = if let Expr::Try(it) = expr { &it.expr } else { expr };
            let assigns = matches!(expr, Expr::Assign(_))
                || matches!(expr, Expr::Binary(it) if matches!(it.op, BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::BitOrAssign(_)));
            if assigns || matches!(call, Expr::MethodCall(_) | Expr::Call(_)) {
                self.replace(Operator::DropStatement, stmt.span(), "");
            }
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr_call(&mut self, expr: &'ast ExprCall) {
        if let Expr::Path(path) = &*expr.func
            && path.path.is_ident("Some")
        {
            self.replace(Operator::SomeToNone, expr.span(), "None");
        }
        visit::visit_expr_call(self, expr);
    }

    fn visit_expr_method_call(&mut self, expr: &'ast ExprMethodCall) {
        self.method(expr);
        visit::visit_expr_method_call(self, expr);
    }
}

/// Whether something is compiled for tests only.
fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg") && attribute.parse_args::<Path>().is_ok_and(|it| it.is_ident("test")))
    })
}

/// Whether a condition has a `let` in it.
fn binds(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(it) => binds(&it.left) || binds(&it.right),
        _ => false,
    }
}

/// Whether a pattern gives something a name.
fn binds_names(pattern: &Pat) -> bool {
    struct Names(bool);
    impl<'ast> Visit<'ast> for Names {
        fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
            // The name of a constant or a variant is no binding.
            self.0 |= pattern.ident.to_string().starts_with(|first: char| first.is_lowercase());
        }
    }
    let mut names = Names(false);
    names.visit_pat(pattern);
    names.0
}

fn strip(expr: &Expr) -> &Expr {
    if let Expr::Paren(inner) = expr { strip(&inner.expr) } else { expr }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator makes of a function with this body, each in one line.
    fn made(operator: Operator, body: &str) -> Vec<String> {
        let text = format!("fn f(a: u32, b: u32) -> u32 {{{body}}}");
        let found = changes(&text).expect("it is Rust");
        let of_it = found.iter().filter(|change| change.operator == operator);
        let body = |change: &Change| {
            let text = change.apply(&text);
            text[text.find('{').expect("a body") + 1..text.len() - 1].to_string()
        };
        of_it.map(body).collect()
    }

    #[test]
    fn a_condition_is_negated_unless_it_binds() {
        assert_eq!(made(Operator::Negate, "if a == b { 1 } else { 2 }"), ["if !(a == b) { 1 } else { 2 }"]);
        assert_eq!(
            made(Operator::Negate, "match a { 1 if c() => 1, _ => 2 }"),
            ["match a { 1 if !(c()) => 1, _ => 2 }"]
        );
        assert!(made(Operator::Negate, "if let Some(a) = c && a { 1 } else { 2 }").is_empty());
    }

    #[test]
    fn an_operand_is_dropped() {
        assert_eq!(made(Operator::DropOperand, "a && b"), ["a", "b"]);
        assert_eq!(made(Operator::DropOperand, "a || b"), ["a", "b"]);
    }

    #[test]
    fn a_comparison_is_shifted_and_turned() {
        assert_eq!(made(Operator::ShiftComparison, "a < b"), ["a <= b"]);
        assert_eq!(made(Operator::ShiftComparison, "a >= b"), ["a > b"]);
        assert!(made(Operator::ShiftComparison, "a == b").is_empty());
        assert_eq!(made(Operator::TurnComparison, "a < b"), ["a > b"]);
        assert_eq!(made(Operator::TurnComparison, "a == b"), ["a != b"]);
    }

    #[test]
    fn min_and_max_and_plus_and_minus_are_swapped() {
        assert_eq!(made(Operator::SwapMinMax, "a.min(b)"), ["a.max(b)"]);
        assert_eq!(made(Operator::SwapPlusMinus, "a + b"), ["a - b"]);
        assert_eq!(made(Operator::SwapPlusMinus, "a -= b;"), ["a += b;"]);
        assert_eq!(made(Operator::SwapPlusMinus, "a.saturating_sub(b)"), ["a.saturating_add(b)"]);
    }

    #[test]
    fn a_constant_is_one_more_or_less_and_keeps_its_type() {
        assert_eq!(made(Operator::ShiftConstant, "5u32"), ["4u32", "6u32"]);
        assert_eq!(made(Operator::ShiftConstant, "a.0 + 0"), ["a.0 + 1"]);
        let change = &changes("const MAX: u32 = 1_000;").expect("it is Rust")[1];
        assert_eq!((change.by.as_str(), change.function.as_str()), ("999", "MAX"));
    }

    #[test]
    fn a_statement_is_dropped() {
        assert_eq!(made(Operator::DropStatement, "a.b(); 1"), [" 1"]);
        assert_eq!(made(Operator::DropStatement, "check(a)?; 1"), [" 1"]);
        assert_eq!(made(Operator::DropStatement, "a = b; 1"), [" 1"]);
        assert!(made(Operator::DropStatement, "let c = a; assert!(b()); return 1;").is_empty());
    }

    #[test]
    fn a_link_of_a_chain_is_dropped() {
        assert_eq!(made(Operator::DropLink, "a.iter().filter(|it| b).rev().sum()").len(), 2);
        assert_eq!(made(Operator::DropLink, "a.iter().skip(1).sum()"), ["a.iter().sum()"]);
        assert!(made(Operator::DropLink, "a.take()").is_empty());
    }

    #[test]
    fn a_function_returns_early_with_the_simplest_value() {
        let made = |text: &str| {
            let found = changes(text).expect("it is Rust");
            let early = found.iter().filter(|change| change.operator == Operator::ReturnEarly);
            early.map(|change| change.apply(text)).collect::<Vec<_>>()
        };
        assert_eq!(made("fn f() { g() }"), ["fn f() { return; g() }"]);
        assert_eq!(made("fn f() -> Option<u8> { g() }"), ["fn f() -> Option<u8> { return None; g() }"]);
        assert_eq!(made("fn f() -> bool { g() }").len(), 2);
        assert_eq!(made("fn f() -> bool { true }"), ["fn f() -> bool { return false; true }"]);
        assert!(made("fn f() -> u32 { g() }").is_empty() && made("fn f() {}").is_empty());
    }

    #[test]
    fn something_becomes_nothing() {
        assert_eq!(made(Operator::SomeToNone, "g(Some(a))"), ["g(None)"]);
    }

    #[test]
    fn an_order_is_turned() {
        assert_eq!(made(Operator::TurnOrder, "a.first()"), ["a.last()"]);
        assert_eq!(made(Operator::TurnOrder, "a.pop_front()"), ["a.pop_back()"]);
    }

    #[test]
    fn arms_without_bindings_are_merged() {
        let body = "match a { None => 1, Some(_) => 2 }";
        assert_eq!(
            made(Operator::MergeArms, body),
            ["match a { None => 2, Some(_) => 2 }", "match a { None => 1, Some(_) => 1 }"]
        );
        assert!(made(Operator::MergeArms, "match a { None => 1, Some(b) => 2 }").is_empty());
        assert!(made(Operator::MergeArms, "match a { None => 1, _ => 1 }").is_empty());
    }

    #[test]
    fn a_sort_key_is_shortened() {
        assert_eq!(made(Operator::ShortenKey, "a.sort_by_key(|it| (it.b, it.c))"), ["a.sort_by_key(|it| (it.b,))"]);
        assert_eq!(made(Operator::ShortenKey, "(a, b, c).cmp(&(d, e, f))"), ["(a, b,).cmp(&(d, e,))"]);
        assert!(made(Operator::ShortenKey, "a.sort_by_key(|it| (it,))").is_empty());
    }

    #[test]
    fn tests_macros_and_texts_for_people_are_left_out() {
        let text = "#[cfg(test)] mod tests { fn f() { g(); } }\n#[test] fn f() { g(); }\n\
                    impl fmt::Display for A { fn fmt(&self) { g(); } }\nfn f() -> u8 { assert!(a < b); }";
        assert_eq!(changes(text).expect("it is Rust"), []);
    }

    #[test]
    fn a_change_says_where_it_is() {
        let text = "impl A {\n    fn f() {\n        é();\n        g();\n    }\n}\n";
        let found = changes(text).expect("it is Rust");
        let last = found.last().expect("a call is dropped");
        assert_eq!((last.function.as_str(), last.line, &text[last.range.clone()]), ("A::f", 4, "g();"));
    }
}

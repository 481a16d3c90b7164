//! Tokens → statements: what all clauses share. The clauses themselves are in the modules below.

mod definition;
mod expression;
mod pattern;
mod select;

pub(super) use expression::{level, level_of};

use super::ast::{Annotation, Body, Expr, ExprKind, Ident, Module, Span, Statement};
use super::token::{Token, TokenKind, tokens};
use crate::error::{Error, Fault, nearest};
use crate::value::Value;

/// How deep parentheses, subqueries and patterns may nest: deeper than any hand would write, and far from the stack's end.
pub const NESTING_LIMIT: usize = 64;

/// How many operators a statement may have: a bound on the depth of a chain like `a + b + c ..`.
pub const OPERATOR_LIMIT: usize = 512;

pub(super) type Result<T> = std::result::Result<T, Box<Fault>>;

/// Words that are no names unless between back-ticks.
const RESERVED: [&str; 62] = [
    "and",
    "any",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "create",
    "define",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "every",
    "exists",
    "false",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "insert",
    "into",
    "irstream",
    "is",
    "istream",
    "join",
    "left",
    "like",
    "limit",
    "match_recognize",
    "measures",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "output",
    "partition",
    "regexp",
    "retain",
    "right",
    "rstream",
    "select",
    "set",
    "some",
    "table",
    "then",
    "true",
    "unidirectional",
    "until",
    "when",
    "where",
    "while",
    "all",
    "pattern",
    "merge",
];

/// Whether a word is reserved.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// Words after which a clause begins; to guess what a stray word was meant to be.
const CLAUSES: [&str; 9] = [
    "from",
    "where",
    "group",
    "having",
    "output",
    "order",
    "limit",
    "match_recognize",
    "select",
];

/// Parses a module of statements separated by `;`.
///
/// # Errors
/// The first statement that cannot be parsed.
pub fn parse(text: &str) -> std::result::Result<Module, Error> {
    let statements = parse_each(text).into_iter().collect::<std::result::Result<_, _>>()?;
    Ok(Module { statements })
}

/// Parses each statement of a module for itself, so that one that is wrong does not lose the others.
#[must_use]
pub fn parse_each(text: &str) -> Vec<std::result::Result<Statement, Error>> {
    let tokens = match tokens(text) {
        Ok(tokens) => tokens,
        Err(fault) => return vec![Err(fault.locate(text, None))],
    };
    let mut statements = Vec::new();
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
        operators: 0,
    };
    loop {
        while parser.take_symbol(";") {}
        if parser.peek() == &TokenKind::End {
            return statements;
        }
        let first = parser.at;
        parser.depth = 0;
        parser.operators = 0;
        match parser.statement() {
            Ok(statement) => statements.push(Ok(statement)),
            Err(fault) => {
                let name = name_of(&tokens[first..]);
                statements.push(Err(fault.locate(text, name.as_deref())));
                while !matches!(parser.peek(), TokenKind::Symbol(";") | TokenKind::End) {
                    parser.at += 1;
                }
            }
        }
    }
}

/// Finds `@name('x')` in a statement that could not be parsed.
fn name_of(tokens: &[Token]) -> Option<String> {
    let statement = tokens.split(|token| token.kind == TokenKind::Symbol(";")).next()?;
    statement.windows(4).find_map(
        |window| match [&window[0].kind, &window[1].kind, &window[2].kind, &window[3].kind] {
            [
                TokenKind::Symbol("@"),
                TokenKind::Word(word),
                TokenKind::Symbol("("),
                TokenKind::Literal(Value::Text(name)),
            ] if word.eq_ignore_ascii_case("name") => Some(name.as_ref().to_owned()),
            _ => None,
        },
    )
}

/// Where in the tokens the parse stands.
pub(super) struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
    operators: usize,
}

impl Parser<'_> {
    fn token(&self) -> &Token {
        // The last token is `End` and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn peek_at(&self, ahead: usize) -> &TokenKind {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].kind
    }

    fn span(&self) -> Span {
        self.token().span
    }

    /// The span from a place to the end of the last token taken.
    fn span_from(&self, start: Span) -> Span {
        match self.at.checked_sub(1).and_then(|last| self.tokens.get(last)) {
            Some(last) if last.span.end >= start.start => start.to(last.span),
            _ => start,
        }
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(found) if *found == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), TokenKind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn is_symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), TokenKind::Symbol(found) if *found == symbol)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn symbol(&mut self, symbol: &str) -> Result<()> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&[symbol]))
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) {
            Ok(())
        } else {
            Err(self.unexpected(&[word]))
        }
    }

    /// The fault of a token that fits nowhere.
    fn unexpected(&self, expected: &[&str]) -> Box<Fault> {
        let token = self.token();
        let message = match &token.kind {
            TokenKind::End => "Unexpected end of statement".to_owned(),
            TokenKind::Symbol(";") => "Unexpected end of statement near ';'".to_owned(),
            TokenKind::Word(word) if is_reserved(word) => {
                format!("Incorrect syntax near '{word}' (a reserved keyword)")
            }
            TokenKind::Word(word) | TokenKind::QuotedWord(word) => format!("Incorrect syntax near '{word}'"),
            TokenKind::Literal(value) => format!("Incorrect syntax near '{value}'"),
            TokenKind::Network(..) => "Incorrect syntax near an address range".to_owned(),
            TokenKind::Symbol(symbol) => format!("Incorrect syntax near '{symbol}'"),
        };
        let hint = self.meant(expected).or_else(|| match expected {
            [] => None,
            [one] => Some(format!("expected '{one}'")),
            [many @ .., last] => Some(format!("expected '{}' or '{last}'", many.join("', '"))),
        });
        Fault::syntax(token.span, message).with_hint(hint)
    }

    /// A guess what this word, or the one before, should have been.
    fn meant(&self, expected: &[&str]) -> Option<String> {
        let words = expected
            .iter()
            .copied()
            .filter(|word| word.starts_with(|c: char| c.is_alphabetic()));
        if let TokenKind::Word(found) = self.peek()
            && let Some(meant) = nearest(found, words.chain(CLAUSES))
            && !meant.eq_ignore_ascii_case(found)
        {
            return Some(format!("did you mean '{meant}'?"));
        }
        if let Some(Token {
            kind: TokenKind::Word(before),
            ..
        }) = self.at.checked_sub(1).and_then(|at| self.tokens.get(at))
            && !is_reserved(before)
            && let Some(meant) = nearest(before, CLAUSES)
        {
            return Some(format!("was '{before}' before it meant to be '{meant}'?"));
        }
        None
    }

    /// Runs a parser one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= NESTING_LIMIT {
            return Err(Fault::syntax(
                self.span(),
                format!("Nesting is deeper than {NESTING_LIMIT} levels"),
            ));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn count_operator(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > OPERATOR_LIMIT {
            return Err(Fault::syntax(
                self.span(),
                format!("The statement has more than {OPERATOR_LIMIT} operators"),
            )
            .with_hint(Some("write a list of alternatives as 'x in (a, b, ..)'".to_owned())));
        }
        Ok(())
    }

    /// A name that is not reserved.
    fn ident(&mut self) -> Result<Ident> {
        let span = self.span();
        let name = match self.peek() {
            TokenKind::Word(word) if !is_reserved(word) => word.clone(),
            TokenKind::QuotedWord(word) => word.clone(),
            _ => return Err(self.unexpected(&[])),
        };
        self.advance();
        Ok(Ident { name, span })
    }

    /// Whether a name that is not reserved comes next.
    fn at_ident(&self) -> bool {
        match self.peek() {
            TokenKind::Word(word) => !is_reserved(word),
            TokenKind::QuotedWord(_) => true,
            _ => false,
        }
    }

    /// A name that may be a reserved word, as after `@` or `as`.
    fn any_word(&mut self) -> Result<Ident> {
        let span = self.span();
        let (TokenKind::Word(name) | TokenKind::QuotedWord(name)) = self.peek().clone() else {
            return Err(self.unexpected(&[]));
        };
        self.advance();
        Ok(Ident { name, span })
    }

    /// `as NAME`, or a bare name.
    fn alias(&mut self) -> Result<Option<Ident>> {
        if self.take_word("as") || self.at_ident() {
            self.ident().map(Some)
        } else {
            Ok(None)
        }
    }

    /// One or more of something, separated by commas.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.take_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn statement(&mut self) -> Result<Statement> {
        let start = self.span();
        let mut annotations = Vec::new();
        while self.is_symbol("@") {
            annotations.push(self.annotation()?);
        }
        let context = if self.is_word("context") && !self.is_symbol_at(1, ".") {
            self.advance();
            Some(self.ident()?)
        } else {
            None
        };
        let body = self.body()?;
        if !matches!(self.peek(), TokenKind::Symbol(";") | TokenKind::End) {
            return Err(self.unexpected(&[]));
        }
        Ok(Statement {
            annotations,
            context,
            body,
            span: self.span_from(start),
        })
    }

    fn annotation(&mut self) -> Result<Annotation> {
        let start = self.span();
        self.symbol("@")?;
        let mut name = self.any_word()?;
        name.span = self.span_from(start);
        if ["priority", "drop"]
            .iter()
            .any(|refused| name.name.eq_ignore_ascii_case(refused))
        {
            return Err(Fault::unsupported(
                name.span,
                format!("annotation @{}", name.name),
                "leave it out: the order between statements is no contract",
            ));
        }
        let mut value = None;
        if self.take_symbol("(") {
            if !self.is_symbol(")") {
                // `@tag(name='a', value='b')`: the last value stands for all; nothing but @name is interpreted.
                loop {
                    if matches!(self.peek(), TokenKind::Word(_)) && self.is_symbol_at(1, "=") {
                        self.advance();
                        self.advance();
                    }
                    value = Some(self.annotation_value()?);
                    if !self.take_symbol(",") {
                        break;
                    }
                }
            }
            self.symbol(")")?;
        }
        Ok(Annotation { name, value })
    }

    fn annotation_value(&mut self) -> Result<Value> {
        let value = match self.peek() {
            TokenKind::Literal(value) => value.clone(),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("true") => Value::Bool(true),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("false") => Value::Bool(false),
            TokenKind::Word(word) => Value::text(word),
            _ => return Err(self.unexpected(&[])),
        };
        self.advance();
        Ok(value)
    }

    fn body(&mut self) -> Result<Body> {
        let span = self.span();
        let refuse = |what: &str, instead: &str| Err(Fault::unsupported(span, what, instead));
        if self.is_word("select") || self.is_word("insert") || (self.is_word("into") && self.is_word_at(1, "table")) {
            return Ok(Body::Select(Box::new(self.select_statement()?)));
        }
        if self.take_word("create") {
            return self.create();
        }
        if self.take_word("on") {
            return self.on_trigger(span).map(|on| Body::On(Box::new(on)));
        }
        for (word, instead) in [
            ("import", "there are no classes; use the functions of the language"),
            (
                "expression",
                "write the expression out, or name constants with 'create constant variable'",
            ),
            ("module", "a file is a module; leave the line out"),
            ("uses", "a file is a module; leave the line out"),
            (
                "update",
                "insert the changed columns into another stream with 'insert into'",
            ),
            ("delete", "use 'on EVENT delete from WINDOW'"),
            ("merge", "use 'on EVENT merge WINDOW'"),
            (
                "inlined_class",
                "there are no classes; use the functions of the language",
            ),
        ] {
            if self.is_word(word) {
                return refuse(&format!("'{word}' as a statement"), instead);
            }
        }
        Err(self.unexpected(&["select", "insert", "create", "on"]))
    }
}

/// A node of the tree.
fn expr(kind: ExprKind, span: Span) -> Expr {
    Expr { kind, span }
}

//! The clauses of a select.

use super::{Parser, Result};
use crate::error::Fault;
use crate::syntax::ast::{
    Expr, ExprKind, FromItem, GroupItem, Ident, InsertInto, JoinKind, OrderItem, Output, OutputAfter, OutputKind,
    OutputWhen, Retain, Select, SelectItem, Source, StreamSelector, View,
};
use crate::syntax::token::TokenKind;

/// Namespaces of the old spelling of views: `.win:time(..)`.
const NAMESPACES: [&str; 5] = ["win", "std", "ext", "stat", "rank"];

impl Parser<'_> {
    /// A select statement with all its clauses.
    pub(super) fn select_statement(&mut self) -> Result<Select> {
        let start = self.span();
        let mut into_table = self.table_fed()?;
        let insert = if self.is_word("insert") {
            Some(self.insert_into()?)
        } else {
            None
        };
        if into_table.is_none() {
            into_table = self.table_fed()?;
        }
        let mut select = self.select_body(start)?;
        select.insert = insert;
        select.into_table = into_table;
        Ok(select)
    }

    fn table_fed(&mut self) -> Result<Option<Ident>> {
        if self.is_word("into") && self.is_word_at(1, "table") {
            self.advance();
            self.advance();
            return self.ident().map(Some);
        }
        Ok(None)
    }

    /// A select as subquery.
    pub(super) fn subselect(&mut self) -> Result<Select> {
        self.nested(|parser| {
            let start = parser.span();
            parser.select_body(start)
        })
    }

    pub(super) fn insert_into(&mut self) -> Result<InsertInto> {
        self.word("insert")?;
        let selector = self.selector().unwrap_or_default();
        self.word("into")?;
        let target = self.ident()?;
        let mut columns = Vec::new();
        if self.take_symbol("(") {
            columns = self.list(Self::ident)?;
            self.symbol(")")?;
        }
        Ok(InsertInto {
            selector,
            target,
            columns,
        })
    }

    fn selector(&mut self) -> Option<StreamSelector> {
        for (word, selector) in [
            ("irstream", StreamSelector::Both),
            ("rstream", StreamSelector::Remove),
            ("istream", StreamSelector::Insert),
        ] {
            // `istream()` is a function.
            if !self.is_symbol_at(1, "(") && self.take_word(word) {
                return Some(selector);
            }
        }
        None
    }

    fn select_body(&mut self, start: crate::syntax::ast::Span) -> Result<Select> {
        self.word("select")?;
        let selector = self.selector().unwrap_or_default();
        let distinct = self.take_word("distinct");
        let items = self.list(Self::select_item)?;
        if !self.is_word("from") {
            return Err(self.unexpected(&["from"]));
        }
        self.advance();
        let from = self.stream_list()?;
        let mut select = Select {
            selector,
            distinct,
            items,
            from,
            ..Select::default()
        };
        let span = self.span();
        if self.take_word("match_recognize") {
            select.match_recognize = Some(Box::new(self.match_recognize(span)?));
        }
        self.row_clauses(&mut select)?;
        select.span = self.span_from(start);
        Ok(select)
    }

    /// Everything from `where` on.
    pub(super) fn row_clauses(&mut self, select: &mut Select) -> Result<()> {
        if self.take_word("where") {
            select.condition = Some(self.expression()?);
        }
        if self.take_word("group") {
            self.word("by")?;
            select.group_by = self.list(Self::group_item)?;
        }
        if self.take_word("having") {
            select.having = Some(self.expression()?);
        }
        if self.is_word("output") {
            select.output = Some(self.output()?);
        }
        if self.take_word("order") {
            self.word("by")?;
            select.order_by = self.list(Self::order_item)?;
        }
        if self.take_word("limit") {
            let first = self.expression()?;
            if self.take_word("offset") {
                select.limit = Some(first);
                select.offset = Some(self.expression()?);
            } else if self.take_symbol(",") {
                select.offset = Some(first);
                select.limit = Some(self.expression()?);
            } else {
                select.limit = Some(first);
            }
        }
        Ok(())
    }

    pub(super) fn select_item(&mut self) -> Result<SelectItem> {
        let span = self.span();
        if self.take_symbol("*") {
            return Ok(SelectItem::Wildcard(span));
        }
        if self.at_ident() && self.is_symbol_at(1, ".") && self.is_symbol_at(2, "*") {
            let stream = self.ident()?;
            self.advance();
            self.advance();
            let alias = self.item_alias()?;
            return Ok(SelectItem::StreamWildcard { stream, alias });
        }
        let expr = self.expression()?;
        if self.is_symbol("=>") {
            return Err(Fault::unsupported(
                self.span(),
                "a lambda",
                "use a subquery or an aggregate with a filter",
            ));
        }
        Ok(SelectItem::Expr {
            expr,
            alias: self.item_alias()?,
        })
    }

    /// `as NAME`, where the name may be any word, or a bare name.
    fn item_alias(&mut self) -> Result<Option<Ident>> {
        if self.take_word("as") {
            return self.any_word().map(Some);
        }
        if self.at_ident() {
            self.ident().map(Some)
        } else {
            Ok(None)
        }
    }

    fn stream_list(&mut self) -> Result<Vec<FromItem>> {
        let mut items = vec![self.stream_item(JoinKind::Comma)?];
        loop {
            let kind = if self.take_symbol(",") {
                JoinKind::Comma
            } else if self.is_word("join") || self.is_word("inner") {
                self.take_word("inner");
                JoinKind::Inner
            } else if self.take_word("left") {
                JoinKind::Left
            } else if self.take_word("right") {
                JoinKind::Right
            } else if self.take_word("full") {
                JoinKind::Full
            } else {
                return Ok(items);
            };
            if kind != JoinKind::Comma {
                self.take_word("outer");
                self.word("join")?;
            }
            let mut item = self.stream_item(kind)?;
            if kind != JoinKind::Comma && self.take_word("on") {
                item.on = Some(self.expression()?);
            }
            items.push(item);
        }
    }

    fn stream_item(&mut self, join: JoinKind) -> Result<FromItem> {
        let start = self.span();
        let source = self.source()?;
        let views = self.views()?;
        let alias = if self.is_word("retain") { None } else { self.alias()? };
        let unidirectional = self.take_word("unidirectional");
        let mut retain = None;
        if self.take_word("retain") {
            self.symbol("-")?;
            retain = Some(if self.take_word("union") {
                Retain::Union
            } else {
                self.word("intersection")?;
                Retain::Intersection
            });
        }
        Ok(FromItem {
            join,
            source,
            views,
            alias,
            unidirectional,
            retain,
            on: None,
            span: self.span_from(start),
        })
    }

    pub(super) fn source(&mut self) -> Result<Source> {
        if self.is_word("pattern") {
            return Ok(Source::Pattern(self.pattern_source()?));
        }
        self.filter().map(Source::Filter)
    }

    pub(super) fn views(&mut self) -> Result<Vec<View>> {
        let mut views = Vec::new();
        loop {
            let start = self.span();
            let name = if self.take_symbol("#") {
                let mut name = self.any_word()?;
                if NAMESPACES.iter().any(|space| name.name.eq_ignore_ascii_case(space)) && self.take_symbol(":") {
                    name = self.any_word()?;
                }
                name
            } else if self.take_symbol(".") {
                let space = self.any_word()?;
                if !NAMESPACES.iter().any(|known| space.name.eq_ignore_ascii_case(known)) {
                    return Err(Fault::invalid(
                        space.span,
                        format!(
                            "View name '{space}' is not known: a view is written '#time(10 sec)' or '.win:time(10 sec)'"
                        ),
                    ));
                }
                self.symbol(":")?;
                self.any_word()?
            } else {
                return Ok(views);
            };
            let name = Ident {
                name: name.name.to_ascii_lowercase(),
                span: name.span,
            };
            let mut arguments = Vec::new();
            // What stands behind a window that takes no arguments is the column list of `create window`.
            let takes_none = matches!(name.name.as_str(), "keepall" | "lastevent" | "firstevent");
            let columns = takes_none && self.is_symbol("(") && !self.is_symbol_at(1, ")");
            if !columns && self.take_symbol("(") && !self.take_symbol(")") {
                arguments = self.list(Self::view_argument)?;
                self.symbol(")")?;
            }
            views.push(View {
                name,
                arguments,
                span: self.span_from(start),
            });
        }
    }

    /// An argument of a view: `sort` and `rank` take `x desc`, which is kept as a call of `desc`.
    fn view_argument(&mut self) -> Result<Expr> {
        let start = self.span();
        let value = self.period_or_expression()?;
        let direction = ["asc", "desc"].into_iter().find(|word| self.take_word(word));
        Ok(match direction {
            None => value,
            Some(direction) => {
                let call = crate::syntax::ast::Call {
                    name: Ident {
                        name: direction.to_owned(),
                        span: self.span_from(start),
                    },
                    distinct: false,
                    arguments: vec![crate::syntax::ast::Argument::Expr(value)],
                    property: None,
                };
                super::expr(ExprKind::Call(call), self.span_from(start))
            }
        })
    }

    fn group_item(&mut self) -> Result<GroupItem> {
        self.nested(|parser| {
            let start = parser.span();
            for (word, make) in [
                ("rollup", GroupItem::Rollup as fn(Vec<GroupItem>, _) -> GroupItem),
                ("cube", GroupItem::Cube),
            ] {
                if parser.is_word(word) && parser.is_symbol_at(1, "(") {
                    parser.advance();
                    parser.advance();
                    let items = parser.list(Self::group_combination)?;
                    parser.symbol(")")?;
                    return Ok(make(items, parser.span_from(start)));
                }
            }
            if parser.is_word("grouping") && parser.is_word_at(1, "sets") {
                parser.advance();
                parser.advance();
                parser.symbol("(")?;
                let items = parser.list(Self::group_combination)?;
                parser.symbol(")")?;
                return Ok(GroupItem::GroupingSets(items, parser.span_from(start)));
            }
            parser.expression().map(GroupItem::Expr)
        })
    }

    fn group_combination(&mut self) -> Result<GroupItem> {
        let start = self.span();
        if self.is_symbol("(") {
            self.advance();
            let keys = if self.is_symbol(")") {
                Vec::new()
            } else {
                self.list(Self::expression)?
            };
            self.symbol(")")?;
            return Ok(GroupItem::Combined(keys, self.span_from(start)));
        }
        self.group_item()
    }

    fn order_item(&mut self) -> Result<OrderItem> {
        let expr = self.expression()?;
        let descending = self.take_word("desc");
        if !descending {
            self.take_word("asc");
        }
        Ok(OrderItem { expr, descending })
    }

    fn output(&mut self) -> Result<Output> {
        let start = self.span();
        self.word("output")?;
        let mut after = None;
        if self.take_word("after") {
            let amount = self.period()?;
            after = Some(if self.take_word("events") {
                OutputAfter::Events(amount)
            } else {
                OutputAfter::Period(amount)
            });
        }
        let mut kind = OutputKind::Default;
        for (word, named) in [
            ("all", OutputKind::All),
            ("first", OutputKind::First),
            ("last", OutputKind::Last),
            ("snapshot", OutputKind::Snapshot),
        ] {
            if self.take_word(word) {
                kind = named;
                break;
            }
        }
        let when = if self.take_word("every") {
            let amount = self.period()?;
            if self.take_word("events") {
                OutputWhen::Events(amount)
            } else if matches!(amount.kind, ExprKind::Period(_)) {
                OutputWhen::Every(amount)
            } else {
                return Err(self.unexpected(&["sec", "min", "events"]));
            }
        } else if self.take_word("at") {
            self.symbol("(")?;
            let fields = self.cron()?;
            self.symbol(")")?;
            OutputWhen::At(fields)
        } else if self.take_word("when") {
            if self.take_word("terminated") {
                OutputWhen::Terminated
            } else {
                OutputWhen::Condition(self.expression()?)
            }
        } else if after.is_some() && kind == OutputKind::Default {
            OutputWhen::Always
        } else {
            return Err(self.unexpected(&["every", "all", "first", "last", "snapshot", "when", "after"]));
        };
        if matches!(when, OutputWhen::Terminated | OutputWhen::Condition(_)) && self.is_word("then") {
            return Err(Fault::unsupported(
                self.span(),
                "'then set' in an output clause",
                "leave it out",
            ));
        }
        let mut and_when_terminated = false;
        if self.is_word("and") && self.is_word_at(1, "when") {
            self.advance();
            self.advance();
            self.word("terminated")?;
            and_when_terminated = true;
        }
        if self.is_word("and") && when == OutputWhen::Terminated {
            return Err(Fault::unsupported(
                self.span(),
                "a condition on 'when terminated'",
                "use 'having'",
            ));
        }
        Ok(Output {
            after,
            kind,
            when,
            and_when_terminated,
            span: self.span_from(start),
        })
    }

    /// The name of a type, perhaps with its package: `long`, `java.lang.String`.
    pub(super) fn type_name(&mut self) -> Result<Ident> {
        let start = self.span();
        let mut name = self.any_word()?;
        while self.take_symbol(".") {
            name = self.any_word()?;
        }
        name.span = self.span_from(start);
        if self.is_symbol("[") {
            return Err(Fault::unsupported(
                self.span(),
                "an array type",
                "declare one column for each value",
            ));
        }
        Ok(name)
    }

    /// Whether what follows is the end of a statement.
    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek(), TokenKind::Symbol(";") | TokenKind::End)
    }
}

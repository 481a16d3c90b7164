//! `create ..` and `on ..`.

use super::{Parser, Result};
use crate::error::Fault;
use crate::syntax::ast::{
    Assignment, Body, ColumnDefinition, ContextKind, ContextPoint, CreateContext, CreateSchema, CreateTable,
    CreateVariable, CreateWindow, FromItem, HashStream, JoinKind, KeyedStream, MergeAction, MergeClause, OnAction,
    OnTrigger, Select, Source, Span, TableColumn, TableColumnKind, WindowColumns,
};
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    /// What follows `create`.
    pub(super) fn create(&mut self) -> Result<Body> {
        let span = self.span();
        for (word, instead) in [
            (
                "expression",
                "write the expression out, or name constants with 'create constant variable'",
            ),
            ("dataflow", "deploy statements; the adapters carry events in and out"),
            (
                "index",
                "leave it out: joins and lookups on equality are indexed by themselves",
            ),
            (
                "inlined_class",
                "there are no classes; use the functions of the language",
            ),
        ] {
            if self.is_word(word) {
                return Err(Fault::unsupported(span, format!("'create {word}'"), instead));
            }
        }
        if self.take_word("window") {
            return self.create_window().map(Body::CreateWindow);
        }
        if self.take_word("table") {
            return self.create_table().map(Body::CreateTable);
        }
        if self.take_word("context") {
            return self.create_context().map(Body::CreateContext);
        }
        for kind in ["map", "objectarray", "json", "avro", "xml"] {
            if self.is_word(kind) && self.is_word_at(1, "schema") {
                self.advance();
            }
        }
        if self.take_word("schema") {
            return self.create_schema().map(Body::CreateSchema);
        }
        let constant = self.take_word("constant") || self.take_word("const");
        if self.take_word("variable") {
            if self.is_symbol_at(1, "[") {
                return self.constant_list(constant).map(Body::CreateVariable);
            }
            let type_name = self.type_name()?;
            let name = self.ident()?;
            let value = if self.take_symbol("=") {
                Some(self.expression()?)
            } else {
                None
            };
            return Ok(Body::CreateVariable(CreateVariable {
                constant,
                type_name,
                name,
                value,
                list: None,
            }));
        }
        Err(self.unexpected(&["window", "table", "context", "variable", "constant", "schema"]))
    }

    /// `TYPE[] NAME = {a, b}`, behind `create constant variable`.
    fn constant_list(&mut self, constant: bool) -> Result<CreateVariable> {
        let type_name = self.any_word()?;
        let brackets = self.span();
        self.symbol("[")?;
        self.symbol("]")?;
        if !constant {
            return Err(Fault::unsupported(
                brackets,
                "a list that changes",
                "write 'create constant variable', or keep the values in a table",
            ));
        }
        let name = self.ident()?;
        self.symbol("=")?;
        self.symbol("{")?;
        let values = if self.is_symbol("}") {
            Vec::new()
        } else {
            self.list(Self::expression)?
        };
        self.symbol("}")?;
        Ok(CreateVariable {
            constant,
            type_name,
            name,
            value: None,
            list: Some(values),
        })
    }

    fn create_window(&mut self) -> Result<CreateWindow> {
        let name = self.ident()?;
        let views = self.views()?;
        if self.is_word("retain") {
            return Err(Fault::unsupported(
                self.span(),
                "'retain-union' and 'retain-intersection'",
                "use one window",
            ));
        }
        self.take_word("as");
        let columns = if self.is_symbol("(") {
            WindowColumns::Columns(self.column_definitions()?)
        } else if self.take_word("select") {
            let items = self.list(Self::select_item)?;
            self.word("from")?;
            WindowColumns::Select(items, self.ident()?)
        } else {
            WindowColumns::Like(self.ident()?)
        };
        if self.is_word("insert") {
            return Err(Fault::unsupported(
                self.span(),
                "'insert' of another window's rows",
                "fill the window with 'insert into'",
            ));
        }
        Ok(CreateWindow { name, views, columns })
    }

    fn column_definitions(&mut self) -> Result<Vec<ColumnDefinition>> {
        self.symbol("(")?;
        let columns = self.list(|parser| {
            let name = parser.ident()?;
            Ok(ColumnDefinition {
                name,
                type_name: parser.type_name()?,
            })
        })?;
        self.symbol(")")?;
        Ok(columns)
    }

    fn create_schema(&mut self) -> Result<CreateSchema> {
        let name = self.ident()?;
        self.take_word("as");
        let (columns, like) = if self.is_symbol("(") {
            (self.column_definitions()?, None)
        } else {
            (Vec::new(), Some(self.ident()?))
        };
        if !self.at_end() {
            return Err(Fault::unsupported(
                self.span(),
                "a schema with 'copyfrom', 'inherits' or time stamps",
                "write out its columns",
            ));
        }
        Ok(CreateSchema { name, columns, like })
    }

    fn create_table(&mut self) -> Result<CreateTable> {
        let name = self.ident()?;
        self.take_word("as");
        self.symbol("(")?;
        let columns = self.list(|parser| {
            let name = parser.any_word()?;
            let kind = if parser.is_symbol_at(1, "(") {
                TableColumnKind::Aggregation(parser.expression()?)
            } else {
                TableColumnKind::Type(parser.type_name()?)
            };
            let primary_key = parser.take_word("primary");
            if primary_key {
                parser.word("key")?;
            }
            while parser.is_symbol("@") {
                parser.annotation()?;
            }
            Ok(TableColumn {
                name,
                kind,
                primary_key,
            })
        })?;
        self.symbol(")")?;
        Ok(CreateTable { name, columns })
    }

    fn create_context(&mut self) -> Result<CreateContext> {
        let name = self.ident()?;
        self.take_word("as");
        let span = self.span();
        let kind = if self.take_word("partition") {
            self.take_word("by");
            let streams = self.list(|parser| {
                let mut keys = vec![parser.ident()?];
                while parser.take_word("and") || parser.take_symbol(",") {
                    keys.push(parser.ident()?);
                }
                parser.word("from")?;
                Ok(KeyedStream {
                    keys,
                    from: parser.filter()?,
                })
            })?;
            if self.is_word("initiated") {
                return Err(Fault::unsupported(
                    self.span(),
                    "'initiated by' of a context by key",
                    "put the condition into the filter, or use 'create context C initiated by distinct(key) ..'",
                ));
            }
            let end = if self.take_word("terminated") {
                self.take_word("by");
                Some(self.context_point()?)
            } else {
                None
            };
            ContextKind::Keyed { streams, end }
        } else if self.take_word("start") {
            let start = self.context_point()?;
            let end = if self.take_word("end") {
                Some(self.context_point()?)
            } else {
                None
            };
            ContextKind::StartEnd { start, end }
        } else if self.take_word("coalesce") {
            self.take_word("by");
            let streams = self.list(|parser| {
                let function = parser.ident()?;
                parser.symbol("(")?;
                let arguments = parser.list(Self::expression)?;
                parser.symbol(")")?;
                parser.word("from")?;
                Ok(HashStream {
                    function,
                    arguments,
                    from: parser.filter()?,
                })
            })?;
            self.word("granularity")?;
            let granularity = self.expression()?;
            ContextKind::Hash {
                streams,
                granularity,
                preallocate: self.take_word("preallocate"),
            }
        } else if self.is_word("group") {
            let categories = self.list(|parser| {
                if parser.take_word("group") {
                    parser.take_word("by");
                }
                let condition = parser.expression()?;
                parser.word("as")?;
                Ok((condition, parser.any_word()?))
            })?;
            self.word("from")?;
            ContextKind::Category {
                categories,
                from: self.filter()?,
            }
        } else if self.take_word("initiated") {
            self.take_word("by");
            let distinct = if self.is_word("distinct") && self.is_symbol_at(1, "(") {
                self.advance();
                self.symbol("(")?;
                let keys = self.list(Self::expression)?;
                self.symbol(")")?;
                keys
            } else {
                Vec::new()
            };
            let start = self.context_point()?;
            let end = if self.take_word("terminated") {
                self.take_word("by");
                Some(self.context_point()?)
            } else {
                None
            };
            ContextKind::Initiated { distinct, start, end }
        } else if self.is_word("context") {
            return Err(Fault::unsupported(
                span,
                "a nested context",
                "partition by several keys instead",
            ));
        } else {
            return Err(self.unexpected(&["partition", "start", "initiated", "coalesce", "group"]));
        };
        Ok(CreateContext { name, kind })
    }

    fn context_point(&mut self) -> Result<ContextPoint> {
        let span = self.span();
        if self.take_symbol("@") {
            self.word("now")?;
            if self.is_word("and") {
                return Err(Fault::unsupported(
                    self.span(),
                    "'@now and ..'",
                    "use '@now' or the pattern alone",
                ));
            }
            return Ok(ContextPoint::Now);
        }
        if self.take_word("after") {
            return Ok(ContextPoint::After(self.period()?));
        }
        if self.is_word("pattern") {
            return Ok(ContextPoint::Pattern(self.pattern_source()?));
        }
        if self.take_symbol("(") {
            let fields = self.cron()?;
            self.symbol(")")?;
            return Ok(ContextPoint::At(fields));
        }
        if !self.at_ident() {
            return Err(Fault::syntax(span, "Incorrect syntax in a context").with_hint(Some(
                "a context begins and ends with '@now', 'after T', an event 'Flow(..) as f' or 'pattern [..]'"
                    .to_owned(),
            )));
        }
        let filter = self.filter()?;
        // `end` and `terminated` begin the next part and are no names.
        let alias = if self.is_word("terminated") {
            None
        } else {
            self.alias()?
        };
        Ok(ContextPoint::Filter { filter, alias })
    }

    /// What follows `on`.
    pub(super) fn on_trigger(&mut self, start: Span) -> Result<OnTrigger> {
        let trigger = self.source()?;
        let alias = if self.is_word("delete") || self.is_word("update") {
            None
        } else {
            self.alias()?
        };
        let action = self.on_action()?;
        Ok(OnTrigger {
            trigger,
            alias,
            action,
            span: self.span_from(start),
        })
    }

    fn on_action(&mut self) -> Result<OnAction> {
        if self.take_word("delete") {
            self.word("from")?;
            let target = self.ident()?;
            let alias = self.alias()?;
            return Ok(OnAction::Delete {
                target,
                alias,
                condition: self.where_clause()?,
            });
        }
        if self.take_word("set") {
            return self.list(Self::assignment).map(OnAction::Set);
        }
        if self.take_word("update") {
            let target = self.ident()?;
            let alias = self.alias()?;
            self.word("set")?;
            let assignments = self.list(Self::assignment)?;
            return Ok(OnAction::Update {
                target,
                alias,
                assignments,
                condition: self.where_clause()?,
            });
        }
        if self.take_word("merge") {
            self.take_word("into");
            let target = self.ident()?;
            let alias = self.alias()?;
            let condition = self.where_clause()?;
            if self.is_word("insert") {
                let actions = vec![self.merge_action()?];
                let clauses = vec![MergeClause {
                    matched: false,
                    condition: None,
                    actions,
                }];
                return Ok(OnAction::Merge {
                    target,
                    alias,
                    condition,
                    clauses,
                });
            }
            let mut clauses = Vec::new();
            while self.take_word("when") {
                clauses.push(self.merge_clause()?);
            }
            if clauses.is_empty() {
                return Err(self.unexpected(&["when"]));
            }
            return Ok(OnAction::Merge {
                target,
                alias,
                condition,
                clauses,
            });
        }
        if self.is_word("select") || self.is_word("insert") {
            return self.on_select();
        }
        Err(self.unexpected(&["delete", "select", "merge", "update", "set", "insert"]))
    }

    fn where_clause(&mut self) -> Result<Option<crate::syntax::ast::Expr>> {
        if self.take_word("where") {
            self.expression().map(Some)
        } else {
            Ok(None)
        }
    }

    fn on_select(&mut self) -> Result<OnAction> {
        let start = self.span();
        let insert = if self.is_word("insert") {
            Some(self.insert_into()?)
        } else {
            None
        };
        self.word("select")?;
        let delete = (self.is_word("and") && self.is_word_at(1, "delete")) || self.is_word("delete");
        if delete {
            self.take_word("and");
            self.advance();
        }
        let distinct = self.take_word("distinct");
        let items = self.list(Self::select_item)?;
        let mut select = Select {
            insert,
            distinct,
            items,
            ..Select::default()
        };
        if self.take_word("from") {
            let span = self.span();
            let filter = self.filter()?;
            let alias = self.alias()?;
            select.from.push(FromItem {
                join: JoinKind::Comma,
                source: Source::Filter(filter),
                views: Vec::new(),
                alias,
                unidirectional: false,
                retain: None,
                on: None,
                span: self.span_from(span),
            });
        }
        self.row_clauses(&mut select)?;
        if self.is_word("insert") || (self.is_word("output") && matches!(self.peek_at(1), TokenKind::Word(_))) {
            return Err(Fault::unsupported(
                self.span(),
                "splitting a stream ('insert into' more than once)",
                "write one statement for each 'insert into'",
            ));
        }
        select.span = self.span_from(start);
        Ok(OnAction::Select {
            select: Box::new(select),
            delete,
        })
    }

    fn assignment(&mut self) -> Result<Assignment> {
        let mut target = vec![self.ident()?];
        while self.take_symbol(".") {
            target.push(self.any_word()?);
        }
        self.symbol("=")?;
        Ok(Assignment {
            target,
            value: self.expression()?,
        })
    }

    fn merge_clause(&mut self) -> Result<MergeClause> {
        let matched = !self.take_word("not");
        self.word("matched")?;
        let condition = if self.take_word("and") {
            Some(self.expression()?)
        } else {
            None
        };
        let mut actions = Vec::new();
        while self.take_word("then") {
            actions.push(self.merge_action()?);
        }
        if actions.is_empty() {
            return Err(self.unexpected(&["then"]));
        }
        Ok(MergeClause {
            matched,
            condition,
            actions,
        })
    }

    fn merge_action(&mut self) -> Result<MergeAction> {
        if self.take_word("delete") {
            return Ok(MergeAction::Delete {
                condition: self.where_clause()?,
            });
        }
        if self.take_word("update") {
            self.word("set")?;
            let assignments = self.list(Self::assignment)?;
            return Ok(MergeAction::Update {
                assignments,
                condition: self.where_clause()?,
            });
        }
        self.word("insert")?;
        let target = if self.take_word("into") {
            Some(self.ident()?)
        } else {
            None
        };
        let mut columns = Vec::new();
        if self.take_symbol("(") {
            columns = self.list(Self::ident)?;
            self.symbol(")")?;
        }
        self.word("select")?;
        let items = self.list(Self::select_item)?;
        Ok(MergeAction::Insert {
            target,
            columns,
            items,
            condition: self.where_clause()?,
        })
    }
}

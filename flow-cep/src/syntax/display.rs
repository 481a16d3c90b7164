//! Statements → text. What is printed parses to the same tree.

use std::fmt::{self, Display, Formatter, Write};

use super::ast::{
    Annotation, Argument, Assignment, BinaryOp, Body, Call, ColumnDefinition, ContextKind, ContextPoint, CreateContext,
    CreateTable, CreateWindow, Expr, ExprKind, Filter, FromItem, GroupItem, Guard, Ident, InSet, JoinKind,
    MatchRecognize, MatchSkip, MergeAction, MergeClause, Module, OnAction, OnTrigger, OrderItem, Output, OutputAfter,
    OutputKind, OutputWhen, PathPart, Pattern, PatternKind, PatternSource, QuantifiedSet, Retain, RowPattern, Select,
    SelectItem, Source, Statement, StreamSelector, TableColumnKind, TimeUnit, UnaryOp, View, WindowColumns,
};
use super::parser::{is_reserved, level, level_of};
use crate::value::{Value, address_of};

/// A name, between back-ticks where it would not be read as one.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        let plain = characters
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_' || c == '$')
            && characters.all(|c| c.is_alphanumeric() || c == '_' || c == '$')
            && !is_reserved(self.0);
        if plain {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0)
        }
    }
}

fn name(ident: &Ident) -> Name<'_> {
    Name(&ident.name)
}

/// Items with a separator between them.
fn join<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    separator: &str,
    mut show: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        show(f, item)?;
    }
    Ok(())
}

fn comma<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    join(f, items, ", ", |f, item| item.fmt(f))
}

fn text(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('\'')?;
    for character in text.chars() {
        match character {
            '\'' => f.write_str("\\'")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            _ => f.write_char(character)?,
        }
    }
    f.write_char('\'')
}

fn literal(f: &mut Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Bool(value) => write!(f, "{value}"),
        Value::Int(value) => write!(f, "{value}"),
        Value::Long(value) => write!(f, "{value}L"),
        Value::Double(value) => write!(f, "{value:?}"),
        Value::Text(value) => text(f, value),
        Value::Address(value) => match address_of(*value) {
            std::net::IpAddr::V4(v4) => write!(f, "{v4}"),
            std::net::IpAddr::V6(v6) => write!(f, "'{v6}'"),
        },
        // The parser makes no such literals.
        Value::List(values) | Value::Row(values) => join(f, values, ", ", literal),
    }
}

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for statement in &self.statements {
            writeln!(f, "{statement};")?;
        }
        Ok(())
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for annotation in &self.annotations {
            write!(f, "{annotation} ")?;
        }
        if let Some(context) = &self.context {
            write!(f, "context {} ", name(context))?;
        }
        self.body.fmt(f)
    }
}

impl Display for Annotation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.name.name)?;
        if let Some(value) = &self.value {
            f.write_char('(')?;
            literal(f, value)?;
            f.write_char(')')?;
        }
        Ok(())
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Select(select) => select.fmt(f),
            Self::CreateWindow(window) => window.fmt(f),
            Self::CreateTable(table) => table.fmt(f),
            Self::CreateContext(context) => context.fmt(f),
            Self::CreateVariable(variable) => {
                let constant = if variable.constant { "constant " } else { "" };
                let brackets = if variable.list.is_some() { "[]" } else { "" };
                write!(
                    f,
                    "create {constant}variable {}{brackets} {}",
                    name(&variable.type_name),
                    name(&variable.name)
                )?;
                if let Some(list) = &variable.list {
                    write!(f, " = {{")?;
                    for (at, value) in list.iter().enumerate() {
                        let comma = if at == 0 { "" } else { ", " };
                        write!(f, "{comma}{value}")?;
                    }
                    write!(f, "}}")?;
                }
                option(f, " = ", variable.value.as_ref())
            }
            Self::CreateSchema(schema) => {
                write!(f, "create schema {} ", name(&schema.name))?;
                match &schema.like {
                    Some(like) => write!(f, "as {}", name(like)),
                    None => columns(f, &schema.columns),
                }
            }
            Self::On(on) => on.fmt(f),
        }
    }
}

fn columns(f: &mut Formatter<'_>, columns: &[ColumnDefinition]) -> fmt::Result {
    f.write_char('(')?;
    join(f, columns, ", ", |f, column| {
        write!(f, "{} {}", name(&column.name), name(&column.type_name))
    })?;
    f.write_char(')')
}

/// A keyword and an expression, if there is one.
fn option<T: Display>(f: &mut Formatter<'_>, before: &str, item: Option<&T>) -> fmt::Result {
    match item {
        Some(item) => write!(f, "{before}{item}"),
        None => Ok(()),
    }
}

fn alias(f: &mut Formatter<'_>, ident: Option<&Ident>) -> fmt::Result {
    match ident {
        Some(ident) => write!(f, " as {}", name(ident)),
        None => Ok(()),
    }
}

const fn selector_word(selector: StreamSelector) -> &'static str {
    match selector {
        StreamSelector::Insert => "",
        StreamSelector::Remove => "rstream ",
        StreamSelector::Both => "irstream ",
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        select_with(self, f, "")
    }
}

/// A select, with words behind `select`.
fn select_with(select: &Select, f: &mut Formatter<'_>, words: &str) -> fmt::Result {
    if let Some(table) = &select.into_table {
        write!(f, "into table {} ", name(table))?;
    }
    if let Some(insert) = &select.insert {
        write!(
            f,
            "insert {}into {}",
            selector_word(insert.selector),
            name(&insert.target)
        )?;
        if !insert.columns.is_empty() {
            f.write_char('(')?;
            join(f, &insert.columns, ", ", |f, column| name(column).fmt(f))?;
            f.write_char(')')?;
        }
        f.write_char(' ')?;
    }
    let distinct = if select.distinct { "distinct " } else { "" };
    write!(f, "select {words}{}{distinct}", selector_word(select.selector))?;
    comma(f, &select.items)?;
    for (at, item) in select.from.iter().enumerate() {
        match (at, item.join) {
            (0, _) => f.write_str(" from ")?,
            (_, JoinKind::Comma) => f.write_str(", ")?,
            _ => {}
        }
        item.fmt(f)?;
    }
    if let Some(matching) = &select.match_recognize {
        write!(f, " {matching}")?;
    }
    option(f, " where ", select.condition.as_ref())?;
    if !select.group_by.is_empty() {
        f.write_str(" group by ")?;
        comma(f, &select.group_by)?;
    }
    option(f, " having ", select.having.as_ref())?;
    option(f, " ", select.output.as_ref())?;
    if !select.order_by.is_empty() {
        f.write_str(" order by ")?;
        comma(f, &select.order_by)?;
    }
    match (&select.limit, &select.offset) {
        (Some(limit), Some(offset)) => write!(f, " limit {limit} offset {offset}"),
        (Some(limit), None) => write!(f, " limit {limit}"),
        _ => Ok(()),
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wildcard(_) => f.write_char('*'),
            Self::StreamWildcard { stream, alias: ident } => {
                write!(f, "{}.*", name(stream))?;
                alias(f, ident.as_ref())
            }
            Self::Expr { expr, alias: ident } => {
                expr.fmt(f)?;
                alias(f, ident.as_ref())
            }
        }
    }
}

impl Display for GroupItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (word, items) = match self {
            Self::Expr(expr) => return expr.fmt(f),
            Self::Combined(keys, _) => {
                f.write_char('(')?;
                comma(f, keys)?;
                return f.write_char(')');
            }
            Self::Rollup(items, _) => ("rollup", items),
            Self::Cube(items, _) => ("cube", items),
            Self::GroupingSets(items, _) => ("grouping sets", items),
        };
        write!(f, "{word}(")?;
        comma(f, items)?;
        f.write_char(')')
    }
}

impl Display for FromItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.join {
            JoinKind::Comma => "",
            JoinKind::Inner => " inner join ",
            JoinKind::Left => " left outer join ",
            JoinKind::Right => " right outer join ",
            JoinKind::Full => " full outer join ",
        })?;
        self.source.fmt(f)?;
        for view in &self.views {
            view.fmt(f)?;
        }
        alias(f, self.alias.as_ref())?;
        if self.unidirectional {
            f.write_str(" unidirectional")?;
        }
        match self.retain {
            None => {}
            Some(Retain::Union) => f.write_str(" retain-union")?,
            Some(Retain::Intersection) => f.write_str(" retain-intersection")?,
        }
        option(f, " on ", self.on.as_ref())
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(filter) => filter.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        name(&self.name).fmt(f)?;
        if !self.conditions.is_empty() {
            f.write_char('(')?;
            comma(f, &self.conditions)?;
            f.write_char(')')?;
        }
        Ok(())
    }
}

impl Display for View {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", name(&self.name))?;
        if self.arguments.is_empty() {
            return Ok(());
        }
        f.write_char('(')?;
        join(f, &self.arguments, ", ", |f, argument| match &argument.kind {
            // How the parser keeps `x desc`.
            ExprKind::Call(Call { name, arguments, .. }) if name.name == "asc" || name.name == "desc" => {
                comma(f, arguments)?;
                write!(f, " {}", name.name)
            }
            _ => argument.fmt(f),
        })?;
        f.write_char(')')
    }
}

impl Display for PatternSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("pattern ")?;
        for annotation in &self.annotations {
            write!(f, "{annotation} ")?;
        }
        write!(f, "[{}]", self.pattern)
    }
}

impl Pattern {
    /// How tightly it binds: `->`, `or`, `and`, `until`, `every` and its like, guards, atoms.
    const fn level(&self) -> u8 {
        match self.kind {
            PatternKind::FollowedBy(_) => 0,
            PatternKind::Or(_) => 1,
            PatternKind::And(_) => 2,
            PatternKind::Until { .. } => 3,
            PatternKind::Every(_)
            | PatternKind::EveryDistinct { .. }
            | PatternKind::Not(_)
            | PatternKind::Repeat { .. } => 4,
            PatternKind::Guard { .. } => 5,
            PatternKind::Filter { .. } | PatternKind::Interval(_) | PatternKind::At(_) => 6,
        }
    }

    fn show(&self, f: &mut Formatter<'_>, min: u8) -> fmt::Result {
        if self.level() < min {
            write!(f, "({self})")
        } else {
            self.fmt(f)
        }
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let own = self.level();
        match &self.kind {
            PatternKind::Filter { tag, filter } => {
                if let Some(tag) = tag {
                    write!(f, "{}=", name(tag))?;
                }
                filter.fmt(f)
            }
            PatternKind::Every(inner) => {
                f.write_str("every ")?;
                inner.show(f, own)
            }
            PatternKind::EveryDistinct { keys, inner } => {
                f.write_str("every-distinct(")?;
                comma(f, keys)?;
                f.write_str(") ")?;
                inner.show(f, own)
            }
            PatternKind::FollowedBy(steps) => join(f, steps, " -> ", |f, step| step.show(f, own + 1)),
            PatternKind::And(branches) => join(f, branches, " and ", |f, branch| branch.show(f, own + 1)),
            PatternKind::Or(branches) => join(f, branches, " or ", |f, branch| branch.show(f, own + 1)),
            PatternKind::Not(inner) => {
                f.write_str("not ")?;
                inner.show(f, own)
            }
            PatternKind::Guard { inner, guard } => {
                inner.show(f, own + 1)?;
                match guard {
                    Guard::Within(period) => write!(f, " where timer:within({period})"),
                    Guard::WithinMax(period, count) => write!(f, " where timer:withinmax({period}, {count})"),
                    Guard::While(condition) => write!(f, " while ({condition})"),
                }
            }
            PatternKind::Interval(period) => write!(f, "timer:interval({period})"),
            PatternKind::At(fields) => {
                f.write_str("timer:at(")?;
                cron(f, fields)?;
                f.write_char(')')
            }
            PatternKind::Repeat { count, inner } => {
                write!(f, "[{count}] ")?;
                inner.show(f, own)
            }
            PatternKind::Until { inner, end } => {
                inner.show(f, own + 1)?;
                f.write_str(" until ")?;
                end.show(f, own + 1)
            }
        }
    }
}

fn cron(f: &mut Formatter<'_>, fields: &[Expr]) -> fmt::Result {
    join(f, fields, ", ", |f, field| match &field.kind {
        ExprKind::Literal(Value::Null) => f.write_char('*'),
        _ => field.fmt(f),
    })
}

impl Display for MatchRecognize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("match_recognize (")?;
        if !self.partition_by.is_empty() {
            f.write_str("partition by ")?;
            comma(f, &self.partition_by)?;
            f.write_char(' ')?;
        }
        f.write_str("measures ")?;
        join(f, &self.measures, ", ", |f, (expr, ident)| {
            write!(f, "{expr} as {}", name(ident))
        })?;
        if self.all_matches {
            f.write_str(" all matches")?;
        }
        f.write_str(match self.skip {
            MatchSkip::PastLastRow => "",
            MatchSkip::ToNextRow => " after match skip to next row",
            MatchSkip::ToCurrentRow => " after match skip to current row",
        })?;
        write!(f, " pattern ({})", self.pattern)?;
        if let Some((period, or_terminated)) = &self.interval {
            write!(
                f,
                " interval {period}{}",
                if *or_terminated { " or terminated" } else { "" }
            )?;
        }
        if !self.define.is_empty() {
            f.write_str(" define ")?;
            join(f, &self.define, ", ", |f, (ident, expr)| {
                write!(f, "{} as {expr}", name(ident))
            })?;
        }
        f.write_char(')')
    }
}

impl RowPattern {
    const fn level(&self) -> u8 {
        match self {
            Self::Alternation(_) => 0,
            Self::Concat(_) => 1,
            Self::Repeat { .. } => 2,
            Self::Variable(_) | Self::Permute(_) => 3,
        }
    }

    fn show(&self, f: &mut Formatter<'_>, min: u8) -> fmt::Result {
        if self.level() < min {
            write!(f, "({self})")
        } else {
            self.fmt(f)
        }
    }
}

impl Display for RowPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let own = self.level();
        match self {
            Self::Variable(ident) => name(ident).fmt(f),
            Self::Concat(steps) => join(f, steps, " ", |f, step| step.show(f, own + 1)),
            Self::Alternation(branches) => join(f, branches, " | ", |f, branch| branch.show(f, own + 1)),
            Self::Repeat {
                inner,
                min,
                max,
                greedy,
            } => {
                inner.show(f, own + 1)?;
                match (min, max) {
                    (0, None) => f.write_char('*')?,
                    (1, None) => f.write_char('+')?,
                    (0, Some(1)) => f.write_char('?')?,
                    (min, None) => write!(f, "{{{min},}}")?,
                    (min, Some(max)) => write!(f, "{{{min},{max}}}")?,
                }
                f.write_str(if *greedy { "" } else { "?" })
            }
            Self::Permute(parts) => {
                f.write_str("match_recognize_permute(")?;
                comma(f, parts)?;
                f.write_char(')')
            }
        }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("output")?;
        match &self.after {
            None => {}
            Some(OutputAfter::Period(period)) => write!(f, " after {period}")?,
            Some(OutputAfter::Events(count)) => write!(f, " after {count} events")?,
        }
        f.write_str(match self.kind {
            OutputKind::Default => "",
            OutputKind::All => " all",
            OutputKind::First => " first",
            OutputKind::Last => " last",
            OutputKind::Snapshot => " snapshot",
        })?;
        match &self.when {
            OutputWhen::Always => {}
            OutputWhen::Every(period) => write!(f, " every {period}")?,
            OutputWhen::Events(count) => write!(f, " every {count} events")?,
            OutputWhen::Terminated => f.write_str(" when terminated")?,
            OutputWhen::Condition(condition) => write!(f, " when {condition}")?,
            OutputWhen::At(fields) => {
                f.write_str(" at (")?;
                cron(f, fields)?;
                f.write_char(')')?;
            }
        }
        f.write_str(if self.and_when_terminated {
            " and when terminated"
        } else {
            ""
        })
    }
}

impl Display for OrderItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, if self.descending { " desc" } else { "" })
    }
}

impl Display for CreateWindow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "create window {}", name(&self.name))?;
        for view in &self.views {
            view.fmt(f)?;
        }
        f.write_str(" as ")?;
        match &self.columns {
            WindowColumns::Like(of) => name(of).fmt(f),
            WindowColumns::Select(items, from) => {
                f.write_str("select ")?;
                comma(f, items)?;
                write!(f, " from {}", name(from))
            }
            WindowColumns::Columns(of) => columns(f, of),
        }
    }
}

impl Display for CreateTable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "create table {} (", name(&self.name))?;
        join(f, &self.columns, ", ", |f, column| {
            write!(f, "{} ", name(&column.name))?;
            match &column.kind {
                TableColumnKind::Type(of) => name(of).fmt(f)?,
                TableColumnKind::Aggregation(call) => call.fmt(f)?,
            }
            f.write_str(if column.primary_key { " primary key" } else { "" })
        })?;
        f.write_char(')')
    }
}

impl Display for CreateContext {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "create context {} ", name(&self.name))?;
        match &self.kind {
            ContextKind::Keyed { streams, end } => {
                f.write_str("partition by ")?;
                join(f, streams, ", ", |f, stream| {
                    join(f, &stream.keys, " and ", |f, key| name(key).fmt(f))?;
                    write!(f, " from {}", stream.from)
                })?;
                option(f, " terminated by ", end.as_ref())
            }
            ContextKind::StartEnd { start, end } => {
                write!(f, "start {start}")?;
                option(f, " end ", end.as_ref())
            }
            ContextKind::Initiated { distinct, start, end } => {
                f.write_str("initiated by ")?;
                if !distinct.is_empty() {
                    f.write_str("distinct(")?;
                    comma(f, distinct)?;
                    f.write_str(") ")?;
                }
                write!(f, "{start}")?;
                match end {
                    Some(end @ (ContextPoint::Filter { .. } | ContextPoint::Pattern(_))) => {
                        write!(f, " terminated by {end}")
                    }
                    end => option(f, " terminated ", end.as_ref()),
                }
            }
            ContextKind::Hash {
                streams,
                granularity,
                preallocate,
            } => {
                f.write_str("coalesce by ")?;
                join(f, streams, ", ", |f, stream| {
                    write!(f, "{}(", name(&stream.function))?;
                    comma(f, &stream.arguments)?;
                    write!(f, ") from {}", stream.from)
                })?;
                write!(
                    f,
                    " granularity {granularity}{}",
                    if *preallocate { " preallocate" } else { "" }
                )
            }
            ContextKind::Category { categories, from } => {
                join(f, categories, ", ", |f, (condition, label)| {
                    write!(f, "group by {condition} as {}", name(label))
                })?;
                write!(f, " from {from}")
            }
        }
    }
}

impl Display for ContextPoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("@now"),
            Self::After(period) => write!(f, "after {period}"),
            Self::Filter { filter, alias: ident } => {
                filter.fmt(f)?;
                alias(f, ident.as_ref())
            }
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::At(fields) => {
                f.write_char('(')?;
                cron(f, fields)?;
                f.write_char(')')
            }
        }
    }
}

impl Display for OnTrigger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "on {}", self.trigger)?;
        alias(f, self.alias.as_ref())?;
        f.write_char(' ')?;
        self.action.fmt(f)
    }
}

impl Display for OnAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete {
                target,
                alias: ident,
                condition,
            } => {
                write!(f, "delete from {}", name(target))?;
                alias(f, ident.as_ref())?;
                option(f, " where ", condition.as_ref())
            }
            Self::Select { select, delete } => select_with(select, f, if *delete { "and delete " } else { "" }),
            Self::Update {
                target,
                alias: ident,
                assignments,
                condition,
            } => {
                write!(f, "update {}", name(target))?;
                alias(f, ident.as_ref())?;
                f.write_str(" set ")?;
                comma(f, assignments)?;
                option(f, " where ", condition.as_ref())
            }
            Self::Merge {
                target,
                alias: ident,
                condition,
                clauses,
            } => {
                write!(f, "merge into {}", name(target))?;
                alias(f, ident.as_ref())?;
                option(f, " where ", condition.as_ref())?;
                clauses.iter().try_for_each(|clause| write!(f, " {clause}"))
            }
            Self::Set(assignments) => {
                f.write_str("set ")?;
                comma(f, assignments)
            }
        }
    }
}

impl Display for MergeClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.matched {
            "when matched"
        } else {
            "when not matched"
        })?;
        option(f, " and ", self.condition.as_ref())?;
        self.actions.iter().try_for_each(|action| write!(f, " then {action}"))
    }
}

impl Display for MergeAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let condition = match self {
            Self::Insert {
                target,
                columns,
                items,
                condition,
            } => {
                f.write_str("insert ")?;
                if let Some(target) = target {
                    write!(f, "into {} ", name(target))?;
                }
                if !columns.is_empty() {
                    f.write_char('(')?;
                    join(f, columns, ", ", |f, column| name(column).fmt(f))?;
                    f.write_str(") ")?;
                }
                f.write_str("select ")?;
                comma(f, items)?;
                condition
            }
            Self::Update { assignments, condition } => {
                f.write_str("update set ")?;
                comma(f, assignments)?;
                condition
            }
            Self::Delete { condition } => {
                f.write_str("delete")?;
                condition
            }
        };
        option(f, " where ", condition.as_ref())
    }
}

impl Display for Assignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        join(f, &self.target, ".", |f, part| name(part).fmt(f))?;
        write!(f, " = {}", self.value)
    }
}

impl Expr {
    fn level(&self) -> u8 {
        match &self.kind {
            ExprKind::Unary(UnaryOp::Negate, _) => level::NEGATION,
            ExprKind::Unary(UnaryOp::Not, _) => level::NOT,
            ExprKind::Unary(UnaryOp::IsNull | UnaryOp::IsNotNull, _) => level::EQUALITY,
            ExprKind::Binary(op, ..) | ExprKind::Quantified { op, .. } => level_of(*op),
            ExprKind::In { .. } | ExprKind::Between { .. } | ExprKind::Like { .. } | ExprKind::Regexp { .. } => {
                level::RELATION
            }
            _ => level::PRIMARY,
        }
    }

    fn show(&self, f: &mut Formatter<'_>, min: u8) -> fmt::Result {
        if self.level() < min {
            write!(f, "({self})")
        } else {
            self.fmt(f)
        }
    }
}

const fn not_word(negated: bool) -> &'static str {
    if negated { " not" } else { "" }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Literal(value) => literal(f, value),
            ExprKind::Network { address, prefix_len } => match address_of(*address) {
                std::net::IpAddr::V4(v4) => write!(f, "{v4}/{}", prefix_len.saturating_sub(96)),
                std::net::IpAddr::V6(v6) => write!(f, "'{v6}/{prefix_len}'"),
            },
            ExprKind::Period(parts) => join(f, parts, " ", |f, (number, unit)| write!(f, "{number} {unit}")),
            ExprKind::Path(parts) => join(f, parts, ".", |f, part| part.fmt(f)),
            ExprKind::Unary(UnaryOp::Negate, operand) => {
                f.write_char('-')?;
                // A period would take the sign for its own number's.
                let min = if matches!(operand.kind, ExprKind::Period(_)) {
                    level::PRIMARY + 1
                } else {
                    level::NEGATION
                };
                operand.show(f, min)
            }
            ExprKind::Unary(UnaryOp::Not, operand) => {
                f.write_str("not ")?;
                operand.show(f, level::EQUALITY)
            }
            ExprKind::Unary(UnaryOp::IsNull, operand) => {
                operand.show(f, level::EQUALITY)?;
                f.write_str(" is null")
            }
            ExprKind::Unary(UnaryOp::IsNotNull, operand) => {
                operand.show(f, level::EQUALITY)?;
                f.write_str(" is not null")
            }
            ExprKind::Binary(op, left, right) => {
                left.show(f, level_of(*op))?;
                write!(f, " {op} ")?;
                // What begins with `null` behind `is` would end there.
                let min = if matches!(op, BinaryOp::Is | BinaryOp::IsNot) {
                    level::PRIMARY
                } else {
                    level_of(*op) + 1
                };
                right.show(f, min)
            }
            ExprKind::In { operand, set, negated } => {
                operand.show(f, level::RELATION)?;
                write!(f, "{} in {set}", not_word(*negated))
            }
            ExprKind::Between {
                operand,
                low,
                high,
                negated,
            } => {
                operand.show(f, level::RELATION)?;
                write!(f, "{} between ", not_word(*negated))?;
                low.show(f, level::CONCAT)?;
                f.write_str(" and ")?;
                high.show(f, level::CONCAT)
            }
            ExprKind::Like {
                operand,
                pattern,
                escape,
                negated,
            } => {
                operand.show(f, level::RELATION)?;
                write!(f, "{} like ", not_word(*negated))?;
                pattern.show(f, level::CONCAT)?;
                if let Some(escape) = escape {
                    f.write_str(" escape ")?;
                    escape.show(f, level::CONCAT)?;
                }
                Ok(())
            }
            ExprKind::Regexp {
                operand,
                pattern,
                negated,
            } => {
                operand.show(f, level::RELATION)?;
                write!(f, "{} regexp ", not_word(*negated))?;
                pattern.show(f, level::CONCAT)
            }
            ExprKind::Case {
                operand,
                branches,
                otherwise,
            } => {
                f.write_str("case")?;
                option(f, " ", operand.as_ref())?;
                for (when, then) in branches {
                    write!(f, " when {when} then {then}")?;
                }
                option(f, " else ", otherwise.as_ref())?;
                f.write_str(" end")
            }
            ExprKind::Cast { operand, type_name } => write!(f, "cast({operand}, {})", name(type_name)),
            ExprKind::Call(call) => call.fmt(f),
            ExprKind::Subquery(select) => write!(f, "({select})"),
            ExprKind::Exists(select) => write!(f, "exists ({select})"),
            ExprKind::Quantified { operand, op, all, set } => {
                operand.show(f, level_of(*op))?;
                write!(f, " {op} {} ", if *all { "all" } else { "any" })?;
                match set {
                    QuantifiedSet::Values(values) => {
                        f.write_char('(')?;
                        comma(f, values)?;
                        f.write_char(')')
                    }
                    QuantifiedSet::Subquery(select) => write!(f, "({select})"),
                }
            }
        }
    }
}

impl Display for InSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => {
                f.write_char('(')?;
                comma(f, values)?;
                f.write_char(')')
            }
            Self::Range {
                low,
                high,
                low_included,
                high_included,
            } => {
                let open = if *low_included { '[' } else { '(' };
                let close = if *high_included { ']' } else { ')' };
                write!(f, "{open}{low}:{high}{close}")
            }
            Self::Subquery(select) => write!(f, "({select})"),
        }
    }
}

impl Display for PathPart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        name(&self.name).fmt(f)?;
        if !self.index.is_empty() {
            f.write_char('[')?;
            comma(f, &self.index)?;
            f.write_char(']')?;
        }
        Ok(())
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}", self.name.name, if self.distinct { "distinct " } else { "" })?;
        comma(f, &self.arguments)?;
        f.write_char(')')?;
        match &self.property {
            Some(property) => write!(f, ".{}", name(property)),
            None => Ok(()),
        }
    }
}

impl Display for Argument {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wildcard => f.write_char('*'),
            Self::StreamWildcard(stream) => write!(f, "{}.*", name(stream)),
            Self::Expr(expr) => expr.fmt(f),
            Self::Named(ident, expr) => write!(f, "{}: {expr}", ident.name),
            Self::Ordered(expr, descending) => write!(f, "{expr} {}", if *descending { "desc" } else { "asc" }),
        }
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Or => "or",
            Self::And => "and",
            Self::BitAnd => "&",
            Self::BitOr => "|",
            Self::BitXor => "^",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Is => "is",
            Self::IsNot => "is not",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Concat => "||",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        })
    }
}

impl Display for TimeUnit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "min",
            Self::Second => "sec",
            Self::Millisecond => "msec",
            Self::Microsecond => "usec",
        })
    }
}

//! What a select makes of rows that enter and leave: its kind of result, its rows, their order.

use std::cmp::Ordering;
use std::rc::Rc;

use flow_cep::syntax::ast::{
    BinaryOp, Expr, ExprKind, FromItem, GroupItem, JoinKind, Select, SelectItem, Source, StreamSelector,
};

use super::expr::{Event, Names, Scope, Tuple, check, contains_aggregate, eval, path, plain_columns};
use super::value::V;
use super::window::Kind;

/// Row kinds, point 14 of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No aggregate.
    Rows,
    /// Aggregates alone.
    OneRow,
    /// Aggregates and columns without `group by`.
    RowPerEvent,
    /// `group by`, and no other columns than its keys.
    RowPerGroup,
    /// `group by` and other columns.
    GroupedRowPerEvent,
}

/// One stream of the from clause.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) filter: Vec<Expr>,
    pub(crate) window: Kind,
    /// Its name alone, for expressions over its rows alone.
    pub(crate) names: Names,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) names: Names,
    pub(crate) streams: Vec<Stream>,
    /// Whether it runs once for each partition of a context.
    pub(crate) in_context: bool,
    pub(crate) outer: bool,
    /// The condition of a join's `on`.
    pub(crate) on: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    pub(crate) class: Class,
    pub(crate) selector: StreamSelector,
    pub(crate) column_names: Vec<String>,
    columns: Vec<Expr>,
    distinct: bool,
    keys: Vec<Expr>,
    having: Option<Expr>,
    order: Vec<(Expr, bool)>,
    limit: Option<usize>,
    offset: usize,
}

/// A row of a result, with the keys that it is ordered by.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    pub(crate) values: Vec<V>,
    keys: Vec<V>,
}

fn stream(item: &FromItem, columns: &Rc<Vec<String>>) -> Result<Stream, String> {
    let Source::Filter(filter) = &item.source else {
        return Err("a pattern".to_owned());
    };
    if filter.name.name != "Flow" || item.unidirectional || item.retain.is_some() {
        return Err("this source".to_owned());
    }
    let names = Names {
        columns: columns.clone(),
        streams: vec![item.alias.as_ref().unwrap_or(&filter.name).name.clone()],
    };
    filter
        .conditions
        .iter()
        .try_for_each(|condition| check(condition, &names))?;
    Ok(Stream {
        filter: filter.conditions.clone(),
        window: Kind::of(&item.views, &names)?,
        names,
    })
}

fn whole(expr: Option<&Expr>) -> Result<Option<usize>, String> {
    let value = match expr.map(|expr| &expr.kind) {
        None => return Ok(None),
        Some(ExprKind::Literal(value)) => V::of(value).and_then(|value| value.whole()),
        Some(_) => None,
    };
    value
        .and_then(|value| usize::try_from(value).ok())
        .map(Some)
        .ok_or_else(|| "this limit".to_owned())
}

impl Plan {
    /// Reads a select; `constant` are the columns of the first stream that do not differ, being keys of a context.
    pub(crate) fn of(select: &Select, columns: &Rc<Vec<String>>, constant: &[(usize, usize)]) -> Result<Self, String> {
        if select.insert.is_some() || select.into_table.is_some() || select.match_recognize.is_some() {
            return Err("this clause".to_owned());
        }
        let streams: Vec<Stream> = select
            .from
            .iter()
            .map(|item| stream(item, columns))
            .collect::<Result<_, _>>()?;
        let (outer, on) = match select.from.as_slice() {
            [_] => (false, None),
            [_, second] if streams.iter().all(|stream| !matches!(stream.window, Kind::Unbounded)) => {
                match second.join {
                    JoinKind::Comma | JoinKind::Inner => (false, second.on.clone()),
                    JoinKind::Left => (true, second.on.clone()),
                    JoinKind::Right | JoinKind::Full => return Err("this join".to_owned()),
                }
            }
            _ => return Err("this join".to_owned()),
        };
        // Of a unique window Esper's look-up may leave out equalities of `on`.
        let unique = |stream: &Stream| matches!(stream.window, Kind::Unique(_) | Kind::FirstUnique(_));
        let several = on
            .as_ref()
            .is_some_and(|on| matches!(on.kind, ExprKind::Binary(BinaryOp::And, ..)));
        if several && streams.iter().any(unique) {
            return Err("a join of a unique window by more than one equality".to_owned());
        }
        let names = Names {
            columns: columns.clone(),
            streams: streams.iter().map(|stream| stream.names.streams[0].clone()).collect(),
        };
        let (mut exprs, mut column_names) = (Vec::new(), Vec::new());
        let mut wildcard = false;
        for item in &select.items {
            match item {
                SelectItem::Expr { expr, alias } => {
                    let written = path(expr).map(|path| path.join("."));
                    let name = alias.as_ref().map(|alias| alias.name.clone()).or(written);
                    column_names.push(name.ok_or("a column without a name")?);
                    exprs.push(expr.clone());
                }
                SelectItem::Wildcard(_) if streams.len() == 1 => {
                    wildcard = true;
                    for column in columns.iter() {
                        let parsed = flow_cep::parse(&format!("select {column} from Flow"))
                            .map_err(|error| error.to_string())?;
                        let flow_cep::syntax::ast::Body::Select(select) = &parsed.statements[0].body else {
                            return Err("a column that is no name".to_owned());
                        };
                        if let SelectItem::Expr { expr, .. } = &select.items[0] {
                            exprs.push(expr.clone());
                            column_names.push(column.clone());
                        }
                    }
                }
                _ => return Err("this item of the select list".to_owned()),
            }
        }
        let keys: Vec<Expr> = select
            .group_by
            .iter()
            .map(|item| match item {
                GroupItem::Expr(expr) => Ok(expr.clone()),
                _ => Err("this grouping".to_owned()),
            })
            .collect::<Result<_, _>>()?;
        // A name of the select list stands for its expression.
        let by_alias = |expr: &Expr| match path(expr).as_deref() {
            Some([name]) if names.resolve(&[name]).is_none() => column_names
                .iter()
                .position(|column| column == name)
                .map_or_else(|| expr.clone(), |at| exprs[at].clone()),
            _ => expr.clone(),
        };
        let order: Vec<(Expr, bool)> = select
            .order_by
            .iter()
            .map(|item| (by_alias(&item.expr), item.descending))
            .collect();
        let all = exprs
            .iter()
            .chain(&keys)
            .chain(&on)
            .chain(&select.condition)
            .chain(&select.having);
        all.chain(order.iter().map(|(key, _)| key))
            .try_for_each(|expr| check(expr, &names))?;

        let aggregates = exprs.iter().chain(&select.having).any(contains_aggregate);
        // A column within a key counts as fixed.
        let fixed = |column: &(usize, usize)| {
            constant.contains(column) || keys.iter().any(|key| plain_columns(key, &names).contains(column))
        };
        // An expression that is a key is fixed as a whole.
        let free = exprs.iter().chain(&select.having).filter(|expr| !keys.contains(expr));
        let plain: Vec<_> = free.flat_map(|expr| plain_columns(expr, &names)).collect();
        let all_fixed = !wildcard && plain.iter().all(fixed);
        // An order of groups by columns that are not selected makes a row for each event.
        let selected: Vec<_> = exprs
            .iter()
            .chain(&select.having)
            .flat_map(|expr| plain_columns(expr, &names))
            .collect();
        let mut ordering = order.iter().flat_map(|(key, _)| plain_columns(key, &names));
        let order_fixed = wildcard || ordering.all(|column| selected.contains(&column) || constant.contains(&column));
        let class = match (aggregates, keys.is_empty()) {
            (false, true) => Class::Rows,
            (false, false) => return Err("group by without aggregates".to_owned()),
            (true, true) if all_fixed => Class::OneRow,
            (true, true) => Class::RowPerEvent,
            (true, false) if all_fixed && order_fixed => Class::RowPerGroup,
            (true, false) => Class::GroupedRowPerEvent,
        };
        Ok(Self {
            in_context: !constant.is_empty(),
            outer,
            on,
            condition: select.condition.clone(),
            class,
            selector: select.selector,
            column_names,
            columns: exprs,
            distinct: select.distinct,
            keys,
            having: select.having.clone(),
            order,
            limit: whole(select.limit.as_ref())?,
            offset: whole(select.offset.as_ref())?.unwrap_or(0),
            names,
            streams,
        })
    }

    pub(crate) fn wants_old(&self) -> bool {
        self.selector != StreamSelector::Insert
    }

    pub(crate) fn is_grouped(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(crate) fn has_having(&self) -> bool {
        self.having.is_some()
    }

    pub(crate) fn has_order(&self) -> bool {
        !self.order.is_empty()
    }

    fn scope<'a>(&'a self, now: i64, tuple: &'a [Option<Rc<Event>>], rows: &'a [Tuple]) -> Scope<'a> {
        Scope {
            names: &self.names,
            now,
            tuple,
            rows,
            unbounded: matches!(self.streams[0].window, Kind::Unbounded),
        }
    }

    pub(crate) fn holds(&self, condition: Option<&Expr>, now: i64, tuple: &Tuple) -> bool {
        condition.is_none_or(|condition| eval(condition, self.scope(now, tuple, &[])).is_true())
    }

    pub(crate) fn key(&self, now: i64, tuple: &Tuple) -> Vec<V> {
        self.keys
            .iter()
            .map(|key| eval(key, self.scope(now, tuple, &[])))
            .collect()
    }

    /// The rows among which a tuple's aggregates are computed: all, or those of its group.
    fn rows(&self, now: i64, tuple: &Tuple, held: &[Tuple]) -> Vec<Tuple> {
        if !self.is_grouped() {
            return held.to_vec();
        }
        let key = self.key(now, tuple);
        held.iter().filter(|row| self.key(now, row) == key).cloned().collect()
    }

    pub(crate) fn having_holds(&self, now: i64, tuple: &Tuple, held: &[Tuple]) -> bool {
        let rows = self.rows(now, tuple, held);
        self.having
            .as_ref()
            .is_none_or(|having| eval(having, self.scope(now, tuple, &rows)).is_true())
    }

    /// The row of the result for a row of the window, if `having` lets it pass.
    pub(crate) fn out(&self, now: i64, tuple: &Tuple, held: &[Tuple]) -> Option<Out> {
        if !self.having_holds(now, tuple, held) {
            return None;
        }
        let rows = self.rows(now, tuple, held);
        let value = |expr: &Expr| eval(expr, self.scope(now, tuple, &rows));
        Some(Out {
            values: self.columns.iter().map(value).collect(),
            keys: self.order.iter().map(|(key, _)| value(key)).collect(),
        })
    }

    /// Sorts, cuts and thins the rows of a delivery.
    pub(crate) fn arrange(&self, mut rows: Vec<Out>) -> Vec<Vec<V>> {
        rows.sort_by(|a, b| {
            let mut orders =
                a.keys.iter().zip(&b.keys).zip(&self.order).map(
                    |((a, b), (_, descends))| {
                        if *descends { b.order(a) } else { a.order(b) }
                    },
                );
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        let rows = rows
            .into_iter()
            .skip(self.offset)
            .take(self.limit.unwrap_or(usize::MAX));
        let mut given: Vec<Vec<V>> = Vec::new();
        for row in rows {
            if !(self.distinct && given.contains(&row.values)) {
                given.push(row.values);
            }
        }
        given
    }
}

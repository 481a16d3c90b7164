//! Random statements of what the interpreter knows, and random rows.

mod join;

use proptest::prelude::*;

use crate::naive::V;
pub(crate) use join::join;

/// The columns of the rows, in order.
pub(crate) const COLUMNS: [&str; 9] = ["time", "id", "src", "dst", "port", "bytes", "load", "inside", "seen"];

/// A row, before the clock has given it a time.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) after_ms: i64,
    pub(crate) src: u8,
    pub(crate) dst: Option<u8>,
    pub(crate) port: u16,
    pub(crate) bytes: Option<i64>,
    pub(crate) load: Option<i8>,
    pub(crate) inside: Option<bool>,
    /// The row's own time beside the clock's, which may go back.
    pub(crate) seen_ms: i64,
}

/// Rows of few keys and values: at equal times, a little apart, and after pauses of several windows.
pub(crate) fn row() -> impl Strategy<Value = Row> {
    let pause = prop_oneof![6 => Just(0_i64), 6 => 1_i64..700, 3 => 700_i64..2500, 1 => 2500_i64..15_000];
    let pause = prop_oneof![3 => pause, 1 => (0_i64..6).prop_map(|halves| halves * 500)];
    (
        (pause, 0_u8..3, proptest::option::weighted(0.85, 0_u8..3)),
        (
            prop_oneof![Just(80_u16), Just(443), 0_u16..4],
            proptest::option::weighted(0.85, -3_i64..30),
        ),
        (
            proptest::option::weighted(0.85, -9_i8..9),
            proptest::option::weighted(0.85, any::<bool>()),
        ),
        prop_oneof![4 => Just(0_i64), 1 => -3000_i64..3000],
    )
        .prop_map(|((after_ms, src, dst), (port, bytes), (load, inside), seen_ms)| Row {
            after_ms,
            src,
            dst,
            port,
            bytes,
            load,
            inside,
            seen_ms,
        })
}

impl Row {
    /// Its values, at a time and with the number that no other has.
    pub(crate) fn values(&self, time: i64, id: i64) -> Vec<V> {
        let text = |names: [&str; 3], at: u8| V::Text(names[usize::from(at)].to_owned());
        vec![
            V::Long(time),
            V::Long(id),
            text(["a", "b", "ab"], self.src),
            self.dst.map_or(V::Null, |dst| text(["x", "b", "a"], dst)),
            V::Int(i32::from(self.port)),
            self.bytes.map_or(V::Null, V::Long),
            self.load.map_or(V::Null, |load| V::Double(f64::from(load) / 4.0)),
            self.inside.map_or(V::Null, V::Bool),
            V::Long(time + self.seen_ms),
        ]
    }
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(texts).prop_map(str::to_owned)
}

/// A condition over a row.
fn condition() -> impl Strategy<Value = String> {
    let leaf = one_of(&[
        "bytes > 10",
        "inside",
        "port = 80",
        "src != 'a'",
        "dst is null",
        "bytes is not null",
        "port in (80, 443)",
        "dst not in ('x', 'a')",
        "bytes in (5, 7, 9, 11)",
        "bytes between 5 and 15",
        "bytes not between load and 12",
        "bytes in [3:9)",
        "load * 2 >= 1.5",
        "bytes / 2 > 4.2",
        "(port & 1) = 1",
        "bytes + port < 90",
        "coalesce(bytes, port) % 3 = 0",
        "src like '%b'",
        "src like '_'",
        "dst regexp '[ax]'",
        "src || dst = 'ab'",
        "src = dst",
        "dst is 'x'",
        "case when inside then bytes > 5 else port = 80 end",
        "case port when 80 then 1 when 443 then 2.5 end > 1",
        "max(bytes, port) > 20",
        "cast(bytes, string) < '15'",
        "-load > 0.5",
    ]);
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not ({inner})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) and ({right})")),
            (inner.clone(), inner).prop_map(|(left, right)| format!("({left}) or ({right})")),
        ]
    })
}

fn aggregate() -> impl Strategy<Value = String> {
    one_of(&[
        "count(*)",
        "count(bytes)",
        "sum(bytes)",
        "sum(port)",
        "sum(load)",
        "avg(bytes)",
        "avg(load)",
        "min(bytes)",
        "max(bytes)",
        "min(load)",
        "max(dst)",
        "stddev(bytes)",
        "median(bytes)",
        "avedev(load)",
        "first(bytes)",
        "last(dst)",
        "first(id)",
        "count(distinct dst)",
        "count(distinct port)",
        "sum(distinct bytes)",
        "avg(distinct port)",
        "median(distinct bytes)",
        "count(*, inside)",
        "count(distinct dst, port = 80)",
        "sum(bytes, port = 80)",
        "avg(load, bytes > 5)",
        "sum(case when inside then bytes else 0 end)",
        "sum(bytes * 8)",
        "sum(bytes) * 8 / (count(*) + 1)",
        "max(bytes) - min(bytes)",
        "coalesce(sum(bytes), -1)",
        "min(bytes) is null",
        "case when count(*) > 2 then 'many' else 'few' end",
    ])
}

fn having() -> impl Strategy<Value = String> {
    one_of(&[
        "count(*) > 1",
        "sum(bytes) > 15",
        "count(distinct dst) = 2",
        "avg(bytes) > 7.3",
        "max(bytes) is not null and min(load) < 1",
        "not (sum(port) > 500)",
        "count(*, inside) >= 1 or sum(bytes) is null",
        // Stands for a key of the groups, or for a column where there are none.
        "KEY is not null",
    ])
}

fn window() -> impl Strategy<Value = String> {
    one_of(&[
        "",
        "#time(3 sec)",
        "#length(3)",
        "#time_batch(3 sec)",
        "#length_batch(4)",
        "#keepall",
        "#unique(src)",
        "#lastevent",
        "#time(1500 msec)",
        "#length(1)",
        "#time_batch(2 sec, 0L)",
        "#time_batch(1 sec 500 msec, 700L)",
        "#unique(src, dst)",
        "#unique(bytes)",
        "#firstunique(port)",
        "#firstunique(dst)",
        "#sort(2, bytes)",
        "#sort(3, load desc, id)",
        "#ext_timed(seen, 3 sec)",
        "#ext_timed(time, 2 sec)",
        "#ext_timed_batch(seen, 3 sec)",
        "#ext_timed_batch(time, 2 sec)",
    ])
}

/// The list of a select, its keys, what it may be ordered by, and whether it has aggregates.
#[derive(Clone, Debug)]
struct Shape {
    list: String,
    group_by: String,
    /// Ends with what makes the order total.
    order: String,
    aggregates: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let columns = one_of(&["src, bytes", "id", "src", "dst, inside", "bytes * 2 as twice, src", "*"]);
    let rows = columns.prop_map(|list| Shape {
        order: "src desc, id".to_owned(),
        group_by: String::new(),
        aggregates: false,
        list,
    });
    let keys = one_of(&[
        "src",
        "dst",
        "src, dst",
        "port",
        "inside",
        "port % 2",
        "coalesce(dst, src)",
    ]);
    let grouped = (
        keys,
        proptest::collection::vec(aggregate(), 1..4),
        any::<bool>(),
        0_u8..3,
        any::<bool>(),
    );
    let grouped = grouped.prop_map(|(keys, aggregates, keyed, columns, by_sum)| {
        let mut list: Vec<String> = Vec::new();
        if keyed {
            list.extend(
                keys.split(", ")
                    .filter(|_| !keys.contains('('))
                    .enumerate()
                    .map(|(at, key)| format!("{key} as k{at}")),
            );
        }
        if columns == 2 {
            list.push("id, bytes".to_owned());
        }
        list.extend(
            aggregates
                .iter()
                .enumerate()
                .map(|(at, aggregate)| format!("{aggregate} as v{at}")),
        );
        let first = if by_sum { "sum(bytes) desc, " } else { "" };
        let last = if columns == 2 { ", id" } else { "" };
        Shape {
            list: list.join(", "),
            order: format!("{first}{keys}{last}"),
            group_by: format!(" group by {keys}"),
            aggregates: true,
        }
    });
    let whole = (proptest::collection::vec(aggregate(), 1..4), any::<bool>()).prop_map(|(aggregates, columns)| {
        let mut list = if columns {
            vec!["src, id".to_owned()]
        } else {
            Vec::new()
        };
        list.extend(
            aggregates
                .iter()
                .enumerate()
                .map(|(at, aggregate)| format!("{aggregate} as v{at}")),
        );
        Shape {
            list: list.join(", "),
            group_by: String::new(),
            order: if columns { "id desc".to_owned() } else { String::new() },
            aggregates: true,
        }
    });
    prop_oneof![2 => rows, 4 => grouped, 2 => whole]
}

fn output() -> impl Strategy<Value = String> {
    one_of(&[
        "output snapshot every 2 sec",
        "output every 2 sec",
        "output last every 2 sec",
        "output first every 2 sec",
        "output all every 2 sec",
        "output snapshot every 3 events",
        "output every 3 events",
        "output last every 3 events",
        "output first every 3 events",
        "output all every 3 events",
    ])
}

/// The clauses behind the from clause, of those that go together.
#[derive(Clone, Debug)]
struct Clauses {
    selector: String,
    distinct: bool,
    having: Option<String>,
    output: Option<String>,
    ordered: bool,
    limit: Option<String>,
}

fn clauses() -> impl Strategy<Value = Clauses> {
    let limit = one_of(&["limit 2", "limit 1 offset 1", "limit 3"]);
    (
        one_of(&["", "", "irstream ", "rstream "]),
        proptest::bool::weighted(0.1),
        proptest::option::weighted(0.3, having()),
        proptest::option::weighted(0.5, output()),
        proptest::bool::weighted(0.3),
        proptest::option::weighted(0.5, limit),
    )
        .prop_map(|(selector, distinct, having, output, ordered, limit)| Clauses {
            selector,
            distinct,
            having,
            output,
            ordered,
            limit,
        })
}

impl Clauses {
    /// A statement of these clauses; those that Esper refuses, or gives odd rows for, are left out.
    fn statement(mut self, shape: &Shape, from: &str, condition: Option<&String>, batch: bool) -> String {
        if batch {
            self.output = None;
        }
        if self.output.is_some() && self.selector == "rstream " {
            self.selector = String::new();
        }
        let kind = self.output.as_deref().unwrap_or_default();
        if kind.contains("snapshot") {
            self.selector = String::new();
        }
        if !shape.aggregates || kind.contains(" all ") && !shape.group_by.is_empty() {
            self.having = None;
        }
        let mut text = format!("select {}", self.selector);
        if self.distinct {
            text += "distinct ";
        }
        text += &format!("{} from {from}", shape.list);
        if let Some(condition) = condition {
            text += &format!(" where {condition}");
        }
        text += &shape.group_by;
        if let Some(having) = &self.having {
            let keys = shape.group_by.strip_prefix(" group by ").unwrap_or("bytes");
            let key = if keys.contains('(') {
                keys
            } else {
                keys.split(',').next().unwrap_or(keys)
            };
            text += &format!(" having {}", having.replace("KEY", key));
        }
        if let Some(output) = &self.output {
            text += &format!(" {output}");
        }
        if self.ordered && !shape.order.is_empty() {
            text += &format!(" order by {}", shape.order);
            if let Some(limit) = &self.limit {
                text += &format!(" {limit}");
            }
        }
        text
    }
}

/// A statement over one stream, perhaps in the context `Each`.
pub(crate) fn statement() -> impl Strategy<Value = String> {
    let filter = proptest::option::weighted(0.4, condition());
    let wheres = proptest::option::weighted(0.3, condition());
    (
        shape(),
        window(),
        filter,
        wheres,
        clauses(),
        proptest::bool::weighted(0.15),
    )
        .prop_map(|(shape, window, filter, condition, clauses, context)| {
            let filter = filter.map_or_else(String::new, |filter| format!("({filter})"));
            let from = format!("Flow{filter}{window}");
            let text = clauses.statement(&shape, &from, condition.as_ref(), window.contains("batch"));
            if context { format!("context Each {text}") } else { text }
        })
}

//! Random joins of two windows.

use proptest::prelude::*;

use super::{Shape, clauses, condition, one_of};

/// A join of two windows on equality.
pub(crate) fn join() -> impl Strategy<Value = String> {
    let window = || {
        one_of(&[
            "#time(3 sec)",
            "#length(3)",
            "#lastevent",
            "#unique(src)",
            "#keepall",
            "#time(1500 msec)",
            "#firstunique(dst)",
        ])
    };
    let filter = || proptest::option::weighted(0.5, condition());
    let shape = proptest::sample::select(vec![
        ("a.id as x, b.id as y", "", "a.id, b.id", false),
        ("a.src as k, b.bytes as y", "", "a.id, b.id", false),
        ("count(*) as n, sum(b.bytes) as s", "", "", true),
        (
            "a.src as k, count(*) as n, max(b.bytes) as m",
            " group by a.src",
            "a.src",
            true,
        ),
        ("a.id as x, count(*) as n, sum(b.bytes) as s", "", "a.id, b.id", true),
    ])
    .prop_map(|(list, group_by, order, aggregates)| Shape {
        list: list.to_owned(),
        group_by: group_by.to_owned(),
        order: order.to_owned(),
        aggregates,
    });
    let how = one_of(&["", " and a.bytes > b.bytes", "inner", "left"]);
    let sides = (
        (filter(), window()),
        (filter(), window()),
        how,
        one_of(&["a.src = b.dst", "a.src = b.src", "a.port = b.port"]),
    );
    (shape, sides, clauses()).prop_map(
        |(shape, ((filter, window), (second_filter, second_window), how, on), mut clauses)| {
            let side = |filter: Option<String>, window: &str| {
                let filter = filter.map_or_else(String::new, |filter| format!("({filter})"));
                format!("Flow{filter}{window}")
            };
            let (first, second) = (side(filter, &window), side(second_filter, &second_window));
            // The conditions of `having` name columns of one stream.
            clauses.having = None;
            // Which pair of an event is the first or the last is no contract.
            let by_row = shape.group_by.is_empty() && !shape.order.is_empty();
            let free = |output: &String| {
                !(by_row && output.contains(" last ") || !shape.group_by.is_empty() && output.contains(" first "))
            };
            clauses.output = clauses.output.filter(free);
            let (from, condition) = match how.as_str() {
                "inner" => (format!("{first} as a inner join {second} as b on {on}"), None),
                // Rows of an outer join leave that never came: their aggregates are not of rows that are there.
                "left" if !shape.aggregates => (format!("{first} as a left outer join {second} as b on {on}"), None),
                "left" => (format!("{first} as a, {second} as b"), Some(on)),
                more => (format!("{first} as a, {second} as b"), Some(format!("{on}{more}"))),
            };
            clauses.statement(&shape, &from, condition.as_ref(), false)
        },
    )
}

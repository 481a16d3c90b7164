//! The two evaluators of expressions agree: by row and by column, on random expressions over random columns with nulls.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    UInt8Array, UInt16Array, UInt32Array, types::Int32Type,
};
use flow_cep::event_type::EventType;
use flow_cep::expr::Expr;
use flow_cep::expr::column::{BatchRow, ColumnExpr, value_at};
use flow_cep::parse;
use flow_cep::plan::{Action, Planner};
use flow_cep::value::{Value, parse_address};
use proptest::prelude::*;
use proptest::sample::select;

fn addresses(values: &[Option<&str>]) -> ArrayRef {
    let values = values
        .iter()
        .map(|value| value.map(|text| parse_address(text).unwrap()));
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap())
}

/// Columns of each kind, with nulls in the second row of some.
fn batch() -> RecordBatch {
    let dictionary: DictionaryArray<Int32Type> = [Some("A"), None, Some("B"), Some("A"), Some("net")]
        .into_iter()
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u8", Arc::new(UInt8Array::from(vec![0, 6, 17, 255, 6]))),
        (
            "u16",
            Arc::new(UInt16Array::from(vec![Some(0), None, Some(80), Some(65535), Some(443)])),
        ),
        (
            "u32",
            Arc::new(UInt32Array::from(vec![Some(0), Some(7), None, Some(u32::MAX), Some(1)])),
        ),
        (
            "long",
            Arc::new(Int64Array::from(vec![
                Some(0),
                Some(-3),
                Some(i64::MAX),
                None,
                Some(i64::MIN),
            ])),
        ),
        ("other", Arc::new(Int64Array::from(vec![5, 3, 1, 0, -1]))),
        (
            "real",
            Arc::new(Float64Array::from(vec![
                Some(0.0),
                Some(-0.0),
                Some(2.5),
                None,
                Some(f64::INFINITY),
            ])),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                Some(false),
                Some(true),
                Some(false),
            ])),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec![
                Some("A"),
                None,
                Some("10.1.2.3"),
                Some(""),
                Some("B%"),
            ])),
        ),
        ("dict", Arc::new(dictionary)),
        (
            "ip",
            addresses(&[
                Some("10.0.0.1"),
                None,
                Some("2001:db8::1"),
                Some("192.168.1.9"),
                Some("0.0.0.0"),
            ]),
        ),
        (
            "peer",
            addresses(&[Some("10.0.0.1"), Some("::1"), Some("fe80::1"), None, Some("239.0.0.1")]),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn event_type() -> EventType {
    EventType::new("T", batch().schema(), None).unwrap()
}

/// The typed expression, if the types fit.
fn planned(text: &str) -> Option<Expr> {
    let statement = format!("select {text} as x from T");
    let module = parse(&statement).unwrap_or_else(|error| panic!("{error}"));
    let plan = Planner::new([event_type()])
        .plan(&module.statements[0], &statement)
        .ok()?;
    match plan.action {
        Action::Select(select) => Some(select.columns[0].expr.clone()),
        _ => None,
    }
}

const TIMES: [i64; 5] = [1000, 1001, 1002, 1003, 1004];

fn by_row(expr: &Expr, batch: &RecordBatch) -> Vec<Value> {
    (0..batch.num_rows())
        .map(|row| {
            expr.eval(&BatchRow {
                batch,
                row,
                now_ms: TIMES[row],
            })
        })
        .collect()
}

/// Both ways; `None` if the types of the text do not fit.
fn both_ways(text: &str) -> Option<Vec<Value>> {
    let batch = batch();
    let expr = planned(text)?;
    let expected = by_row(&expr, &batch);
    let compiled = ColumnExpr::new(&expr, &batch.schema()).unwrap_or_else(|| panic!("not columnar: {text}"));
    let array = compiled.evaluate(&batch, &TIMES);
    let found: Vec<Value> = (0..batch.num_rows()).map(|row| value_at(&array, row)).collect();
    let shown = |values: &[Value]| values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>();
    let same = expected.iter().zip(&found).all(|(a, b)| match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || a == b,
        _ => a == b,
    });
    assert!(
        same,
        "{text}\nrow    {:?}\ncolumn {:?}\n{expr:?}",
        shown(&expected),
        shown(&found)
    );
    if expected.iter().any(|value| matches!(value, Value::Bool(_))) {
        let mask = compiled.mask(&batch, &TIMES);
        let mask: Vec<bool> = mask.iter().collect();
        assert_eq!(mask, expected.iter().map(Value::is_true).collect::<Vec<_>>(), "{text}");
    }
    Some(expected)
}

fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec!["u8", "u16", "u32", "long", "other", "real", "current_timestamp()"]).prop_map(str::to_owned),
        select(vec![
            "0",
            "6",
            "80",
            "255",
            "256",
            "65536",
            "1L",
            "4294967295",
            "9223372036854775807L",
            "2.5",
            "0.0",
            "null"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (
                inner.clone(),
                select(vec!["+", "-", "*", "/", "%", "&", "|", "^"]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("(-{a})")),
            inner.clone().prop_map(|a| format!("cast({a}, int)")),
            inner.clone().prop_map(|a| format!("cast({a}, double)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("coalesce({a}, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("max({a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("min({a}, {b}, {c})")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("case when flag then {a} when u8 > 6 then {b} end")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("case when {a} < {b} then {a} else {b} end")),
        ]
    })
}

fn condition() -> impl Strategy<Value = String> {
    let comparison = select(vec!["=", "!=", "<", "<=", ">", ">=", "is", "is not"]);
    let leaf = prop_oneof![
        (number(), comparison, number()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (number(), number(), number(), any::<bool>())
            .prop_map(|(a, b, c, not)| format!("({a} {} between {b} and {c})", if not { "not" } else { "" })),
        (
            number(),
            select(vec!["[5:80]", "(80:5)", "[0:6)", "(6:17]"]),
            any::<bool>()
        )
            .prop_map(|(a, range, not)| format!("({a} {} in {range})", if not { "not" } else { "" })),
        (
            select(vec!["u8", "u16", "u32", "long", "real", "other"]),
            proptest::collection::vec(
                select(vec![
                    "-1", "0", "6", "80", "255", "300", "65535", "70000", "2.5", "null"
                ]),
                1..5
            ),
            any::<bool>()
        )
            .prop_map(|(a, list, not)| format!(
                "({a} {} in ({}))",
                if not { "not" } else { "" },
                list.join(", ")
            )),
        select(vec![
            "flag",
            "flag = true",
            "text = 'A'",
            "text > ''",
            "'A' <= text",
            "text in ('A', 'B%', 'C')",
            "text not in ('A', null)",
            "text like 'B!%' escape '!'",
            "text like '%.%'",
            "text not regexp '[A-Z]'",
            "text || dict = 'AA'",
            "text is null",
            "text in 10.0.0.0/8",
            "dict = 'A'",
            "dict != 'B'",
            "dict in ('A', 'B')",
            "dict not like 'n%'",
            "dict is not null",
            "dict = text",
            "ip = 10.0.0.1",
            "ip != '10.0.0.1'",
            "ip < 192.168.0.0",
            "ip >= 10.0.0.1",
            "ip in (10.0.0.0/8, '2001:db8::/32')",
            "ip not in (10.0.0.0/8, 192.168.1.9)",
            "ip in (10.0.0.1, 0.0.0.0)",
            "ip = prefix(ip, 8)",
            "is_private(ip)",
            "is_private(peer) or is_multicast(peer)",
            "is_multicast(ip)",
            "ip < peer",
            "peer >= ip",
            "ip != peer",
            "max(ip, peer) = ip",
            "coalesce(flag, is_private(ip)) = true",
            "flag != false",
            "false = coalesce(is_multicast(ip), flag, true)",
            "coalesce(u8, 300) in [5:256]",
            "coalesce(u16, 0) not in (80, 443)",
            "u8 * 1000000000 in (1705032704, 6)",
            "u8 * 1000000000 in [0:2000000000]",
            "case when flag then u8 > 6 else dict = 'B' end",
            "current_timestamp() > 1002",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(({a}) and ({b}))")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(({a}) or ({b}))")),
            inner.prop_map(|a| format!("(not ({a}))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn numbers_agree(text in number()) {
        both_ways(&text);
    }

    #[test]
    fn conditions_agree(text in condition()) {
        both_ways(&text);
    }

    #[test]
    fn what_is_printed_parses_to_the_same_tree(text in condition()) {
        let statement = format!("select {text} as x from T where {text}");
        let module = parse(&statement).unwrap();
        prop_assert_eq!(&parse(&module.to_string()).unwrap(), &module);
    }

    #[test]
    fn no_text_makes_the_parser_or_planner_panic(text in "(select|from|where|every|pattern|[a-z]|T|[0-9.]{1,6}|[-+*/%&|^=<>!?#@:;,.()\\[\\]{}'\"`\\\\]| ){0,60}") {
        let mut planner = Planner::new([event_type()]);
        for statement in flow_cep::parse_each(&text).into_iter().flatten() {
            let _ = planner.plan(&statement, &text);
        }
    }
}

fn values(text: &str) -> Vec<String> {
    both_ways(text)
        .unwrap_or_else(|| panic!("does not fit: {text}"))
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn division_is_of_doubles_and_remainder_by_zero_is_null() {
    assert_eq!(values("7 / 2")[0], "3.5");
    assert_eq!(values("other / 0")[0], "inf");
    assert_eq!(values("other % 0")[0], "null");
    assert_eq!(values("other % 2"), ["1", "1", "1", "0", "-1"]);
}

#[test]
fn null_is_neither_true_nor_false() {
    assert_eq!(values("u16 > 1"), ["false", "null", "true", "true", "true"]);
    assert_eq!(values("u16 > 1 or flag"), ["true", "null", "true", "true", "true"]);
    assert_eq!(values("u16 > 1 and flag"), ["false", "null", "false", "true", "false"]);
    assert_eq!(values("u16 is null"), ["false", "true", "false", "false", "false"]);
    assert_eq!(
        values("u16 between 0 and 90"),
        ["true", "false", "true", "false", "false"]
    );
}

#[test]
fn whole_numbers_wrap_as_java_s_do() {
    assert_eq!(values("cast(2147483647, int) + u8")[1], "-2147483643");
    assert_eq!(values("9223372036854775807L + other")[0], "-9223372036854775804");
}

#[test]
fn bits_bind_looser_than_comparisons() {
    assert!(planned("u8 & 2 = 2").is_none());
    assert_eq!(values("(u8 & 2) = 2"), ["false", "true", "false", "true", "true"]);
}

#[test]
fn addresses_are_compared_by_number_and_lie_in_networks() {
    assert_eq!(values("ip in 10.0.0.0/8"), ["true", "null", "false", "false", "false"]);
    assert_eq!(
        values("ip in '2001:db8::/32'"),
        ["false", "null", "true", "false", "false"]
    );
    assert_eq!(values("text in (10.0.0.0/8)"), ["null", "null", "true", "null", "null"]);
    assert_eq!(values("prefix(ip, 16)")[3], "192.168.0.0");
    assert!(planned("ip = 'nonsense'").is_none());
}

#[test]
fn what_is_known_of_a_dictionary_holds_for_no_other() {
    let keys = |keys: Vec<Option<i32>>| arrow_array::Int32Array::from(keys);
    let texts = |texts: Vec<Option<&str>>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let (first, second) = (
        texts(vec![Some("A"), Some("B"), None]),
        texts(vec![Some("B"), Some("A"), Some("C")]),
    );
    let columns = [
        (vec![Some(0), Some(1)], &first),
        (vec![Some(2), Some(0), None, Some(1)], &first),
        (vec![Some(0), Some(1), None], &second),
        (vec![Some(2), Some(2)], &second),
        (vec![None, Some(1)], &first),
    ];
    for text in [
        "dict = 'A'",
        "dict is null",
        "coalesce(dict, '') != 'B'",
        "dict in ('A', null)",
        "not (dict = 'A')",
    ] {
        let expr = planned(text).unwrap();
        let column = ColumnExpr::new(&expr, &batch().schema()).unwrap();
        for (of, values) in &columns {
            let dictionary = DictionaryArray::<Int32Type>::new(keys(of.clone()), Arc::clone(values));
            let mut batch = batch().slice(0, of.len()).columns().to_vec();
            batch[8] = Arc::new(dictionary);
            let batch = RecordBatch::try_new(self::batch().schema(), batch).unwrap();
            let wanted: Vec<bool> = by_row(&expr, &batch)
                .iter()
                .map(|value| value.as_bool() == Some(true))
                .collect();
            let mask: Vec<bool> = column.mask(&batch, &TIMES[..of.len()]).iter().collect();
            assert_eq!(mask, wanted, "{text} over {of:?}");
        }
    }
}

//! Planning: every case's statements resolve, and what does not is told as Esper tells it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use flow_cep::event_type::EventType;
use flow_cep::parse_each;
use flow_cep::plan::explain::explain;
use flow_cep::plan::split::Halves;
use flow_cep::plan::{Action, Planner, ResultKind, SelectPlan};

/// The event type of the cases.
fn flow() -> EventType {
    let mut fields = Vec::new();
    for (name, of) in [
        ("ts", DataType::Int64),
        ("srcIp", DataType::Utf8),
        ("srcPort", DataType::Int32),
        ("dstIp", DataType::Utf8),
        ("dstPort", DataType::Int32),
        ("bytes", DataType::Int64),
        ("packets", DataType::Int64),
        ("proto", DataType::Int32),
        ("tcpFlags", DataType::Int32),
        ("firstMs", DataType::Int64),
        ("lastMs", DataType::Int64),
        ("collector", DataType::Utf8),
        ("probe", DataType::Utf8),
        ("srcSubnet", DataType::Utf8),
        ("dstSubnet", DataType::Utf8),
        ("srcRouter", DataType::Utf8),
        ("dstRouter", DataType::Utf8),
        ("srcInternal", DataType::Boolean),
        ("dstInternal", DataType::Boolean),
    ] {
        fields.push(Field::new(name, of, true));
    }
    EventType::new("Flow", Arc::new(Schema::new(fields)), Some("ts")).unwrap()
}

fn error(text: &str) -> String {
    let mut planner = Planner::new([flow()]);
    for statement in parse_each(text) {
        let statement = match statement {
            Ok(statement) => statement,
            Err(error) => return error.to_string(),
        };
        if let Err(error) = planner.plan(&statement, text) {
            return error.to_string();
        }
    }
    panic!("accepted: {text}");
}

fn select(text: &str) -> SelectPlan {
    let mut planner = Planner::new([flow()]);
    let mut last = None;
    for statement in parse_each(text) {
        last = Some(
            planner
                .plan(&statement.unwrap(), text)
                .unwrap_or_else(|error| panic!("{error}")),
        );
    }
    match last.unwrap().action {
        Action::Select(plan) => *plan,
        other => panic!("no select: {other:?}"),
    }
}

#[test]
fn the_messages_are_esper_s_in_kind() {
    for (text, message) in [
        (
            "select srcIp, sum(byte) from Flow#time(10 sec) group by srcIp",
            "Failed to validate select-clause expression 'sum(byte)': Property named 'byte' is not valid in any stream (did you mean 'bytes'?) at line 1 column 18",
        ),
        (
            "select * from Flows",
            "Failed to resolve event type, named window or table by name 'Flows' at line 1 column 14",
        ),
        (
            "select * from Flow#tim(10 sec)",
            "Failed to validate data window declaration: View name 'tim' is not a known view name at line 1 column 19",
        ),
        (
            "select sum(srcIp) from Flow",
            "Failed to validate select-clause expression 'sum(srcIp)': Implicit conversion from datatype 'String' to numeric is not allowed for aggregation function 'sum' at line 1 column 7",
        ),
        (
            "select srcIp from Flow where sum(bytes) > 5",
            "Aggregation functions not allowed within filters at line 1 column 29",
        ),
        (
            "select srcIp from Flow having bytes",
            "The having-clause expression must return a boolean value",
        ),
        (
            "select * from pattern [every a=Flow -> b=Flow(x=1)]",
            "Failed to validate filter expression 'x=1': Property named 'x' is not valid in any stream at line 1 column 46",
        ),
        (
            "select srcIp from Flow(bytes = 'a')",
            "Failed to validate filter expression 'bytes=\"a\"': Implicit conversion from datatype 'String' to 'Long' is not allowed",
        ),
        (
            "select * from Flow#time(10 sec) where bytes > 'x'",
            "Failed to validate expression: Implicit conversion from datatype 'String' to numeric is not allowed",
        ),
        (
            "select srcIp, median(distinct bytes), percentile(bytes, 95) from Flow",
            "Failed to validate select-clause expression 'percentile(bytes,95)': Unknown single-row function",
        ),
        (
            "select count(*) from Flow#time(1 min) group by 1",
            "Group-by expressions must refer to property names",
        ),
        (
            "select nosuch(bytes) from Flow",
            "Failed to validate select-clause expression 'nosuch(bytes)': Unknown single-row function, aggregation function or mapped or indexed property named 'nosuch' could not be resolved",
        ),
        (
            "select * from Flow#time(-1 sec)",
            "a window's length must be longer than nothing",
        ),
        (
            "select srcIp, window(bytes) as v from Flow group by srcIp",
            "The 'window' aggregation function requires that the aggregated events provide a remove stream",
        ),
        (
            "select countever(distinct bytes) as v from Flow#length(4)",
            "Failed to validate select-clause expression 'countever(distinct bytes)': Aggregation function 'countever'",
        ),
        (
            "context Nope select * from Flow",
            "Context by name 'Nope' could not be found",
        ),
        (
            "select bytes from Flow#time(1 min) as a, Flow#time(1 min) as b",
            "Failed to validate select-clause expression 'bytes': Property named 'bytes' is ambiguous",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(message), "{text}\n{error}");
    }
}

#[test]
fn refusals_name_the_clause_and_the_way_out() {
    for (text, what, instead) in [
        (
            "select * from Flow#time(10)#length(5)",
            "a second window on one stream",
            "use one window",
        ),
        ("select * from Flow#groupwin(srcIp)#length(5)", "'#groupwin'", "context"),
        (
            "select * from Flow#length_batch(3) output every 5 sec",
            "an output clause on a batch window",
            "leave it out",
        ),
        (
            "select count(*) from Flow#time(5 sec) group by rollup(srcIp, dstIp)",
            "'rollup'",
            "one statement for each level",
        ),
        (
            "select * from Flow output at (*, *, *, *, *)",
            "'output at'",
            "output every",
        ),
        ("select * from Flow#expr(true)", "'#expr'", "#time"),
    ] {
        let error = error(text);
        assert!(
            error.contains(what) && error.contains("is not supported") && error.contains(instead),
            "{text}\n{error}"
        );
    }
}

#[test]
fn a_condition_is_no_index() {
    let error = error("select last(srcIp, proto = 6) as last from Flow#time(5 sec)");
    assert!(
        error.contains("must be a whole number") && error.contains("filter: .."),
        "{error}"
    );
    select("select last(srcIp, 1) as last, first(srcIp, filter: proto = 6) as first from Flow#time(5 sec)");
}

#[test]
fn rows_are_classified_by_esper_s_rules() {
    for (text, expected) in [
        ("select * from Flow", ResultKind::Rows),
        ("select count(*) from Flow", ResultKind::OneRow),
        ("select srcIp, count(*) from Flow", ResultKind::RowPerEvent),
        (
            "select srcIp, count(*) from Flow group by srcIp",
            ResultKind::RowPerGroup,
        ),
        ("select count(*) from Flow group by srcIp", ResultKind::RowPerGroup),
        (
            "select srcIp, dstIp, count(*) from Flow group by srcIp",
            ResultKind::GroupedRowPerEvent,
        ),
        (
            "select count(*) from Flow group by srcIp order by srcIp",
            ResultKind::GroupedRowPerEvent,
        ),
        (
            "select srcIp, count(*) from Flow group by srcIp order by srcIp",
            ResultKind::RowPerGroup,
        ),
        ("select srcIp from Flow group by srcIp", ResultKind::RowPerGroup),
    ] {
        assert_eq!(select(text).result, expected, "{text}");
    }
}

#[test]
fn aggregates_are_shared_and_ints_are_summed_in_64_bits() {
    let plan = select(
        "select sum(srcPort) as a, sum(srcPort) + 1 as b from Flow having sum(srcPort) > 2 order by sum(srcPort)",
    );
    assert_eq!(plan.aggregates.len(), 1);
    assert_eq!(plan.output_type.to_string(), "(a long, b long)");
}

#[test]
fn inserted_streams_are_event_types_of_those_that_follow() {
    let plan = select(
        "insert into S select srcIp as ip, count(*) as n from Flow#time(10 sec) group by srcIp; \
         select ip, max(n) as m from S#length(3) group by ip",
    );
    assert_eq!(plan.output_type.to_string(), "(ip string, m long)");
}

#[test]
fn the_statements_of_all_cases_are_planned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut planned = 0;
    let mut refused = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().extension().is_none_or(|extension| extension != "epl") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let mut planner = Planner::new([flow()]);
        for statement in parse_each(&text) {
            match statement.and_then(|statement| planner.plan(&statement, &text)) {
                Ok(_) => planned += 1,
                Err(error) => refused.push(format!("{}: {error}", entry.file_name().to_string_lossy())),
            }
        }
    }
    for refusal in &refused {
        println!("{refusal}\n");
    }
    println!("{planned} planned, {} refused", refused.len());
    assert!(planned > 500, "{planned}");
    assert!(refused.len() * 20 < planned, "{} refused of {planned}", refused.len());
}

/// Plans a text and explains its last statement.
fn explained(text: &str) -> String {
    let mut planner = Planner::new([flow()]);
    let mut last = String::new();
    for statement in parse_each(text) {
        let plan = planner
            .plan(&statement.unwrap(), text)
            .unwrap_or_else(|error| panic!("{error}"));
        last = explain(&plan, planner.catalog()).to_string();
    }
    last
}

#[test]
fn a_plan_is_explained_in_words() {
    assert_eq!(
        explained(
            "@name('top') select srcIp, sum(bytes) as total from Flow(proto = 6, dstPort in (80, 443))#time(60 sec) \
             group by srcIp having sum(bytes) > 1000 output snapshot every 10 sec order by sum(bytes) desc, srcIp limit 10"
        ),
        "top\n  \
         stream     Flow(proto = 6, dstPort in (80, 443))\n  \
         window     the last 1 min\n  \
         key        srcIp\n  \
         aggregates sum(bytes)\n  \
         result     one row for each group: srcIp string, total long\n  \
         having     sum(bytes) > 1000\n  \
         output     a snapshot every 10 sec, from the first row on, ordered by sum(bytes) desc, srcIp, at most 10 rows\n  \
         state      the rows of 1 min; a set for each group of 1 aggregates\n  \
         cost/flow  a look-up by key\n  \
         workers    any number; rows exchanged by srcIp; the first row's time is agreed upon; results merged by one\n"
    );
    assert!(
        explained("select srcIp, count(*) from Flow group by srcIp").contains("grows      groups without a window")
    );
    assert!(
        explained("select a.srcIp from pattern [every a=Flow -> b=Flow(srcIp = a.dstIp)]")
            .contains("grows      pattern instances without 'timer:within'")
    );
}

#[test]
fn statements_are_split_by_what_keeps_their_rows_apart() {
    for (text, expected) in [
        (
            "select srcIp from Flow(proto = 6)",
            "any number; each row is answered where it is",
        ),
        (
            "select count(*) from Flow#time(10 sec)",
            "one after the filters: it has one result over all rows",
        ),
        (
            "select srcIp, count(*) as n from Flow#length(10) group by srcIp",
            "one after the filters: its window",
        ),
        (
            "select srcIp, count(*) as n from Flow#time(10 sec) group by srcIp",
            "any number; rows exchanged by srcIp",
        ),
        (
            "select a.srcIp from pattern [every a=Flow(proto = 6) -> b=Flow(srcIp = a.dstIp) where timer:within(5 sec)]",
            "one after the filters: rows of one event type would have to go to two workers",
        ),
        (
            "select a.srcIp from pattern [every a=Flow(proto = 6) -> b=Flow(proto = 17)]",
            "one after the filters: an event of the pattern",
        ),
        (
            "select a.bytes from Flow#time(5 sec) as a, Flow(proto = 6)#time(5 sec) as b where a.srcIp = b.dstIp",
            "one after the filters: rows of one event type would have to go to two workers",
        ),
        (
            "create context C partition by srcIp from Flow; context C select count(*) as n from Flow#length(3)",
            "one after the filters: the partitions of its context",
        ),
        (
            "select srcIp from Flow where dstIp in (select srcIp from Flow#keepall)",
            "one after the filters: its subquery",
        ),
    ] {
        let explained = explained(text);
        assert!(
            explained.contains(&format!("workers    {expected}")),
            "{text}\n{explained}"
        );
    }
}

#[test]
fn only_the_columns_that_are_looked_at_are_sent_on() {
    let text = "select srcIp, sum(bytes) as total from Flow(proto = 6)#time(60 sec) group by srcIp";
    let mut planner = Planner::new([flow()]);
    let plan = planner.plan(&parse_each(text).remove(0).unwrap(), text).unwrap();
    let halves = Halves::of(&plan).unwrap();
    let names: Vec<_> = halves.local[0]
        .columns
        .iter()
        .map(|column| flow().column_name(*column).to_owned())
        .collect();
    assert_eq!(names, ["srcIp", "bytes"]);
    assert_eq!(halves.local[0].conditions.len(), 1);
}

/// The event type of the statements that are shipped.
fn product_flow() -> EventType {
    use DataType::{Boolean, FixedSizeBinary, Int64, Timestamp, UInt8, UInt16, UInt32, Utf8};
    let time = || Timestamp(TimeUnit::Millisecond, None);
    let groups: [(DataType, &[&str]); 8] = [
        (time(), &["time", "flow_start", "flow_end"]),
        (FixedSizeBinary(16), &["src_addr", "dst_addr", "next_hop", "exporter"]),
        (UInt8, &["proto", "tos"]),
        (UInt16, &["src_port", "dst_port", "tcp_flags", "src_vlan", "dst_vlan"]),
        (
            UInt32,
            &["sampling_rate", "in_if", "out_if", "src_as", "dst_as", "domain"],
        ),
        (Int64, &["bytes", "packets"]),
        (Boolean, &["src_internal", "dst_internal"]),
        (
            Utf8,
            &[
                "probe",
                "area",
                "src_subnet",
                "src_router",
                "src_interface",
                "dst_subnet",
                "dst_router",
                "dst_interface",
            ],
        ),
    ];
    let fields: Vec<Field> = groups
        .iter()
        .flat_map(|(of, names)| names.iter().map(|name| Field::new(*name, of.clone(), true)))
        .collect();
    EventType::new("Flow", Arc::new(Schema::new(fields)), Some("time")).unwrap()
}

#[test]
fn every_shipped_statement_is_planned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../statements");
    let mut planned = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "epl") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut planner = Planner::new([product_flow()]);
        for statement in parse_each(&text) {
            statement
                .and_then(|statement| planner.plan(&statement, &text))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            planned += 1;
        }
    }
    assert!(planned > 50, "{planned}");
}

#[test]
fn constant_lists_stand_in_lists_as_their_values() {
    for (text, filter) in [
        (
            "create constant variable int[] PORTS = {443, 22}; select srcIp from Flow(dstPort in (PORTS, 80, 22))",
            "dstPort in (22, 80, 443)",
        ),
        (
            "create constant variable string[] NETS = {'a'}; select srcIp from Flow(coalesce(srcSubnet, '') not in (NETS))",
            "not in (",
        ),
        (
            "create constant variable long[] BYTES = {1}; select srcIp from Flow(bytes not in (BYTES, srcPort))",
            "bytes not in (1, srcPort)",
        ),
    ] {
        let explained = explained(text);
        assert!(explained.contains(filter), "{text}\n{explained}");
    }
}

#[test]
fn a_value_that_its_constant_cannot_hold_is_refused() {
    for (text, message) in [
        (
            "create constant variable address[] HOSTS = {'10.0.0.0/8'}",
            "'10.0.0.0/8' is a network, not an address at line 1 column 44",
        ),
        (
            "create constant variable address HOST = '10.0.0'",
            "'10.0.0' is no address at line 1 column 40",
        ),
        (
            "create constant variable int[] SIZES = {1, 3000000000}",
            "'3000000000' does not fit the type int at line 1 column 43",
        ),
        (
            "create constant variable long[] SIZES = {1.5}",
            "'1.5' does not fit the type long at line 1 column 41",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(message), "{text}\n{error}");
    }
}

#[test]
fn a_statement_that_cannot_be_parsed_keeps_its_number() {
    let text = "select srcIp from Flow; select srcIp frm Flow; select bytes from Flow";
    let mut planner = Planner::new([flow()]);
    let mut names = Vec::new();
    for parsed in parse_each(text) {
        match parsed {
            Ok(statement) => names.push(planner.plan(&statement, text).unwrap().name),
            Err(_) => planner.skip(),
        }
    }
    assert_eq!(names, ["stmt-0", "stmt-2"]);
}

#[test]
fn a_merge_defines_the_event_type_it_inserts_into() {
    let text = "create table Seen (srcIp string primary key);
        on Flow as f merge Seen as s where s.srcIp = f.srcIp
        when not matched then insert select f.srcIp as srcIp then insert into Fresh select f.srcIp as host, f.bytes as size;
        select size from Fresh(host = 'a')";
    let mut planner = Planner::new([flow()]);
    for parsed in parse_each(text) {
        planner.plan(&parsed.unwrap(), text).unwrap();
    }
}

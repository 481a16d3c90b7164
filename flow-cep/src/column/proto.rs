use super::query::*;
use super::runtime::*;
use super::scalar::Scalar;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::*;
use std::sync::Arc;

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545F4914F6CDD1D)
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn zipf(&mut self, n: f64) -> u64 {
        // log-uniform
        (n.powf(self.unit())) as u64
    }
}

const COLS: [&str; 13] = ["ts", "srcIp", "srcPort", "dstIp", "dstPort", "bytes", "packets", "proto", "tcpFlags", "firstMs", "lastMs", "srcInternal", "dstInternal"];

fn generate(n: usize, rate: f64) -> (SchemaRef, Vec<RecordBatch>) {
    let mut r = Rng(88172645463325252);
    let mut t = 1_400_000_000_000f64;
    let mut out = vec![];
    let a16 = DataType::FixedSizeBinary(16);
    let types = [DataType::Int64, a16.clone(), DataType::Int32, a16.clone(), DataType::Int32, DataType::Int64, DataType::Int64, DataType::Int32, DataType::Int32, DataType::Int64, DataType::Int64, DataType::Boolean, DataType::Boolean];
    let schema = Arc::new(Schema::new(COLS.iter().zip(types).map(|(n, t)| Field::new(*n, t, true)).collect::<Vec<_>>()));
    let addr = |x: u32| {
        let mut a = [0u8; 16];
        a[10] = 255;
        a[11] = 255;
        a[12..].copy_from_slice(&x.to_be_bytes());
        a
    };
    let mut done = 0;
    while done < n {
        let m = 8192.min(n - done);
        let (mut ts, mut si, mut sp, mut di, mut dp, mut by, mut pk, mut pr, mut fl, mut fm, mut lm, mut sint, mut dint) = (vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..m {
            t += -(1.0 - r.unit()).ln() * 1000.0 / rate;
            let ms = t as i64;
            let inside = 0x93e40000u32 + (r.zipf(20000.0) as u32).wrapping_mul(2654435761) % 65536;
            let outside = (r.zipf(3_000_000.0) as u32).wrapping_mul(2654435761) | 1;
            let kind = r.unit();
            let (s, d, i1, i2) = if kind < 0.45 { (inside, outside, true, false) } else if kind < 0.9 { (outside, inside, false, true) } else { (inside, 0x93e40000u32 + (r.zipf(20000.0) as u32).wrapping_mul(40503) % 65536, true, true) };
            ts.push(ms);
            si.extend_from_slice(&addr(s));
            di.extend_from_slice(&addr(d));
            sint.push(i1);
            dint.push(i2);
            let tcp = r.unit() < 0.6;
            pr.push(if tcp { 6 } else { 17 });
            let ports = [80, 443, 53, 25, 22, 123, 6667, 8080, 3389, 445];
            let port = if r.unit() < 0.8 { ports[r.zipf(10.9) as usize % 10] } else { (r.next() % 64000 + 1024) as i32 };
            if kind < 0.45 || kind >= 0.9 { sp.push((r.next() % 64000 + 1024) as i32); dp.push(port); } else { dp.push((r.next() % 64000 + 1024) as i32); sp.push(port); }
            let packets = r.zipf(1000.0) as i64;
            pk.push(packets);
            by.push(packets * (40 + (r.next() % 1400) as i64));
            fl.push(27);
            let dur = if packets == 1 { 0 } else { r.zipf(60000.0) as i64 };
            lm.push(ms - 5);
            fm.push(ms - 5 - dur);
        }
        let f = |v: Vec<u8>| Arc::new(FixedSizeBinaryArray::new(16, v.into(), None)) as ArrayRef;
        let i = |v: Vec<i32>| Arc::new(Int32Array::from(v)) as ArrayRef;
        let l = |v: Vec<i64>| Arc::new(Int64Array::from(v)) as ArrayRef;
        out.push(RecordBatch::try_new(schema.clone(), vec![l(ts), f(si), i(sp), f(di), i(dp), l(by), l(pk), i(pr), i(fl), l(fm), l(lm), Arc::new(BooleanArray::from(sint)), Arc::new(BooleanArray::from(dint))]).unwrap());
        done += m;
    }
    (schema, out)
}


use crate::expr::{Expr, Node};
use crate::syntax::ast::BinaryOp as B;
use crate::value::{Type, Value};
fn ci(name: &str) -> usize { COLS.iter().position(|c| *c == name).unwrap() }
fn col(name: &str) -> Expr { let of = match name { "srcIp"|"dstIp" => Type::Address, "srcInternal"|"dstInternal" => Type::Bool, "bytes"|"packets"|"ts"|"firstMs"|"lastMs" => Type::Long, _ => Type::Int }; Expr { node: Node::Column { stream: 0, column: ci(name) }, of } }
fn gcol(i: usize, of: Type) -> Expr { Expr { node: Node::Column { stream: 0, column: i }, of } }
fn int(v: i32) -> Expr { Expr { node: Node::Literal(Value::Int(v)), of: Type::Int } }
fn long(v: i64) -> Expr { Expr { node: Node::Literal(Value::Long(v)), of: Type::Long } }
fn cmp(op: B, a: Expr, b: Expr) -> Expr { Expr { node: Node::Compare(op, Box::new(a), Box::new(b)), of: Type::Bool } }
fn ar(op: B, a: Expr, b: Expr) -> Expr { let of = a.of.clone(); Expr { node: Node::Arithmetic(op, Box::new(a), Box::new(b)), of } }
fn dbl(a: Expr) -> Expr { Expr { node: Node::Convert(Box::new(a)), of: Type::Double } }
fn s(e: Expr) -> Scalar { Scalar::new(&e).unwrap() }
fn c(name: &str) -> Scalar { s(col(name)) }
fn agg(function: Function, x: &str) -> Aggregate { Aggregate { function, argument: if x.is_empty() { None } else { Some(c(x)) }, of: DataType::Int64 } }
fn schema(names: &[(&str, DataType)]) -> SchemaRef { Arc::new(Schema::new(names.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())) }
fn gs(n: usize) -> Vec<Scalar> { (0..n).map(|i| s(gcol(i, Type::Long))).collect() }
fn lg(i: usize) -> Scalar { s(gcol(i, Type::Long)) }

fn statements() -> Vec<(&'static str, Query)> {
    let a16 = DataType::FixedSizeBinary(16);
    let i = DataType::Int64;
    let proto6 = s(cmp(B::Equal, col("proto"), int(6)));
    let p1f = vec![c("srcInternal"), s(Expr { node: Node::Not(Box::new(col("dstInternal"))), of: Type::Bool }), proto6.clone(),
        s(Expr { node: Node::InList { operand: Box::new(col("dstPort")), list: [25, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 6697].into_iter().map(int).collect(), negated: false }, of: Type::Bool })];
    let t60 = Window::Time { span_ms: 60000 };
    let o10 = Output::Snapshot { every_ms: 10000 };
    let mut v = vec![];
    v.push(("p1_bot", Query { filter: p1f, window: t60, output: o10, limit: None, offset: 0,
        body: Body::Groups { keys: vec![c("srcIp")], aggregates: vec![agg(Function::CountDistinct, "dstIp"), agg(Function::Count, ""), agg(Function::Sum, "bytes")],
            having: Some(s(cmp(B::GreaterOrEqual, gcol(1, Type::Long), long(20)))), select: gs(4) },
        order: vec![(lg(1), true), (lg(0), false)],
        schema: schema(&[("srcIp", a16.clone()), ("peers", i.clone()), ("flows", i.clone()), ("bytes", i.clone())]) }));
    v.push(("p2_scan", Query { filter: vec![proto6, s(cmp(B::LessOrEqual, col("packets"), long(3)))], window: t60, output: o10, limit: None, offset: 0,
        body: Body::Groups { keys: vec![c("srcIp")], aggregates: vec![agg(Function::CountDistinct, "dstIp"), agg(Function::CountDistinct, "dstPort"), agg(Function::Count, "")],
            having: Some(s(Expr { node: Node::Or(vec![cmp(B::Greater, gcol(1, Type::Long), long(1500)), cmp(B::Greater, gcol(2, Type::Long), long(1500))]), of: Type::Bool })), select: gs(4) },
        order: vec![(lg(3), true), (lg(0), false)],
        schema: schema(&[("srcIp", a16.clone()), ("hosts", i.clone()), ("ports", i.clone()), ("flows", i.clone())]) }));
    v.push(("p3_top_talkers", Query { filter: vec![], window: t60, output: o10, limit: Some(10), offset: 0,
        body: Body::Groups { keys: vec![c("srcIp")], aggregates: vec![agg(Function::Sum, "bytes")], having: None, select: gs(2) },
        order: vec![(lg(1), true)], schema: schema(&[("srcIp", a16.clone()), ("total", i.clone())]) }));
    v.push(("p4_top_connections", Query { filter: vec![], window: t60, output: o10, limit: Some(10), offset: 0,
        body: Body::Groups { keys: vec![c("srcIp"), c("dstIp")], aggregates: vec![agg(Function::Count, ""), agg(Function::Sum, "bytes")], having: None, select: gs(4) },
        order: vec![(lg(3), true)], schema: schema(&[("srcIp", a16.clone()), ("dstIp", a16.clone()), ("flows", i.clone()), ("total", i.clone())]) }));
    for (name, desc) in [("p5_highest", true), ("p6_lowest", false)] {
        let durx = ar(B::Subtract, col("lastMs"), col("firstMs")); let bps = s(ar(B::Divide, ar(B::Multiply, dbl(col("bytes")), Expr { node: Node::Literal(Value::Double(8000.0)), of: Type::Double }), dbl(durx.clone())));
        let dur = s(durx);
        let later = s(cmp(B::Greater, col("lastMs"), col("firstMs")));
        v.push((name, Query { filter: vec![later], window: Window::TimeBatch { span_ms: 10000, reference_ms: None, eager: false, forced: false }, output: Output::Batch, limit: Some(10), offset: 0,
            body: Body::Rows { having: None, select: vec![c("srcIp"), c("srcPort"), c("dstIp"), c("dstPort"), c("bytes"), dur, bps.clone()] },
            order: vec![(bps, desc), (c("ts"), false), (c("srcIp"), false), (c("srcPort"), false)],
            schema: schema(&[("srcIp", a16.clone()), ("srcPort", DataType::Int32), ("dstIp", a16.clone()), ("dstPort", DataType::Int32), ("bytes", i.clone()), ("durMs", i.clone()), ("bps", DataType::Float64)]) }));
    }
    let tb1 = Window::TimeBatch { span_ms: 1000, reference_ms: None, eager: false, forced: false };
    v.push(("p7_flows", Query { filter: vec![], window: tb1, output: Output::Batch, limit: None, offset: 0,
        body: Body::Groups { keys: vec![], aggregates: vec![agg(Function::Count, "")], having: None, select: vec![lg(0)] }, order: vec![], schema: schema(&[("flows", i.clone())]) }));
    v.push(("p8_bandwidth", Query { filter: vec![], window: tb1, output: Output::Batch, limit: None, offset: 0,
        body: Body::Groups { keys: vec![], aggregates: vec![agg(Function::Sum, "bytes"), agg(Function::Sum, "packets")], having: None,
            select: vec![s(ar(B::Multiply, gcol(0, Type::Long), long(8))), lg(1)] }, order: vec![], schema: schema(&[("bits", i.clone()), ("packets", i.clone())]) }));
    v
}

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

#[test]
#[ignore]
fn proto() {
    let rate: f64 = std::env::var("RATE").ok().map_or(230.0, |r| r.parse().unwrap());
    let (schema, batches) = generate(2_000_000, rate);
    let all = statements();
    let pick = std::env::var("ONLY").unwrap_or_default();
    let run = |name: &str, queries: Vec<Query>| {
        let mut best = f64::MAX;
        let mut info = (0, 0);
        for _ in 0..3 {
            let t = cpu();
            let mut rt = Runtime::new(schema.clone(), 1 << 30);
            for q in &queries { rt.add(q, 1_400_000_000_000); }
            info = (0, 0);
            for b in &batches {
                rt.push(b, b.column(0).as_primitive::<Int64Type>().values());
                for e in rt.take() { info.0 += 1; info.1 += e.rows.map_or(0, |r| r.num_rows()); }
            }
            best = best.min(cpu() - t);
        }
        println!("{name}: {:.2} M/s  ({} deliveries, {} rows)", 2.0 / best, info.0, info.1);
    };
    for (name, q) in &all { if name.starts_with(&pick) { run(name, vec![q.clone()]); } }
    if pick.is_empty() || pick == "all" { run("all", all.iter().map(|x| x.1.clone()).collect()); }
}

//! Invented flows for tests and benchmarks: seeded, with the value ranges of a campus.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "values are made to fit"
)]

use std::sync::Arc;

use arrow_array::types::{Int32Type, UInt16Type, UInt32Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, Int64Array, PrimitiveArray, RecordBatch,
    StringArray, TimestampMillisecondArray, UInt8Array, UInt16Array, UInt32Array,
};
use flow_store::bundle::{Header, constant_text};
use flow_store::schema::{enriched_schema, flow_schema};

/// 2024-01-01 00:00 UTC.
pub(crate) const START_MS: i64 = 1_704_067_200_000;

/// A small seeded generator (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub(crate) fn v4(address: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[10..12].copy_from_slice(&[0xff, 0xff]);
    bytes[12..].copy_from_slice(&address.to_be_bytes());
    bytes
}

/// What the rows of a batch are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As NetFlow v5 gives them: IPv4, all columns there.
    V5,
    /// Mixed families, nulls where exporters leave fields out.
    Mixed,
}

pub(crate) fn header(sequence: u64) -> Header {
    Header {
        probe: Arc::from("edge-1"),
        area: Arc::from("north campus"),
        sequence,
        watermark_ms: START_MS + 10_000,
        exporter_state: vec![1, 2, 0xfe],
    }
}

/// `rows` flows from `start_ms` on, one every 50 µs.
pub(crate) fn flows(kind: Kind, rows: usize, start_ms: i64, random: &mut Random) -> RecordBatch {
    let time: Vec<i64> = (0..rows).map(|row| start_ms + (row / 30 * 30 / 20) as i64).collect();
    let address = |random: &mut Random, inside: bool| {
        if kind == Kind::Mixed && random.below(4) == 0 {
            let mut bytes = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes[8..].copy_from_slice(&random.below(100_000).to_be_bytes());
            return bytes;
        }
        let zipf = random.next() >> (random.below(20) + 44);
        v4(if inside {
            0x0a00_0000 + (zipf as u32 & 0xf_ffff)
        } else {
            (zipf as u32).wrapping_mul(2_654_435_761)
        })
    };
    let mut source = Vec::with_capacity(rows);
    let mut destination = Vec::with_capacity(rows);
    for _ in 0..rows {
        let (a, b) = (address(random, true), address(random, false));
        let (a, b) = if random.below(2) == 0 { (a, b) } else { (b, a) };
        source.push(a);
        destination.push(b);
    }
    let maybe =
        |random: &mut Random, limit: u64| (kind == Kind::V5 || random.below(3) > 0).then(|| random.below(limit) as u32);
    let optional = |random: &mut Random, limit: u64| -> ArrayRef {
        Arc::new(
            (0..rows)
                .map(|_| maybe(random, limit))
                .collect::<PrimitiveArray<UInt32Type>>(),
        )
    };
    let lasted: Vec<i64> = (0..rows)
        .map(|_| (random.next() >> (44 + random.below(20))) as i64 % 60_000)
        .collect();
    let packets: Vec<i64> = (0..rows)
        .map(|_| 1 + (random.next() >> (50 + random.below(14))) as i64)
        .collect();
    let port = |random: &mut Random| {
        if random.below(2) == 0 {
            [53, 80, 443, 22][random.below(4) as usize]
        } else {
            1024 + random.below(60_000) as u16
        }
    };
    let addresses =
        |values: &[[u8; 16]]| -> ArrayRef { Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()) };
    let next_hop: ArrayRef = match kind {
        Kind::V5 => addresses(&vec![v4(0x0a00_0001); rows]),
        Kind::Mixed => Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                (0..rows).map(|_| (random.below(2) == 0).then(|| v4(random.below(9) as u32))),
                16,
            )
            .unwrap(),
        ),
    };
    let times =
        |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampMillisecondArray::from(values).with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        times(time.clone()),
        times(
            time.iter()
                .zip(&lasted)
                .map(|(time, lasted)| time - 1000 - lasted)
                .collect(),
        ),
        times(time.iter().map(|time| time - 1000).collect()),
        addresses(&source),
        addresses(&destination),
        Arc::new((0..rows).map(|_| port(random)).collect::<UInt16Array>()),
        Arc::new((0..rows).map(|_| port(random)).collect::<UInt16Array>()),
        Arc::new(
            (0..rows)
                .map(|_| [6u8, 6, 17, 1][random.below(4) as usize])
                .collect::<UInt8Array>(),
        ),
        Arc::new(
            (0..rows)
                .map(|_| if random.below(20) == 0 { 0xb8u8 } else { 0 })
                .collect::<UInt8Array>(),
        ),
        Arc::new(
            (0..rows)
                .map(|_| [0x02u16, 0x1b, 0x12, 0][random.below(4) as usize])
                .collect::<UInt16Array>(),
        ),
        Arc::new(
            packets
                .iter()
                .map(|packets| packets * (40 + random.below(1460) as i64))
                .collect::<Int64Array>(),
        ),
        Arc::new(Int64Array::from(packets)),
        Arc::new(UInt32Array::from(vec![if kind == Kind::V5 { 0 } else { 1 }; rows])),
        optional(random, 40),
        optional(random, 40),
        optional(random, 2),
        optional(random, 65_000),
        next_hop,
        addresses(&vec![v4(0x7f00_0001); rows]),
        Arc::new(UInt32Array::from(vec![1; rows])),
        constant_text("edge-1", rows),
        constant_text("north campus", rows),
    ];
    RecordBatch::try_new(flow_schema(), columns).unwrap()
}

/// The same flows with both ends resolved among 1,000 subnets behind 40 routers.
pub(crate) fn enriched(flows: &RecordBatch, random: &mut Random) -> RecordBatch {
    let rows = flows.num_rows();
    let names = |stem: &str, count: usize| -> ArrayRef {
        Arc::new(
            (0..count)
                .map(|at| Some(format!("{stem}-{at}")))
                .collect::<StringArray>(),
        )
    };
    let (subnets, routers, interfaces) = (names("building-lan", 1000), names("router", 40), names("ge-0/0", 48));
    let mut columns = flows.columns().to_vec();
    for _end in 0..2 {
        let found: Vec<Option<i32>> = (0..rows)
            .map(|_| (random.below(2) == 0).then(|| random.below(1000) as i32))
            .collect();
        let keyed = |values: &ArrayRef, modulus: i32| -> ArrayRef {
            let keys: Int32Array = found.iter().map(|found| found.map(|found| found % modulus)).collect();
            Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::clone(values)))
        };
        columns.push(Arc::new(
            found
                .iter()
                .map(|found| Some(found.is_some()))
                .collect::<BooleanArray>(),
        ));
        columns.push(keyed(&subnets, 1000));
        columns.push(keyed(&routers, 40));
        columns.push(keyed(&interfaces, 48));
        columns.push(Arc::new(
            found
                .iter()
                .map(|found| found.map(|found| (found % 500) as u16))
                .collect::<PrimitiveArray<UInt16Type>>(),
        ));
    }
    RecordBatch::try_new(enriched_schema(), columns).unwrap()
}

//! Datagrams of several versions become flows of one schema.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{Ipv6Addr, SocketAddr};

use arrow_array::Array;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type};
use flow_store::arrow_stream;
use flow_store::batch::FlowBatchBuilder;
use flow_store::schema::{
    BYTES, DOMAIN, DST_PORT, EXPORTER, IN_IF, NEXT_HOP, PROTO, SAMPLING_RATE, SRC_ADDR, SRC_PORT, TIME,
};
use netflow_codec::{Decoder, Limits, Set};

const EXPORTER_V4: &str = "192.0.2.1:40000";
const EXPORTER_V6: &str = "[2001:db8::9]:40000";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split("//").next().unwrap().bytes())
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn v5() -> Vec<u8> {
    hex("0005 0001            // version, count
         0000 2710            // uptime 10,000 ms
         6553 f100 0773 5940  // 1,700,000,000 s and 125 ms
         0000 002a 01 02      // sequence, engine type and id
         400a                 // sampling mode 1, one in 10
         0a00 0001 0a00 0002 0a00 00fe 0003 0004
         0000 0005 0000 03e8  // 5 packets, 1000 bytes
         0000 1388 0000 1b58  // from uptime 5000 to 7000
         c001 0050 00 12 06 00 fde8 0000 1820 0000")
}

fn v9() -> Vec<u8> {
    hex(
        "0009 0002 0000 2710 6553 f100 0000 0001 0000 0007  // 2 records, source id 7
         0000 0018 0100 0004                    // template 256 of 4 fields
         001b 0010 0004 0001 0020 0002 0001 0004 // IPv6 source, protocol, ICMP type and code, bytes
         0100 001c                              // data, one record
         2001 0db8 0000 0000 0000 0000 0000 0001 01 0800 0000 0064
         00",
    )
}

fn build(datagrams: &[(Vec<u8>, &str, i64)]) -> RecordBatch {
    let mut decoder = Decoder::new(Limits::default());
    let mut flows = FlowBatchBuilder::new("edge-1", "north", 16);
    for (datagram, from, now_ms) in datagrams {
        let from: SocketAddr = from.parse().unwrap();
        let message = decoder.decode(datagram, from, *now_ms).unwrap();
        for set in &message {
            if let Set::Data(set) = set.unwrap() {
                flows.append(&message, &set, *now_ms);
            }
        }
    }
    flows.finish()
}

fn address(batch: &RecordBatch, name: &str, row: usize) -> Ipv6Addr {
    let column = batch.column_by_name(name).unwrap().as_fixed_size_binary();
    Ipv6Addr::from(<[u8; 16]>::try_from(column.value(row)).unwrap())
}

#[test]
fn versions_side_by_side_give_rows_of_one_schema() {
    let batch = build(&[
        (v5(), EXPORTER_V4, 1_700_000_000_500),
        (v9(), EXPORTER_V6, 1_700_000_000_600),
    ]);
    assert_eq!(batch.num_rows(), 2);
    let u32s = |name| batch.column_by_name(name).unwrap().as_primitive::<UInt32Type>().clone();
    let u16s = |name| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<UInt16Type>()
            .values()
            .to_vec()
    };
    assert_eq!(
        batch
            .column_by_name(TIME)
            .unwrap()
            .as_primitive::<TimestampMillisecondType>()
            .values(),
        &[1_700_000_000_500, 1_700_000_000_600]
    );
    assert_eq!(address(&batch, SRC_ADDR, 0).to_string(), "::ffff:10.0.0.1");
    assert_eq!(address(&batch, SRC_ADDR, 1).to_string(), "2001:db8::1");
    assert_eq!(address(&batch, EXPORTER, 0).to_string(), "::ffff:192.0.2.1");
    assert_eq!(address(&batch, EXPORTER, 1).to_string(), "2001:db8::9");
    assert_eq!(u32s(DOMAIN).values(), &[0x102, 7]);
    assert_eq!(u16s(SRC_PORT), [0xc001, 0]);
    assert_eq!(u16s(DST_PORT), [80, 0x800]);
    assert_eq!(
        batch
            .column_by_name(PROTO)
            .unwrap()
            .as_primitive::<UInt8Type>()
            .values(),
        &[6, 1]
    );
    assert_eq!(
        batch
            .column_by_name(BYTES)
            .unwrap()
            .as_primitive::<Int64Type>()
            .values(),
        &[10_000, 100]
    );
    assert_eq!(u32s(SAMPLING_RATE).values(), &[10, 0]);
    assert_eq!((u32s(IN_IF).value(0), u32s(IN_IF).is_null(1)), (3, true));
    let next_hop = batch.column_by_name(NEXT_HOP).unwrap();
    assert_eq!(
        (address(&batch, NEXT_HOP, 0).to_string().as_str(), next_hop.is_null(1)),
        ("::ffff:10.0.0.254", true)
    );
}

#[test]
fn a_finished_builder_starts_anew() {
    let mut decoder = Decoder::new(Limits::default());
    let mut flows = FlowBatchBuilder::new("edge-1", "north", 16);
    for round in 1..=2 {
        let datagram = v5();
        let message = decoder.decode(&datagram, EXPORTER_V4.parse().unwrap(), round).unwrap();
        for set in &message {
            if let Set::Data(set) = set.unwrap() {
                assert_eq!(flows.append(&message, &set, round), 1);
            }
        }
        assert_eq!(flows.len(), 1);
        let batch = flows.finish();
        assert_eq!(
            batch.column(0).as_primitive::<TimestampMillisecondType>().values(),
            &[round]
        );
        assert!(flows.is_empty());
    }
}

#[test]
fn a_batch_goes_through_a_stream_and_damage_is_told() {
    let batch = build(&[(v5(), EXPORTER_V4, 5)]);
    let bytes = arrow_stream::write(&batch).unwrap();
    assert_eq!(arrow_stream::read(bytes.clone().into()).unwrap(), batch);
    assert!(arrow_stream::read(bytes[..bytes.len() / 2].to_vec().into()).is_err());
    assert!(arrow_stream::read(vec![7; 64].into()).is_err());
}

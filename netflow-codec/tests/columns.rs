//! Sets of every version to Arrow columns.
#![cfg(feature = "arrow")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef};
use netflow_codec::columns::{Column, ColumnKind, ColumnPlan, Columns, Integer};
use netflow_codec::{Decoder, ElementId, Limits, Set};

const fn iana(id: u16) -> ElementId {
    ElementId::iana(id)
}

fn plan() -> Arc<ColumnPlan> {
    Arc::new(ColumnPlan::new(vec![
        Column::new(
            "flow_start",
            ColumnKind::Start,
            [152, 150, 154, 156, 22, 158, 161].map(iana),
        ),
        Column::new(
            "flow_end",
            ColumnKind::End,
            [153, 151, 155, 157, 21, 159, 161].map(iana),
        ),
        Column::new("src_addr", ColumnKind::Address, [8, 27].map(iana)).reversed([12, 28].map(iana)),
        Column::new("dst_addr", ColumnKind::Address, [12, 28].map(iana)).reversed([8, 27].map(iana)),
        Column::new("src_port", ColumnKind::Unsigned(Integer::U16), [iana(7)]).reversed([iana(11)]),
        Column::new("dst_port", ColumnKind::DestinationPort, [iana(11)]).reversed([iana(7)]),
        Column::new("proto", ColumnKind::Unsigned(Integer::U8), [iana(4)]),
        Column::new("bytes", ColumnKind::ScaledCounter, [1, 85, 231].map(iana)).reversed([
            ElementId::reverse(1),
            ElementId::reverse(85),
            iana(232),
        ]),
        Column::new("packets", ColumnKind::ScaledCounter, [2, 86, 298].map(iana)).reversed([
            ElementId::reverse(2),
            ElementId::reverse(86),
            iana(299),
        ]),
        Column::new("sampling_rate", ColumnKind::SamplingRate, []),
        Column::new("src_as", ColumnKind::Unsigned(Integer::U32), [iana(16)]).nullable(),
    ]))
}

fn exporter() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

/// Decodes datagrams one after the other and appends all sets of flows.
fn columns_of(datagrams: &[Vec<u8>]) -> Vec<ArrayRef> {
    let mut decoder = Decoder::new(Limits::default());
    let mut columns = Columns::new(plan(), 16);
    for datagram in datagrams {
        let message = decoder.decode(datagram, exporter(), 0).unwrap();
        for set in &message {
            if let Set::Data(set) = set.unwrap() {
                columns.append(&set);
            }
        }
    }
    columns.finish()
}

fn addresses(array: &ArrayRef) -> Vec<String> {
    let array = array.as_fixed_size_binary();
    (0..array.len())
        .map(|row| {
            std::net::Ipv6Addr::from(<[u8; 16]>::try_from(array.value(row)).unwrap())
                .to_canonical()
                .to_string()
        })
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split("//").next().unwrap().bytes())
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn v5_fills_every_column() {
    let datagram = hex("0005 0001            // version, count
         0000 2710            // uptime 10,000 ms
         6553 f100 0773 5940  // 1,700,000,000 s and 125 ms
         0000 002a 01 02      // sequence, engine type and id
         400a                 // sampling mode 1, one in 10
         0a00 0001 0a00 0002 0000 0000 0003 0004
         0000 0005 0000 03e8  // 5 packets, 1000 bytes
         0000 1388 0000 1b58  // from uptime 5000 to 7000
         c001 0050 00 12 06 00 fde8 0000 1820 0000");
    let columns = columns_of(&[datagram]);
    assert_eq!(
        columns[0].as_primitive::<TimestampMillisecondType>().values(),
        &[1_699_999_995_125]
    );
    assert_eq!(
        columns[1].as_primitive::<TimestampMillisecondType>().values(),
        &[1_699_999_997_125]
    );
    assert_eq!(addresses(&columns[2]), ["10.0.0.1"]);
    assert_eq!(addresses(&columns[3]), ["10.0.0.2"]);
    assert_eq!(columns[4].as_primitive::<UInt16Type>().values(), &[0xc001]);
    assert_eq!(columns[5].as_primitive::<UInt16Type>().values(), &[80]);
    assert_eq!(columns[6].as_primitive::<UInt8Type>().values(), &[6]);
    assert_eq!(columns[7].as_primitive::<Int64Type>().values(), &[10_000]);
    assert_eq!(columns[8].as_primitive::<Int64Type>().values(), &[50]);
    assert_eq!(columns[9].as_primitive::<UInt32Type>().values(), &[10]);
    assert_eq!(columns[10].as_primitive::<UInt32Type>().values(), &[65_000]);
}

#[test]
fn reverse_counters_are_a_second_flow() {
    let datagram = hex("000a 0060 6553 f100 0000 0000 0000 0001
         0002 0028 0100 0007   // template 256 of seven fields
         0008 0004 000c 0004 0007 0002 000b 0002 0001 0004 0098 0008
         8001 0004 0000 7279   // reverseOctetDeltaCount
         0100 0028
         0a000001 0a000002 c001 0050 000003e8 0000018bcfe56800 000007d0
         0000 0000 0000 0000");
    let columns = columns_of(&[datagram]);
    assert_eq!(addresses(&columns[2]), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(addresses(&columns[3]), ["10.0.0.2", "10.0.0.1"]);
    assert_eq!(columns[4].as_primitive::<UInt16Type>().values(), &[0xc001, 80]);
    assert_eq!(columns[5].as_primitive::<UInt16Type>().values(), &[80, 0xc001]);
    assert_eq!(columns[7].as_primitive::<Int64Type>().values(), &[1000, 2000]);
    assert_eq!(
        columns[0].as_primitive::<TimestampMillisecondType>().values(),
        &[1_700_000_000_000; 2]
    );
    assert!(columns[10].is_null(0) && columns[10].is_null(1));
}

#[test]
fn variable_lengths_and_icmp_apart() {
    let datagram = hex("000a 0058 6553 f100 0000 0000 0000 0001
         0002 0020 0100 0006   // template 256 of six fields
         0008 0004 0052 ffff 0004 0001 00b0 0001 00b1 0001 0001 0002
         0100 0028
         0a000001 03 657468 01 03 0d 0064        // icmp, 13 bytes
         0a000002 ff0001 61 06 00 00 00c8        // tcp, 13 bytes
         0a000003 00 01 08 00 012c               // icmp, 10 bytes");
    let columns = columns_of(&[datagram]);
    assert_eq!(addresses(&columns[2]), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(columns[5].as_primitive::<UInt16Type>().values(), &[0x030d, 0, 0x0800]);
    assert_eq!(columns[7].as_primitive::<Int64Type>().values(), &[100, 200, 300]);
}

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
        Column::new("src_port", ColumnKind::SourcePort, [iana(7)]).reversed([iana(11)]),
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

/// A v5 datagram of flows with these protocols and ports.
fn v5_with_ports(flows: &[(u8, u16, u16)]) -> Vec<u8> {
    let mut datagram = vec![0; 24];
    datagram[1] = 5;
    datagram[3] = u8::try_from(flows.len()).unwrap();
    for (protocol, source, destination) in flows {
        let mut record = [0; 48];
        record[32..34].copy_from_slice(&source.to_be_bytes());
        record[34..36].copy_from_slice(&destination.to_be_bytes());
        record[38] = *protocol;
        datagram.extend(record);
    }
    datagram
}

#[test]
fn icmp_in_the_ports_of_v5_is_read_in_both_forms() {
    // Protocol, source and destination port; what becomes of the ports.
    let flows = [
        ((1, 0, 0x0303), (0, 0x0303)),  // type × 256 + code, as Cisco has it
        ((1, 3, 3), (0, 0x0303)),       // type and code apart, as fprobe has it
        ((1, 8, 0), (0, 0x0800)),       // the same of an echo request
        ((1, 0, 0), (0, 0)),            // an echo reply is the same in both
        ((1, 0x1234, 0), (0x1234, 0)),  // an identifier, and no type
        ((1, 8, 0x0800), (8, 0x0800)),  // an identifier with a type beside it
        ((6, 8, 0), (8, 0)),            // TCP
        ((17, 3, 3), (3, 3)),           // UDP
        ((58, 0, 0x8000), (0, 0x8000)), // ICMPv6
    ];
    let columns = columns_of(&[v5_with_ports(&flows.map(|(flow, _)| flow))]);
    let ports = |column: usize| columns[column].as_primitive::<UInt16Type>().values().to_vec();
    assert_eq!(ports(4), flows.map(|(_, (source, _))| source));
    assert_eq!(ports(5), flows.map(|(_, (_, destination))| destination));
}

#[test]
fn sets_that_are_written_together_keep_their_own_clocks_and_rates() {
    // One flow that began 1 s and ended 0.25 s before the export, sampled 1 in `rate`, exported at `seconds`.
    let v5 = |sequence: u32, seconds: u32, rate: u16| {
        let uptime_ms = 60_000 + sequence * 1000;
        let mut datagram = vec![0, 5, 0, 1];
        for word in [uptime_ms, seconds, 0, sequence] {
            datagram.extend(word.to_be_bytes());
        }
        datagram.extend([0, 0]);
        datagram.extend(rate.to_be_bytes());
        let mut record = [0; 48];
        record[0..4].copy_from_slice(&[10, 0, 0, u8::try_from(sequence % 256).unwrap()]);
        record[20..24].copy_from_slice(&100_u32.to_be_bytes());
        record[24..28].copy_from_slice(&(uptime_ms - 1000).to_be_bytes());
        record[28..32].copy_from_slice(&(uptime_ms - 250).to_be_bytes());
        datagram.extend(record);
        datagram
    };
    // Template 256 of v9: source address and octets, in a message of its own and then with each 64th flow of v5.
    let v9 = |sequence: u32| {
        let mut datagram = vec![0, 9, 0, 2];
        for word in [5000, 1_700_000_000, sequence, 7] {
            datagram.extend(u32::to_be_bytes(word));
        }
        datagram.extend([0, 0, 0, 16, 1, 0, 0, 2, 0, 8, 0, 4, 0, 1, 0, 4]);
        datagram.extend([1, 0, 0, 12, 192, 0, 2, 1, 0, 0, 0, 9]);
        datagram
    };
    const FLOWS: u32 = 700;
    let mut datagrams = Vec::new();
    let mut wanted = Vec::new();
    for sequence in 0..FLOWS {
        let (seconds, rate) = (1_700_000_000 + sequence * 3, u16::try_from(sequence % 5).unwrap());
        datagrams.push(v5(sequence, seconds, rate));
        let export_ms = i64::from(seconds) * 1000;
        wanted.push((
            export_ms - 1000,
            export_ms - 250,
            100 * i64::from(rate.max(1)),
            u32::from(rate),
        ));
        if sequence % 64 == 0 {
            datagrams.push(v9(sequence));
            wanted.push((1_700_000_000_000, 1_700_000_000_000, 9, 0));
        }
    }
    let arrays = columns_of(&datagrams);
    let starts = arrays[0].as_primitive::<TimestampMillisecondType>();
    let ends = arrays[1].as_primitive::<TimestampMillisecondType>();
    let octets = arrays[7].as_primitive::<Int64Type>();
    let rates = arrays[9].as_primitive::<UInt32Type>();
    let found: Vec<_> = (0..arrays[0].len())
        .map(|row| (starts.value(row), ends.value(row), octets.value(row), rates.value(row)))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn memory_of_a_batch_is_used_again_once_nobody_has_it() {
    let datagram = {
        let mut datagram = vec![0, 5, 0, 1];
        datagram.extend([0; 20]);
        datagram.extend([1; 48]);
        datagram
    };
    let mut decoder = Decoder::new(Limits::default());
    let mut columns = Columns::new(plan(), 64);
    let mut batch = || {
        for set in &decoder.decode(&datagram, exporter(), 0).unwrap() {
            if let Ok(Set::Data(set)) = set {
                columns.append(&set);
            }
        }
        columns.finish()
    };
    let place = |arrays: &[ArrayRef]| arrays[7].as_primitive::<Int64Type>().values().as_ptr();
    let first = batch();
    let (first_place, kept) = (place(&first), first.clone());
    drop(first);
    // `kept` still has the memory of the first, so the third is not written over it.
    let (second, third) = (batch(), batch());
    assert_ne!(place(&second), first_place);
    assert_ne!(place(&third), first_place);
    assert_eq!(kept, batch());
    drop((kept, second, third));
    let places: Vec<_> = (0..4).map(|_| place(&batch())).collect();
    assert!(
        places
            .windows(3)
            .any(|places| places[0] == places[2] || places[0] == places[1]),
        "{places:?}"
    );
}

#[test]
fn uptimes_of_ipfix_tell_how_long_a_flow_took_even_if_nobody_knows_when_the_exporter_started() {
    let datagram = hex("000a 002c 6553 f100 0000 0000 0000 0001
         0002 0010 0100 0002 0016 0004 0015 0004  // template 256: flowStartSysUpTime, flowEndSysUpTime
         0100 000c ffff fe0c 0000 0064            // from 500 ms before the uptime wraps to 100 ms after: 600 ms
         ");
    let columns = columns_of(&[datagram]);
    let moments = |column: usize| columns[column].as_primitive::<TimestampMillisecondType>().value(0);
    assert_eq!((moments(0), moments(1)), (1_699_999_999_400, 1_700_000_000_000));
}

//! Loss is told exactly, in the unit that the exporter counts, through drops, doubles and reordering.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its dice are small"
)]

use std::net::SocketAddr;

use netflow_codec::sequence::{Arrival, Counting, Unit};
use netflow_codec::{Decoder, Limits, Set};

/// A small generator of numbers that is the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn exporter() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn v5(sequence: u32, flows: u16, uptime_ms: u32, seconds: u32) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(5_u16.to_be_bytes());
    datagram.extend(flows.to_be_bytes());
    datagram.extend(uptime_ms.to_be_bytes());
    datagram.extend(seconds.to_be_bytes());
    datagram.extend(0_u32.to_be_bytes());
    datagram.extend(sequence.to_be_bytes());
    datagram.extend([0; 4]);
    datagram.resize(24 + 48 * usize::from(flows), 0);
    datagram
}

fn v9(sequence: u32) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(9_u16.to_be_bytes());
    datagram.extend(1_u16.to_be_bytes());
    datagram.extend([0, 0, 39, 16, 0x65, 0x53, 0xf1, 0]);
    datagram.extend(sequence.to_be_bytes());
    datagram.extend([0, 0, 0, 7]);
    datagram.extend([0, 0, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4]);
    datagram
}

/// An IPFIX message of so many records, with their template before them.
fn ipfix(sequence: u32, records: u16) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(10_u16.to_be_bytes());
    datagram.extend((16 + 12 + 4 + 4 * records).to_be_bytes());
    datagram.extend([0x65, 0x53, 0xf1, 0]);
    datagram.extend(sequence.to_be_bytes());
    datagram.extend([0, 0, 0, 7]);
    datagram.extend([0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4]);
    datagram.extend([1, 0]);
    datagram.extend((4 + 4 * records).to_be_bytes());
    datagram.resize(datagram.len() + 4 * usize::from(records), 0);
    datagram
}

#[derive(Clone)]
struct Sent {
    bytes: Vec<u8>,
    units: u64,
}

/// An exporter's datagrams: mostly full, some not, from a number just before the wrap.
fn stream(dice: &mut Dice, version: u16, counting: Counting, datagrams: usize) -> Vec<Sent> {
    let mut before = u32::MAX - 2000;
    (0..datagrams)
        .map(|_| {
            let records = if dice.below(4) == 0 {
                1 + dice.below(29) as u16
            } else {
                30
            };
            let step = match counting {
                Counting::Datagrams => 1,
                _ => u32::from(records),
            };
            let sequence = match (counting, version) {
                // Open vSwitch numbers the last flow, softflowd counts all.
                (Counting::Including, 5) => before.wrapping_add(step).wrapping_sub(1),
                (Counting::Including, _) => before.wrapping_add(step),
                _ => before,
            };
            before = before.wrapping_add(step);
            let bytes = match version {
                5 => v5(sequence, records, 10_000, 1_700_000_000),
                9 => v9(sequence),
                _ => ipfix(sequence, records),
            };
            Sent {
                bytes,
                units: u64::from(step),
            }
        })
        .collect()
}

/// Drops, doubles and reorders, but neither drops nor moves the ends, so that all loss can be seen. Returns what is
/// received, the units dropped and the datagrams doubled.
fn network(dice: &mut Dice, sent: &[Sent]) -> (Vec<Vec<u8>>, u64, u64) {
    let (mut lost, mut doubled) = (0, 0);
    let last = sent.len() - 1;
    let mut received: Vec<(u64, Vec<u8>)> = Vec::new();
    for (number, datagram) in sent.iter().enumerate() {
        let place = number as u64 * 10;
        if number == 0 || number == last {
            received.push((if number == 0 { 0 } else { u64::MAX }, datagram.bytes.clone()));
            continue;
        }
        if dice.below(10) == 0 {
            lost += datagram.units;
            continue;
        }
        let late = if dice.below(8) == 0 { dice.below(200) } else { 0 };
        received.push((place + late, datagram.bytes.clone()));
        if dice.below(10) == 0 {
            doubled += 1;
            received.push((place + late + dice.below(100), datagram.bytes.clone()));
        }
    }
    received.sort_by_key(|(place, _)| *place);
    (received.into_iter().map(|(_, bytes)| bytes).collect(), lost, doubled)
}

fn loss_is_exact(version: u16, counting: Counting, unit: Unit) {
    for seed in 0..60 {
        let mut dice = Dice(seed * 77 + u64::from(version));
        let sent = stream(&mut dice, version, counting, 400);
        let (received, lost, doubled) = network(&mut dice, &sent);
        let mut decoder = Decoder::new(Limits::default());
        let (mut told, mut duplicates) = (0_u64, 0_u64);
        for datagram in &received {
            let message = decoder.decode(datagram, exporter(), 0).unwrap();
            assert!(message.sets().all(|set| set.is_ok()));
            duplicates += u64::from(message.is_duplicate());
            told += message.gaps().iter().map(|gap| u64::from(gap.count)).sum::<u64>();
            told -= u64::from(message.regained());
        }
        decoder.settle(i64::MAX, |_, gap| {
            assert_eq!(gap.unit, unit);
            told += u64::from(gap.count);
        });
        let status = decoder.streams().next().unwrap();
        assert_eq!(status.counting, counting, "seed {seed}");
        assert_eq!((status.tally.lost, duplicates), (lost, doubled), "seed {seed}");
        assert_eq!(status.tally.missing, 0);
        assert_eq!(told, lost, "seed {seed}: the gaps told add up to the tally");
        assert_eq!(status.tally.restarts, 0, "seed {seed}");
    }
}

#[test]
fn v5_counts_flows() {
    loss_is_exact(5, Counting::Before, Unit::Flows);
}

#[test]
fn v5_of_open_vswitch_numbers_the_last_flow() {
    loss_is_exact(5, Counting::Including, Unit::Flows);
}

#[test]
fn v9_counts_datagrams() {
    loss_is_exact(9, Counting::Datagrams, Unit::Datagrams);
}

#[test]
fn ipfix_counts_records() {
    loss_is_exact(10, Counting::Before, Unit::DataRecords);
}

#[test]
fn ipfix_of_softflowd_includes_the_message() {
    loss_is_exact(10, Counting::Including, Unit::DataRecords);
}

#[test]
fn ipfix_that_counts_messages_is_recognised() {
    loss_is_exact(10, Counting::Datagrams, Unit::Datagrams);
}

#[test]
fn restart_is_no_loss() {
    let mut decoder = Decoder::new(Limits::default());
    let mut arrivals = Vec::new();
    let datagrams = [
        v5(1000, 30, 500_000, 1_700_000_000),
        v5(1030, 30, 501_000, 1_700_000_001),
        v5(0, 30, 1_000, 1_700_000_060),
        // On its way since before the restart.
        v5(1060, 30, 502_000, 1_700_000_002),
        v5(30, 30, 2_000, 1_700_000_061),
    ];
    for datagram in &datagrams {
        arrivals.push(decoder.decode(datagram, exporter(), 0).unwrap().sequencing().arrival);
    }
    assert_eq!(
        arrivals,
        [
            Arrival::First,
            Arrival::InOrder,
            Arrival::Restart,
            Arrival::Stray,
            Arrival::InOrder
        ]
    );

    let mut arrivals = Vec::new();
    for datagram in [
        ipfix(4_000_000_000, 5),
        ipfix(4_000_000_005, 5),
        ipfix(0, 5),
        ipfix(7, 5),
        ipfix(12, 5),
    ] {
        arrivals.push(decoder.decode(&datagram, exporter(), 0).unwrap().sequencing().arrival);
    }
    assert_eq!(
        arrivals,
        [
            Arrival::First,
            Arrival::InOrder,
            Arrival::Stray,
            Arrival::Restart,
            Arrival::InOrder
        ]
    );
    decoder.settle(i64::MAX, |_, _| {});
    let lost: Vec<u64> = decoder.streams().map(|status| status.tally.lost).collect();
    assert_eq!(lost, [0, 2]);
}

#[test]
fn wrapped_uptime_is_no_restart() {
    let mut decoder = Decoder::new(Limits::default());
    decoder
        .decode(&v5(0, 30, u32::MAX - 500, 1_700_000_000), exporter(), 0)
        .unwrap();
    let next = v5(30, 30, 499, 1_700_000_001);
    assert_eq!(
        decoder.decode(&next, exporter(), 0).unwrap().sequencing().arrival,
        Arrival::InOrder
    );
}

#[test]
fn records_without_template_are_no_gap() {
    let mut unknown = ipfix(5, 5);
    // The same message, its data under an id that nothing defines.
    unknown[28..30].copy_from_slice(&[2, 0]);
    let mut decoder = Decoder::new(Limits::default());
    let mut arrivals = Vec::new();
    for datagram in [ipfix(0, 5), unknown, ipfix(10, 5), ipfix(15, 5)] {
        let message = decoder.decode(&datagram, exporter(), 0).unwrap();
        arrivals.push(message.sequencing().arrival);
    }
    assert_eq!(
        arrivals,
        [
            Arrival::First,
            Arrival::InOrder,
            Arrival::Resynchronised,
            Arrival::InOrder
        ]
    );
    let status = decoder.streams().next().unwrap();
    assert_eq!((status.tally.lost, status.tally.missing), (0, 0));
}

#[test]
fn missing_units_that_come_after_they_were_told_lost_are_taken_back() {
    let mut decoder = Decoder::new(Limits::default());
    decoder
        .decode(&v5(0, 30, 10_000, 1_700_000_000), exporter(), 0)
        .unwrap();
    let (mut told, mut regained) = (0, 0);
    for number in 2..100 {
        let datagram = v5(number * 30, 30, 10_000, 1_700_000_000);
        told += decoder
            .decode(&datagram, exporter(), 0)
            .unwrap()
            .gaps()
            .iter()
            .map(|gap| gap.count)
            .sum::<u32>();
    }
    assert_eq!(told, 30);
    let late = v5(30, 30, 10_000, 1_700_000_000);
    let message = decoder.decode(&late, exporter(), 0).unwrap();
    assert!(message.sets().any(|set| matches!(set, Ok(Set::Data(_)))));
    regained += message.regained();
    assert_eq!(regained, 30);
    assert_eq!(decoder.streams().next().unwrap().tally.lost, 0);
}

//! Datagrams of real exporters, of which some are dropped, doubled or swapped: the loss comes out to the unit.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;

use netflow_codec::sequence::Tally;
use netflow_codec::{Decoder, Limits, Set, Version};

/// The UDP payloads of a recording in `tests/data`: pcap, Ethernet, IPv4 without options.
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let file = std::fs::read(path).unwrap();
    let mut datagrams = Vec::new();
    let mut rest = &file[24..];
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(*head[8..].first_chunk().unwrap()) as usize;
        datagrams.push(after[14 + 20 + 8..length].to_vec());
        rest = &after[length..];
    }
    datagrams
}

fn exporter() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 2055))
}

/// What is told of all streams together once these datagrams have come.
fn tally<'d>(datagrams: impl IntoIterator<Item = &'d Vec<u8>>) -> Tally {
    let mut decoder = Decoder::new(Limits::default());
    for datagram in datagrams {
        decoder.decode(datagram, exporter(), 0).unwrap();
    }
    decoder.settle(i64::MAX, |_, _| ());
    decoder.streams().fold(Tally::default(), |sum, stream| Tally {
        lost: sum.lost + stream.tally.lost,
        missing: sum.missing + stream.tally.missing,
        late: sum.late + stream.tally.late,
        duplicates: sum.duplicates + stream.tally.duplicates,
        restarts: sum.restarts + stream.tally.restarts,
    })
}

/// For each datagram the units that its exporter counts, or none if it also brings templates or options, without which
/// what follows is not known.
fn units(datagrams: &[Vec<u8>]) -> Vec<Option<u64>> {
    let mut decoder = Decoder::new(Limits::default());
    let mut units = Vec::new();
    for datagram in datagrams {
        let message = decoder.decode(datagram, exporter(), 0).unwrap();
        let mut records = Some(0);
        for set in &message {
            records = match set.unwrap() {
                Set::Data(set) => records.map(|records| records + set.len() as u64),
                _ => None,
            };
        }
        units.push(match message.version() {
            Version::V9 => records.map(|_| 1),
            _ => records,
        });
    }
    units
}

/// Recordings, each with the datagram from which on its exporter's way to count is known: Open vSwitch's is not RFC 7011's
/// and takes some records to tell.
const RECORDINGS: [(&str, usize); 3] = [
    ("pmacctd-v9.pcap", 2),
    ("pmacctd-ipfix.pcap", 2),
    ("ovs-ipfix.pcap", 10),
];

#[test]
fn a_dropped_datagram_is_missed_to_the_unit() {
    for (name, first) in RECORDINGS {
        let all = datagrams(name);
        assert_eq!(tally(&all).lost, 0, "{name}");
        let units = units(&all);
        let mut dropped = 0;
        // That the last is missing would show with the next only.
        for number in first..all.len() - 1 {
            let Some(units) = units[number] else { continue };
            let rest = all
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
                .map(|(_, datagram)| datagram);
            assert_eq!(tally(rest).lost, units, "{name} without datagram {}", number + 1);
            dropped += 1;
        }
        assert!(dropped > 3, "{name}");
    }
}

#[test]
fn a_doubled_or_swapped_datagram_is_no_loss() {
    for (name, first) in RECORDINGS {
        let all = datagrams(name);
        for number in first..all.len() - 1 {
            let doubled: Vec<_> = all[..=number].iter().chain(&all[number..]).collect();
            let told = tally(doubled);
            assert_eq!(
                (told.lost, told.duplicates),
                (0, 1),
                "{name} with datagram {} twice",
                number + 1
            );

            let mut swapped = all.clone();
            swapped.swap(number, number + 1);
            assert_eq!(
                tally(&swapped).lost,
                0,
                "{name} with datagram {} after the next",
                number + 1
            );
        }
    }
}

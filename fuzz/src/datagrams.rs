//! What needs the codec alone; its own tests run this file too.

use std::net::SocketAddr;

use netflow_codec::encode::MessageWriter;
use netflow_codec::{DataSet, Decoder, Header, Limits, Record, Set, Template};

/// A sequence of datagrams in one input: before each, a byte that says who sent it (lower two bits) and how many seconds
/// have passed (upper six), and its length in two bytes. The last may be shorter than it says.
pub struct Datagrams<'i> {
    rest: &'i [u8],
    now_ms: i64,
}

impl<'i> Datagrams<'i> {
    /// The datagrams of an input.
    pub fn new(input: &'i [u8]) -> Self {
        Self {
            rest: input,
            now_ms: 1_700_000_000_000,
        }
    }
}

impl<'i> Iterator for Datagrams<'i> {
    type Item = (&'i [u8], SocketAddr, i64);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.rest.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]])).min(rest.len());
        let (datagram, rest) = rest.split_at(length);
        self.rest = rest;
        self.now_ms += i64::from(head[0] >> 2) * 1000;
        let from = SocketAddr::from(([192, 0, 2, 1 + (head[0] & 1)], 2055 + u16::from(head[0] >> 1 & 1)));
        Some((datagram, from, self.now_ms))
    }
}

/// Small limits, so that inputs of a few kilobytes reach them.
pub const LIMITS: Limits = Limits {
    streams: 4,
    stream_idle_ms: 60_000,
    templates_per_stream: 8,
    fields_per_template: 64,
    template_bytes: 1 << 14,
    template_lifetime_ms: 1_800_000,
    held_bytes_per_stream: 1 << 10,
    held_bytes: 1 << 11,
    held_ms: 60_000,
};

/// Decodes, reads every field in every way, and checks that counts and lengths agree.
pub fn decode(input: &[u8]) {
    let mut decoder = Decoder::new(LIMITS);
    let mut now = 0;
    for (datagram, from, now_ms) in Datagrams::new(input) {
        now = now_ms;
        let Ok(message) = decoder.decode(datagram, from, now_ms) else {
            continue;
        };
        for set in &message {
            let Ok(Set::Data(set) | Set::Options(set)) = set else {
                continue;
            };
            assert_eq!(set.records().count(), set.len());
            let bytes: usize = set.records().map(|record| record.bytes().len()).sum();
            assert!(bytes <= set.body().len());
            for record in set.records() {
                read_every_way(&record);
                let _ = set.sampling_rate(&record);
            }
        }
        let _ = (message.gaps().len(), message.regained(), message.is_duplicate());
    }
    decoder.settle(now, |_, gap| assert!(gap.count > 0));
    decoder.settle(i64::MAX, |_, gap| assert!(gap.count > 0));
    assert!(decoder.streams().count() <= LIMITS.streams);
    for stream in decoder.streams() {
        assert!(stream.templates <= LIMITS.templates_per_stream);
    }
}

fn read_every_way(record: &Record<'_>) {
    let template = record.template();
    assert_eq!(record.fields().count(), template.fields().len(), "{template:?}");
    for (number, (field, bytes)) in record.fields().enumerate() {
        assert_eq!(record.at(number), Some(bytes));
        let element = field.element;
        let first = template.position(element).expect("the template has the element");
        assert!(first <= number);
        assert!(template.positions(element).any(|place| place == number));
        assert_eq!(record.field(element), record.at(first));
        let _ = (
            record.unsigned(element),
            record.signed(element),
            record.float(element),
            record.address(element),
        );
        let _ = (record.mac(element), record.text(element), record.time_ms(element));
    }
}

/// Writes what was decoded, decodes that, and finds the same fields.
pub fn round_trip(input: &[u8]) {
    let mut decoder = Decoder::new(LIMITS);
    for (datagram, from, now_ms) in Datagrams::new(input) {
        let Ok(message) = decoder.decode(datagram, from, now_ms) else {
            continue;
        };
        for set in &message {
            let Ok(Set::Data(set) | Set::Options(set)) = set else {
                continue;
            };
            if set.is_empty() || ends_like_padding(&set) {
                continue;
            }
            let Some(written) = write(set.header(), &set) else {
                continue;
            };
            let mut again = Decoder::new(Limits::default());
            let message = again
                .decode(&written, from, 0)
                .expect("what we write has a good header");
            assert_eq!(message.domain(), set.header().domain);
            let mut records = set.records();
            for found in &message {
                let (Set::Data(found) | Set::Options(found)) = found.expect("what we write is well-formed") else {
                    continue;
                };
                for found in found.records() {
                    let wanted = records.next().expect("no more records than were written");
                    assert!(found.fields().eq(wanted.fields()), "{:?} is not {:?}", found, wanted);
                }
            }
            assert_eq!(
                records.next().map(|record| record.bytes().len()),
                None,
                "records are missing"
            );
        }
    }
}

/// Whether the last record of a set is of fields without content that could as well be padding: zeros, less than four bytes. Where
/// records differ in length nothing tells the one from the other.
fn ends_like_padding(set: &DataSet<'_>) -> bool {
    let last = set.records().last();
    last.is_some_and(|record| record.bytes().len() < 4 && record.bytes().iter().all(|byte| *byte == 0))
}

/// A message with the records of a set; none if the set does not fit one message, or has fields that the version cannot
/// name.
fn write(header: &Header, set: &DataSet<'_>) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    let mut message = MessageWriter::new(&mut written, header);
    if header.version.has_templates() {
        let template: &Template = set.template();
        message.templates([template]).ok()?;
        let mut writer = message.data_set(template).ok()?;
        for record in set.records() {
            writer.record_of(record.fields().map(|(_, bytes)| bytes)).ok()?;
        }
        writer.finish().ok()?;
    } else {
        for record in set.records() {
            message.fixed_records(record.bytes()).ok()?;
        }
    }
    message.finish().ok()?;
    Some(written)
}

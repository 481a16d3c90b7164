//! Datagrams as exporters send them: full, templates of twenty fields, every value different.

use netflow_codec::encode::MessageWriter;
use netflow_codec::{DomainId, ElementId, FieldSpec, Header, Template, TemplateId, TemplateKind, Version};

/// What one decoder gets to see.
#[derive(Debug)]
pub struct Input {
    pub name: &'static str,
    pub version: Version,
    /// Brings the templates; empty for v5.
    pub templates: Vec<u8>,
    pub datagrams: Vec<Vec<u8>>,
    pub records: usize,
}

impl Input {
    /// Numbers the datagrams on for another pass, as the exporter would.
    pub fn number_on(&mut self) {
        let (at, step) = match self.version {
            Version::V9 => (12, self.datagrams.len()),
            Version::Ipfix => (8, self.records),
            _ => (16, self.records),
        };
        for datagram in &mut self.datagrams {
            if let Some(place) = datagram.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = u32::from_be_bytes(*place).wrapping_add(step as u32).to_be_bytes();
            }
        }
    }
}

/// As many as a collector takes from the kernel at a time; what was just received lies in the cache.
const DATAGRAMS: usize = 64;

/// The fields of a router's v9 export: 56 bytes.
const V9_FIELDS: [(u16, u16); 20] = [
    (22, 4),
    (21, 4),
    (1, 4),
    (2, 4),
    (10, 4),
    (14, 4),
    (8, 4),
    (12, 4),
    (4, 1),
    (5, 1),
    (7, 2),
    (11, 2),
    (15, 4),
    (16, 4),
    (17, 4),
    (9, 1),
    (13, 1),
    (6, 1),
    (61, 1),
    (58, 2),
];

pub fn inputs() -> Vec<Input> {
    let mut ipfix_fields = V9_FIELDS;
    ipfix_fields[0] = (152, 8);
    ipfix_fields[1] = (153, 8);
    vec![
        v5(),
        templated("v9 (25 x 56 B)", Version::V9, &V9_FIELDS, 25),
        templated("IPFIX (22 x 64 B)", Version::Ipfix, &ipfix_fields, 22),
    ]
}

fn header(version: Version, sequence: u32) -> Header {
    let header = Header::new(version, DomainId(1), sequence, 1_700_000_000_000);
    Header {
        uptime_ms: header.uptime_ms.map(|_| 100_000_000),
        ..header
    }
}

/// Numbers that are the same on every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let number = self.next().to_be_bytes();
        std::array::from_fn(|i| number[8 - N + i])
    }
}

fn v5() -> Input {
    let mut dice = Dice(5);
    let mut datagrams = Vec::new();
    for number in 0..DATAGRAMS {
        let mut datagram = Vec::new();
        let mut message = MessageWriter::new(&mut datagram, &header(Version::V5, (number * 30) as u32));
        for _ in 0..30 {
            let mut record: [u8; 48] = std::array::from_fn(|_| dice.next() as u8);
            record[24..28].copy_from_slice(&(99_000_000 + dice.next() as u32 % 900_000).to_be_bytes());
            record[28..32].copy_from_slice(&(99_900_000 + dice.next() as u32 % 90_000).to_be_bytes());
            record[38] = if dice.next().is_multiple_of(4) { 17 } else { 6 };
            message.fixed_records(&record).expect("a record has 48 bytes");
        }
        message.finish().expect("30 records fit");
        datagrams.push(datagram);
    }
    Input {
        version: Version::V5,
        name: "v5 (30 x 48 B)",
        templates: Vec::new(),
        datagrams,
        records: DATAGRAMS * 30,
    }
}

fn templated(name: &'static str, version: Version, fields: &[(u16, u16)], per_datagram: usize) -> Input {
    let mut dice = Dice(9);
    let specs = fields
        .iter()
        .map(|(id, length)| FieldSpec::fixed(ElementId::iana(*id), *length))
        .collect();
    let template = Template::new(TemplateId(256), TemplateKind::Data, specs).expect("a usable template");
    let mut templates = Vec::new();
    let mut message = MessageWriter::new(&mut templates, &header(version, 0));
    message.templates([&template]).expect("one template fits");
    message.finish().expect("one template fits");
    let mut datagrams = Vec::new();
    for number in 0..DATAGRAMS {
        let sequence = if version == Version::V9 {
            number + 1
        } else {
            number * per_datagram
        };
        let mut datagram = Vec::new();
        let mut message = MessageWriter::new(&mut datagram, &header(version, sequence as u32));
        let mut set = message.data_set(&template).expect("the version has templates");
        for _ in 0..per_datagram {
            let mut record = Vec::new();
            for (id, length) in fields {
                match (id, length) {
                    (22, _) => record.extend((99_000_000 + dice.next() as u32 % 900_000).to_be_bytes()),
                    (21, _) => record.extend((99_900_000 + dice.next() as u32 % 90_000).to_be_bytes()),
                    (152 | 153, _) => record.extend((1_699_999_000_000 + dice.next() % 900_000).to_be_bytes()),
                    (4, _) => record.push(if dice.next().is_multiple_of(4) { 17 } else { 6 }),
                    (_, 1) => record.extend(dice.bytes::<1>()),
                    (_, 2) => record.extend(dice.bytes::<2>()),
                    _ => record.extend(dice.bytes::<4>()),
                }
            }
            set.record(&record).expect("a record has the template's length");
        }
        set.finish().expect("the records fit");
        message.finish().expect("the records fit");
        datagrams.push(datagram);
    }
    Input {
        name,
        version,
        templates,
        datagrams,
        records: DATAGRAMS * per_datagram,
    }
}

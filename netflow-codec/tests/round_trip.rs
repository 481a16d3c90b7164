//! What is encoded decodes to the same.

use std::net::{Ipv4Addr, SocketAddr};

use netflow_codec::encode::{FixedRecord, MessageWriter};
use netflow_codec::{
    Decoder, DomainId, ElementId, FieldLength, FieldSpec, Header, Limits, Set, Template, TemplateChange, TemplateId,
    TemplateKind, Version,
};
use proptest::prelude::*;

fn exporter() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 40_000))
}

fn header(version: Version, sequence: u32, domain: u32) -> Header {
    let header = Header::new(version, DomainId(domain), sequence, 1_700_000_000_000);
    Header {
        uptime_ms: header.uptime_ms.map(|_| 77_000),
        ..header
    }
}

fn specs(version: Version) -> impl Strategy<Value = Vec<FieldSpec>> {
    let element = move |(enterprise, id): (u32, u16)| match version {
        Version::Ipfix => ElementId {
            enterprise,
            id: id & 0x7FFF,
        },
        _ => ElementId::iana(id),
    };
    let length = prop_oneof![8 => (0_u16..40).prop_map(FieldLength::Fixed), 2 => Just(FieldLength::Variable)];
    let field = (prop_oneof![Just(0_u32), Just(9), Just(29305)], any::<u16>(), length).prop_map(
        move |(enterprise, id, length)| FieldSpec {
            element: element((enterprise, id)),
            length,
        },
    );
    // At least one field has bytes, else no template can be made of them. Four bytes, so that no padding looks like a record.
    prop::collection::vec(field, 0..12).prop_map(|mut fields| {
        fields.push(FieldSpec::fixed(ElementId::iana(1), 4));
        fields
    })
}

/// Fields for every spec; long ones need the three-byte form of a variable length.
fn record(specs: &[FieldSpec]) -> impl Strategy<Value = Vec<Vec<u8>>> + use<> {
    specs
        .iter()
        .map(|spec| match spec.length {
            FieldLength::Fixed(length) => prop::collection::vec(any::<u8>(), usize::from(length)).boxed(),
            FieldLength::Variable => prop_oneof![
                prop::collection::vec(any::<u8>(), 0..9),
                prop::collection::vec(any::<u8>(), 250..300)
            ]
            .boxed(),
        })
        .collect::<Vec<_>>()
}

type Case = (Version, Vec<FieldSpec>, u16, Vec<Vec<Vec<u8>>>);

fn cases() -> impl Strategy<Value = Case> {
    prop_oneof![Just(Version::V9), Just(Version::Ipfix)]
        .prop_flat_map(|version| (Just(version), specs(version), any::<u16>()))
        .prop_flat_map(|(version, specs, scope)| {
            let records = prop::collection::vec(record(&specs), 1..5);
            (Just(version), Just(specs), Just(scope), records)
        })
}

proptest! {
    #[test]
    fn records_of_any_template_come_back((version, specs, scope, records) in cases()) {
        let kind = match scope % 3 {
            // A v9 scope field has a type in place of an element, so none here.
            0 if version == Version::Ipfix => TemplateKind::Options { scope_fields: 1 },
            1 => TemplateKind::Options { scope_fields: 0 },
            _ => TemplateKind::Data,
        };
        let template = Template::new(TemplateId(300), kind, specs.clone()).unwrap();
        let mut datagram = Vec::new();
        let mut message = MessageWriter::new(&mut datagram, &header(version, 5, 9));
        message.templates([&template]).unwrap();
        let mut set = message.data_set(&template).unwrap();
        for record in &records {
            set.record_of(record.iter().map(Vec::as_slice)).unwrap();
        }
        set.finish().unwrap();
        message.finish().unwrap();

        let mut decoder = Decoder::new(Limits::default());
        let message = decoder.decode(&datagram, exporter(), 0).unwrap();
        prop_assert_eq!(message.domain(), DomainId(9));
        prop_assert_eq!(message.sequence(), Some(5));
        let sets: Vec<Set<'_>> = message.sets().collect::<Result<_, _>>().unwrap();
        let [Set::Templates([TemplateChange::Added(added)]), Set::Data(set) | Set::Options(set)] = &sets[..] else {
            panic!("{sets:?}");
        };
        prop_assert_eq!(&**added, &template);
        let decoded: Vec<Vec<Vec<u8>>> = set
            .records()
            .map(|record| record.fields().map(|(_, bytes)| bytes.to_vec()).collect())
            .collect();
        prop_assert_eq!(&decoded, &records);
        for (record, fields) in set.records().zip(&records) {
            for (number, field) in fields.iter().enumerate() {
                prop_assert_eq!(record.at(number), Some(&field[..]));
            }
        }
    }

    #[test]
    fn any_bytes_decode_without_panic(mut datagram in prop::collection::vec(any::<u8>(), 0..200), version in 0_u8..12) {
        if datagram.len() > 1 {
            datagram[0] = 0;
            datagram[1] = version;
        }
        let mut decoder = Decoder::new(Limits::default());
        for _ in 0..2 {
            if let Ok(message) = decoder.decode(&datagram, exporter(), 0) {
                for set in message.sets().flatten() {
                    if let Set::Data(set) | Set::Options(set) = set {
                        prop_assert_eq!(set.records().count(), set.len());
                    }
                }
            }
        }
    }

    #[test]
    fn cut_short_datagrams_keep_their_whole_records((version, specs, _, records) in cases(), cut in 1_usize..200) {
        let template = Template::new(TemplateId(300), TemplateKind::Data, specs).unwrap();
        let mut datagram = Vec::new();
        let mut message = MessageWriter::new(&mut datagram, &header(version, 5, 9));
        message.templates([&template]).unwrap();
        let templates_end = message.len();
        let mut ends = Vec::new();
        let mut set = message.data_set(&template).unwrap();
        for record in &records {
            set.record_of(record.iter().map(Vec::as_slice)).unwrap();
            ends.push(set.message_len());
        }
        set.finish().unwrap();
        message.finish().unwrap();
        datagram.truncate(datagram.len().saturating_sub(cut).max(templates_end + 4));
        let whole = ends.iter().filter(|end| **end <= datagram.len()).count();

        let mut decoder = Decoder::new(Limits::default());
        let message = decoder.decode(&datagram, exporter(), 0).unwrap();
        let decoded: usize = message.sets().flatten().map(|set| match set { Set::Data(set) => set.len(), _ => 0 }).sum();
        prop_assert_eq!(decoded, whole);
        prop_assert!(message.sets().any(|set| set.is_err()));
    }
}

#[test]
fn fixed_records_come_back_in_v1_v5_and_v7() {
    let record = FixedRecord {
        src_addr: Ipv4Addr::new(10, 0, 0, 1),
        dst_addr: Ipv4Addr::new(10, 0, 0, 2),
        next_hop: Ipv4Addr::new(10, 0, 0, 3),
        in_if: 4,
        out_if: 5,
        packets: 6,
        octets: 700,
        first_ms: 8000,
        last_ms: 9000,
        src_port: 1024,
        dst_port: 53,
        tcp_flags: 0x12,
        proto: 17,
        tos: 3,
        src_as: 65_000,
        dst_as: 65_001,
        src_mask: 24,
        dst_mask: 16,
        router: Ipv4Addr::new(10, 0, 0, 4),
    };
    for version in [Version::V1, Version::V5, Version::V7] {
        let mut datagram = Vec::new();
        let mut message = MessageWriter::new(&mut datagram, &header(version, 5, 0));
        match version {
            Version::V1 => message.fixed_records(&record.to_v1()).unwrap(),
            Version::V5 => message.fixed_records(&record.to_v5()).unwrap(),
            _ => message.fixed_records(&record.to_v7()).unwrap(),
        }
        message.finish().unwrap();
        let mut decoder = Decoder::new(Limits::default());
        let message = decoder.decode(&datagram, exporter(), 0).unwrap();
        let Some(Ok(Set::Data(set))) = message.sets().next() else {
            panic!("{version} has a set of flows")
        };
        let flow = set.records().next().unwrap();
        let number = |id| flow.unsigned(ElementId::iana(id));
        assert_eq!(
            flow.address(ElementId::iana(8)),
            Some(record.src_addr.into()),
            "{version}"
        );
        assert_eq!(
            flow.address(ElementId::iana(15)),
            Some(record.next_hop.into()),
            "{version}"
        );
        assert_eq!(
            [2, 1, 7, 11, 4, 5, 6].map(number),
            [6, 700, 1024, 53, 17, 3, 0x12].map(Some),
            "{version}"
        );
        assert_eq!(
            flow.time_ms(ElementId::iana(22)),
            Some(1_700_000_000_000 - 69_000),
            "{version}"
        );
        let has_as = version != Version::V1;
        assert_eq!(number(17), has_as.then_some(65_001), "{version}");
    }
}

#[test]
fn withdrawn_templates_are_unknown() {
    let template = Template::new(
        TemplateId(300),
        TemplateKind::Data,
        vec![FieldSpec::fixed(ElementId::iana(1), 4)],
    )
    .unwrap();
    let mut datagram = Vec::new();
    let mut message = MessageWriter::new(&mut datagram, &header(Version::Ipfix, 0, 0));
    message.templates([&template]).unwrap();
    message.withdraw(TemplateId(300), TemplateKind::Data).unwrap();
    let mut set = message.data_set(&template).unwrap();
    set.record(&[0, 0, 0, 1]).unwrap();
    set.finish().unwrap();
    message.finish().unwrap();
    let mut decoder = Decoder::new(Limits::default());
    let sets: Vec<_> = decoder
        .decode(&datagram, exporter(), 0)
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(matches!(
        &sets[..],
        [
            Set::Templates([TemplateChange::Added(_)]),
            Set::Templates([TemplateChange::Withdrawn(_)]),
            Set::Unknown(unknown)
        ] if unknown.template == TemplateId(300)
    ));
}

#[test]
fn padding_is_shorter_than_a_record() {
    for (width, count, wanted) in [(1_u16, 5, 5), (2, 1, 2), (3, 2, 8), (3, 3, 9), (4, 1, 4), (5, 1, 8)] {
        let fields = vec![FieldSpec::fixed(ElementId::iana(500), width)];
        let template = Template::new(TemplateId(256), TemplateKind::Data, fields).unwrap();
        let mut datagram = Vec::new();
        let mut message = MessageWriter::new(&mut datagram, &header(Version::V9, 0, 0));
        message.templates([&template]).unwrap();
        let before = message.len();
        let mut set = message.data_set(&template).unwrap();
        for _ in 0..count {
            set.record(&vec![7; usize::from(width)]).unwrap();
        }
        set.finish().unwrap();
        assert_eq!(message.len() - before - 4, wanted, "{count} records of {width}");
        message.finish().unwrap();
        let mut decoder = Decoder::new(Limits::default());
        let message = decoder.decode(&datagram, exporter(), 0).unwrap();
        let Some(Ok(Set::Data(set))) = message.sets().last() else {
            panic!("no records of {width}");
        };
        assert_eq!(set.len(), count, "records of {width}");
    }
}

#[test]
fn values_of_a_field_are_those_of_the_records_whatever_their_number_and_width() {
    for version in [Version::V5, Version::V9] {
        let widths: &[u16] = &[4, 1, 2, 8, 3, 16, 6];
        let fields = (500_u16..)
            .zip(widths)
            .map(|(id, width)| FieldSpec::fixed(ElementId::iana(id), *width))
            .collect();
        let template = Template::new(TemplateId(256), TemplateKind::Data, fields).unwrap();
        for records in 1..=20_u8 {
            let header = Header {
                version,
                domain: DomainId(1),
                sequence: Some(0),
                export_time_ms: 1_700_000_000_000,
                uptime_ms: Some(0),
                count: 0,
                sampling: 0,
            };
            let mut datagram = Vec::new();
            let mut message = MessageWriter::new(&mut datagram, &header);
            let bytes = |record: u8, length: u8| (0..length).map(move |byte| byte.wrapping_mul(31) ^ record);
            if version == Version::V5 {
                for record in 0..records {
                    message.fixed_records(&bytes(record, 48).collect::<Vec<_>>()).unwrap();
                }
            } else {
                message.templates([&template]).unwrap();
                let mut set = message.data_set(&template).unwrap();
                for record in 0..records {
                    set.record(&bytes(record, 40).collect::<Vec<_>>()).unwrap();
                }
                set.finish().unwrap();
            }
            message.finish().unwrap();
            let mut decoder = Decoder::new(Limits::default());
            let message = decoder.decode(&datagram, "192.0.2.1:2055".parse().unwrap(), 0).unwrap();
            let mut sets = message.sets().filter_map(|set| match set {
                Ok(Set::Data(set)) => Some(set),
                _ => None,
            });
            let set = sets.next().unwrap();
            assert_eq!(set.len(), usize::from(records));
            for number in 0..set.template().fields().len() {
                let wanted: Vec<u64> = set
                    .records()
                    .map(|record| {
                        let bytes = record.at(number).unwrap();
                        bytes.iter().fold(0, |value: u64, byte| (value << 8) | u64::from(*byte))
                    })
                    .collect();
                let stepped: Vec<u64> = set.unsigned_values(number).unwrap().collect();
                let mut folded = Vec::new();
                set.unsigned_values(number)
                    .unwrap()
                    .for_each(|value| folded.push(value));
                assert_eq!(
                    (&stepped, &folded),
                    (&wanted, &wanted),
                    "{version:?}, {records} records, field {number}"
                );
            }
        }
    }
}

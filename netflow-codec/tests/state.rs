//! What outlives a datagram: templates, sets that wait for one, sampling, snapshots.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use netflow_codec::encode::MessageWriter;
use netflow_codec::{
    DataSet, Decoder, DomainId, ElementId, Error, FieldSpec, Header, LimitKind, Limits, Message, Record, Set, Template,
    TemplateChange, TemplateId, TemplateKind, Version,
};

fn exporter(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn template(id: u16, kind: TemplateKind, elements: &[u16]) -> Template {
    let fields = elements
        .iter()
        .map(|element| FieldSpec::fixed(ElementId::iana(*element), 4))
        .collect();
    Template::new(TemplateId(id), kind, fields).unwrap()
}

/// An IPFIX message of domain 1 that defines some templates and then has a record for each of others, every field the same.
fn message(sequence: u32, defines: &[&Template], records: &[(&Template, u32)]) -> Vec<u8> {
    message_of(Version::Ipfix, 1, sequence, defines, records)
}

fn message_of(
    version: Version,
    domain: u32,
    sequence: u32,
    defines: &[&Template],
    records: &[(&Template, u32)],
) -> Vec<u8> {
    let header = Header::new(version, DomainId(domain), sequence, 1_700_000_000_000);
    let mut datagram = Vec::new();
    let mut message = MessageWriter::new(&mut datagram, &header);
    for template in defines {
        message.templates([*template]).unwrap();
    }
    for (template, value) in records {
        let mut set = message.data_set(template).unwrap();
        let value = value.to_be_bytes();
        set.record_of(template.fields().iter().map(|_| &value[..])).unwrap();
        set.finish().unwrap();
    }
    message.finish().unwrap();
    datagram
}

/// What a function makes of each flow of a message.
fn of_flows<T>(message: Message<'_>, of: impl Fn(&DataSet<'_>, &Record<'_>) -> T) -> Vec<T> {
    let mut all = Vec::new();
    for set in &message {
        if let Ok(Set::Data(set)) = set {
            all.extend(set.records().map(|record| of(&set, &record)));
        }
    }
    all
}

fn octets_of(message: Message<'_>) -> Vec<u64> {
    of_flows(message, |_, record| record.unsigned(ElementId::iana(1)).unwrap())
}

/// Octets of all flows in a datagram that comes at a second.
fn octets_at(decoder: &mut Decoder, second: i64, datagram: &[u8], from: SocketAddr) -> Vec<u64> {
    octets_of(decoder.decode(datagram, from, second * 1000).unwrap())
}

fn octets(decoder: &mut Decoder, datagram: &[u8], from: SocketAddr) -> Vec<u64> {
    octets_at(decoder, 0, datagram, from)
}

/// Sampling rates of all flows in a datagram.
fn rates(decoder: &mut Decoder, datagram: &[u8]) -> Vec<u32> {
    let message = decoder.decode(datagram, exporter(1), 0).unwrap();
    of_flows(message, |set, record| set.sampling_rate(record))
}

#[test]
fn data_before_its_template_comes_out_with_it() {
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(octets(&mut decoder, &message(0, &[], &[(&flows, 7)]), exporter(1)), []);
    assert_eq!(octets(&mut decoder, &message(1, &[], &[(&flows, 8)]), exporter(1)), []);
    assert_eq!(
        octets(&mut decoder, &message(2, &[&flows], &[(&flows, 9)]), exporter(1)),
        [7, 8, 9]
    );
    let counters = decoder.counters();
    assert_eq!(
        (
            counters.sets_without_template,
            counters.sets_replayed,
            counters.sets_given_up
        ),
        (2, 2, 0)
    );
}

#[test]
fn waiting_sets_are_bounded_and_the_oldest_go_first() {
    let flows = template(256, TemplateKind::Data, &[1]);
    let limits = Limits {
        held_bytes_per_stream: 400,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    for number in 0..100 {
        octets(&mut decoder, &message(number, &[], &[(&flows, number)]), exporter(1));
    }
    let kept = octets(&mut decoder, &message(100, &[&flows], &[]), exporter(1));
    assert!(!kept.is_empty() && kept.len() < 10, "{kept:?}");
    assert_eq!(kept.last(), Some(&99));
    assert_eq!(decoder.counters().sets_given_up, 100 - kept.len() as u64);
}

#[test]
fn exporters_behind_one_address_do_not_clash() {
    let one = template(256, TemplateKind::Data, &[1, 2]);
    let other = template(256, TemplateKind::Data, &[2, 1, 3]);
    let mut decoder = Decoder::new(Limits::default());
    octets(&mut decoder, &message(0, &[&one], &[]), exporter(1));
    octets(&mut decoder, &message(0, &[&other], &[]), exporter(2));
    assert_eq!(octets(&mut decoder, &message(0, &[], &[(&one, 7)]), exporter(1)), [7]);
    assert_eq!(octets(&mut decoder, &message(0, &[], &[(&other, 8)]), exporter(2)), [8]);
    assert_eq!(decoder.templates().count(), 2);
}

#[test]
fn a_template_may_change_within_a_message() {
    let before = template(256, TemplateKind::Data, &[1]);
    let after = template(256, TemplateKind::Data, &[2, 1]);
    let mut decoder = Decoder::new(Limits::default());
    octets(&mut decoder, &message(0, &[&before], &[]), exporter(1));
    let mut datagram = message(0, &[], &[(&before, 7)]);
    let rest = message(0, &[&after], &[(&after, 8)]);
    datagram.extend(&rest[16..]);
    let length = u16::try_from(datagram.len()).unwrap();
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(octets(&mut decoder, &datagram, exporter(1)), [7, 8]);
    let message = decoder.decode(&rest, exporter(1), 0).unwrap();
    assert!(matches!(
        message.sets().next(),
        Some(Ok(Set::Templates([TemplateChange::Refreshed(_)])))
    ));
}

#[test]
fn limits_refuse_and_count() {
    let limits = Limits {
        streams: 1,
        templates_per_stream: 1,
        fields_per_template: 2,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    let (one, two) = (
        template(256, TemplateKind::Data, &[1]),
        template(257, TemplateKind::Data, &[1]),
    );
    let wide = template(256, TemplateKind::Data, &[1, 2, 3]);
    let datagram = message(0, &[&one, &two, &wide], &[]);
    let errors: Vec<Error> = decoder
        .decode(&datagram, exporter(1), 0)
        .unwrap()
        .into_iter()
        .filter_map(Result::err)
        .collect();
    let refused = |template, offset, limit| Error::TemplateRefused {
        template: TemplateId(template),
        offset,
        limit,
    };
    assert_eq!(
        errors,
        [
            refused(257, 32, LimitKind::Templates),
            refused(256, 44, LimitKind::Fields)
        ]
    );
    assert_eq!(decoder.counters().templates_refused, 2);
    let other = decoder.decode(&datagram, exporter(2), 0).unwrap_err();
    assert_eq!(
        other,
        Error::StreamRefused {
            version: Version::Ipfix,
            limit: LimitKind::Streams
        }
    );
    // An hour later the silent one makes room.
    assert!(decoder.decode(&datagram, exporter(2), 60 * 60 * 1000).is_ok());
}

#[test]
fn templates_that_are_not_refreshed_expire() {
    let flows = template(256, TemplateKind::Data, &[1]);
    let mut decoder = Decoder::new(Limits {
        template_lifetime_ms: 1000,
        ..Limits::default()
    });
    decoder.decode(&message(0, &[&flows], &[]), exporter(1), 0).unwrap();
    let data = message(0, &[], &[(&flows, 7)]);
    let late = decoder.decode(&data, exporter(1), 1001).unwrap();
    assert!(matches!(late.sets().next(), Some(Ok(Set::Unknown(_)))));
    assert_eq!(decoder.counters().templates_expired, 1);
}

#[test]
fn sampling_is_known_from_when_it_is_told() {
    // selectorId 302 as scope, samplingPacketInterval 305 and samplingPacketSpace 306.
    let options = template(300, TemplateKind::Options { scope_fields: 1 }, &[302, 305, 306]);
    let flows = template(256, TemplateKind::Data, &[1, 302]);
    let mut decoder = Decoder::new(Limits::default());
    // Every field has the value 5, so selector 5 takes 5 packets and leaves 5 out.
    let datagram = message(
        0,
        &[&options, &flows],
        &[(&flows, 5), (&options, 5), (&flows, 5), (&flows, 6)],
    );
    assert_eq!(rates(&mut decoder, &datagram), [0, 2, 0]);
    assert_eq!(rates(&mut decoder, &message(4, &[], &[(&flows, 5)])), [2]);
}

#[test]
fn a_restored_decoder_understands_at_once() {
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let options = template(300, TemplateKind::Options { scope_fields: 1 }, &[302, 34]);
    let mut decoder = Decoder::new(Limits::default());
    octets(
        &mut decoder,
        &message(0, &[&flows, &options], &[(&flows, 1), (&options, 9)]),
        exporter(1),
    );
    let snapshots: Vec<_> = decoder.snapshot().collect();

    let mut restored = Decoder::new(Limits::default());
    for snapshot in snapshots.clone() {
        restored.restore(snapshot).unwrap();
    }
    assert_eq!(restored.snapshot().collect::<Vec<_>>(), snapshots);
    assert_eq!(
        octets(&mut restored, &message(12, &[], &[(&flows, 7)]), exporter(1)),
        [7]
    );
    restored.settle(i64::MAX, |_, _| {});
    assert_eq!(
        restored.streams().next().unwrap().tally.lost,
        10,
        "what was sent meanwhile is counted"
    );

    let mut small = Decoder::new(Limits {
        fields_per_template: 1,
        ..Limits::default()
    });
    small.restore(snapshots[0].clone()).unwrap();
    assert_eq!((small.templates().count(), small.counters().templates_refused), (0, 2));
}

#[test]
fn v1_records_of_48_and_52_bytes_are_told_apart() {
    for length in [48, 52] {
        // Version 1, two records; the rest of the header is zero.
        let mut datagram = vec![0, 1, 0, 2];
        datagram.resize(16 + 2 * length, 0);
        // The last byte of the first address, in each record.
        datagram[19] = 1;
        datagram[19 + length] = 2;
        let mut decoder = Decoder::new(Limits::default());
        let message = decoder.decode(&datagram, exporter(1), 0).unwrap();
        let sources = of_flows(message, |_, record| record.unsigned(ElementId::iana(8)).unwrap());
        assert_eq!(sources, [1, 2], "{length}");
    }
}

#[test]
fn exporter_that_comes_back_from_another_port_is_understood_by_its_old_templates() {
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let mut decoder = Decoder::new(Limits::default());
    octets_at(&mut decoder, 0, &message(0, &[&flows], &[(&flows, 1)]), exporter(1));
    let mut back = |second, sequence| {
        let datagram = message(sequence, &[], &[(&flows, sequence)]);
        octets_at(&mut decoder, second, &datagram, exporter(2))
    };
    assert_eq!(back(10, 7), [], "its own template may still come");
    assert_eq!(back(12, 8), []);
    assert_eq!(back(15, 9), [7, 8, 9]);
    assert_eq!(back(16, 10), [10]);
    let counters = decoder.counters();
    assert_eq!((counters.sets_replayed, counters.records), (2, 5));
}

#[test]
fn template_that_its_own_stream_uses_is_not_taken_over() {
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let mut decoder = Decoder::new(Limits::default());
    octets_at(&mut decoder, 0, &message(0, &[&flows], &[(&flows, 1)]), exporter(1));
    for second in 1..60 {
        let sequence = u32::try_from(second).unwrap();
        let other = octets_at(
            &mut decoder,
            second,
            &message(sequence, &[], &[(&flows, 5)]),
            exporter(2),
        );
        assert_eq!(other, [], "two exporters behind one address");
        let own = octets_at(
            &mut decoder,
            second,
            &message(sequence, &[], &[(&flows, 1)]),
            exporter(1),
        );
        assert_eq!(own, [1]);
    }
    assert!(decoder.adopt(&decoder.streams().last().unwrap().key, 60_000).is_none());
}

#[test]
fn template_that_does_not_fit_or_is_disputed_is_not_taken_over() {
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let longer = template(256, TemplateKind::Data, &[1, 2, 3, 4, 5]);
    let mut decoder = Decoder::new(Limits::default());
    octets_at(&mut decoder, 0, &message(0, &[&longer], &[]), exporter(1));
    for second in 10..30 {
        let datagram = message(second, &[], &[(&flows, 5)]);
        assert_eq!(octets_at(&mut decoder, second.into(), &datagram, exporter(2)), []);
    }
    octets_at(&mut decoder, 30, &message(0, &[&flows], &[]), exporter(3));
    let datagram = message(31, &[], &[(&flows, 5)]);
    assert_eq!(
        octets_at(&mut decoder, 31, &datagram, exporter(2)),
        [],
        "two have it, and differ"
    );
}

#[test]
fn data_that_still_wait_at_the_end_take_over_templates_from_another_port() {
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let mut decoder = Decoder::new(Limits::default());
    octets_at(&mut decoder, 0, &message(0, &[&flows], &[]), exporter(1));
    assert_eq!(
        octets_at(&mut decoder, 0, &message(0, &[], &[(&flows, 7)]), exporter(2)),
        []
    );
    let keys: Vec<_> = decoder.streams().map(|stream| stream.key).collect();
    let found: Vec<_> = keys
        .iter()
        .filter_map(|key| decoder.adopt(key, 0).map(octets_of))
        .collect();
    assert_eq!(found, [[7]]);
}

#[test]
fn sampling_told_in_domain_0_of_ipfix_holds_for_domains_that_are_silent() {
    // exportingProcessId 144 as scope, samplingInterval 34.
    let options = template(300, TemplateKind::Options { scope_fields: 1 }, &[144, 34]);
    let flows = template(256, TemplateKind::Data, &[1, 2]);
    let told =
        |version, domain, defined: &Template, value| message_of(version, domain, 0, &[defined], &[(defined, value)]);
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(rates(&mut decoder, &told(Version::Ipfix, 5, &flows, 1)), [0]);
    rates(&mut decoder, &told(Version::Ipfix, 0, &options, 100));
    assert_eq!(rates(&mut decoder, &told(Version::Ipfix, 5, &flows, 2)), [100]);
    rates(&mut decoder, &told(Version::Ipfix, 6, &options, 7));
    assert_eq!(
        rates(&mut decoder, &told(Version::Ipfix, 6, &flows, 3)),
        [7],
        "its own goes before"
    );
    rates(&mut decoder, &told(Version::Ipfix, 0, &options, 200));
    assert_eq!(rates(&mut decoder, &told(Version::Ipfix, 5, &flows, 4)), [200]);
    // In v9, source id 0 is one like any other.
    rates(&mut decoder, &told(Version::V9, 0, &options, 100));
    assert_eq!(rates(&mut decoder, &told(Version::V9, 5, &flows, 1)), [0]);
    // After a restart as before.
    let mut after = Decoder::new(Limits::default());
    for stream in decoder.snapshot() {
        after.restore(stream).unwrap();
    }
    assert_eq!(rates(&mut after, &told(Version::Ipfix, 5, &flows, 5)), [200]);
}

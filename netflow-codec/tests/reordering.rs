//! Datagrams that the network brings in another order than they were sent: what is in them is read as it was meant when
//! they were sent.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use netflow_codec::{Decoder, ElementId, Limits, Set, TemplateChange};

/// A set of templates with one template: its id, and its fields as element and length.
fn template(set_id: u16, id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    let mut body = [id.to_be_bytes(), u16::try_from(fields.len()).unwrap().to_be_bytes()].concat();
    for (element, length) in fields {
        body.extend([element.to_be_bytes(), length.to_be_bytes()].concat());
    }
    set(set_id, &body)
}

fn set(id: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 4).unwrap();
    [&id.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
}

fn v9(sequence: u32, seconds: u32, set: &[u8]) -> Vec<u8> {
    let header = [0x0009_0001, 60_000, seconds, sequence, 7].map(u32::to_be_bytes);
    [&header.concat()[..], set].concat()
}

fn ipfix(sequence: u32, set: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + set.len()).unwrap();
    let header = [0x000A_0000 | length, 1_700_000_000, sequence, 7].map(u32::to_be_bytes);
    [&header.concat()[..], set].concat()
}

/// What a message says: records as the values of octets and packets, changes by name, sets without template.
fn told(decoder: &mut Decoder, datagram: &[u8]) -> Vec<String> {
    let from: SocketAddr = "192.0.2.1:2055".parse().unwrap();
    let message = decoder.decode(datagram, from, 0).unwrap();
    let mut told = Vec::new();
    for set in &message {
        match set.unwrap() {
            Set::Data(set) => told.extend(set.records().map(|record| {
                let value = |element| record.unsigned(ElementId::iana(element));
                format!("{:?} {:?}", value(1), value(2))
            })),
            Set::Templates(changes) => told.extend(changes.iter().map(|change| {
                let name = match change {
                    TemplateChange::Added(_) => "added",
                    TemplateChange::Refreshed(_) => "refreshed",
                    TemplateChange::Replaced { .. } => "replaced",
                    TemplateChange::Past(_) => "past",
                    TemplateChange::Adopted(_) => "adopted",
                    TemplateChange::Withdrawn(_) => "withdrawn",
                    TemplateChange::WithdrawnUnknown(_) => "unknown",
                };
                name.to_owned()
            })),
            Set::Unknown(_) => told.push("no template".to_owned()),
            other => panic!("{other:?}"),
        }
    }
    told
}

const OCTETS: [(u16, u16); 1] = [(1, 4)];
const PACKETS_AND_OCTETS: [(u16, u16); 2] = [(2, 2), (1, 2)];
const RECORD: [u8; 4] = [0, 1, 0, 2];
const BY_OCTETS: &str = "Some(65538) None";
const BY_BOTH: &str = "Some(2) Some(1)";
const NOW: u32 = 1_700_000_000;

#[test]
fn records_that_come_after_another_template_are_read_by_their_own() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(told(&mut decoder, &v9(0, NOW, &template(0, 256, &OCTETS))), ["added"]);
    let other = template(0, 256, &PACKETS_AND_OCTETS);
    assert_eq!(told(&mut decoder, &v9(2, NOW, &other)), ["replaced"]);
    assert_eq!(told(&mut decoder, &v9(1, NOW, &set(256, &RECORD))), [BY_OCTETS]);
    assert_eq!(told(&mut decoder, &v9(3, NOW, &set(256, &RECORD))), [BY_BOTH]);
}

#[test]
fn a_template_that_comes_after_its_successor_does_not_replace_it() {
    let mut decoder = Decoder::new(Limits::default());
    let other = template(0, 256, &PACKETS_AND_OCTETS);
    assert_eq!(told(&mut decoder, &v9(2, NOW, &other)), ["added"]);
    assert_eq!(told(&mut decoder, &v9(0, NOW, &template(0, 256, &OCTETS))), ["past"]);
    assert_eq!(told(&mut decoder, &v9(1, NOW, &set(256, &RECORD))), [BY_OCTETS]);
    assert_eq!(told(&mut decoder, &v9(3, NOW, &set(256, &RECORD))), [BY_BOTH]);
    assert_eq!(told(&mut decoder, &v9(4, NOW, &other)), ["refreshed"]);
}

#[test]
fn a_set_that_is_shorter_than_a_record_waits_for_its_template() {
    let mut decoder = Decoder::new(Limits::default());
    told(&mut decoder, &v9(0, NOW, &template(0, 256, &[(1, 8), (2, 8)])));
    assert_eq!(told(&mut decoder, &v9(2, NOW, &set(256, &RECORD))), ["no template"]);
    let other = template(0, 256, &PACKETS_AND_OCTETS);
    assert_eq!(told(&mut decoder, &v9(1, NOW, &other)), ["replaced", BY_BOTH]);
    // Zeros, and less than four bytes, are padding.
    assert_eq!(told(&mut decoder, &v9(3, NOW, &set(256, &[0; 3]))), [""; 0]);
}

#[test]
fn an_exporter_that_starts_anew_replaces_its_templates() {
    for seconds in [NOW + 1, NOW + 60, 0] {
        let mut decoder = Decoder::new(Limits::default());
        told(&mut decoder, &v9(1000, NOW, &template(0, 256, &OCTETS)));
        let other = template(0, 256, &PACKETS_AND_OCTETS);
        assert_eq!(told(&mut decoder, &v9(0, seconds, &other)), ["replaced"], "{seconds}");
        assert_eq!(
            told(&mut decoder, &v9(1, seconds, &set(256, &RECORD))),
            [BY_BOTH],
            "{seconds}"
        );
    }
}

#[test]
fn records_around_a_withdrawal_are_read_as_they_were_meant() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(told(&mut decoder, &ipfix(0, &template(2, 256, &OCTETS))), ["added"]);
    assert_eq!(told(&mut decoder, &ipfix(2, &template(2, 256, &[]))), ["withdrawn"]);
    // Sent before the withdrawal, and after it.
    assert_eq!(told(&mut decoder, &ipfix(1, &set(256, &RECORD))), [BY_OCTETS]);
    assert_eq!(told(&mut decoder, &ipfix(2, &set(256, &RECORD))), ["no template"]);
    // Sent after the next template, which is still under way.
    assert_eq!(told(&mut decoder, &ipfix(4, &set(256, &RECORD))), ["no template"]);
    let other = template(2, 256, &PACKETS_AND_OCTETS);
    assert_eq!(told(&mut decoder, &ipfix(3, &other)), ["added", BY_BOTH]);
    assert_eq!(decoder.counters().sets_given_up, 1);
    // Withdrawals that come too late.
    assert_eq!(told(&mut decoder, &ipfix(2, &template(2, 256, &[]))), ["unknown"]);
    assert_eq!(told(&mut decoder, &ipfix(1, &template(2, 2, &[]))), [""; 0]);
    assert_eq!(told(&mut decoder, &ipfix(5, &set(256, &RECORD))), [BY_BOTH]);
}

#[test]
fn a_template_that_comes_again_after_its_withdrawal_reads_what_waited() {
    let mut decoder = Decoder::new(Limits::default());
    let template_set = template(2, 256, &OCTETS);
    told(&mut decoder, &ipfix(0, &template_set));
    told(&mut decoder, &ipfix(0, &template(2, 256, &[])));
    assert_eq!(told(&mut decoder, &ipfix(0, &set(256, &RECORD))), ["no template"]);
    assert_eq!(told(&mut decoder, &ipfix(1, &template_set)), ["added", BY_OCTETS]);
}

//! netflow_parser and netgauze-flow-pkt: they fill their own structures, which hold every field.

use std::collections::HashMap;

use netflow_codec::Version;
use netflow_parser::variable_versions::{ipfix, v9};
use netflow_parser::{NetflowPacket, NetflowParser};
use netgauze_flow_pkt::FlowInfo;
use netgauze_flow_pkt::ipfix::IpfixPacket;
use netgauze_flow_pkt::netflow::NetFlowV9Packet;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;

use crate::Contender;
use crate::input::Input;

pub(crate) fn contenders(input: &Input) -> Vec<Contender> {
    let mut parser = NetflowParser::default();
    if !input.templates.is_empty() {
        let _ = parser.parse_bytes(&input.templates);
    }
    let netflow_parser = move |input: &Input| {
        let mut records = 0;
        for datagram in &input.datagrams {
            let result = std::hint::black_box(parser.parse_bytes(datagram));
            records += result.packets.iter().map(records_of).sum::<u64>();
        }
        records
    };
    let mut contenders = vec![Contender::new(
        "netflow_parser 1.0.6: its own structures",
        netflow_parser,
    )];
    if input.version == Version::V5 {
        return contenders; // netgauze has none
    }
    let (mut templates_v9, mut templates_ipfix) = (HashMap::new(), HashMap::new());
    let version = input.version;
    let mut packet = move |datagram: &[u8]| match version {
        Version::V9 => FlowInfo::NetFlowV9(
            NetFlowV9Packet::parse(&mut SliceReader::new(datagram), &mut templates_v9).expect("netgauze decodes it"),
        ),
        _ => FlowInfo::IPFIX(
            IpfixPacket::parse(&mut SliceReader::new(datagram), &mut templates_ipfix).expect("netgauze decodes it"),
        ),
    };
    packet(&input.templates);
    let netgauze = move |input: &Input| {
        let mut records = 0;
        for datagram in &input.datagrams {
            let packet = std::hint::black_box(packet(datagram));
            records += packet.data_record_fields().count() as u64;
        }
        records
    };
    contenders.push(Contender::new("netgauze-flow-pkt 0.13: its own structures", netgauze));
    contenders
}

fn records_of(packet: &NetflowPacket) -> u64 {
    let records = match packet {
        NetflowPacket::V5(v5) => v5.flowsets.len(),
        NetflowPacket::V7(v7) => v7.flowsets.len(),
        NetflowPacket::V9(v9) => v9
            .flowsets
            .iter()
            .map(|set| match &set.body {
                v9::FlowSetBody::Data(data) => data.fields.len(),
                _ => 0,
            })
            .sum(),
        NetflowPacket::IPFix(ipfix) => ipfix
            .flowsets
            .iter()
            .map(|set| match &set.body {
                ipfix::FlowSetBody::Data(data) => data.fields.len(),
                _ => 0,
            })
            .sum(),
        _ => 0,
    };
    records as u64
}

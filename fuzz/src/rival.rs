//! The same datagrams through another decoder.

use std::net::SocketAddr;

use netflow_codec::{Decoder, Limits, Set};
use netflow_parser::{NetflowPacket, NetflowParser};

use crate::Datagrams;

/// v5 is laid out without doubt: both decoders must find the same flows in a datagram whose count and length agree. Of
/// the other versions netflow_parser refuses more, so there only what it does find is looked for.
pub fn differential(input: &[u8]) {
    for (datagram, from, _) in Datagrams::new(input) {
        let mut rival = NetflowParser::default();
        let parsed = rival.parse_bytes(datagram);
        let Some(NetflowPacket::V5(wanted)) = parsed.packets.first() else {
            continue;
        };
        let exact = datagram.len() == 24 + 48 * usize::from(wanted.header.count);
        if !exact {
            continue;
        }
        compare(datagram, from, wanted);
    }
}

fn compare(datagram: &[u8], from: SocketAddr, wanted: &netflow_parser::static_versions::v5::V5) {
    use netflow_codec::ElementId;
    let mut decoder = Decoder::new(Limits::default());
    let message = decoder.decode(datagram, from, 0).expect("netflow_parser has read it");
    let mut flows = wanted.flowsets.iter();
    for set in &message {
        let Ok(Set::Data(set)) = set else { continue };
        for record in set.records() {
            let wanted = flows.next().expect("as many flows as netflow_parser finds");
            let number = |id| record.unsigned(ElementId::iana(id));
            assert_eq!(number(1), Some(u64::from(wanted.d_octets)));
            assert_eq!(number(2), Some(u64::from(wanted.d_pkts)));
            assert_eq!(number(7), Some(u64::from(wanted.src_port)));
            assert_eq!(number(11), Some(u64::from(wanted.dst_port)));
            assert_eq!(number(6), Some(u64::from(wanted.tcp_flags)));
            assert_eq!(number(4), Some(u64::from(wanted.protocol_number)));
            assert_eq!(number(16), Some(u64::from(wanted.src_as)));
            assert_eq!(number(13), Some(u64::from(wanted.dst_mask)));
            assert_eq!(record.address(ElementId::iana(8)), Some(wanted.src_addr.into()));
            assert_eq!(record.address(ElementId::iana(12)), Some(wanted.dst_addr.into()));
            assert_eq!(record.address(ElementId::iana(15)), Some(wanted.next_hop.into()));
        }
    }
    assert!(flows.next().is_none(), "flows are missing");
}

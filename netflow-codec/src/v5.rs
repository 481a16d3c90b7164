//! Flows of NetFlow v5, whose layout never varies: read in place, every field by its name.

use core::net::Ipv4Addr;

/// Bytes of a flow.
const LENGTH: usize = 48;

/// One flow of v5, borrowed from the datagram; see [`DataSet::v5_flows`](crate::DataSet::v5_flows).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+---------------+---------------+
/// |                        source address                         |
/// +---------------+---------------+---------------+---------------+
/// |                      destination address                      |
/// +---------------+---------------+---------------+---------------+
/// |                           next hop                            |
/// +---------------+---------------+---------------+---------------+
/// |       ingress interface       |       egress interface        |
/// +---------------+---------------+---------------+---------------+
/// |                            packets                            |
/// +---------------+---------------+---------------+---------------+
/// |                            octets                             |
/// +---------------+---------------+---------------+---------------+
/// |          uptime of the exporter at the first packet           |
/// +---------------+---------------+---------------+---------------+
/// |                      and at the last one                      |
/// +---------------+---------------+---------------+---------------+
/// |          source port          |       destination port        |
/// +---------------+---------------+---------------+---------------+
/// |    padding    |   TCP flags   |   protocol    | type of serv. |
/// +---------------+---------------+---------------+---------------+
/// |           source AS           |        destination AS         |
/// +---------------+---------------+---------------+---------------+
/// | source prefix | destin. prefix|            padding            |
/// +---------------+---------------+---------------+---------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V5Flow<'m> {
    bytes: &'m [u8; LENGTH],
}

/// The flows in so many bytes; what is behind the last whole one is left out.
pub(crate) fn flows(body: &[u8]) -> impl ExactSizeIterator<Item = V5Flow<'_>> + Clone {
    let (flows, _) = body.as_chunks();
    flows.iter().map(|bytes| V5Flow { bytes })
}

impl<'m> V5Flow<'m> {
    /// The flow as on the wire.
    #[must_use]
    pub const fn bytes(&self) -> &'m [u8; LENGTH] {
        self.bytes
    }

    /// Source address.
    #[must_use]
    #[inline]
    pub const fn source_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3])
    }

    /// Destination address.
    #[must_use]
    #[inline]
    pub const fn destination_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7])
    }

    /// Address of the next router.
    #[must_use]
    #[inline]
    pub const fn next_hop(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11])
    }

    /// Index of the interface by which the packets came in.
    #[must_use]
    #[inline]
    pub const fn ingress_interface(&self) -> u16 {
        u16::from_be_bytes([self.bytes[12], self.bytes[13]])
    }

    /// Index of the interface by which they went out.
    #[must_use]
    #[inline]
    pub const fn egress_interface(&self) -> u16 {
        u16::from_be_bytes([self.bytes[14], self.bytes[15]])
    }

    /// Packets.
    #[must_use]
    #[inline]
    pub const fn packets(&self) -> u32 {
        u32::from_be_bytes([self.bytes[16], self.bytes[17], self.bytes[18], self.bytes[19]])
    }

    /// Octets of the packets from the IP header on.
    #[must_use]
    #[inline]
    pub const fn octets(&self) -> u32 {
        u32::from_be_bytes([self.bytes[20], self.bytes[21], self.bytes[22], self.bytes[23]])
    }

    /// Uptime of the exporter at the first packet, in ms: a moment by
    /// [`Header::uptime_to_ms`](crate::Header::uptime_to_ms).
    #[must_use]
    #[inline]
    pub const fn first_uptime_ms(&self) -> u32 {
        u32::from_be_bytes([self.bytes[24], self.bytes[25], self.bytes[26], self.bytes[27]])
    }

    /// The same at the last packet.
    #[must_use]
    #[inline]
    pub const fn last_uptime_ms(&self) -> u32 {
        u32::from_be_bytes([self.bytes[28], self.bytes[29], self.bytes[30], self.bytes[31]])
    }

    /// Source port of TCP and UDP; most exporters have 0 for ICMP.
    #[must_use]
    #[inline]
    pub const fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[32], self.bytes[33]])
    }

    /// Destination port of TCP and UDP; most exporters have type × 256 + code for ICMP.
    #[must_use]
    #[inline]
    pub const fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[34], self.bytes[35]])
    }

    /// Flags of all TCP packets together.
    #[must_use]
    #[inline]
    pub const fn tcp_flags(&self) -> u8 {
        self.bytes[37]
    }

    /// Number of the protocol above IP.
    #[must_use]
    #[inline]
    pub const fn protocol(&self) -> u8 {
        self.bytes[38]
    }

    /// IP's type of service.
    #[must_use]
    #[inline]
    pub const fn type_of_service(&self) -> u8 {
        self.bytes[39]
    }

    /// Autonomous system of the source, its origin or the neighbour's as configured.
    #[must_use]
    #[inline]
    pub const fn source_as(&self) -> u16 {
        u16::from_be_bytes([self.bytes[40], self.bytes[41]])
    }

    /// The same of the destination.
    #[must_use]
    #[inline]
    pub const fn destination_as(&self) -> u16 {
        u16::from_be_bytes([self.bytes[42], self.bytes[43]])
    }

    /// Bits of the source's prefix.
    #[must_use]
    #[inline]
    pub const fn source_prefix_length(&self) -> u8 {
        self.bytes[44]
    }

    /// Bits of the destination's prefix.
    #[must_use]
    #[inline]
    pub const fn destination_prefix_length(&self) -> u8 {
        self.bytes[45]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, ElementId, Limits, Set};
    use alloc::vec::Vec;

    #[test]
    fn fields_are_those_of_the_layout() {
        // Three flows, every byte different from its neighbours, in a datagram that is cut short within the third.
        let mut datagram: Vec<u8> = [0, 5, 0, 3].into_iter().chain([0; 20]).collect();
        datagram.extend((0..3 * LENGTH).map(|at| u8::try_from(at).unwrap()));
        datagram.pop();
        let mut decoder = Decoder::new(Limits::default());
        let message = decoder.decode(&datagram, "192.0.2.1:2055".parse().unwrap(), 0).unwrap();
        let Some(Ok(Set::Data(set))) = message.sets().next() else {
            panic!("a set of flows")
        };
        let flows = set.v5_flows().unwrap();
        assert_eq!(flows.len(), 2);
        for (flow, record) in flows.zip(set.records()) {
            assert_eq!(flow.bytes(), record.bytes());
            let numbers = [
                (8, flow.source_address().to_bits()),
                (12, flow.destination_address().to_bits()),
                (15, flow.next_hop().to_bits()),
                (10, flow.ingress_interface().into()),
                (14, flow.egress_interface().into()),
                (2, flow.packets()),
                (1, flow.octets()),
                (22, flow.first_uptime_ms()),
                (21, flow.last_uptime_ms()),
                (7, flow.source_port().into()),
                (11, flow.destination_port().into()),
                (6, flow.tcp_flags().into()),
                (4, flow.protocol().into()),
                (5, flow.type_of_service().into()),
                (16, flow.source_as().into()),
                (17, flow.destination_as().into()),
                (9, flow.source_prefix_length().into()),
                (13, flow.destination_prefix_length().into()),
            ];
            for (element, number) in numbers {
                assert_eq!(
                    record.unsigned(ElementId::iana(element)),
                    Some(number.into()),
                    "{element}"
                );
            }
        }
    }
}

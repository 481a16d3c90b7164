//! The bytes of export datagrams: fixed layouts, written once and stamped when sent.
//!
//! A datagram is prepared without a clock: where a record has the times of its first and last packet, it holds how
//! long before the export they were. [`Prepared::stamp`] turns these ages into times, and writes the header. So a
//! pool of prepared datagrams can be sent over and over at the price of a copy.

use crate::settings::{SAMPLING_INTERVAL, Version};
use crate::traffic::{Ends, Flow};

/// Template ids of flows between IPv4 and between IPv6 addresses, and of the sampling options.
const TEMPLATE_V4: u16 = 256;
const TEMPLATE_V6: u16 = 257;
const TEMPLATE_SAMPLING: u16 = 258;

/// How the datagrams of one kind are laid out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    version: Version,
    /// The set's id; 0 for v5, which has no sets.
    template: u16,
    /// The message's header, and the set's where there are sets.
    header_bytes: usize,
    record_bytes: usize,
    /// Records that fit into a datagram of less than 1,472 bytes, which an Ethernet frame carries.
    pub(crate) max_records: usize,
    /// Where in a record the times are.
    first_at: usize,
    last_at: usize,
}

/// A datagram of flows but for its header's clock and count, and its records' times.
#[derive(Debug)]
pub(crate) struct Prepared {
    layout: &'static Layout,
    bytes: Vec<u8>,
    pub(crate) records: u32,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
}

/// What a datagram's header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// The exporter's clock, since 1970.
    pub(crate) unix_ms: u64,
    /// Since it started.
    pub(crate) uptime_ms: u32,
    pub(crate) sequence: u32,
    pub(crate) domain: u32,
}

const V5: Layout = Layout {
    version: Version::V5,
    template: 0,
    header_bytes: 24,
    record_bytes: 48,
    max_records: 30,
    first_at: 24,
    last_at: 28,
};
const V9_V4: Layout = Layout {
    version: Version::V9,
    template: TEMPLATE_V4,
    header_bytes: 24,
    record_bytes: 56,
    max_records: 25,
    first_at: 28,
    last_at: 32,
};
const V9_V6: Layout = Layout {
    version: Version::V9,
    template: TEMPLATE_V6,
    header_bytes: 24,
    record_bytes: 76,
    max_records: 18,
    first_at: 48,
    last_at: 52,
};
const IPFIX_V4: Layout = Layout {
    version: Version::Ipfix,
    template: TEMPLATE_V4,
    header_bytes: 20,
    record_bytes: 64,
    max_records: 22,
    first_at: 36,
    last_at: 44,
};
const IPFIX_V6: Layout = Layout {
    version: Version::Ipfix,
    template: TEMPLATE_V6,
    header_bytes: 20,
    record_bytes: 84,
    max_records: 16,
    first_at: 56,
    last_at: 64,
};

/// Elements and lengths of a v9 record after its addresses (and, in IPv4, the next hop).
const V9_FIELDS: [(u16, u16); 17] = [
    (10, 4), // INPUT_SNMP
    (14, 4), // OUTPUT_SNMP
    (2, 4),  // IN_PKTS
    (1, 4),  // IN_BYTES
    (22, 4), // FIRST_SWITCHED
    (21, 4), // LAST_SWITCHED
    (16, 4), // SRC_AS
    (17, 4), // DST_AS
    (7, 2),  // L4_SRC_PORT
    (11, 2), // L4_DST_PORT
    (32, 2), // ICMP_TYPE
    (6, 1),  // TCP_FLAGS
    (4, 1),  // PROTOCOL
    (5, 1),  // SRC_TOS
    (61, 1), // DIRECTION
    (9, 1),  // SRC_MASK; in IPv6 29, IPV6_SRC_MASK
    (13, 1), // DST_MASK; in IPv6 30, IPV6_DST_MASK
];

/// The same for IPFIX.
const IPFIX_FIELDS: [(u16, u16); 12] = [
    (10, 4),  // ingressInterface
    (14, 4),  // egressInterface
    (2, 8),   // packetDeltaCount
    (1, 8),   // octetDeltaCount
    (152, 8), // flowStartMilliseconds
    (153, 8), // flowEndMilliseconds
    (7, 2),   // sourceTransportPort
    (11, 2),  // destinationTransportPort
    (6, 2),   // tcpControlBits
    (58, 2),  // vlanId
    (4, 1),   // protocolIdentifier
    (5, 1),   // ipClassOfService
];
/// flowEndReason and ipVersion close an IPFIX record.
const IPFIX_LAST_FIELDS: [(u16, u16); 2] = [(136, 1), (60, 1)];

/// Addresses: source and destination, and in IPv4 the next hop.
const V4_ADDRESSES: [(u16, u16); 3] = [(8, 4), (12, 4), (15, 4)];
const V6_ADDRESSES: [(u16, u16); 2] = [(27, 16), (28, 16)];

impl Layout {
    /// What a flow is exported in; `None` if the protocol cannot carry it, as v5 cannot IPv6.
    pub(crate) fn of(version: Version, ends: &Ends) -> Option<&'static Self> {
        Some(match (version, ends) {
            (Version::V5, Ends::V4 { .. }) => &V5,
            (Version::V5, Ends::V6 { .. }) => return None,
            (Version::V9, Ends::V4 { .. }) => &V9_V4,
            (Version::V9, Ends::V6 { .. }) => &V9_V6,
            (Version::Ipfix, Ends::V4 { .. }) => &IPFIX_V4,
            (Version::Ipfix, Ends::V6 { .. }) => &IPFIX_V6,
        })
    }
}

impl Prepared {
    pub(crate) fn new(layout: &'static Layout) -> Self {
        let capacity = layout.header_bytes + layout.max_records * layout.record_bytes;
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(layout.header_bytes, 0);
        Self {
            layout,
            bytes,
            records: 0,
            packets: 0,
            octets: 0,
        }
    }

    pub(crate) fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Takes over everything that was pushed, and leaves an empty one of the same layout.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.layout))
    }

    /// Empties it, and keeps its room.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(self.layout.header_bytes);
        (self.records, self.packets, self.octets) = (0, 0, 0);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records as usize >= self.layout.max_records
    }

    /// Appends a flow, which has to be one of this layout.
    pub(crate) fn push(&mut self, flow: &Flow) {
        let before = self.bytes.len();
        match self.layout.version {
            Version::V5 => put_v5(&mut self.bytes, flow),
            Version::V9 => put_v9(&mut self.bytes, flow),
            Version::Ipfix => put_ipfix(&mut self.bytes, flow),
        }
        debug_assert_eq!(
            self.bytes.len() - before,
            self.layout.record_bytes,
            "a record of {:?}",
            self.layout
        );
        self.records += 1;
        self.packets += u64::from(flow.packets);
        self.octets += u64::from(flow.octets);
    }

    /// Appends the finished datagram to `to`.
    pub(crate) fn stamp(&self, header: &Header, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend_from_slice(&self.bytes);
        let datagram = &mut to[start..];
        let (head, records) = datagram.split_at_mut(self.layout.header_bytes);
        put_header(self, header, head);
        for record in records.chunks_exact_mut(self.layout.record_bytes) {
            for at in [self.layout.first_at, self.layout.last_at] {
                if self.layout.version == Version::Ipfix {
                    let age = be_u64(&record[at..at + 8]);
                    record[at..at + 8].copy_from_slice(&header.unix_ms.saturating_sub(age).to_be_bytes());
                } else {
                    let age = be_u32(&record[at..at + 4]);
                    record[at..at + 4].copy_from_slice(&header.uptime_ms.wrapping_sub(age).to_be_bytes());
                }
            }
        }
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A datagram's length; none is longer than 64 KiB.
fn length_u16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Seconds since 1970, until 2106.
fn unix_seconds(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1000).unwrap_or(u32::MAX)
}

fn put_header(prepared: &Prepared, header: &Header, head: &mut [u8]) {
    let datagram_bytes = prepared.bytes.len();
    let records = length_u16(prepared.records as usize);
    let mut bytes = Vec::with_capacity(head.len());
    match prepared.layout.version {
        Version::V5 => {
            put_u16(&mut bytes, 5);
            put_u16(&mut bytes, records);
            put_u32(&mut bytes, header.uptime_ms);
            put_u32(&mut bytes, unix_seconds(header.unix_ms));
            put_u32(
                &mut bytes,
                u32::try_from(header.unix_ms % 1000 * 1_000_000).unwrap_or(0),
            );
            put_u32(&mut bytes, header.sequence);
            // Engine type and id.
            put_u16(&mut bytes, u16::try_from(header.domain).unwrap_or(0));
            // No sampling stated.
            put_u16(&mut bytes, 0);
        }
        Version::V9 => {
            put_v9_header(&mut bytes, header, records);
            put_u16(&mut bytes, prepared.layout.template);
            put_u16(&mut bytes, length_u16(datagram_bytes - 20));
        }
        Version::Ipfix => {
            put_ipfix_header(&mut bytes, header, datagram_bytes);
            put_u16(&mut bytes, prepared.layout.template);
            put_u16(&mut bytes, length_u16(datagram_bytes - 16));
        }
    }
    head.copy_from_slice(&bytes);
}

fn put_v9_header(bytes: &mut Vec<u8>, header: &Header, records: u16) {
    put_u16(bytes, 9);
    put_u16(bytes, records);
    put_u32(bytes, header.uptime_ms);
    put_u32(bytes, unix_seconds(header.unix_ms));
    put_u32(bytes, header.sequence);
    put_u32(bytes, header.domain);
}

fn put_ipfix_header(bytes: &mut Vec<u8>, header: &Header, datagram_bytes: usize) {
    put_u16(bytes, 10);
    put_u16(bytes, length_u16(datagram_bytes));
    put_u32(bytes, unix_seconds(header.unix_ms));
    put_u32(bytes, header.sequence);
    put_u32(bytes, header.domain);
}

fn put_u16(bytes: &mut Vec<u8>, value: u16) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend_from_slice(&value.to_be_bytes());
}

fn put_ends(bytes: &mut Vec<u8>, flow: &Flow) {
    match flow.ends {
        Ends::V4 { source, destination } => {
            put_u32(bytes, source);
            put_u32(bytes, destination);
            put_u32(bytes, flow.next_hop);
        }
        Ends::V6 { source, destination } => {
            bytes.extend_from_slice(&source.to_be_bytes());
            bytes.extend_from_slice(&destination.to_be_bytes());
        }
    }
}

/// The age of a flow's first packet.
fn first_age_ms(flow: &Flow) -> u32 {
    flow.age_ms + flow.duration_ms
}

fn put_v5(bytes: &mut Vec<u8>, flow: &Flow) {
    put_ends(bytes, flow);
    put_u16(bytes, flow.input);
    put_u16(bytes, flow.output);
    put_u32(bytes, flow.packets);
    put_u32(bytes, flow.octets);
    put_u32(bytes, first_age_ms(flow));
    put_u32(bytes, flow.age_ms);
    put_u16(bytes, flow.source_port);
    put_u16(bytes, flow.destination_port);
    bytes.extend_from_slice(&[0, flow.tcp_flags, flow.protocol, flow.type_of_service]);
    // Two bytes each for the autonomous systems; RFC 5398's numbers fit.
    put_u16(bytes, u16::try_from(flow.source_as).unwrap_or(0));
    put_u16(bytes, u16::try_from(flow.destination_as).unwrap_or(0));
    bytes.extend_from_slice(&[24, 24, 0, 0]);
}

fn put_v9(bytes: &mut Vec<u8>, flow: &Flow) {
    put_ends(bytes, flow);
    put_u32(bytes, u32::from(flow.input));
    put_u32(bytes, u32::from(flow.output));
    put_u32(bytes, flow.packets);
    put_u32(bytes, flow.octets);
    put_u32(bytes, first_age_ms(flow));
    put_u32(bytes, flow.age_ms);
    put_u32(bytes, flow.source_as);
    put_u32(bytes, flow.destination_as);
    put_u16(bytes, flow.source_port);
    put_u16(bytes, flow.destination_port);
    put_u16(bytes, if flow.is_icmp() { flow.destination_port } else { 0 });
    bytes.extend_from_slice(&[flow.tcp_flags, flow.protocol, flow.type_of_service, 0, 24, 24]);
}

fn put_ipfix(bytes: &mut Vec<u8>, flow: &Flow) {
    put_ends(bytes, flow);
    put_u32(bytes, u32::from(flow.input));
    put_u32(bytes, u32::from(flow.output));
    for value in [flow.packets, flow.octets, first_age_ms(flow), flow.age_ms] {
        bytes.extend_from_slice(&u64::from(value).to_be_bytes());
    }
    put_u16(bytes, flow.source_port);
    put_u16(bytes, flow.destination_port);
    put_u16(bytes, u16::from(flow.tcp_flags));
    put_u16(bytes, flow.vlan);
    let ip_version = if matches!(flow.ends, Ends::V4 { .. }) { 4 } else { 6 };
    // RFC 7012 §5.11.3: 3 is the end of the flow.
    bytes.extend_from_slice(&[flow.protocol, flow.type_of_service, 3, ip_version]);
}

/// A datagram of templates and, where an exporter samples, of that option; `None` for v5, which has neither. Returns
/// how many data records are in it.
pub(crate) fn stamp_templates(version: Version, is_sampling: bool, header: &Header, to: &mut Vec<u8>) -> Option<u32> {
    let start = to.len();
    let mut sets = Vec::new();
    let is_ipfix = match version {
        Version::V5 => return None,
        Version::V9 => false,
        Version::Ipfix => true,
    };
    // RFC 3954 §5.2 and RFC 7011 §3.4.1: a set of templates is 0 in v9 and 2 in IPFIX.
    put_set(&mut sets, if is_ipfix { 2 } else { 0 }, |set| {
        put_template(set, TEMPLATE_V4, &V4_ADDRESSES, is_ipfix, false);
        put_template(set, TEMPLATE_V6, &V6_ADDRESSES, is_ipfix, true);
    });
    let mut records = 2;
    if is_sampling {
        put_set(&mut sets, if is_ipfix { 3 } else { 1 }, |set| {
            put_u16(set, TEMPLATE_SAMPLING);
            if is_ipfix {
                // RFC 7011 §3.4.2.2: fields in all, fields of scope; exportingProcessId is the scope.
                put_fields(set, &[(3, 1), (144, 4)]);
            } else {
                // RFC 3954 §6.1: bytes of scope, bytes of options; the whole system is the scope.
                put_fields(set, &[(4, 8), (1, 4)]);
            }
            // samplingInterval, samplingAlgorithm.
            put_fields(set, &[(34, 4), (35, 1)]);
        });
        put_set(&mut sets, TEMPLATE_SAMPLING, |set| {
            put_u32(set, 0);
            put_u32(set, SAMPLING_INTERVAL);
            // Random.
            set.push(2);
        });
        records += 2;
    }
    let datagram_bytes = sets.len() + if is_ipfix { 16 } else { 20 };
    if is_ipfix {
        put_ipfix_header(to, header, datagram_bytes);
    } else {
        put_v9_header(to, header, records);
    }
    to.extend_from_slice(&sets);
    debug_assert_eq!(to.len() - start, datagram_bytes, "the header says how long it is");
    Some(u32::from(is_sampling))
}

fn put_set(bytes: &mut Vec<u8>, id: u16, content: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    put_u16(bytes, id);
    put_u16(bytes, 0);
    content(bytes);
    let padded = (bytes.len() - start).next_multiple_of(4);
    bytes.resize(start + padded, 0);
    bytes[start + 2..start + 4].copy_from_slice(&length_u16(padded).to_be_bytes());
}

fn put_template(set: &mut Vec<u8>, id: u16, addresses: &[(u16, u16)], is_ipfix: bool, is_v6: bool) {
    let (fields, last): (&[_], &[_]) = if is_ipfix {
        (&IPFIX_FIELDS, &IPFIX_LAST_FIELDS)
    } else {
        (&V9_FIELDS, &[])
    };
    put_u16(set, id);
    put_u16(set, length_u16(addresses.len() + fields.len() + last.len()));
    put_fields(set, addresses);
    for &(element, length) in fields {
        let element = match element {
            9 if is_v6 => 29,
            13 if is_v6 => 30,
            // The IPv4 element of ICMP type and code, and the IPv6 one.
            32 if is_v6 => 139,
            other => other,
        };
        put_fields(set, &[(element, length)]);
    }
    put_fields(set, last);
}

fn put_fields(set: &mut Vec<u8>, fields: &[(u16, u16)]) {
    for &(element, length) in fields {
        put_u16(set, element);
        put_u16(set, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_and_records_agree_in_length() {
        let length = |fields: &[(u16, u16)]| fields.iter().map(|&(_, length)| usize::from(length)).sum::<usize>();
        let v9 = length(&V9_FIELDS);
        let ipfix = length(&IPFIX_FIELDS) + length(&IPFIX_LAST_FIELDS);
        assert_eq!(V9_V4.record_bytes, length(&V4_ADDRESSES) + v9);
        assert_eq!(V9_V6.record_bytes, length(&V6_ADDRESSES) + v9);
        assert_eq!(IPFIX_V4.record_bytes, length(&V4_ADDRESSES) + ipfix);
        assert_eq!(IPFIX_V6.record_bytes, length(&V6_ADDRESSES) + ipfix);
    }

    #[test]
    fn times_are_where_the_templates_say() {
        let before = |fields: &[(u16, u16)], element: u16| {
            fields
                .iter()
                .take_while(|&&(id, _)| id != element)
                .map(|&(_, length)| usize::from(length))
                .sum::<usize>()
        };
        for (layout, addresses) in [(&V9_V4, 12), (&V9_V6, 32)] {
            assert_eq!(layout.first_at, addresses + before(&V9_FIELDS, 22));
            assert_eq!(layout.last_at, addresses + before(&V9_FIELDS, 21));
        }
        for (layout, addresses) in [(&IPFIX_V4, 12), (&IPFIX_V6, 32)] {
            assert_eq!(layout.first_at, addresses + before(&IPFIX_FIELDS, 152));
            assert_eq!(layout.last_at, addresses + before(&IPFIX_FIELDS, 153));
        }
    }

    #[test]
    fn a_full_datagram_fits_an_ethernet_frame() {
        for layout in [&V5, &V9_V4, &V9_V6, &IPFIX_V4, &IPFIX_V6] {
            let bytes = layout.header_bytes + layout.max_records * layout.record_bytes;
            assert!(bytes <= 1472, "{layout:?}");
            assert!(
                bytes + layout.record_bytes > 1440,
                "{layout:?}: another record would fit"
            );
        }
    }
}

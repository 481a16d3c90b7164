//! The bytes of export datagrams: written once, stamped when sent.
//!
//! Records are prepared without a clock: where a record has the times of its first and last packet, it holds how long
//! before the export they were. [`Prepared::stamp`] writes the message and turns these ages into times. So a pool of
//! prepared datagrams can be sent over and over at the price of a copy.

use std::sync::Arc;

use anyhow::Context as _;
use netflow_codec::encode::{EncodeError, MessageWriter};
use netflow_codec::{ElementId, FieldSpec, Header, Template, TemplateId, TemplateKind, Version};

use crate::settings::SAMPLING_INTERVAL;
use crate::traffic::{Ends, Flow};

/// Template ids of flows between IPv4 and between IPv6 addresses, and of the sampling options.
const TEMPLATE_V4: u16 = 256;
const TEMPLATE_V6: u16 = 257;
const TEMPLATE_SAMPLING: u16 = 258;

/// What an Ethernet frame has room for behind the headers of IP and UDP.
const MAX_DATAGRAM_BYTES: usize = 1472;
/// The larger of the headers of v9 and IPFIX, and a set's.
const HEADER_BYTES: usize = 20 + 4;
/// Version 5's records: how many a datagram has room for, of so many bytes, with the times there.
const V5_MAX_RECORDS: usize = 30;
const V5_RECORD_BYTES: usize = 48;
const V5_FIRST_AT: usize = 24;
const V5_LAST_AT: usize = 28;

/// Elements of an IPv4 record and of an IPv6 one with their lengths: addresses, and in IPv4 the next hop.
const V4_ADDRESSES: [(u16, u16); 3] = [(8, 4), (12, 4), (15, 4)];
const V6_ADDRESSES: [(u16, u16); 2] = [(27, 16), (28, 16)];

/// What follows in v9.
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
    (9, 1),  // SRC_MASK
    (13, 1), // DST_MASK
];
/// What of it has another element in IPv6: ICMP type and code, and the lengths of the prefixes.
const V6_INSTEAD: [(u16, u16); 3] = [(32, 139), (9, 29), (13, 30)];

/// What follows in IPFIX.
const IPFIX_FIELDS: [(u16, u16); 14] = [
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
    (136, 1), // flowEndReason
    (60, 1),  // ipVersion
];

/// How one exporter's datagrams are laid out.
#[derive(Debug)]
pub(crate) struct Format {
    version: Version,
    v4: Arc<Layout>,
    /// Version 5 has no IPv6.
    v6: Option<Arc<Layout>>,
}

/// How the records of one kind are laid out.
#[derive(Debug)]
pub(crate) struct Layout {
    version: Version,
    /// Version 5 has none.
    template: Option<Template>,
    record_bytes: usize,
    max_records: usize,
    /// Where in a record the times are.
    first_at: usize,
    last_at: usize,
}

/// The records of a datagram but for their times.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) layout: Arc<Layout>,
    bytes: Vec<u8>,
    pub(crate) records: u32,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
}

impl Format {
    pub(crate) fn new(version: Version) -> anyhow::Result<Self> {
        let Some(first_and_last) = times_of(version) else {
            let v4 = Layout {
                version,
                template: None,
                record_bytes: V5_RECORD_BYTES,
                max_records: V5_MAX_RECORDS,
                first_at: V5_FIRST_AT,
                last_at: V5_LAST_AT,
            };
            return Ok(Self {
                version,
                v4: Arc::new(v4),
                v6: None,
            });
        };
        let fields: &[(u16, u16)] = if version == Version::V9 {
            &V9_FIELDS
        } else {
            &IPFIX_FIELDS
        };
        let instead = |&(element, length): &(u16, u16)| {
            let other = V6_INSTEAD
                .iter()
                .find(|(of_v4, _)| *of_v4 == element && version == Version::V9);
            (other.map_or(element, |(_, of_v6)| *of_v6), length)
        };
        let v4 = V4_ADDRESSES.into_iter().chain(fields.iter().copied());
        let v6 = V6_ADDRESSES.into_iter().chain(fields.iter().map(instead));
        Ok(Self {
            version,
            v4: Arc::new(Layout::new(version, TEMPLATE_V4, v4, first_and_last)?),
            v6: Some(Arc::new(Layout::new(version, TEMPLATE_V6, v6, first_and_last)?)),
        })
    }

    /// What a flow is exported in; `None` if the protocol cannot carry it.
    pub(crate) fn layout(&self, ends: &Ends) -> Option<&Arc<Layout>> {
        match ends {
            Ends::V4 { .. } => Some(&self.v4),
            Ends::V6 { .. } => self.v6.as_ref(),
        }
    }

    /// Appends a message of the templates and, where an exporter samples, of that option. Returns how many data
    /// records are in it; `None`, and nothing appended, for version 5, which has neither.
    pub(crate) fn stamp_templates(
        &self,
        is_sampling: bool,
        header: &Header,
        to: &mut Vec<u8>,
    ) -> anyhow::Result<Option<u32>> {
        let templates: Vec<&Template> = [Some(&self.v4), self.v6.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|layout| layout.template.as_ref())
            .collect();
        if templates.is_empty() {
            return Ok(None);
        }
        let mut message = MessageWriter::new(to, header);
        message.templates(templates)?;
        if is_sampling {
            // The scope is the whole exporter: v9's scope "system", IPFIX's exportingProcessId.
            let scope = if self.version == Version::V9 {
                ElementId::v9_scope(1)
            } else {
                ElementId::iana(144)
            };
            // samplingInterval and samplingAlgorithm.
            let fields = [(scope, 4), (ElementId::iana(34), 4), (ElementId::iana(35), 1)];
            let fields = fields
                .map(|(element, length)| FieldSpec::fixed(element, length))
                .to_vec();
            let kind = TemplateKind::Options { scope_fields: 1 };
            let options = template_of(TEMPLATE_SAMPLING, kind, fields)?;
            message.templates([&options])?;
            let mut set = message.data_set(&options)?;
            // Algorithm 2 is random.
            set.record_of([&[0; 4][..], &SAMPLING_INTERVAL.to_be_bytes(), &[2]])?;
            set.finish()?;
        }
        message.finish()?;
        Ok(Some(u32::from(is_sampling)))
    }
}

/// The elements of the first and the last packet's time; `None` for version 5, which has no elements.
fn times_of(version: Version) -> Option<(u16, u16)> {
    match version {
        Version::V9 => Some((22, 21)),
        Version::Ipfix => Some((152, 153)),
        Version::V1 | Version::V5 | Version::V7 => None,
    }
}

fn template_of(id: u16, kind: TemplateKind, fields: Vec<FieldSpec>) -> anyhow::Result<Template> {
    Template::new(TemplateId(id), kind, fields).map_err(|fault| anyhow::anyhow!("template {id}: {fault:?}"))
}

impl Layout {
    fn new(
        version: Version,
        id: u16,
        fields: impl Iterator<Item = (u16, u16)>,
        (first, last): (u16, u16),
    ) -> anyhow::Result<Self> {
        let fields = fields
            .map(|(element, length)| FieldSpec::fixed(ElementId::iana(element), length))
            .collect();
        let template = template_of(id, TemplateKind::Data, fields)?;
        let place = |element| {
            let position = template
                .position(ElementId::iana(element))
                .context("a template has the times")?;
            let (at, _) = template.fixed_place(position).context("fields are of fixed length")?;
            anyhow::Ok(at)
        };
        let record_bytes = template.record_length().context("fields are of fixed length")?;
        Ok(Self {
            version,
            record_bytes,
            max_records: (MAX_DATAGRAM_BYTES - HEADER_BYTES) / record_bytes,
            first_at: place(first)?,
            last_at: place(last)?,
            template: Some(template),
        })
    }
}

impl Prepared {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        let bytes = Vec::with_capacity(layout.max_records * layout.record_bytes);
        Self {
            layout,
            bytes,
            records: 0,
            packets: 0,
            octets: 0,
        }
    }

    pub(crate) fn record_bytes(&self) -> usize {
        self.layout.record_bytes
    }

    /// Takes over everything that was pushed, and leaves an empty one of the same layout.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self::new(Arc::clone(&self.layout));
        std::mem::replace(self, empty)
    }

    /// Empties it, and keeps its room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        (self.records, self.packets, self.octets) = (0, 0, 0);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records as usize >= self.layout.max_records
    }

    /// Appends a flow, which has to be one of this layout.
    pub(crate) fn push(&mut self, flow: &Flow) {
        match self.layout.version {
            Version::V9 => put_v9(&mut self.bytes, flow),
            Version::Ipfix => put_ipfix(&mut self.bytes, flow),
            Version::V1 | Version::V5 | Version::V7 => put_v5(&mut self.bytes, flow),
        }
        self.records += 1;
        debug_assert_eq!(
            self.bytes.len(),
            self.records as usize * self.layout.record_bytes,
            "a record fits its layout"
        );
        self.packets += u64::from(flow.packets);
        self.octets += u64::from(flow.octets);
    }

    /// Appends the finished message to `to`.
    pub(crate) fn stamp(&self, header: &Header, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        let layout = &*self.layout;
        let mut message = MessageWriter::new(to, header);
        let records_at = match &layout.template {
            None => {
                let records_at = message.len();
                message.fixed_records(&self.bytes)?;
                records_at
            }
            Some(template) => {
                let mut set = message.data_set(template)?;
                let records_at = set.message_len();
                for record in self.bytes.chunks_exact(layout.record_bytes) {
                    set.record(record)?;
                }
                set.finish()?;
                records_at
            }
        };
        let length = message.finish()?;
        let start = to.len() - length + records_at;
        let unix_ms = u64::try_from(header.export_time_ms).unwrap_or(0);
        let uptime_ms = header.uptime_ms.unwrap_or(0);
        for record in to[start..].chunks_exact_mut(layout.record_bytes) {
            for at in [layout.first_at, layout.last_at] {
                if layout.version == Version::Ipfix {
                    let age = be_u64(&record[at..at + 8]);
                    record[at..at + 8].copy_from_slice(&unix_ms.saturating_sub(age).to_be_bytes());
                } else {
                    let age = be_u32(&record[at..at + 4]);
                    record[at..at + 4].copy_from_slice(&uptime_ms.wrapping_sub(age).to_be_bytes());
                }
            }
        }
        Ok(())
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_datagram_fits_an_ethernet_frame_and_has_no_room_for_another_record() {
        for version in [Version::V5, Version::V9, Version::Ipfix] {
            let format = Format::new(version).unwrap();
            for layout in [Some(&format.v4), format.v6.as_ref()].into_iter().flatten() {
                let bytes = HEADER_BYTES + layout.max_records * layout.record_bytes;
                assert!(bytes <= MAX_DATAGRAM_BYTES, "{layout:?}");
                assert!(bytes + layout.record_bytes > MAX_DATAGRAM_BYTES, "{layout:?}");
            }
        }
    }
}

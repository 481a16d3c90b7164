//! v1, v5 and v7: records of one fixed layout, expressed as templates so that they are read like all others.
//!
//! v5's header (v7's is the same, with a reserved word in the last line; v1's ends with the fourth):
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |          version = 5          |             count             |
//! +---------------+---------------+---------------+---------------+
//! |                 uptime of the exporter in ms                  |
//! +---------------+---------------+---------------+---------------+
//! |                      seconds since 1970                       |
//! +---------------+---------------+---------------+---------------+
//! |                      and nanoseconds                          |
//! +---------------+---------------+---------------+---------------+
//! |             flows exported before this datagram               |
//! +---------------+---------------+---------------+---------------+
//! |  engine type  |   engine id   |mode|    sampling interval     |
//! +---------------+---------------+---------------+---------------+
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use nom::IResult;
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::clock_ms;
use crate::element::ElementId;
use crate::header::{DomainId, Header, Version};
use crate::template::{FieldSpec, Template, TemplateId, TemplateKind};

pub(crate) const V1_HEADER: usize = 16;
pub(crate) const V5_HEADER: usize = 24;
pub(crate) const V7_HEADER: usize = 24;

pub(crate) fn v1_header(input: &[u8]) -> IResult<&[u8], (Header, Option<u16>)> {
    let (input, header) = start(input, Version::V1)?;
    Ok((input, (header, None)))
}

pub(crate) fn v5_header(input: &[u8]) -> IResult<&[u8], (Header, Option<u16>)> {
    let (input, header) = start(input, Version::V5)?;
    let (input, sequence) = be_u32(input)?;
    let (input, engine_type) = be_u8(input)?;
    let (input, engine_id) = be_u8(input)?;
    let (input, sampling) = be_u16(input)?;
    let domain = DomainId(u32::from(u16::from_be_bytes([engine_type, engine_id])));
    Ok((
        input,
        (
            Header {
                domain,
                sequence: Some(sequence),
                sampling,
                ..header
            },
            None,
        ),
    ))
}

pub(crate) fn v7_header(input: &[u8]) -> IResult<&[u8], (Header, Option<u16>)> {
    let (input, header) = start(input, Version::V7)?;
    let (input, sequence) = be_u32(input)?;
    let (input, _reserved) = be_u32(input)?;
    Ok((
        input,
        (
            Header {
                sequence: Some(sequence),
                ..header
            },
            None,
        ),
    ))
}

/// The lines that the three have in common.
fn start(input: &[u8], version: Version) -> IResult<&[u8], Header> {
    let (input, _version) = be_u16(input)?;
    let (input, count) = be_u16(input)?;
    let (input, uptime_ms) = be_u32(input)?;
    let (input, seconds) = be_u32(input)?;
    let (input, nanoseconds) = be_u32(input)?;
    let header = Header {
        version,
        domain: DomainId(0),
        sequence: None,
        export_time_ms: clock_ms(seconds, nanoseconds),
        uptime_ms: Some(uptime_ms),
        count,
        sampling: 0,
    };
    Ok((input, header))
}

/// Bytes of a record of a version without templates.
pub(crate) fn record_length(version: Version) -> Option<usize> {
    match version {
        Version::V1 | Version::V5 => Some(48),
        Version::V7 => Some(52),
        Version::V9 | Version::Ipfix => None,
    }
}

/// The layouts of v1, v5 and v7 records.
#[derive(Clone, Debug)]
pub(crate) struct FixedLayouts {
    v1: Arc<Template>,
    v1_long: Arc<Template>,
    v5: Arc<Template>,
    v7: Arc<Template>,
}

impl FixedLayouts {
    pub(crate) fn new() -> Self {
        Self {
            v1: layout(1, &V1),
            v1_long: layout(1, &V1_LONG),
            v5: layout(5, &V5),
            v7: layout(7, &V7),
        }
    }

    /// The layout of v1 records where a datagram's length is a whole number of 52 bytes for each, as Cisco's own are.
    pub(crate) fn v1_long(&self, count: u16, space: usize) -> Option<&Arc<Template>> {
        let wanted = usize::from(count).saturating_mul(self.v1_long.min_record_length());
        (count > 0 && wanted == space).then_some(&self.v1_long)
    }

    /// The layout of a version that has no templates.
    pub(crate) fn of(&self, version: Version) -> Option<&Arc<Template>> {
        match version {
            Version::V1 => Some(&self.v1),
            Version::V5 => Some(&self.v5),
            Version::V7 => Some(&self.v7),
            Version::V9 | Version::Ipfix => None,
        }
    }
}

fn layout(id: u16, specs: &[(u16, u16)]) -> Arc<Template> {
    let fields: Vec<FieldSpec> = specs
        .iter()
        .map(|(element, length)| FieldSpec::fixed(ElementId::iana(*element), *length))
        .collect();
    #[expect(clippy::expect_used, reason = "the tables below have fields of more than no bytes")]
    let template = Template::compile(TemplateId(id), TemplateKind::Data, fields).expect("a fixed layout is usable");
    Arc::new(template)
}

/// Element and length of the first 36 bytes of all three.
const COMMON: [(u16, u16); 11] = [
    (8, 4),  // sourceIPv4Address
    (12, 4), // destinationIPv4Address
    (15, 4), // ipNextHopIPv4Address
    (10, 2), // ingressInterface
    (14, 2), // egressInterface
    (2, 4),  // packetDeltaCount
    (1, 4),  // octetDeltaCount
    (22, 4), // flowStartSysUpTime
    (21, 4), // flowEndSysUpTime
    (7, 2),  // sourceTransportPort
    (11, 2), // destinationTransportPort
];

const V1: [(u16, u16); 16] = with_common([
    (210, 2), // paddingOctets
    (4, 1),   // protocolIdentifier
    (5, 1),   // ipClassOfService
    (6, 1),   // tcpControlBits
    (210, 7), // three retransmission counts and four reserved bytes, as fprobe and softflowd lay it out
]);

/// As [`V1`], with four more reserved bytes.
const V1_LONG: [(u16, u16); 16] = with_common([(210, 2), (4, 1), (5, 1), (6, 1), (210, 11)]);

const V5: [(u16, u16); 20] = with_common([
    (210, 1), // paddingOctets
    (6, 1),   // tcpControlBits
    (4, 1),   // protocolIdentifier
    (5, 1),   // ipClassOfService
    (16, 2),  // bgpSourceAsNumber
    (17, 2),  // bgpDestinationAsNumber
    (9, 1),   // sourceIPv4PrefixLength
    (13, 1),  // destinationIPv4PrefixLength
    (210, 2),
]);

const V7: [(u16, u16); 21] = with_common([
    (210, 1), // flags that say which fields are invalid; no element
    (6, 1),   // tcpControlBits
    (4, 1),   // protocolIdentifier
    (5, 1),   // ipClassOfService
    (16, 2),  // bgpSourceAsNumber
    (17, 2),  // bgpDestinationAsNumber
    (9, 1),   // sourceIPv4PrefixLength
    (13, 1),  // destinationIPv4PrefixLength
    (210, 2), // more such flags
    (130, 4), // exporterIPv4Address: the router that the switch cut short
]);

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler"
)]
const fn with_common<const OWN: usize, const ALL: usize>(own: [(u16, u16); OWN]) -> [(u16, u16); ALL] {
    let mut all = [(0, 0); ALL];
    let mut i = 0;
    while i < ALL {
        all[i] = if i < COMMON.len() {
            COMMON[i]
        } else {
            own[i - COMMON.len()]
        };
        i += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_the_lengths_of_ciscos_tables() {
        let layouts = FixedLayouts::new();
        for version in [Version::V1, Version::V5, Version::V7, Version::V9, Version::Ipfix] {
            let length = layouts.of(version).and_then(|template| template.record_length());
            assert_eq!(length, record_length(version), "{version}");
        }
    }
}

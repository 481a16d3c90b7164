//! ICMP's type and code, wherever an exporter puts them.
//!
//! | Where | By whom |
//! |---|---|
//! | `icmpTypeCodeIPv4`, `icmpTypeCodeIPv6` (32, 139): type × 256 + code | v9 and IPFIX |
//! | `icmpTypeIPv4` to `icmpCodeIPv6` (176 to 179), apart | Cisco ASA, Open vSwitch and others |
//! | destination port: type × 256 + code, source port 0 | v5 as Cisco has it, and most others |
//! | source port: type, destination port: code | fprobe |
//!
//! The last two are told apart by the source port, which is 0 in the one and 0 in the other for type 0 alone, whose code is 0
//! as well. As some exporters put an identifier of the message where the source port is, the last is only read where both
//! are numbers that are assigned, and only in records that have none of the elements.

use crate::element::ElementId;
use crate::record::Record;

const PROTOCOL: ElementId = ElementId::iana(4);
const SOURCE_PORT: ElementId = ElementId::iana(7);
const DESTINATION_PORT: ElementId = ElementId::iana(11);

/// ICMP's protocol number.
pub(crate) const ICMP: u64 = 1;
/// ICMPv6's protocol number.
pub(crate) const ICMP_V6: u64 = 58;

/// Type × 256 + code, for IPv4 and IPv6.
pub(crate) const TOGETHER: [ElementId; 2] = [ElementId::iana(32), ElementId::iana(139)];

/// Type and code, for IPv4 and IPv6.
pub(crate) const APART: [(ElementId, ElementId); 2] = [
    (ElementId::iana(176), ElementId::iana(177)),
    (ElementId::iana(178), ElementId::iana(179)),
];

/// The types that IANA has assigned for ICMP, save those for experiments; 0 does not tell one form from the other.
pub(crate) const TYPES_IN_PORTS: core::ops::RangeInclusive<u16> = 1..=43;

/// The largest code that IANA has assigned for any of them.
pub(crate) const MAX_CODE_IN_PORTS: u16 = 15;

/// Type and code of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl Icmp {
    /// From type × 256 + code.
    #[must_use]
    pub const fn from_port(port: u16) -> Self {
        let [kind, code] = port.to_be_bytes();
        Self { kind, code }
    }

    /// Type × 256 + code, which many exporters put in the place of the destination port.
    #[must_use]
    pub const fn to_port(self) -> u16 {
        u16::from_be_bytes([self.kind, self.code])
    }

    /// What the ports of an ICMP record tell that has no element for it: type × 256 + code. `None` if the destination port
    /// does not have it as it is.
    pub(crate) fn in_ports(source: u16, destination: u16) -> Option<u16> {
        if !TYPES_IN_PORTS.contains(&source) || destination > MAX_CODE_IN_PORTS {
            return None;
        }
        Some(source << 8 | destination)
    }
}

/// See [`Record::icmp`].
pub(crate) fn of_record(record: &Record<'_>) -> Option<Icmp> {
    let (is_v6, order) = match record.unsigned(PROTOCOL)? {
        ICMP => (false, [0, 1]),
        ICMP_V6 => (true, [1, 0]),
        _ => return None,
    };
    let byte = |element| record.unsigned(element).and_then(|value| u8::try_from(value).ok());
    let port = |element| record.unsigned(element).and_then(|value| u16::try_from(value).ok());
    let mut has_element = false;
    // Some exporters put what they know of ICMPv6 in the elements of ICMP.
    for version in order {
        let (kind, code) = *APART.get(version)?;
        let apart = byte(kind).map(|kind| Icmp {
            kind,
            code: byte(code).unwrap_or(0),
        });
        let together = port(*TOGETHER.get(version)?).map(Icmp::from_port);
        has_element |= apart.or(together).is_some();
        let told = [together, apart].into_iter().flatten().find(|told| told.to_port() != 0);
        if told.is_some() {
            return told;
        }
    }
    let destination = port(DESTINATION_PORT);
    let in_ports = match (port(SOURCE_PORT), destination) {
        (Some(source), Some(destination)) if !is_v6 && !has_element => Icmp::in_ports(source, destination),
        _ => None,
    };
    // What is zero everywhere is an echo reply; ICMPv6 has no type 0.
    let port = match port(SOURCE_PORT) {
        _ if in_ports.is_some() => in_ports,
        Some(0) | None => destination.or_else(|| has_element.then_some(0)),
        Some(_) => has_element.then_some(0),
    };
    port.filter(|port| *port != 0 || !is_v6).map(Icmp::from_port)
}

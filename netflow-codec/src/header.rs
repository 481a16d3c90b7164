//! What the header of any version says, in one form.

use core::fmt;

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Version {
    /// NetFlow v1.
    V1,
    /// NetFlow v5.
    V5,
    /// NetFlow v7, of Catalyst switches.
    V7,
    /// NetFlow v9, RFC 3954.
    V9,
    /// IPFIX, RFC 7011; 10 on the wire.
    Ipfix,
}

impl Version {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::V1 => 1,
            Self::V5 => 5,
            Self::V7 => 7,
            Self::V9 => 9,
            Self::Ipfix => 10,
        }
    }

    /// The version of a number on the wire.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            5 => Some(Self::V5),
            7 => Some(Self::V7),
            9 => Some(Self::V9),
            10 => Some(Self::Ipfix),
            _ => None,
        }
    }

    /// Whether records are laid out by templates.
    #[must_use]
    pub const fn has_templates(self) -> bool {
        matches!(self, Self::V9 | Self::Ipfix)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipfix => f.write_str("IPFIX"),
            other => write!(f, "v{}", other.number()),
        }
    }
}

/// An observation domain within an exporter: IPFIX's own, v9's source id, v5's engine type × 256 + engine id, 0 for v1
/// and v7, which have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DomainId(pub u32);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The header of a message, whatever its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's version.
    pub version: Version,
    /// The observation domain.
    pub domain: DomainId,
    /// The sequence number; `None` for v1. What it counts differs, see [`sequence`](crate::sequence).
    pub sequence: Option<u32>,
    /// The exporter's clock when it sent the message, in ms since 1970.
    pub export_time_ms: i64,
    /// Milliseconds since the exporter started, which wrap after 49.7 days; `None` for IPFIX.
    pub uptime_ms: Option<u32>,
    /// Records that the header counts (v9: as the exporter understood it; some count sets); 0 for IPFIX.
    pub count: u16,
    /// v5's sampling field: two bits of mode and fourteen of interval; 0 for other versions.
    pub sampling: u16,
}

impl Header {
    /// The header of a message to be [written](crate::encode), with what its version has of these. The exporter has just
    /// started and does not sample, unless the caller says otherwise.
    #[must_use]
    pub const fn new(version: Version, domain: DomainId, sequence: u32, export_time_ms: i64) -> Self {
        Self {
            version,
            domain,
            sequence: match version {
                Version::V1 => None,
                _ => Some(sequence),
            },
            export_time_ms,
            uptime_ms: match version {
                Version::Ipfix => None,
                _ => Some(0),
            },
            count: 0,
            sampling: 0,
        }
    }

    /// The time in ms since 1970 of a moment that the exporter gave as its uptime.
    ///
    /// The uptime wraps after 49.7 days, so the moment nearest to the export is meant.
    #[must_use]
    pub fn uptime_to_ms(&self, uptime_ms: u32) -> Option<i64> {
        let age = self.uptime_ms?.wrapping_sub(uptime_ms).cast_signed();
        Some(self.export_time_ms.saturating_sub(i64::from(age)))
    }
}

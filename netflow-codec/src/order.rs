//! Which of two messages of a stream was sent first.

use crate::header::Header;

/// What the network may hold a datagram back, and an exporter's clock tell of it: as long as missing units are waited for.
const REORDERING_MS: i64 = 10_000;

/// When a message was sent, by its exporter's own count and clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// `None` if it is not known, or counts otherwise than the stream.
    sequence: Option<u32>,
    export_time_ms: i64,
}

impl Sent {
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            sequence: header.sequence,
            export_time_ms: header.export_time_ms,
        }
    }

    /// Whether the network has brought this message too late, as the exporter sent it before another that was here first.
    /// An exporter that has started anew counts lower as well, but its clock has gone on, or was set.
    pub(crate) fn is_before(self, other: Self) -> bool {
        let (Some(own), Some(others)) = (self.sequence, other.sequence) else {
            return false;
        };
        let ahead = others.wrapping_sub(own).cast_signed();
        let age_ms = other.export_time_ms.saturating_sub(self.export_time_ms);
        ahead > 0 && (0..=REORDERING_MS).contains(&age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_counts_are_earlier_unless_the_clock_says_otherwise() {
        let sent = |sequence, export_time_ms| Sent {
            sequence: Some(sequence),
            export_time_ms,
        };
        let other = sent(10, 1_700_000_005_000);
        assert!(sent(9, 1_700_000_005_000).is_before(other));
        assert!(
            sent(u32::MAX, 1_700_000_004_000).is_before(other),
            "the count has wrapped"
        );
        assert!(!sent(10, 1_700_000_005_000).is_before(other), "the same");
        assert!(!sent(11, 1_700_000_004_000).is_before(other), "later by its count");
        assert!(
            !sent(0, 1_700_000_006_000).is_before(other),
            "the exporter has restarted"
        );
        assert!(!sent(0, 5_000).is_before(other), "the same, and has lost its clock");
        assert!(!Sent::default().is_before(other));
    }
}

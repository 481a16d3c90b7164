//! Moments, in every unit that elements have them, to ms since 1970.

use crate::element::ElementId;
use crate::header::Header;
use crate::record::unsigned;

/// `systemInitTimeMilliseconds`: when the exporter started.
pub(crate) const SYSTEM_INIT: ElementId = ElementId::iana(160);

/// Seconds between 1900, where NTP counts from, and 1970.
const NTP_TO_UNIX_S: i64 = 2_208_988_800;

/// The unit and origin of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Milliseconds,
    /// `dateTimeMicroseconds` and `dateTimeNanoseconds`: seconds since 1900 and a 32-bit fraction (RFC 7011 §6.1.9).
    Ntp,
    /// Milliseconds since the exporter started.
    Uptime,
    /// Microseconds before the export.
    DeltaMicroseconds,
}

/// The unit of a moment; `None` for elements that are not one.
pub(crate) fn unit(element: ElementId) -> Option<TimeUnit> {
    let id = match element.enterprise {
        0 | ElementId::REVERSE_ENTERPRISE => element.id,
        _ => return None,
    };
    match id {
        150 | 151 | 260 | 322 => Some(TimeUnit::Seconds),
        152 | 153 | 160 | 258 | 263 | 264 | 265 | 266 | 269 | 271 | 323 => Some(TimeUnit::Milliseconds),
        154..=157 | 267 | 268 | 270 | 272 | 324 | 325 => Some(TimeUnit::Ntp),
        21 | 22 => Some(TimeUnit::Uptime),
        158 | 159 => Some(TimeUnit::DeltaMicroseconds),
        _ => None,
    }
}

/// A field's moment in ms since 1970. `start` tells when the exporter started, if its message does not.
pub(crate) fn to_ms(
    element: ElementId,
    bytes: &[u8],
    header: &Header,
    start: impl FnOnce() -> Option<i64>,
) -> Option<i64> {
    value_to_ms(unit(element)?, unsigned(bytes)?, header, start)
}

/// A moment in ms since 1970.
#[inline]
pub(crate) fn value_to_ms(
    unit: TimeUnit,
    value: u64,
    header: &Header,
    start: impl FnOnce() -> Option<i64>,
) -> Option<i64> {
    match unit {
        TimeUnit::Seconds => i64::try_from(value).ok()?.checked_mul(1000),
        TimeUnit::Milliseconds => i64::try_from(value).ok(),
        TimeUnit::Ntp => Some(ntp_to_ms(value)),
        TimeUnit::Uptime => match header.uptime_ms {
            Some(_) => header.uptime_to_ms(u32::try_from(value).ok()?),
            None => start()?.checked_add(i64::try_from(value).ok()?),
        },
        TimeUnit::DeltaMicroseconds => header.export_time_ms.checked_sub(i64::try_from(value / 1000).ok()?),
    }
}

/// An NTP timestamp in ms since 1970, rounded down. Era 0 ends in 2036; what is then before 1970 is of era 1.
pub(crate) fn ntp_to_ms(value: u64) -> i64 {
    let seconds = i64::try_from(value >> 32).unwrap_or(0);
    let fraction_ms = i64::try_from(((value & 0xFFFF_FFFF).wrapping_mul(1000)) >> 32).unwrap_or(0);
    let era = if seconds < NTP_TO_UNIX_S { 1_i64 << 32 } else { 0 };
    seconds
        .saturating_add(era)
        .saturating_sub(NTP_TO_UNIX_S)
        .saturating_mul(1000)
        .saturating_add(fraction_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{DomainId, Version};

    fn header(export_time_ms: i64, uptime_ms: u32) -> Header {
        Header {
            version: Version::V5,
            domain: DomainId(0),
            sequence: Some(0),
            export_time_ms,
            uptime_ms: Some(uptime_ms),
            count: 1,
            sampling: 0,
        }
    }

    #[test]
    fn uptime_that_wrapped_since_the_flow_began_is_undone() {
        // 10 s after the wrap, a flow that began 5 s before it.
        assert_eq!(
            header(1_700_000_000_000, 10_000).uptime_to_ms(u32::MAX - 4_999),
            Some(1_700_000_000_000 - 15_000)
        );
        // A flow that ends just after the export was stamped.
        assert_eq!(
            header(1_700_000_000_000, 10_000).uptime_to_ms(10_020),
            Some(1_700_000_000_020)
        );
    }

    #[test]
    fn ntp_fractions_become_milliseconds() {
        let seconds = 1_700_000_000_u64 + 2_208_988_800;
        assert_eq!(ntp_to_ms((seconds << 32) | 0x8000_0000), 1_700_000_000_500);
    }
}

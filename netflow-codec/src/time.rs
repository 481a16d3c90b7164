//! Moments, in every unit that elements have them, to ms since 1970.

use crate::element::{self, DataType, ElementId};
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
        _ => return unit_of_type(element),
    };
    match id {
        150 | 151 | 260 | 261 | 264 | 265 | 322 => Some(TimeUnit::Seconds),
        152 | 153 | 160 | 258 | 269 | 272 | 323 => Some(TimeUnit::Milliseconds),
        154..=157 | 268 | 270 | 271 | 273 | 324 | 325 => Some(TimeUnit::Ntp),
        21 | 22 => Some(TimeUnit::Uptime),
        158 | 159 => Some(TimeUnit::DeltaMicroseconds),
        _ => unit_of_type(element),
    }
}

/// The unit that goes with an element's type, for those that are not told here at once.
fn unit_of_type(element: ElementId) -> Option<TimeUnit> {
    match element::data_type(element)? {
        DataType::DateTimeSeconds => Some(TimeUnit::Seconds),
        DataType::DateTimeMilliseconds => Some(TimeUnit::Milliseconds),
        DataType::DateTimeMicroseconds | DataType::DateTimeNanoseconds => Some(TimeUnit::Ntp),
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
        TimeUnit::Ntp => Some(fraction_to_ms(value, header.export_time_ms)),
        TimeUnit::Uptime => match header.uptime_ms {
            Some(_) => header.uptime_to_ms(u32::try_from(value).ok()?),
            None => since_start_ms(start()?, u32::try_from(value).ok()?, header.export_time_ms),
        },
        TimeUnit::DeltaMicroseconds => header.export_time_ms.checked_sub(i64::try_from(value / 1000).ok()?),
    }
}

/// A moment that is given as uptime by an exporter that started at a known time: of those 49.7 days apart, at which the
/// uptime wraps, the one nearest to the export.
fn since_start_ms(start_ms: i64, uptime_ms: u32, export_time_ms: i64) -> Option<i64> {
    let first = start_ms.checked_add(i64::from(uptime_ms))?;
    const WRAP_MS: i64 = 1 << 32;
    let wraps = export_time_ms
        .checked_sub(first)?
        .checked_add(WRAP_MS / 2)?
        .div_euclid(WRAP_MS);
    first.checked_add(wraps.max(0).checked_mul(WRAP_MS)?)
}

/// What two moments may be apart of which one is the export of the other.
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// A moment of `dateTimeMicroseconds` or `dateTimeNanoseconds`: an NTP timestamp, unless that is over a year off the
/// export, and the number taken for micro- or nanoseconds since 1970 is not, as some exporters have it.
fn fraction_to_ms(value: u64, export_time_ms: i64) -> i64 {
    let ntp = ntp_to_ms(value);
    let is_near = |ms: &i64| ms.abs_diff(export_time_ms) < YEAR_MS;
    if is_near(&ntp) {
        return ntp;
    }
    let counted = [value / 1000, value / 1_000_000].map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    counted.into_iter().find(is_near).unwrap_or(ntp)
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
    fn units_are_those_of_the_elements_types() {
        for element in element::all().iter().filter(|element| element.id.enterprise == 0) {
            let wanted = match (element.id.id, element.data_type) {
                (21 | 22, _) => Some(TimeUnit::Uptime),
                (158 | 159, _) => Some(TimeUnit::DeltaMicroseconds),
                _ => unit_of_type(element.id),
            };
            assert_eq!(unit(element.id), wanted, "{}", element.name);
        }
    }

    #[test]
    fn uptime_of_an_exporter_with_a_known_start_wraps_towards_the_export() {
        let (start, day) = (1_700_000_000_000, 24 * 60 * 60 * 1000);
        assert_eq!(since_start_ms(start, 5_000, start + 9_000), Some(start + 5_000));
        assert_eq!(since_start_ms(start, 5_000, start + 4_000), Some(start + 5_000));
        // On the hundredth day, after two wraps.
        let moment = start + 100 * day;
        let uptime = u32::try_from((100 * day) % (1 << 32)).unwrap();
        assert_eq!(since_start_ms(start, uptime, moment + 60_000), Some(moment));
        // A start that cannot be: no moment before it.
        assert_eq!(since_start_ms(start, 5_000, 0), Some(start + 5_000));
    }

    #[test]
    fn ntp_fractions_become_milliseconds() {
        let seconds = 1_700_000_000_u64 + 2_208_988_800;
        assert_eq!(ntp_to_ms((seconds << 32) | 0x8000_0000), 1_700_000_000_500);
    }

    #[test]
    fn plain_counts_since_1970_are_told_from_ntp_timestamps() {
        let export_ms = 1_700_000_060_000;
        let moment = 1_700_000_000_250_u64;
        let to_ms = |value| value_to_ms(TimeUnit::Ntp, value, &header(export_ms, 0), || None);
        let ntp = ((moment / 1000 + 2_208_988_800) << 32) | (1 << 30);
        assert_eq!(to_ms(ntp), Some(1_700_000_000_250));
        assert_eq!(to_ms(moment * 1000), Some(1_700_000_000_250));
        assert_eq!(to_ms(moment * 1_000_000), Some(1_700_000_000_250));
    }

    #[test]
    fn ntp_timestamps_after_2036_are_of_the_next_era() {
        // 2040-01-01, 2,208,988,800 + 2,208,988,800 s after 1900, without the first 2^32.
        let seconds = 2 * 2_208_988_800_u64 - (1 << 32);
        assert_eq!(ntp_to_ms(seconds << 32), 2_208_988_800_000);
    }
}

//! The folders of the dataset: one for each UTC hour of `time`, named as Hive, DuckDB, Spark and pyarrow expect.

use std::fmt;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, RecordBatch};

use crate::error::Error;
use crate::schema::TIME;

const HOUR_MS: i64 = 3_600_000;
const HOURS_PER_DAY: i64 = 24;

/// One UTC hour, the unit of partitioning and of retention. Displayed as its folder: `date=2026-11-23/hour=07`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour {
    since_epoch: i64,
}

impl Hour {
    /// The hour that holds a time.
    #[must_use]
    pub fn of(time_ms: i64) -> Self {
        Self {
            since_epoch: time_ms.div_euclid(HOUR_MS),
        }
    }

    /// The times within the hour, in milliseconds.
    #[must_use]
    pub fn span_ms(self) -> Range<i64> {
        let start = self.since_epoch.saturating_mul(HOUR_MS);
        start..start.saturating_add(HOUR_MS)
    }

    /// Reads the hour from the folders of a file's path within the dataset.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let date = parts.next()?.strip_prefix("date=")?;
        let hour: i64 = parts.next()?.strip_prefix("hour=")?.parse().ok()?;
        let (date, day) = date.rsplit_once('-')?;
        let (year, month) = date.rsplit_once('-')?;
        let (year, month, day): (i64, i64, i64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
        let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..HOURS_PER_DAY).contains(&hour);
        (in_range && year.abs() < 1_000_000).then(|| Self {
            since_epoch: days_from_civil(year, month, day) * HOURS_PER_DAY + hour,
        })
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.since_epoch.div_euclid(HOURS_PER_DAY));
        write!(
            f,
            "date={year:04}-{month:02}-{day:02}/hour={:02}",
            self.since_epoch.rem_euclid(HOURS_PER_DAY)
        )
    }
}

/// Days in the 400 years after which the Gregorian calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01, at which an era starts, to 1970-01-01.
const EPOCH_FROM_ERA: i64 = 719_468;

/// Counting years from March puts the leap day last, so that the day of the year is a linear function of the month.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_ERA
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_FROM_ERA;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The rows of a batch that lie in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The hour.
    pub hour: Hour,
    /// The rows, which are neighbours in the batch.
    pub rows: Range<usize>,
}

/// Cuts a batch at the hours of its `time` column. Rows are in order of time within a bundle, so that there are nearly
/// always one or two parts; rows that are not give more parts, never wrong ones.
///
/// # Errors
///
/// [`Error::Batch`] if there is no `time` column of milliseconds.
pub fn split(batch: &RecordBatch) -> Result<Vec<Part>, Error> {
    let time = batch
        .column_by_name(TIME)
        .and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>())
        .filter(|column| column.null_count() == 0)
        .ok_or_else(|| Error::Batch(format!("no column {TIME} of milliseconds without nulls")))?
        .values();
    let mut parts = Vec::new();
    let mut start = 0;
    while let Some(&first) = time.get(start) {
        let hour = Hour::of(first);
        let span = hour.span_ms();
        let len = time[start..].iter().take_while(|time| span.contains(time)).count();
        // The hours at the ends of the range of i64 are cut short there, and may not contain their own first time.
        let end = start + len.max(1);
        parts.push(Part { hour, rows: start..end });
        start = end;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::TimestampMillisecondArray;
    use arrow_schema::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::timestamp;

    fn batch(times: Vec<i64>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new(TIME, timestamp(), false)]));
        RecordBatch::try_new(
            schema,
            vec![Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"))],
        )
        .unwrap()
    }

    #[test]
    fn hours_are_named_by_the_calendar() {
        for (time_ms, folder) in [
            (0, "date=1970-01-01/hour=00"),
            (-1, "date=1969-12-31/hour=23"),
            (951_782_400_000, "date=2000-02-29/hour=00"),
            (1_709_251_199_999, "date=2024-02-29/hour=23"),
            (1_709_251_200_000, "date=2024-03-01/hour=00"),
            (4_107_542_400_000, "date=2100-03-01/hour=00"),
        ] {
            assert_eq!(Hour::of(time_ms).to_string(), folder);
            assert_eq!(Hour::from_path(&format!("{folder}/x.parquet")), Some(Hour::of(time_ms)));
        }
    }

    #[test]
    fn paths_that_are_not_of_an_hour_have_none() {
        for path in [
            "",
            "x.parquet",
            "date=2024-01-01",
            "date=2024-13-01/hour=00",
            "date=2024-01-01/hour=24",
            "date=x/hour=1",
        ] {
            assert_eq!(Hour::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_batch_is_cut_at_the_full_hour() {
        let parts = split(&batch(vec![HOUR_MS - 2, HOUR_MS - 1, HOUR_MS, 2 * HOUR_MS, 5])).unwrap();
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.hour.since_epoch, part.rows.clone()))
            .collect();
        assert_eq!(found, [(0, 0..2), (1, 2..3), (2, 3..4), (0, 4..5)]);
    }

    proptest! {
        #[test]
        fn every_row_lies_in_one_part_of_its_hour(times in prop::collection::vec(any::<i64>(), 0..40)) {
            let parts = split(&batch(times.clone())).unwrap();
            let mut next = 0;
            for part in parts {
                prop_assert_eq!(part.rows.start, next);
                next = part.rows.end;
                prop_assert!(times[part.rows].iter().all(|&time| Hour::of(time) == part.hour));
            }
            prop_assert_eq!(next, times.len());
        }

        #[test]
        fn the_calendar_and_its_reverse_agree(time_ms in -30_000_000_000_000..30_000_000_000_000i64) {
            let hour = Hour::of(time_ms);
            prop_assert_eq!(Hour::from_path(&hour.to_string()), Some(hour));
        }
    }
}

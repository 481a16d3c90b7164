//! Puts the flows of all probes into one order: by time, then by place (probe, bundle, row).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, TimestampMillisecondArray};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use bundle_log::Position;

/// Most rows handed over at once.
const CHUNK_ROWS: usize = 1 << 16;

/// Probe and bundle: with the row, what orders flows of the same time.
type Place = (Arc<str>, u64);

/// Holds the bundles whose flows are not all released yet.
#[derive(Debug)]
pub(crate) struct Combiner {
    schema: SchemaRef,
    columns: Vec<usize>,
    time_column: usize,
    /// By place, so that equal times come out in the order of places.
    pending: BTreeMap<Place, Pending>,
    released_to_ms: i64,
}

#[derive(Debug)]
struct Pending {
    position: Position,
    times: TimestampMillisecondArray,
    batch: RecordBatch,
    next_row: usize,
}

impl Pending {
    fn next_time(&self) -> Option<i64> {
        self.times.values().get(self.next_row).copied()
    }

    /// The row behind the last one before `until_ms`.
    fn rows_before(&self, until_ms: i64) -> usize {
        let rest = self.times.values().get(self.next_row..).unwrap_or_default();
        self.next_row + rest.partition_point(|&time| time < until_ms)
    }
}

impl Combiner {
    /// A combiner that hands on `columns` of batches with `schema`; `time_column` counts in `schema`. Flows before
    /// `released_to_ms` were released in an earlier run.
    pub(crate) fn new(
        schema: &SchemaRef,
        columns: Vec<usize>,
        time_column: usize,
        released_to_ms: i64,
    ) -> Result<Self, ArrowError> {
        let projected = Arc::new(schema.project(&columns)?);
        Ok(Self {
            schema: projected,
            columns,
            time_column,
            pending: BTreeMap::new(),
            released_to_ms,
        })
    }

    /// Takes a bundle in. Returns how many of its flows are too late: their time was released before. In a replay they
    /// are the ones that an earlier run released.
    pub(crate) fn insert(
        &mut self,
        position: Position,
        place: Place,
        batch: &RecordBatch,
    ) -> Result<usize, ArrowError> {
        let times = batch
            .column(self.time_column)
            .as_any()
            .downcast_ref::<TimestampMillisecondArray>()
            .cloned()
            .ok_or_else(|| ArrowError::SchemaError("time column is no timestamp in ms".into()))?;
        let batch = batch.project(&self.columns)?;
        let mut pending = Pending {
            position,
            times,
            batch,
            next_row: 0,
        };
        let late = pending.rows_before(self.released_to_ms);
        pending.next_row = late;
        if pending.next_time().is_some() {
            self.pending.insert(place, pending);
        }
        Ok(late)
    }

    /// Releases all flows before `until_ms`, in order.
    pub(crate) fn release<E: From<ArrowError>>(
        &mut self,
        until_ms: i64,
        mut each: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut slices: Vec<RecordBatch> = Vec::new();
        let mut rows = 0;
        while let Some((from, end, key)) = self.next_slice(until_ms) {
            let Some(pending) = self.pending.get_mut(&key) else {
                break;
            };
            let slice = pending.batch.slice(from, end - from);
            pending.next_row = end;
            if pending.next_time().is_none() {
                self.pending.remove(&key);
            }
            rows += slice.num_rows();
            slices.push(slice);
            if rows >= CHUNK_ROWS {
                self.flush(&mut slices, &mut each)?;
                rows = 0;
            }
        }
        self.flush(&mut slices, &mut each)?;
        self.released_to_ms = self.released_to_ms.max(until_ms);
        Ok(())
    }

    /// The longest run of rows of one bundle that comes next in the order.
    fn next_slice(&self, until_ms: i64) -> Option<(usize, usize, Place)> {
        let mut first: Option<(i64, &Place, &Pending)> = None;
        let mut second: Option<(i64, &Place)> = None;
        for (key, pending) in &self.pending {
            let Some(time) = pending.next_time().filter(|&time| time < until_ms) else {
                continue;
            };
            match first {
                Some((earliest, ..)) if time >= earliest => {
                    if second.is_none_or(|(known, _)| time < known) {
                        second = Some((time, key));
                    }
                }
                _ => {
                    second = first.map(|(time, key, _)| (time, key)).or(second);
                    first = Some((time, key, pending));
                }
            }
        }
        let (_, key, pending) = first?;
        // Rows of the same time as the other bundle's next go first only if their place is lower.
        let stop = match second {
            None => until_ms,
            Some((time, other)) if key < other => until_ms.min(time.saturating_add(1)),
            Some((time, _)) => until_ms.min(time),
        };
        Some((pending.next_row, pending.rows_before(stop), key.clone()))
    }

    fn flush<E: From<ArrowError>>(
        &self,
        slices: &mut Vec<RecordBatch>,
        each: &mut impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        match slices.as_slice() {
            [] => {}
            [one] => each(one)?,
            // Copying small runs together costs less than the engine's work per batch.
            many if many.iter().map(RecordBatch::num_rows).sum::<usize>() < many.len() * 4096 => {
                each(&concat_batches(&self.schema, many)?)?;
            }
            many => {
                for slice in many {
                    each(slice)?;
                }
            }
        }
        slices.clear();
        Ok(())
    }

    /// The lowest position in the log of a bundle with flows that are still held.
    pub(crate) fn oldest(&self) -> Option<Position> {
        self.pending.values().map(|pending| pending.position).min()
    }

    /// How many bundles are held.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int32Array};
    use proptest::prelude::*;

    fn bundle(rows: &[(i64, i32)]) -> RecordBatch {
        let time = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.0)).with_timezone("UTC");
        let id = Int32Array::from_iter_values(rows.iter().map(|row| row.1));
        RecordBatch::try_from_iter([("time", Arc::new(time) as ArrayRef), ("id", Arc::new(id) as ArrayRef)]).unwrap()
    }

    fn released(combiner: &mut Combiner, until_ms: i64) -> Vec<i32> {
        let mut ids = Vec::new();
        combiner
            .release::<ArrowError>(until_ms, |batch| {
                let column = batch.column(0).as_any().downcast_ref::<Int32Array>().unwrap();
                ids.extend_from_slice(column.values());
                Ok(())
            })
            .unwrap();
        ids
    }

    fn combiner() -> Combiner {
        Combiner::new(&bundle(&[]).schema(), vec![1], 0, 0).unwrap()
    }

    #[test]
    fn flows_come_out_by_time_then_by_place() {
        let mut combiner = combiner();
        combiner
            .insert(
                Position(0),
                ("b".into(), 1),
                &bundle(&[(1, 10), (2, 11), (2, 12), (5, 13)]),
            )
            .unwrap();
        combiner
            .insert(Position(9), ("a".into(), 7), &bundle(&[(2, 20), (3, 21), (9, 22)]))
            .unwrap();
        assert_eq!(released(&mut combiner, 5), [10, 20, 11, 12, 21]);
        assert_eq!(combiner.oldest(), Some(Position(0)));
        assert_eq!(released(&mut combiner, 6), [13]);
        assert_eq!(combiner.oldest(), Some(Position(9)));
        assert_eq!(released(&mut combiner, 100), [22]);
        assert_eq!((combiner.oldest(), combiner.len()), (None, 0));
    }

    #[test]
    fn late_flows_are_counted_and_left_out() {
        let mut combiner = combiner();
        assert_eq!(released(&mut combiner, 3), [] as [i32; 0]);
        assert_eq!(
            combiner
                .insert(Position(0), ("a".into(), 1), &bundle(&[(1, 1), (2, 2), (3, 3)]))
                .unwrap(),
            2
        );
        assert_eq!(released(&mut combiner, 9), [3]);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_sort(
            bundles in prop::collection::vec(prop::collection::vec(0i64..20, 0..12), 0..8),
            stops in prop::collection::vec(0i64..25, 0..4),
        ) {
            let mut combiner = combiner();
            let mut all = Vec::new();
            for (number, mut times) in (0i32..).zip(bundles) {
                times.sort_unstable();
                let place = (Arc::from(if number % 2 == 0 { "even" } else { "odd" }), u64::try_from(number).unwrap());
                let rows: Vec<_> = (0i32..).zip(&times).map(|(row, &time)| (time, number * 100 + row)).collect();
                combiner.insert(Position(0), place.clone(), &bundle(&rows)).unwrap();
                all.extend(rows.into_iter().map(|(time, id)| (time, place.clone(), id)));
            }
            all.sort();
            let mut ids = Vec::new();
            for stop in stops {
                ids.extend(released(&mut combiner, stop));
            }
            ids.extend(released(&mut combiner, i64::MAX));
            prop_assert_eq!(ids, all.into_iter().map(|(_, _, id)| id).collect::<Vec<_>>());
        }
    }
}

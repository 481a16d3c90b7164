//! Puts the flows of all probes into one order: by time, then by place (probe, bundle, row).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, TimestampMillisecondArray};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use bundle_log::Position;

use crate::item::{BundleId, Place};

/// Most rows handed over at once.
const CHUNK_ROWS: usize = 1 << 16;

/// Holds the bundles whose flows are not all released yet, of one exchange.
#[derive(Debug)]
pub(crate) struct Combiner {
    schema: SchemaRef,
    time_column: usize,
    /// By place, so that equal times come out in the order of places.
    pending: BTreeMap<BundleId, Pending>,
}

#[derive(Debug)]
struct Pending {
    position: Position,
    times: TimestampMillisecondArray,
    rows: Option<Arc<[u32]>>,
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

/// Rows of one bundle that follow one another.
#[derive(Debug)]
struct Run {
    bundle: BundleId,
    rows: Option<Arc<[u32]>>,
    from: usize,
    batch: RecordBatch,
}

/// Where the rows of a batch come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'r>(&'r [Run]);

impl Places<'_> {
    /// The place of a row of the batch.
    pub(crate) fn of(self, mut row: usize) -> Option<Place> {
        for run in self.0 {
            if row < run.batch.num_rows() {
                let number = match &run.rows {
                    Some(rows) => rows.get(run.from + row).copied()?,
                    None => u32::try_from(run.from + row).ok()?,
                };
                return Some((run.bundle.clone(), number));
            }
            row -= run.batch.num_rows();
        }
        None
    }
}

impl Combiner {
    /// A combiner of batches with `schema`, in which `time_column` is the flows' time.
    pub(crate) fn new(schema: &SchemaRef, time_column: usize) -> Self {
        Self {
            schema: Arc::clone(schema),
            time_column,
            pending: BTreeMap::new(),
        }
    }

    /// Takes the rows of a bundle in: all, or those with these numbers. None of them is before what was released.
    pub(crate) fn insert(
        &mut self,
        position: Position,
        bundle: BundleId,
        rows: Option<Arc<[u32]>>,
        batch: RecordBatch,
    ) -> Result<(), ArrowError> {
        let times = batch
            .column(self.time_column)
            .as_any()
            .downcast_ref::<TimestampMillisecondArray>()
            .cloned()
            .ok_or_else(|| ArrowError::SchemaError("time column is no timestamp in ms".into()))?;
        if !times.is_empty() {
            let pending = Pending {
                position,
                times,
                rows,
                batch,
                next_row: 0,
            };
            self.pending.insert(bundle, pending);
        }
        Ok(())
    }

    /// Releases all flows before `until_ms`, in order, in batches with the places of their rows.
    pub(crate) fn release<E: From<ArrowError>>(
        &mut self,
        until_ms: i64,
        mut each: impl FnMut(&RecordBatch, Places<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut runs: Vec<Run> = Vec::new();
        let mut rows = 0;
        while let Some((from, end, bundle)) = self.next_slice(until_ms) {
            let Some(pending) = self.pending.get_mut(&bundle) else {
                break;
            };
            let run = Run {
                rows: pending.rows.clone(),
                from,
                batch: pending.batch.slice(from, end - from),
                bundle,
            };
            pending.next_row = end;
            if pending.next_time().is_none() {
                self.pending.remove(&run.bundle);
            }
            rows += run.batch.num_rows();
            runs.push(run);
            if rows >= CHUNK_ROWS {
                self.flush(&mut runs, &mut each)?;
                rows = 0;
            }
        }
        self.flush(&mut runs, &mut each)
    }

    /// The longest run of rows of one bundle that comes next in the order.
    fn next_slice(&self, until_ms: i64) -> Option<(usize, usize, BundleId)> {
        let mut first: Option<(i64, &BundleId, &Pending)> = None;
        let mut second: Option<(i64, &BundleId)> = None;
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
        runs: &mut Vec<Run>,
        each: &mut impl FnMut(&RecordBatch, Places<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let rows: usize = runs.iter().map(|run| run.batch.num_rows()).sum();
        // Copying small runs together costs less than the engine's work per batch.
        if runs.len() > 1 && rows < runs.len() * 4096 {
            each(
                &concat_batches(&self.schema, runs.iter().map(|run| &run.batch))?,
                Places(runs),
            )?;
        } else {
            for run in runs.iter() {
                each(&run.batch, Places(std::slice::from_ref(run)))?;
            }
        }
        runs.clear();
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
            .release::<ArrowError>(until_ms, |batch, places| {
                let column = batch.column(1).as_any().downcast_ref::<Int32Array>().unwrap();
                ids.extend_from_slice(column.values());
                for (row, &id) in column.values().iter().enumerate() {
                    let (_, number) = places.of(row).unwrap();
                    assert_eq!(i64::from(number), i64::from(id) % 100);
                }
                assert_eq!(places.of(batch.num_rows()), None);
                Ok(())
            })
            .unwrap();
        ids
    }

    fn combiner() -> Combiner {
        Combiner::new(&bundle(&[]).schema(), 0)
    }

    #[test]
    fn flows_come_out_by_time_then_by_place() {
        let mut combiner = combiner();
        let first = bundle(&[(1, 100), (2, 101), (2, 102), (5, 103)]);
        combiner.insert(Position(0), ("b".into(), 1), None, first).unwrap();
        let some = Some(Arc::from([1, 5, 7]));
        let second = bundle(&[(2, 201), (3, 205), (9, 207)]);
        combiner.insert(Position(9), ("a".into(), 7), some, second).unwrap();
        assert_eq!(released(&mut combiner, 5), [100, 201, 101, 102, 205]);
        assert_eq!(combiner.oldest(), Some(Position(0)));
        assert_eq!(released(&mut combiner, 6), [103]);
        assert_eq!(combiner.oldest(), Some(Position(9)));
        assert_eq!(released(&mut combiner, 100), [207]);
        assert_eq!((combiner.oldest(), combiner.len()), (None, 0));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_sort(
            bundles in prop::collection::vec(prop::collection::vec(0i64..20, 0..12), 0..8),
            mut stops in prop::collection::vec(0i64..25, 0..4),
        ) {
            let mut combiner = combiner();
            let mut all = Vec::new();
            for (number, mut times) in (0i32..).zip(bundles) {
                times.sort_unstable();
                let place = (Arc::from(if number % 2 == 0 { "even" } else { "odd" }), u64::try_from(number).unwrap());
                let rows: Vec<_> = (0i32..).zip(&times).map(|(row, &time)| (time, number * 100 + row)).collect();
                combiner.insert(Position(0), place.clone(), None, bundle(&rows)).unwrap();
                all.extend(rows.into_iter().map(|(time, id)| (time, place.clone(), id)));
            }
            all.sort();
            stops.sort_unstable();
            let mut ids = Vec::new();
            for stop in stops {
                ids.extend(released(&mut combiner, stop));
            }
            ids.extend(released(&mut combiner, i64::MAX));
            prop_assert_eq!(ids, all.into_iter().map(|(_, _, id)| id).collect::<Vec<_>>());
        }
    }
}

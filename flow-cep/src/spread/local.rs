//! The half that runs where the rows are.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_select::take::take;

use super::hash::{hashes, part_of};
use super::{Channel, Layout, Site};
use crate::engine::{EngineError, engine_times, source};

/// Filters rows, leaves out the columns that nobody reads, and says to which parts the rows go.
#[derive(Debug)]
pub struct Local {
    layout: Arc<Layout>,
    part: usize,
    /// By channel and anchor the earliest time told so far.
    told: Vec<Vec<i64>>,
}

/// The rows of a batch that one part needs for the statements of one exchange.
#[derive(Clone, Debug)]
pub struct Share {
    /// Which exchange, and which event type of it.
    pub channel: usize,
    /// Which part.
    pub part: usize,
    /// The rows, of the columns that are read; perhaps none.
    pub batch: RecordBatch,
    /// Where in the batch they were; none if they are all of it.
    pub rows: Option<UInt32Array>,
    /// For statements by their numbers: the time at which a first row came, for [`Part::anchor`](super::Part::anchor).
    pub anchors: Vec<(usize, i64)>,
}

impl Local {
    pub(super) fn new(layout: Arc<Layout>, part: usize) -> Self {
        let told = layout.channels.iter();
        Self {
            told: told.map(|channel| vec![i64::MAX; channel.anchors.len()]).collect(),
            layout,
            part,
        }
    }

    /// Shares a batch out to the parts. Its rows must be in the order of their time column.
    ///
    /// # Errors
    /// When the event type is unknown or has no time column, or the batch has other columns.
    pub fn share(&mut self, event_type: &str, batch: &RecordBatch) -> Result<Vec<Share>, EngineError> {
        let (id, time) = source(&self.layout.catalog, event_type, batch)?;
        let times = engine_times(time, i64::MIN);
        let mut shares = Vec::new();
        let channels = self.layout.channels.iter().enumerate().zip(&mut self.told);
        for ((number, channel), told) in channels.filter(|((_, channel), _)| channel.event_type == id) {
            let masks: Vec<BooleanBuffer> = channel
                .conditions
                .iter()
                .map(|condition| condition.mask(batch, &times))
                .collect();
            let chosen = channel
                .filters
                .as_ref()
                .map(|filters| any_of(&masks, filters, times.len()));
            let anchors = anchors(channel, &masks, &times, told);
            let channel_shares = parts(&self.layout, channel, self.part, batch, chosen.as_ref());
            for (part, rows) in channel_shares {
                if anchors.is_empty() && rows.as_ref().is_some_and(|rows| rows.is_empty()) {
                    continue;
                }
                shares.push(Share {
                    channel: number,
                    part,
                    batch: chosen_rows(channel, batch, rows.as_ref())?,
                    rows,
                    anchors: anchors.clone(),
                });
            }
        }
        Ok(shares)
    }
}

/// The rows that meet all conditions of a set.
fn all_of(masks: &[BooleanBuffer], set: &[usize], length: usize) -> BooleanBuffer {
    let mut masks = set.iter().map(|&place| &masks[place]);
    match masks.next() {
        None => BooleanBuffer::new_set(length),
        Some(first) => masks.fold(first.clone(), |all, mask| &all & mask),
    }
}

/// The rows that meet all conditions of one of the sets.
fn any_of(masks: &[BooleanBuffer], sets: &[Vec<usize>], length: usize) -> BooleanBuffer {
    let mut sets = sets.iter().map(|set| all_of(masks, set, length));
    let first = sets.next().unwrap_or_else(|| BooleanBuffer::new_unset(length));
    sets.fold(first, |any, mask| &any | &mask)
}

/// When first rows came that are earlier than those told.
fn anchors(channel: &Channel, masks: &[BooleanBuffer], times: &[i64], told: &mut [i64]) -> Vec<(usize, i64)> {
    let mut anchors = Vec::new();
    for ((statement, set), told) in channel.anchors.iter().zip(told) {
        if times.first().is_none_or(|first| first >= told) {
            continue;
        }
        let first = match set.as_slice() {
            [] => Some(0),
            set => all_of(masks, set, times.len()).set_indices().next(),
        };
        if let Some(time) = first.map(|row| times[row]).filter(|time| time < told) {
            *told = time;
            anchors.push((*statement, time));
        }
    }
    anchors
}

/// To which parts rows go, and which; none for all.
fn parts(
    layout: &Layout,
    channel: &Channel,
    here: usize,
    batch: &RecordBatch,
    chosen: Option<&BooleanBuffer>,
) -> Vec<(usize, Option<UInt32Array>)> {
    let one = |part: usize| {
        let rows = chosen.map(|chosen| chosen.set_indices().map(number).collect::<Vec<u32>>());
        vec![(part, rows.map(UInt32Array::from))]
    };
    match layout.lanes[channel.lane].site {
        Site::Beside => one(here),
        Site::Whole(part) => one(part),
        Site::EachByKey => {
            let length = batch.num_rows();
            let mut keys = channel.key.iter().map(|key| hashes(&key.evaluate(batch, &[])));
            let hashes = keys.next().unwrap_or_else(|| vec![0; length]);
            let mut rows = vec![Vec::with_capacity(length / layout.parts); layout.parts];
            let mut deal = |row: usize| rows[part_of(hashes[row], layout.parts)].push(number(row));
            match chosen {
                Some(chosen) => chosen.set_indices().for_each(&mut deal),
                None => (0..length).for_each(&mut deal),
            }
            let rows = rows.into_iter().map(UInt32Array::from).map(Some);
            rows.enumerate().collect()
        }
    }
}

/// The number of a row: a batch of more than four thousand million would not fit anywhere.
fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

fn chosen_rows(channel: &Channel, batch: &RecordBatch, rows: Option<&UInt32Array>) -> Result<RecordBatch, EngineError> {
    let columns = channel.columns.iter().map(|&column| match rows {
        Some(rows) => take(batch.column(column), rows, None),
        None => Ok(Arc::clone(batch.column(column))),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>();
    columns
        .and_then(|columns| RecordBatch::try_new(Arc::clone(&channel.schema), columns))
        .map_err(EngineError::Arrow)
}

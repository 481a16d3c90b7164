//! The half after the exchange.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;

use super::{Layout, nullable};
use crate::engine::{Engine, EngineError, Limits, Refusal, Rows, engine_times};

/// Octets of the length before the state of each engine in a checkpoint.
const LENGTH: usize = size_of::<u64>();

/// The statements of one part, over the rows that belong to it.
#[derive(Debug)]
pub struct Part {
    layout: Arc<Layout>,
    /// By lane: its engine, if it runs here.
    engines: Vec<Option<Engine>>,
    /// By channel.
    widening: Vec<Widening>,
    /// By statement: the earliest first row told, of which it is to learn when the clock comes there.
    anchors: BTreeMap<usize, i64>,
}

/// What a part gives of a delivery.
#[derive(Clone, Debug)]
pub struct Portion {
    /// Which statement, by its number in the module.
    pub statement: usize,
    /// The engine's time.
    pub time_ms: i64,
    /// The row of the batch pushed last that brought it; none if time did.
    pub row: Option<usize>,
    /// Rows that have become true; behind the statement's columns there may be others to order by.
    pub new: Rows,
    /// Rows that are no longer true.
    pub old: Rows,
}

/// Makes rows of a channel rows of the event type again: columns that nobody reads hold nothing.
#[derive(Debug)]
struct Widening {
    schema: SchemaRef,
    /// By column of the event type: an array of nulls if it is not sent.
    blanks: Vec<Option<ArrayRef>>,
}

impl Part {
    pub(super) fn new(layout: Arc<Layout>, part: usize, start_ms: i64, limits: &Limits) -> Self {
        let engine = |lane: usize| {
            let plans = &layout.lanes[lane].plans;
            let runs = layout.runs(lane, part);
            runs.then(|| Engine::new(Arc::clone(&layout.catalog), plans, start_ms, limits.clone()))
        };
        let widening = layout.channels.iter().map(|channel| {
            let schema = layout.catalog.event_types[channel.event_type].schema();
            let all: Vec<usize> = (0..schema.fields().len()).collect();
            let blank = |column: &usize| {
                let sent = channel.columns.contains(column);
                (!sent).then(|| new_null_array(schema.field(*column).data_type(), 0))
            };
            Widening {
                blanks: all.iter().map(blank).collect(),
                schema: nullable(schema, &all),
            }
        });
        Self {
            widening: widening.collect(),
            anchors: BTreeMap::new(),
            engines: (0..layout.lanes.len()).map(engine).collect(),
            layout,
        }
    }

    /// Takes in rows of a channel, in the order of their times. What they bring is to be taken before the next are pushed, as
    /// [`Portion::row`] counts in this batch.
    ///
    /// # Errors
    /// When the batch has not the channel's columns, or the channel does not lead to this part.
    pub fn push(&mut self, channel: usize, batch: &RecordBatch) -> Result<(), EngineError> {
        let unknown = || EngineError::UnknownEventType(format!("channel {channel}"));
        let known = self.layout.channels.get(channel).ok_or_else(unknown)?;
        let of = &self.layout.catalog.event_types[known.event_type];
        let Some(time) = of.time_column() else {
            return Err(EngineError::NoTimeColumn(of.name().to_owned()));
        };
        let name = of.name().to_owned();
        let lane = known.lane;
        let batch = self.widening[channel].widen(batch)?;
        if let Some(&last) = engine_times(batch.column(time), i64::MIN).last() {
            self.begin_clocks(last);
        }
        let engine = self.engines[lane].as_mut().ok_or_else(unknown)?;
        engine.push(&name, &batch)
    }

    /// Tells statements when their first rows came, somewhere: see [`Share::anchors`](super::Share::anchors).
    pub fn anchor(&mut self, anchors: &[(usize, i64)]) {
        for &(statement, time_ms) in anchors {
            let earliest = self.anchors.entry(statement).or_insert(time_ms);
            *earliest = time_ms.min(*earliest);
        }
    }

    /// Starts the clocks of statements whose first rows came up to a time.
    fn begin_clocks(&mut self, now_ms: i64) {
        let is_due = |&(_, time_ms): &(usize, i64)| time_ms <= now_ms;
        let (due, rest) = std::mem::take(&mut self.anchors)
            .into_iter()
            .partition::<Vec<_>, _>(is_due);
        self.anchors.extend(rest);
        for (statement, time_ms) in due {
            for (lane, engine) in self.layout.lanes.iter().zip(&mut self.engines) {
                if let (Some(at), Some(engine)) = (lane.statements.iter().position(|&of| of == statement), engine) {
                    engine.anchor(at, time_ms);
                }
            }
        }
    }

    /// Moves the clock; it does not go back.
    pub fn advance(&mut self, to_ms: i64) {
        self.begin_clocks(to_ms);
        self.engines
            .iter_mut()
            .flatten()
            .for_each(|engine| engine.advance(to_ms));
    }

    /// The next portion of a delivery.
    pub fn next_portion(&mut self) -> Option<Portion> {
        for (lane, engine) in self.layout.lanes.iter().zip(&mut self.engines) {
            if let Some(given) = engine.as_mut().and_then(Engine::next_given) {
                return Some(Portion {
                    statement: lane.statements[given.statement],
                    time_ms: given.delivery.time_ms,
                    row: given.row,
                    new: given.delivery.new,
                    old: given.delivery.old,
                });
            }
        }
        None
    }

    /// What limits have refused since the last call: statement, kind and count.
    pub fn take_refusals(&mut self) -> Vec<(Arc<str>, Refusal, u64)> {
        self.engines
            .iter_mut()
            .flatten()
            .flat_map(Engine::take_refusals)
            .collect()
    }

    /// Writes the state of the part. Portions not yet taken are not part of it.
    ///
    /// # Errors
    /// When the state cannot be written, which would be a defect of the engine.
    pub fn checkpoint(&self) -> Result<Vec<u8>, EngineError> {
        let mut bytes = Vec::new();
        for engine in self.engines.iter().flatten() {
            let start = bytes.len();
            bytes.extend_from_slice(&[0; LENGTH]);
            bytes = engine.append_checkpoint(bytes)?;
            let length = (bytes.len() - start - LENGTH) as u64;
            bytes[start..][..LENGTH].copy_from_slice(&length.to_le_bytes());
        }
        Ok(bytes)
    }

    /// Takes up the state that the same part of the same statements, spread over as many parts, has written.
    ///
    /// # Errors
    /// When the checkpoint is of another version or of other statements, or is damaged. The part must then be dropped.
    pub fn restore(&mut self, checkpoint: &[u8]) -> Result<(), EngineError> {
        let other = || EngineError::BadCheckpoint("it is of other parts".to_owned());
        let mut rest = checkpoint;
        for engine in self.engines.iter_mut().flatten() {
            let (length, states) = rest.split_first_chunk().ok_or_else(other)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| other())?;
            let (state, states) = states.split_at_checked(length).ok_or_else(other)?;
            engine.restore(state)?;
            rest = states;
        }
        if rest.is_empty() { Ok(()) } else { Err(other()) }
    }
}

impl Widening {
    fn widen(&mut self, batch: &RecordBatch) -> Result<RecordBatch, EngineError> {
        let length = batch.num_rows();
        let mut sent = batch.columns().iter();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.blanks.len());
        for blank in &mut self.blanks {
            match blank {
                Some(blank) => {
                    if blank.len() < length {
                        *blank = new_null_array(blank.data_type(), length.next_power_of_two());
                    }
                    columns.push(blank.slice(0, length));
                }
                None => columns.extend(sent.next().cloned()),
            }
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(EngineError::Arrow)
    }
}

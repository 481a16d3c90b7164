//! Gathers the flows of one probe until they are sealed.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use flow_store::batch::FlowBatchBuilder;
use flow_store::schema;
use netflow_codec::{DataSet, Message};

use crate::entries::Noticed;
use crate::exporters::Exporters;
use crate::probes::Probe;

/// The open bundle of a probe.
#[derive(Debug)]
pub(crate) struct Sealer {
    builder: FlowBatchBuilder,
    /// Which exporter the rows are of, run by run.
    runs: Vec<(usize, Range<usize>)>,
    /// The time of the first flow.
    since_ms: Option<i64>,
    pub(crate) sequence: u64,
    /// Losses to be told once the bundle is logged.
    pub(crate) missed: Vec<(Option<IpAddr>, Noticed)>,
}

impl Sealer {
    pub(crate) fn new(probe: &Probe, capacity: usize, sequence: u64) -> Self {
        let builder = FlowBatchBuilder::new(&probe.name, &probe.area, capacity);
        Self {
            builder,
            runs: Vec::new(),
            since_ms: None,
            sequence,
            missed: Vec::new(),
        }
    }

    /// Appends a set's flows, of the exporter at `place`; returns how many.
    pub(crate) fn append(&mut self, message: &Message<'_>, set: &DataSet<'_>, place: usize, time_ms: i64) -> usize {
        let start = self.builder.len();
        let rows = self.builder.append(message, set, time_ms);
        let end = start + rows;
        match self.runs.last_mut() {
            Some((last, run)) if *last == place => run.end = end,
            _ if rows > 0 => self.runs.push((place, start..end)),
            _ => {}
        }
        if rows > 0 {
            self.since_ms.get_or_insert(time_ms);
        }
        rows
    }

    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    /// The time of the oldest flow that waits to be sealed.
    pub(crate) fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    /// Takes the flows out, and adds them to the counts of their exporters.
    pub(crate) fn finish(&mut self, exporters: &mut Exporters) -> RecordBatch {
        let batch = self.builder.finish();
        let column = |name| {
            batch
                .column_by_name(name)
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
        };
        if let (Some(bytes), Some(packets)) = (column(schema::BYTES), column(schema::PACKETS)) {
            let sum = |values: &[i64]| {
                values
                    .iter()
                    .fold(0u64, |sum, &value| sum.wrapping_add(value.unsigned_abs()))
            };
            for (place, run) in self.runs.drain(..) {
                if let (Some(counts), Some(bytes), Some(packets)) = (
                    exporters.at(place),
                    bytes.values().get(run.clone()),
                    packets.values().get(run.clone()),
                ) {
                    counts.flows += run.len() as u64;
                    counts.bytes += sum(bytes);
                    counts.packets += sum(packets);
                }
            }
        }
        self.since_ms = None;
        batch
    }
}

/// A bundle that is ready for the log.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) probe: Arc<str>,
    pub(crate) header: flow_store::bundle::Header,
    pub(crate) batch: RecordBatch,
    /// Losses that the header's sequence state knows of and the bundle before did not.
    pub(crate) missed: Vec<(Option<IpAddr>, Noticed)>,
}

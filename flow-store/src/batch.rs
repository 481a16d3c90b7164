//! From the sets of a message to a batch of flows, column by column.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, TimestampMillisecondArray, UInt32Array};
use arrow_buffer::{ArrowNativeType, Buffer};
use netflow_codec::columns::{Column, ColumnKind, ColumnPlan, Columns, Integer};
use netflow_codec::{DataSet, ElementId, Message};

use crate::bundle::constant_text;
use crate::schema::{self, ADDRESS_LEN, flow_schema};

const ADDRESS_BYTES: usize = ADDRESS_LEN as usize;

const fn iana(id: u16) -> ElementId {
    ElementId::iana(id)
}

/// Which elements fill which column of a flow, the preferred ones first; the columns from
/// [`FLOW_START`](schema::FLOW_START) to [`NEXT_HOP`](schema::NEXT_HOP), in the order of the schema.
///
/// Exporters name the same thing by different elements: moments in any unit, counters as deltas (1, 2), totals (85, 86), of the
/// initiator (231, 298), of layer 2 (352) or after the observation point (23, 24); ports by protocol (180 to 183).
/// A record with counters of both directions is two flows.
#[must_use]
pub fn column_plan() -> Arc<ColumnPlan> {
    static PLAN: LazyLock<Arc<ColumnPlan>> = LazyLock::new(|| {
        let u8 = ColumnKind::Unsigned(Integer::U8);
        let u16 = ColumnKind::Unsigned(Integer::U16);
        let u32 = ColumnKind::Unsigned(Integer::U32);
        Arc::new(ColumnPlan::new(vec![
            Column::new(
                schema::FLOW_START,
                ColumnKind::Start,
                [152, 150, 154, 156, 22, 158, 161, 162].map(iana),
            ),
            Column::new(
                schema::FLOW_END,
                ColumnKind::End,
                [153, 151, 155, 157, 21, 159, 161, 162].map(iana),
            ),
            Column::new(schema::SRC_ADDR, ColumnKind::Address, [8, 27].map(iana)).reversed([12, 28].map(iana)),
            Column::new(schema::DST_ADDR, ColumnKind::Address, [12, 28].map(iana)).reversed([8, 27].map(iana)),
            Column::new(schema::SRC_PORT, ColumnKind::SourcePort, [7, 180, 182].map(iana))
                .reversed([11, 181, 183].map(iana)),
            Column::new(schema::DST_PORT, ColumnKind::DestinationPort, [11, 181, 183].map(iana))
                .reversed([7, 180, 182].map(iana)),
            Column::new(schema::PROTO, u8, [iana(4)]),
            Column::new(schema::TOS, u8, [iana(5)]).reversed([ElementId::reverse(5)]),
            Column::new(schema::TCP_FLAGS, u16, [iana(6)]).reversed([ElementId::reverse(6)]),
            Column::new(
                schema::BYTES,
                ColumnKind::ScaledCounter,
                [1, 85, 231, 352, 23].map(iana),
            )
            .reversed([ElementId::reverse(1), ElementId::reverse(85), iana(232)]),
            Column::new(schema::PACKETS, ColumnKind::ScaledCounter, [2, 86, 298, 24].map(iana)).reversed([
                ElementId::reverse(2),
                ElementId::reverse(86),
                iana(299),
            ]),
            Column::new(schema::SAMPLING_RATE, ColumnKind::SamplingRate, []),
            Column::new(schema::IN_IF, u32, [10, 252].map(iana))
                .reversed([14, 253].map(iana))
                .nullable(),
            Column::new(schema::OUT_IF, u32, [14, 253].map(iana))
                .reversed([10, 252].map(iana))
                .nullable(),
            Column::new(schema::SRC_AS, u32, [iana(16)])
                .reversed([iana(17)])
                .nullable(),
            Column::new(schema::DST_AS, u32, [iana(17)])
                .reversed([iana(16)])
                .nullable(),
            Column::new(schema::NEXT_HOP, ColumnKind::Address, [15, 62, 18, 63].map(iana)).nullable(),
        ]))
    });
    Arc::clone(&PLAN)
}

/// Gathers the flows of one probe until they are sealed into a bundle.
///
/// ```
/// # use flow_store::batch::FlowBatchBuilder;
/// # use netflow_codec::{Decoder, Limits, Set};
/// let mut decoder = Decoder::new(Limits::default());
/// let mut flows = FlowBatchBuilder::new("edge-1", "north", 8192);
/// # let (datagram, now_ms) = ([0u8; 0], 0);
/// if let Ok(message) = decoder.decode(&datagram, "192.0.2.1:2055".parse()?, now_ms) {
///     for set in &message {
///         if let Ok(Set::Data(set)) = set {
///             flows.append(&message, &set, now_ms);
///         }
///     }
/// }
/// assert_eq!(flows.finish().num_rows(), 0);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct FlowBatchBuilder {
    probe: Arc<str>,
    area: Arc<str>,
    capacity: usize,
    columns: Columns,
    time: Vec<i64>,
    /// Addresses, one after the other.
    exporter: Vec<u8>,
    domain: Vec<u32>,
    /// Memory of the three in batches given out, to be used again when they are done with, as [`Columns`] does.
    given: VecDeque<[Buffer; 3]>,
}

/// Batches whose memory is kept in sight: one that is being written, and one that waits.
const MAX_GIVEN: usize = 2;

impl FlowBatchBuilder {
    /// An empty builder, with room for so many flows.
    #[must_use]
    pub fn new(probe: &str, area: &str, capacity: usize) -> Self {
        Self {
            probe: Arc::from(probe),
            area: Arc::from(area),
            capacity,
            columns: Columns::new(column_plan(), capacity),
            time: Vec::with_capacity(capacity),
            exporter: Vec::with_capacity(capacity * ADDRESS_BYTES),
            domain: Vec::with_capacity(capacity),
            given: VecDeque::new(),
        }
    }

    /// Appends the flows of a set, a part of `message`, and returns how many there are. `time_ms` is the stream's clock: when
    /// the datagram was received, or decoded if it had to wait for its template.
    pub fn append(&mut self, message: &Message<'_>, set: &DataSet<'_>, time_ms: i64) -> usize {
        let rows = self.columns.append(set);
        let len = self.columns.len();
        self.time.resize(len, time_ms);
        let filled = self.exporter.len();
        self.exporter.resize(len * ADDRESS_BYTES, 0);
        let exporter = address(message.exporter().ip());
        self.exporter[filled..].as_chunks_mut().0.fill(exporter);
        self.domain.resize(len, message.domain().0);
        rows
    }

    /// Flows since the last [`finish`](Self::finish).
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The flows, with the columns of [`flow_schema`]; the builder starts anew.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "the plan's columns are the schema's, and all have the same length"
    )]
    pub fn finish(&mut self) -> RecordBatch {
        let rows = self.columns.len();
        let time = Buffer::from_vec(std::mem::take(&mut self.time));
        let exporter = Buffer::from_vec(std::mem::take(&mut self.exporter));
        let domain = Buffer::from_vec(std::mem::take(&mut self.domain));
        self.start();
        self.given.truncate(MAX_GIVEN - 1);
        self.given.push_front([&time, &exporter, &domain].map(Buffer::clone));

        let time = TimestampMillisecondArray::new(time.into(), None);
        let exporter = FixedSizeBinaryArray::new(ADDRESS_LEN, exporter, None);
        let domain = UInt32Array::new(domain.into(), None);

        let mut columns: Vec<ArrayRef> = Vec::with_capacity(flow_schema().fields().len());
        columns.push(Arc::new(time.with_timezone("UTC")));
        columns.extend(self.columns.finish());
        columns.push(Arc::new(exporter));
        columns.push(Arc::new(domain));
        columns.push(constant_text(&self.probe, rows));
        columns.push(constant_text(&self.area, rows));
        RecordBatch::try_new(flow_schema(), columns).expect("columns of the flow schema")
    }
}

impl FlowBatchBuilder {
    /// Empty columns, in memory of a batch that nobody uses any more if there is one.
    fn start(&mut self) {
        let is_free = |batch: &[Buffer; 3]| batch.iter().all(|buffer| buffer.strong_count() == 1);
        let free = self
            .given
            .iter()
            .position(is_free)
            .and_then(|place| self.given.remove(place));
        let [time, exporter, domain] = free.map_or_else(Default::default, |batch| batch.map(Some));
        self.time = emptied(time, self.capacity);
        self.exporter = emptied(exporter, self.capacity * ADDRESS_BYTES);
        self.domain = emptied(domain, self.capacity);
    }
}

fn emptied<T: ArrowNativeType>(memory: Option<Buffer>, capacity: usize) -> Vec<T> {
    let memory = memory.and_then(|buffer| buffer.into_vec().ok());
    let mut values = memory.unwrap_or_else(|| Vec::with_capacity(capacity));
    values.clear();
    values
}

/// An address as flows hold it.
#[must_use]
pub fn address(ip: IpAddr) -> [u8; ADDRESS_BYTES] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_gives_the_schema_from_flow_start_to_next_hop() {
        let planned = column_plan().schema();
        let schema = flow_schema();
        let first = schema.index_of(schema::FLOW_START).unwrap();
        let last = schema.index_of(schema::NEXT_HOP).unwrap();
        assert_eq!(planned.fields()[..], schema.fields()[first..=last]);
    }

    #[test]
    fn memory_that_nobody_uses_is_used_again() {
        let mut flows = FlowBatchBuilder::new("p", "a", 4);
        let place = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
        let first = flows.finish();
        let at = place(&first);
        drop(first);
        let second = flows.finish();
        let third = flows.finish();
        assert_eq!(place(&third), at);
        assert_ne!(place(&second), at);
    }

    #[test]
    fn a_builder_without_flows_gives_an_empty_batch_of_the_schema() {
        let batch = FlowBatchBuilder::new("p", "a", 4).finish();
        assert_eq!(batch, RecordBatch::new_empty(flow_schema()));
    }
}

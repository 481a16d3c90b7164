//! Statements spread over parts, run side by side: what their halves do on several workers, in one thread.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use flow_cep::plan::{Catalog, StatementPlan};
use flow_cep::spread::{Local, Merge, Part, Share};
use flow_cep::value::Value;
use flow_cep::{Limits, Spread};

/// Time, new rows and old rows of each delivery.
pub(crate) type Deliveries = Vec<(i64, Vec<Vec<Value>>, Vec<Vec<Value>>)>;

/// How a stream comes to the parts.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) parts: usize,
    /// Chooses for each row which of three bundles of its round it lies in, each read by another worker.
    pub(crate) seed: u64,
    /// Rows after which the clock is moved to the next row's time, where that is another.
    pub(crate) cuts: Vec<usize>,
    /// The round after which all parts are restarted.
    pub(crate) restart: usize,
}

const WORKERS: usize = 3;

/// Rows of the event type `Flow` and instants, in order of time.
pub(crate) enum Step {
    Rows(RecordBatch),
    Clock(i64),
}

struct Side {
    spread: Spread,
    start_ms: i64,
    locals: Vec<Local>,
    parts: Vec<Part>,
    merge: Merge<usize>,
    given: HashMap<String, Deliveries>,
    random: u64,
    /// Rows so far: their numbers are their places.
    rows: usize,
}

impl Side {
    fn new(spread: Spread, start_ms: i64, seed: u64) -> Self {
        let mut side = Self {
            locals: Vec::new(),
            parts: Vec::new(),
            merge: spread.merge(),
            given: HashMap::new(),
            random: seed | 1,
            rows: 0,
            start_ms,
            spread,
        };
        side.begin();
        side
    }

    fn begin(&mut self) {
        self.locals = (0..WORKERS).map(|worker| self.spread.local(worker)).collect();
        let part = |part| self.spread.part(part, self.start_ms, &Limits::default());
        self.parts = (0..self.spread.parts()).map(part).collect();
    }

    fn restart(&mut self) {
        assert!(self.merge.is_empty());
        let states: Vec<Vec<u8>> = self.parts.iter().map(|part| part.checkpoint().unwrap()).collect();
        let numbers = self.merge.numbers();
        self.begin();
        for (part, state) in self.parts.iter_mut().zip(states) {
            part.restore(&state).unwrap();
        }
        self.merge = self.spread.merge();
        self.merge.restore(&numbers);
    }

    fn choose(&mut self) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % WORKERS
    }

    /// Rows that no later row shares its time with, as several workers read them.
    fn round(&mut self, batch: &RecordBatch, to_ms: i64) {
        let mut bundles: Vec<Vec<u32>> = vec![Vec::new(); WORKERS];
        for row in 0..batch.num_rows() {
            let worker = self.choose();
            bundles[worker].push(u32::try_from(row).unwrap());
        }
        let mut shares: Vec<(Share, Vec<usize>)> = Vec::new();
        for (local, rows) in self.locals.iter_mut().zip(bundles) {
            let bundle = take_record_batch(batch, &UInt32Array::from(rows.clone())).unwrap();
            for share in local.share("Flow", &bundle).unwrap() {
                let places = match &share.rows {
                    Some(some) => some.values().iter().map(|&row| rows[row as usize]).collect(),
                    None => rows.clone(),
                };
                let places = places.into_iter().map(|row| self.rows + row as usize).collect();
                shares.push((share, places));
            }
        }
        self.rows += batch.num_rows();
        for number in 0..self.parts.len() {
            let own: Vec<&(Share, Vec<usize>)> = shares.iter().filter(|(share, _)| share.part == number).collect();
            for (share, _) in &own {
                self.parts[number].anchor(&share.anchors);
            }
            for channel in 0..self.spread.channels() {
                let pieces: Vec<_> = own.iter().filter(|(share, _)| share.channel == channel).collect();
                let Some((first, _)) = pieces.first() else { continue };
                let together =
                    concat_batches(&first.batch.schema(), pieces.iter().map(|(share, _)| &share.batch)).unwrap();
                let places: Vec<usize> = pieces.iter().flat_map(|(_, places)| places).copied().collect();
                let mut order: Vec<usize> = (0..places.len()).collect();
                order.sort_by_key(|&at| places[at]);
                let rows: UInt32Array = order.iter().map(|&at| u32::try_from(at).unwrap()).collect();
                self.parts[number]
                    .push(channel, &take_record_batch(&together, &rows).unwrap())
                    .unwrap();
                self.take(number, |row| places[order[row]]);
            }
            self.parts[number].advance(to_ms);
            self.take(number, |_| unreachable!("time brings no row"));
        }
        self.deliver(to_ms);
    }

    fn deliver(&mut self, to_ms: i64) {
        while let Some(delivery) = self.merge.next_until(to_ms) {
            let rows = |rows: &flow_cep::Rows| (0..rows.len()).map(|at| rows.values(at)).collect();
            let deliveries = self.given.entry(delivery.statement.to_string()).or_default();
            assert_eq!(delivery.number, deliveries.len() as u64 + 1);
            deliveries.push((delivery.time_ms, rows(&delivery.new), rows(&delivery.old)));
        }
    }

    fn take(&mut self, part: usize, place: impl Fn(usize) -> usize) {
        while let Some(portion) = self.parts[part].next_portion() {
            let place = portion.row.map(&place);
            self.merge.add(part, portion, place);
        }
    }
}

/// What the parts give together.
pub(crate) fn run(
    (catalog, plans): (&Arc<Catalog>, &[StatementPlan]),
    start_ms: i64,
    time: &str,
    steps: &[Step],
    way: &Way,
) -> HashMap<String, Deliveries> {
    let spread = Spread::new(Arc::clone(catalog), plans, NonZeroUsize::new(way.parts).unwrap());
    let mut side = Side::new(spread, start_ms, way.seed);
    let mut rounds = 0;
    for (at, step) in steps.iter().enumerate() {
        let batch = match step {
            Step::Clock(time_ms) => {
                let nothing = steps.iter().find_map(|step| match step {
                    Step::Rows(batch) => Some(batch.slice(0, 0)),
                    Step::Clock(_) => None,
                });
                if let Some(nothing) = nothing {
                    side.round(&nothing, *time_ms);
                }
                continue;
            }
            Step::Rows(batch) => batch,
        };
        let times = batch.column_by_name(time).unwrap().as_primitive::<Int64Type>();
        let times = times.values().to_vec();
        // The rows of one time are of one round, also across batches.
        let next = steps[at + 1..].iter().find_map(|step| match step {
            Step::Clock(time_ms) => Some(*time_ms),
            Step::Rows(batch) => batch
                .column_by_name(time)
                .unwrap()
                .as_primitive::<Int64Type>()
                .iter()
                .next()?,
        });
        let last = times.last().copied().unwrap_or(start_ms);
        let mut cuts: Vec<usize> = way.cuts.iter().map(|cut| cut % (times.len() + 1)).collect();
        cuts.retain(|&cut| cut > 0 && cut < times.len() && times[cut] > times[cut - 1]);
        cuts.push(times.len());
        cuts.sort_unstable();
        cuts.dedup();
        let mut from = 0;
        for cut in cuts {
            let to_ms = times
                .get(cut)
                .copied()
                .unwrap_or_else(|| next.unwrap_or(last).max(last));
            side.round(&batch.slice(from, cut - from), to_ms);
            from = cut;
            if rounds == way.restart && cut < times.len() {
                side.restart();
            }
            rounds += 1;
        }
    }
    side.deliver(i64::MAX);
    side.given
}

//! A part of the statements: flows in, in one order; portions of deliveries and its state out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, anyhow};
use bundle_log::Position;
use flow_cep::spread;

use crate::combine::Combiner;
use crate::item::{FromPart, GivenPortion, GivenRows, PartState, Place, Progress, Share, ToPart};
use crate::{Counters, Shared};

/// One part of the statements, on the worker that runs it.
pub(crate) struct Part {
    shared: Arc<Shared>,
    number: usize,
    /// By channel.
    combiners: Vec<Combiner>,
    /// Made when the stream's first time is known: timers are anchored there.
    statements: Option<spread::Part>,
    /// Whether its windows start empty: then its state is given before anything else.
    begins: bool,
    time_ms: i64,
    /// Statements whose clocks start, to be told with the next flows.
    anchors: Vec<(usize, i64)>,
    /// By worker: what it had read at the part's time, and what it has read since.
    progress: Vec<VecDeque<Progress>>,
}

impl Part {
    pub(crate) fn open(shared: &Arc<Shared>, number: usize) -> anyhow::Result<Self> {
        let spread = &shared.beginning.spread;
        let combiners = (0..spread.channels()).map(|channel| {
            let (schema, time_column) = spread.channel_schema(channel);
            Combiner::new(schema, time_column)
        });
        let restored = shared.beginning.take_part(number)?;
        Ok(Self {
            number,
            combiners: combiners.collect(),
            begins: restored.is_none(),
            statements: restored,
            time_ms: shared.beginning.resume.time_ms,
            anchors: Vec::new(),
            progress: vec![VecDeque::new(); shared.config.workers],
            shared: Arc::clone(shared),
        })
    }

    pub(crate) fn take(&mut self, told: ToPart) -> anyhow::Result<()> {
        match told {
            ToPart::Share(share) => self.take_share(share),
            ToPart::Progress(_, progress) => {
                let known = self.progress.get_mut(progress.worker);
                known.context("progress of an unknown worker")?.push_back(progress);
                Ok(())
            }
        }
    }

    fn take_share(&mut self, share: Share) -> anyhow::Result<()> {
        let rows = share.batch.0.num_rows();
        self.shared.arrived(rows);
        self.anchors.extend(share.anchors);
        self.combiners
            .get_mut(share.channel)
            .context("a share of an unknown channel")?
            .insert(Position(share.position), share.bundle, share.rows, share.batch.0)?;
        Ok(())
    }

    /// The statements, which begin at the stream's first time.
    fn statements(&mut self) -> anyhow::Result<&mut spread::Part> {
        let start_ms = || match self.shared.beginning.resume.time_ms {
            0 => self
                .progress
                .iter()
                .flatten()
                .map(|progress| progress.watermarks.start_ms())
                .max(),
            time_ms => Some(time_ms),
        };
        if self.statements.is_none() {
            let start_ms = start_ms().context("flows before the progress of their reader")?;
            let limits = &self.shared.config.limits;
            self.statements = Some(self.shared.beginning.spread.part(self.number, start_ms, limits));
        }
        self.statements.as_mut().ok_or_else(|| anyhow!("no statements"))
    }

    /// No flow before a time will come any more: goes there, and stops on the way if a checkpoint is wanted.
    pub(crate) fn advance(&mut self, to_ms: i64, mut give: impl FnMut(FromPart)) -> anyhow::Result<()> {
        while let Some(at_ms) = self.shared.barrier.pass(self.number, to_ms) {
            self.run_to(at_ms, &mut give)?;
            give(FromPart::State(self.state()?));
        }
        self.run_to(to_ms, &mut give)
    }

    /// All readers have ended: goes to where the slowest of them ended, and gives its last state.
    pub(crate) fn finish(&mut self, mut give: impl FnMut(FromPart)) -> anyhow::Result<()> {
        if let Some(end_ms) = self.shared.end_ms() {
            self.advance(end_ms, &mut give)?;
            give(FromPart::State(self.state()?));
        }
        Ok(())
    }

    fn run_to(&mut self, to_ms: i64, give: &mut impl FnMut(FromPart)) -> anyhow::Result<()> {
        if to_ms <= self.time_ms {
            return Ok(());
        }
        let started = Instant::now();
        self.statements()?;
        if std::mem::take(&mut self.begins) {
            give(FromPart::State(self.state()?));
        }
        let anchors = std::mem::take(&mut self.anchors);
        let statements = self.statements.as_mut().context("statements have begun")?;
        statements.anchor(&anchors);
        let number = self.number;
        let mut rows = 0;
        for (channel, combiner) in self.combiners.iter_mut().enumerate() {
            combiner.release::<anyhow::Error>(to_ms, |batch, places| {
                rows += batch.num_rows();
                statements.push(channel, batch)?;
                give_portions(number, statements, |row| places.of(row), give);
                Ok(())
            })?;
        }
        statements.advance(to_ms);
        give_portions(number, statements, |_| None, give);
        let counters = &self.shared.counters;
        for (statement, refusal, count) in statements.take_refusals() {
            counters.count_refusal(&statement, refusal, count);
        }
        if number == 0 {
            let held = self.combiners.iter().map(Combiner::len).max().unwrap_or(0);
            counters.held_bundles.store(held as u64, Ordering::Relaxed);
        }
        self.time_ms = to_ms;
        for progress in &mut self.progress {
            while progress.get(1).is_some_and(|next| next.watermarks.time_ms() <= to_ms) {
                progress.pop_front();
            }
        }
        Counters::add(&counters.statement_flows, rows as u64);
        Counters::add_time(&counters.statement_ns, started);
        Ok(())
    }

    /// The state at the part's time.
    fn state(&mut self) -> anyhow::Result<PartState> {
        let started = Instant::now();
        let windows = self.statements()?.checkpoint()?;
        let known: Option<Vec<&Progress>> = self
            .progress
            .iter()
            .map(|progress| {
                progress
                    .front()
                    .filter(|first| first.watermarks.time_ms() <= self.time_ms)
            })
            .collect();
        let last = known.and_then(|known| known.into_iter().min_by_key(|progress| progress.position));
        Ok(PartState {
            part: self.number,
            windows,
            progress: last.cloned(),
            oldest: self
                .combiners
                .iter()
                .filter_map(Combiner::oldest)
                .map(|oldest| oldest.0)
                .min(),
            took: started.elapsed(),
        })
    }
}

fn give_portions(
    part: usize,
    statements: &mut spread::Part,
    place: impl Fn(usize) -> Option<Place>,
    give: &mut impl FnMut(FromPart),
) {
    while let Some(portion) = statements.next_portion() {
        give(FromPart::Portion(GivenPortion {
            part,
            statement: portion.statement,
            time_ms: portion.time_ms,
            place: portion.row.and_then(&place),
            new: GivenRows(portion.new),
            old: GivenRows(portion.old),
        }));
    }
}

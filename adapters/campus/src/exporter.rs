//! One exporter: draws its flows, fills datagrams, counts what it sends.

use std::sync::Arc;

use netflow_codec::{DomainId, Header};

use crate::faults::{Accidents, Fate};
use crate::outlet::{BATCH_DATAGRAMS, Batch, Outlet};
use crate::settings::{ExporterProfile, Version};
use crate::summary::ExporterSummary;
use crate::traffic::Traffic;
use crate::wire::{Format, Layout, Prepared};

/// How long a flow waits for its datagram to fill.
const MAX_WAIT_MS: f64 = 500.0;
/// How often templates are sent again.
const TEMPLATES_EVERY_MS: f64 = 20_000.0;
/// How long an exporter has been up when the run starts; longer than any flow.
const UPTIME_AT_START_MS: u64 = 86_400_000;
/// The minute of traffic that a pool holds.
const POOL_MS: f64 = 60_000.0;
/// When a run starts, on the campus's clock.
const FIRST_HOUR: f64 = 9.0;

/// The wall clock of one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) unix_ms: i64,
    /// Since the start of the run.
    pub(crate) elapsed_ms: u64,
}

/// How the flows of an exporter are spread over time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// On average.
    pub(crate) flows_per_second: f64,
    /// How long a day is.
    pub(crate) day_ms: f64,
    /// Whether the rate follows the hour.
    pub(crate) is_daily: bool,
}

impl Pace {
    fn hour(&self, at_ms: f64) -> f64 {
        (FIRST_HOUR + at_ms / self.day_ms * 24.0) % 24.0
    }

    fn interval_ms(&self, at_ms: f64) -> f64 {
        let even = 1000.0 / self.flows_per_second;
        if !self.is_daily {
            return even;
        }
        // Busiest at three in the afternoon, quietest at three at night, by a factor of four.
        let phase = (self.hour(at_ms) - 15.0) / 24.0 * std::f64::consts::TAU;
        even / (1.0 + 0.6 * phase.cos())
    }
}

/// An exporter at work.
pub(crate) struct Exporter {
    line: Line,
    traffic: Traffic,
    pace: Pace,
    /// When the next flow is due.
    next_at_ms: f64,
    templates_at_ms: f64,
    /// The datagrams that are being filled, one for each layout in use, and since when.
    forming: Vec<(Prepared, f64)>,
    /// What is sent over and over, and which of it is next; nothing if every flow is drawn when it is due.
    pool: Vec<Prepared>,
    next_in_pool: usize,
}

/// The way from finished datagrams to the socket.
struct Line {
    profile: ExporterProfile,
    format: Format,
    outlet: Outlet,
    accidents: Accidents,
    batch: Batch,
    /// A datagram that waits for its successor to overtake it.
    late: Vec<u8>,
    sequence: u32,
    summary: ExporterSummary,
}

impl Exporter {
    pub(crate) fn new(
        profile: ExporterProfile,
        outlet: Outlet,
        accidents: Accidents,
        traffic: Traffic,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        let summary = ExporterSummary {
            name: profile.name.clone(),
            address: outlet.address()?,
            version: profile.version,
            domain: profile.domain,
            sampling_interval: profile.sampling_interval,
            flows: 0,
            packets: 0,
            bytes: 0,
            datagrams: 0,
            template_datagrams: 0,
            lost_datagrams: 0,
            lost_flows: 0,
            doubled_datagrams: 0,
            late_datagrams: 0,
            refused_datagrams: 0,
        };
        Ok(Self {
            line: Line {
                format: Format::new(profile.version.into())?,
                profile,
                outlet,
                accidents,
                batch: Batch::default(),
                late: Vec::new(),
                sequence: 0,
                summary,
            },
            traffic,
            pace,
            next_at_ms: 0.0,
            templates_at_ms: 0.0,
            forming: Vec::new(),
            pool: Vec::new(),
            next_in_pool: 0,
        })
    }

    /// Draws at least so many flows in advance, as a minute of the campus has them.
    pub(crate) fn fill_pool(&mut self, flows: usize) {
        for number in 0..flows {
            let at_ms = POOL_MS * number as f64 / flows as f64;
            let flow = self.traffic.next(at_ms, self.pace.hour(at_ms));
            let Some(layout) = self.line.format.layout(&flow.ends) else {
                continue;
            };
            let index = forming_index(&mut self.forming, layout, at_ms);
            let (prepared, _) = &mut self.forming[index];
            prepared.push(&flow);
            if prepared.is_full() {
                self.pool.push(prepared.take());
            }
        }
        self.pool.extend(
            self.forming
                .drain(..)
                .map(|(prepared, _)| prepared)
                .filter(|prepared| prepared.records > 0),
        );
        // Datagrams of one length side by side can leave with one send; no further apart than they are sent at once.
        for batch in self.pool.chunks_mut(BATCH_DATAGRAMS) {
            batch.sort_by_key(|prepared| prepared.record_bytes());
        }
    }

    /// Sends what is due by `until_ms`, at most one batch; returns whether there may be more.
    pub(crate) fn send_due(&mut self, until_ms: f64, clock: Clock) -> anyhow::Result<bool> {
        if self.next_at_ms >= self.templates_at_ms {
            self.templates_at_ms += TEMPLATES_EVERY_MS;
            self.line.send_templates(clock)?;
        }
        while self.next_at_ms < until_ms && self.line.batch.datagrams.len() < BATCH_DATAGRAMS {
            let flows = if self.pool.is_empty() {
                self.draw(clock)?
            } else {
                self.repeat(clock)?
            };
            self.next_at_ms += f64::from(flows) * self.pace.interval_ms(self.next_at_ms);
        }
        self.flush(until_ms - MAX_WAIT_MS, clock)?;
        let is_full = self.line.batch.datagrams.len() >= BATCH_DATAGRAMS;
        self.line.send()?;
        Ok(is_full)
    }

    pub(crate) fn is_done(&self, end_ms: f64) -> bool {
        self.next_at_ms >= end_ms
    }

    /// Sends what waits, and says what was sent in all.
    pub(crate) fn finish(mut self, clock: Clock) -> anyhow::Result<ExporterSummary> {
        self.flush(f64::INFINITY, clock)?;
        self.line.release_late();
        self.line.send()?;
        let mut summary = self.line.summary;
        summary.refused_datagrams = self.line.outlet.refused;
        Ok(summary)
    }

    /// Draws the next flow into its datagram.
    fn draw(&mut self, clock: Clock) -> anyhow::Result<u32> {
        let at_ms = self.next_at_ms;
        self.flush(at_ms - MAX_WAIT_MS, clock)?;
        let flow = self.traffic.next(at_ms, self.pace.hour(at_ms));
        if let Some(layout) = self.line.format.layout(&flow.ends) {
            let index = forming_index(&mut self.forming, layout, at_ms);
            let (prepared, since_ms) = &mut self.forming[index];
            if prepared.records == 0 {
                *since_ms = at_ms;
            }
            prepared.push(&flow);
            if prepared.is_full() {
                self.line.emit(prepared, clock)?;
                prepared.clear();
            }
        }
        Ok(1)
    }

    /// Takes the next datagram of the pool.
    fn repeat(&mut self, clock: Clock) -> anyhow::Result<u32> {
        let prepared = &self.pool[self.next_in_pool];
        self.next_in_pool = (self.next_in_pool + 1) % self.pool.len();
        self.line.emit(prepared, clock)?;
        Ok(prepared.records)
    }

    /// Lets go what has been filled since before a time.
    fn flush(&mut self, before_ms: f64, clock: Clock) -> anyhow::Result<()> {
        for (prepared, since_ms) in &mut self.forming {
            if prepared.records > 0 && *since_ms <= before_ms {
                self.line.emit(prepared, clock)?;
                prepared.clear();
            }
        }
        Ok(())
    }
}

/// Where in `forming` the datagram of a layout is.
fn forming_index(forming: &mut Vec<(Prepared, f64)>, layout: &Arc<Layout>, at_ms: f64) -> usize {
    if let Some(index) = forming
        .iter()
        .position(|(prepared, _)| Arc::ptr_eq(&prepared.layout, layout))
    {
        return index;
    }
    forming.push((Prepared::new(Arc::clone(layout)), at_ms));
    forming.len() - 1
}

impl Line {
    fn header(&self, clock: Clock) -> Header {
        let version = netflow_codec::Version::from(self.profile.version);
        let uptime_ms = wrap_u32(UPTIME_AT_START_MS + clock.elapsed_ms);
        Header {
            version,
            domain: DomainId(self.profile.domain),
            sequence: Some(self.sequence),
            export_time_ms: clock.unix_ms,
            uptime_ms: (version != netflow_codec::Version::Ipfix).then_some(uptime_ms),
            count: 0,
            // None stated.
            sampling: 0,
        }
    }

    fn send_templates(&mut self, clock: Clock) -> anyhow::Result<()> {
        let header = self.header(clock);
        let start = self.batch.bytes.len();
        let is_sampling = self.profile.sampling_interval > 1;
        if let Some(records) = self
            .format
            .stamp_templates(is_sampling, &header, &mut self.batch.bytes)?
        {
            self.batch.datagrams.push(start..self.batch.bytes.len());
            self.advance(records);
            self.summary.datagrams += 1;
            self.summary.template_datagrams += 1;
        }
        Ok(())
    }

    /// Counts a datagram of so many records in the protocol's own unit: v5 and IPFIX count records (RFC 7011 §3.1), v9
    /// counts datagrams (RFC 3954 §5.1).
    fn advance(&mut self, records: u32) {
        let step = if self.profile.version == Version::V9 {
            1
        } else {
            records
        };
        self.sequence = self.sequence.wrapping_add(step);
    }

    /// Stamps a datagram, and lets happen to it what has to.
    fn emit(&mut self, prepared: &Prepared, clock: Clock) -> anyhow::Result<()> {
        let header = self.header(clock);
        let start = self.batch.bytes.len();
        prepared.stamp(&header, &mut self.batch.bytes)?;
        self.advance(prepared.records);
        let datagram = start..self.batch.bytes.len();
        let flows = u64::from(prepared.records);
        let fate = self.accidents.next();
        if fate == Fate::Lost {
            self.batch.bytes.truncate(start);
            self.summary.lost_datagrams += 1;
            self.summary.lost_flows += flows;
            return Ok(());
        }
        let times = u64::from(self.profile.sampling_interval);
        self.summary.flows += flows;
        self.summary.packets += prepared.packets * times;
        self.summary.bytes += prepared.octets * times;
        self.summary.datagrams += 1;
        match fate {
            Fate::Late if self.late.is_empty() => {
                self.summary.late_datagrams += 1;
                self.late.extend_from_slice(&self.batch.bytes[datagram]);
                self.batch.bytes.truncate(start);
                return Ok(());
            }
            Fate::Doubled => {
                self.summary.datagrams += 1;
                self.summary.doubled_datagrams += 1;
                self.batch.datagrams.push(datagram.clone());
            }
            _ => {}
        }
        self.batch.datagrams.push(datagram);
        self.release_late();
        Ok(())
    }

    /// Lets the overtaken datagram go.
    fn release_late(&mut self) {
        if !self.late.is_empty() {
            let start = self.batch.bytes.len();
            self.batch.bytes.append(&mut self.late);
            self.batch.datagrams.push(start..self.batch.bytes.len());
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.outlet.send(&mut self.batch)
    }
}

/// A counter of milliseconds as v5 and v9 have it: it wraps after 49.7 days.
#[expect(clippy::cast_possible_truncation, reason = "wrapping is meant")]
fn wrap_u32(ms: u64) -> u32 {
    ms as u32
}

//! The thread that receives, decodes and seals.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bundle_log::{LogWriter, record};
use flow_store::bundle::{Compression, Header};
use foldhash::quality::RandomState;
use netflow_codec::sequence::{Arrival, Unit};
use netflow_codec::{Decoder, Error, Limits, Set, StreamKey};

use crate::clock::StreamClock;
use crate::counters::Counters;
use crate::entries::{EntryLog, Noticed};
use crate::exporters::{ExporterKey, Exporters};
use crate::logger::{Logger, ToLog};
use crate::probes::{ProbeId, Probes};
use crate::sealer::{Sealed, Sealer};
use crate::socket::{ReceiveBuffer, UdpReceiver};
use crate::state::{self, Memory};

/// How long the collector waits for datagrams before it looks at its clock.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long datagrams may gather once the sockets are empty, so that many are read at once: waking for each costs several
/// times what decoding it does.
const GATHER: Duration = Duration::from_millis(1);
/// The receive buffer from which on datagrams gather: it holds what comes in that time at any rate that can be decoded.
const ROOM_TO_GATHER: usize = 1 << 20;
/// How often counts are published and silent streams settled.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// How often templates are saved, if they have changed.
const SAVE_TEMPLATES: Duration = Duration::from_secs(1);

/// Flows at which a bundle is sealed, unless told otherwise: what a processor's second-level cache holds of them is still
/// there when they are packed.
pub const BUNDLE_FLOWS: usize = 8192;

/// How to collect.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Receive buffer to ask for, in bytes.
    pub receive_buffer: usize,
    /// The probes.
    pub probes: Probes,
    /// Flows at which a bundle is sealed.
    pub bundle_flows: usize,
    /// Age at which a bundle is sealed; also how often a heartbeat is logged.
    pub bundle_age: Duration,
    /// How bundles are compressed.
    pub compression: Compression,
    /// The folder that keeps the collector's state and log entries.
    pub data: PathBuf,
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    listening: Vec<(SocketAddr, ReceiveBuffer)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Collector {
    /// Binds the sockets, takes up the state of the last run, and starts.
    ///
    /// # Errors
    /// If an address cannot be listened on, or the state of the last run cannot be read.
    pub fn start(config: Config, mut log: LogWriter, counters: Arc<Counters>) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for &address in &config.listen {
            let socket = UdpReceiver::bind(address, config.receive_buffer)
                .with_context(|| format!("cannot listen on {address}"))?;
            sockets.push(socket);
        }
        let listening: Vec<_> = sockets
            .iter()
            .map(|socket| (socket.local(), socket.receive_buffer()))
            .collect();
        let entries = EntryLog::open(&config.data.join("entries")).context("folder for log entries")?;
        let entries = Arc::new(Mutex::new(entries));
        let memory = Memory::recall(&config.data, &log)?;
        let started = Instant::now();
        let clock = StreamClock::new(wall_ms(), 0, memory.clock_ms());
        let mut decoder = Decoder::new(Limits::default());
        memory.teach(&mut decoder);
        let sealers = config
            .probes
            .list()
            .iter()
            .map(|probe| {
                let sequence = memory.next_sequence(&probe.name, clock.last_ms());
                Sealer::new(probe, config.bundle_flows, sequence)
            })
            .collect();
        let names: Vec<&str> = config.probes.list().iter().map(|probe| &*probe.name).collect();
        log.append(&[&record::session(clock.last_ms(), &names)?])
            .context("log")?;
        let logger = Logger::start(log, &config, Arc::clone(&counters), Arc::clone(&entries), memory)?;
        let stop = Arc::new(AtomicBool::new(false));
        let receiver = Receiver {
            decoder,
            sealers,
            logger,
            entries,
            counters,
            clock,
            started,
            now_ms: clock.last_ms(),
            told_ms: 0,
            exporters: Exporters::default(),
            touched: HashMap::default(),
            last: None,
            quirks: HashSet::new(),
            templates_seen: 0,
            templates_saved: started,
            config,
        };
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("collect".into())
            .spawn(move || receiver.run(sockets, &stopping))
            .context("collector thread")?;
        Ok(Self {
            listening,
            stop,
            thread: Some(thread),
        })
    }

    /// The addresses listened on, with the ports that the system chose, and the receive buffers granted.
    #[must_use]
    pub fn listening(&self) -> &[(SocketAddr, ReceiveBuffer)] {
        &self.listening
    }

    /// Whether the collector has ended by itself, which is a failure.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Reads what the sockets hold, seals and logs it, and closes the log.
    ///
    /// # Errors
    /// If a socket has failed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the collector thread has died"),
            None => Ok(()),
        }
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

struct Receiver {
    config: Config,
    decoder: Decoder,
    sealers: Vec<Sealer>,
    logger: Logger,
    entries: Arc<Mutex<EntryLog>>,
    counters: Arc<Counters>,
    clock: StreamClock,
    started: Instant,
    now_ms: i64,
    /// When all probes were last told how far they are.
    told_ms: i64,
    exporters: Exporters,
    /// Streams whose sequence has moved since the last bundle of their probe.
    touched: HashMap<StreamKey, ProbeId, RandomState>,
    /// The stream of the datagram before, if it is among the touched: datagrams come in runs of one stream.
    last: Option<Run>,
    quirks: HashSet<StreamKey>,
    templates_seen: u64,
    templates_saved: Instant,
}

/// What is known of a stream while its datagrams follow one another.
#[derive(Clone, Copy, Debug)]
struct Run {
    key: StreamKey,
    probe: ProbeId,
    place: usize,
}

impl Receiver {
    fn run(mut self, mut sockets: Vec<UdpReceiver>, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut kept = Instant::now();
        let mut result = Ok(());
        let mut is_last = false;
        let may_gather = sockets
            .iter()
            .all(|socket| socket.receive_buffer().granted >= ROOM_TO_GATHER);
        loop {
            // The last round reads what was there when the stop came.
            is_last |= stop.load(Ordering::Relaxed);
            let mut received = 0;
            let mut are_empty = true;
            for socket in &mut sockets {
                self.tick();
                match socket.receive(|bytes, from| self.datagram(bytes, from)) {
                    Ok(batch) => {
                        received += batch.datagrams;
                        are_empty &= batch.was_all;
                        Counters::add(&self.counters.datagrams, batch.datagrams as u64);
                        if batch.dropped > 0 {
                            self.dropped_by_kernel(socket.local(), u64::from(batch.dropped));
                        }
                    }
                    Err(error) => {
                        result = Err(error).with_context(|| format!("socket {}", socket.local()));
                        is_last = true;
                    }
                }
            }
            if are_empty && !is_last {
                if received == 0 {
                    UdpReceiver::wait(&sockets, PATIENCE);
                }
                if may_gather {
                    std::thread::sleep(GATHER);
                }
            }
            self.tick();
            self.seal_aged();
            if kept.elapsed() >= HOUSEKEEPING {
                kept = Instant::now();
                self.keep_house();
            }
            if is_last && (received == 0 || result.is_err()) {
                break;
            }
        }
        // Whatever is missing now was not under way any more.
        self.settle(i64::MAX);
        for probe in 0..self.sealers.len() {
            self.seal(ProbeId(probe), true);
        }
        self.keep_house();
        self.save_templates();
        self.logger.send_last(ToLog::Heartbeat(self.now_ms));
        self.logger.finish();
        result
    }

    /// Reads the clocks.
    fn tick(&mut self) {
        let monotonic = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let stamp = self.clock.stamp(wall_ms(), monotonic);
        self.now_ms = stamp.time_ms;
        if let Some(by_ms) = stamp.jump_ms {
            for probe in 0..self.sealers.len() {
                self.note(ProbeId(probe), None, &Noticed::ClockSet { by_ms });
            }
        }
    }

    fn note(&mut self, probe: ProbeId, exporter: Option<SocketAddr>, noticed: &Noticed) {
        if matches!(noticed, Noticed::Missed { .. })
            && let Some(sealer) = self.sealers.get_mut(probe.0)
        {
            // Told when the sequence state that knows of it is logged: else a restart would find and tell it again.
            sealer
                .missed
                .push((exporter.map(|exporter| exporter.ip()), noticed.clone()));
            return;
        }
        if let Some(probe) = self.config.probes.list().get(probe.0) {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.write(
                self.now_ms,
                &probe.name,
                exporter.map(|exporter| exporter.ip()),
                noticed,
            );
        }
    }

    fn dropped_by_kernel(&mut self, socket: SocketAddr, datagrams: u64) {
        Counters::add(&self.counters.kernel_drops, datagrams);
        // Whose they were is not known.
        for probe in 0..self.sealers.len() {
            self.note(ProbeId(probe), None, &Noticed::DroppedByKernel { socket, datagrams });
        }
    }

    fn datagram(&mut self, bytes: &[u8], from: SocketAddr) {
        Counters::add(&self.counters.datagram_bytes, bytes.len() as u64);
        let last = self.last.filter(|run| run.key.exporter == from);
        let Some(probe) = last.map(|run| run.probe).or_else(|| self.config.probes.of(from.ip())) else {
            Counters::add(&self.counters.not_allowed, 1);
            let default = ProbeId(self.sealers.len() - 1);
            return self.note(default, Some(from), &Noticed::NotAllowed);
        };
        // Notes are written after the decoder's borrow has ended.
        let mut notes: Vec<Noticed> = Vec::new();
        let mut is_full = false;
        match self.decoder.decode(bytes, from, self.now_ms) {
            Err(Error::UnknownVersion { .. }) => {
                let looks_like = looks_like(bytes);
                self.counters.count_not_netflow(looks_like);
                notes.push(Noticed::NotNetflow { looks_like });
            }
            Err(error) => {
                Counters::add(&self.counters.malformed, 1);
                notes.push(Noticed::Malformed {
                    error: error.to_string(),
                });
            }
            Ok(message) => {
                let (version, domain) = (message.version(), message.domain());
                let key = StreamKey {
                    exporter: from,
                    version,
                    domain,
                };
                let place = match last {
                    Some(run) if run.key == key => run.place,
                    _ => self.exporters.place(ExporterKey {
                        probe,
                        address: from.ip(),
                        version,
                        domain,
                    }),
                };
                if let Some(counts) = self.exporters.at(place) {
                    counts.datagrams += 1;
                    counts.last_seen_ms = self.now_ms;
                }
                if message.sequence().is_some() && last.is_none_or(|run| run.key != key) {
                    self.touched.insert(key, probe);
                    self.last = Some(Run { key, probe, place });
                }
                for gap in message.gaps() {
                    notes.push(missed(key, gap, message.sequence().unwrap_or(0)));
                }
                let sequencing = message.sequencing();
                match sequencing.arrival {
                    Arrival::Duplicate => {
                        Counters::add(&self.counters.duplicates, 1);
                        return;
                    }
                    Arrival::Restart => {
                        notes.push(Noticed::Restarted {
                            domain: domain.0,
                            version: version.to_string(),
                        });
                    }
                    _ => {}
                }
                if let Some(quirk) = sequencing.counting.quirk(version)
                    && self.quirks.insert(key)
                {
                    notes.push(Noticed::Quirk {
                        domain: domain.0,
                        quirk,
                    });
                }
                let Some(sealer) = self.sealers.get_mut(probe.0) else {
                    return;
                };
                let mut flows = 0;
                for set in message.sets() {
                    match set {
                        Ok(Set::Data(set)) => flows += sealer.append(&message, &set, place, self.now_ms),
                        Ok(Set::Options(set)) => Counters::add(&self.counters.options_records, set.len() as u64),
                        Ok(Set::Templates(changes)) => self.templates_seen += changes.len() as u64,
                        Ok(Set::Unknown(set)) => {
                            Counters::add(&self.counters.sets_without_template, 1);
                            notes.push(Noticed::DataBeforeTemplate {
                                domain: domain.0,
                                template: set.template.0,
                            });
                        }
                        Ok(Set::Reserved { .. }) => {}
                        Err(error) => {
                            Counters::add(&self.counters.malformed, 1);
                            notes.push(Noticed::Malformed {
                                error: error.to_string(),
                            });
                        }
                    }
                }
                Counters::add(&self.counters.flows, flows as u64);
                is_full = sealer.len() >= self.config.bundle_flows;
            }
        }
        for noticed in &notes {
            self.note(probe, Some(from), noticed);
        }
        if is_full {
            self.seal(probe, false);
        }
    }

    /// Seals what is old enough; once per bundle age, tells how far all probes have come.
    fn seal_aged(&mut self) {
        let age_ms = i64::try_from(self.config.bundle_age.as_millis()).unwrap_or(i64::MAX);
        let now_ms = self.now_ms;
        let mut any_due = false;
        for probe in 0..self.sealers.len() {
            let due = self
                .sealers
                .get(probe)
                .and_then(Sealer::since_ms)
                .is_some_and(|since| now_ms - since >= age_ms);
            if due {
                self.seal(ProbeId(probe), false);
            }
            any_due |= due;
        }
        if any_due || now_ms - self.told_ms >= age_ms {
            self.told_ms = now_ms;
            // What is open holds flows from its first one on; nothing else can come with an earlier time than now.
            let oldest = self.sealers.iter().filter_map(Sealer::since_ms).min().unwrap_or(now_ms);
            drop(self.logger.send(ToLog::Heartbeat(oldest)));
        }
    }

    fn seal(&mut self, id: ProbeId, is_last: bool) {
        let (Some(sealer), Some(probe)) = (self.sealers.get_mut(id.0), self.config.probes.list().get(id.0)) else {
            return;
        };
        let moved: Vec<StreamKey> = self
            .touched
            .iter()
            .filter(|(_, probe)| **probe == id)
            .map(|(key, _)| *key)
            .collect();
        if sealer.len() == 0 && moved.is_empty() {
            return;
        }
        let exporter_state = state::encode_trackers(&self.decoder, &moved);
        let rows = sealer.len() as u64;
        let batch = sealer.finish(&mut self.exporters);
        let header = Header {
            probe: Arc::clone(&probe.name),
            area: Arc::clone(&probe.area),
            sequence: sealer.sequence,
            watermark_ms: self.now_ms,
            exporter_state,
        };
        sealer.sequence += 1;
        let missed = std::mem::take(&mut sealer.missed);
        let sealed = ToLog::Bundle(Box::new(Sealed {
            probe: Arc::clone(&probe.name),
            header,
            batch,
            missed,
        }));
        if is_last {
            self.logger.send_last(sealed);
        } else if self.logger.send(sealed).is_err() {
            Counters::add(&self.counters.dropped_flows, rows);
            let error = "the log is too slow: as many bundles as may wait do so already".to_owned();
            self.note(id, None, &Noticed::DroppedForRoom { flows: rows, error });
            return;
        }
        for key in moved {
            self.touched.remove(&key);
        }
        self.last = None;
    }

    /// Tells as lost what has been missing for too long.
    fn settle(&mut self, now_ms: i64) {
        let mut lost = Vec::new();
        self.decoder.settle(now_ms, |key, gap| lost.push((key, gap)));
        for (key, gap) in lost {
            if let Some(probe) = self.config.probes.of(key.exporter.ip()) {
                let last = gap.first.wrapping_add(gap.count);
                self.note(probe, Some(key.exporter), &missed(key, &gap, last));
                self.touched.insert(key, probe);
            }
        }
    }

    /// Settles losses, publishes counts, saves templates.
    fn keep_house(&mut self) {
        self.settle(self.now_ms);
        // Streams that brought no flows still moved on: options, templates, or nothing but loss.
        let quiet: HashSet<ProbeId> = self.touched.values().copied().collect();
        for probe in quiet {
            if self.sealers.get(probe.0).is_some_and(|sealer| sealer.len() == 0) {
                self.seal(probe, false);
            }
        }
        let probes = &self.config.probes;
        let streams = self
            .decoder
            .streams()
            .filter_map(|status| Some((probes.of(status.key.exporter.ip())?, status)));
        self.exporters.take_over(streams);
        if self.exporters.are_many() {
            // Open bundles count by place.
            for probe in 0..self.sealers.len() {
                self.seal(ProbeId(probe), false);
            }
            self.last = None;
            self.exporters.forget_silent(self.now_ms);
        }
        self.counters.publish(self.exporters.snapshot());
        if self.templates_seen > 0 && self.templates_saved.elapsed() >= SAVE_TEMPLATES {
            self.save_templates();
        }
    }

    fn save_templates(&mut self) {
        self.templates_seen = 0;
        self.templates_saved = Instant::now();
        let templates = state::encode_templates(&self.decoder);
        if self.logger.send(ToLog::Templates(templates)).is_err() {
            self.templates_seen = 1;
        }
    }
}

fn missed(key: StreamKey, gap: &netflow_codec::sequence::Gap, received: u32) -> Noticed {
    Noticed::Missed {
        domain: key.domain.0,
        version: key.version.to_string(),
        expected: gap.first,
        received,
        missed: u64::from(gap.count),
        unit: unit_name(gap.unit),
    }
}

/// What a sequence number counts, in words.
#[must_use]
pub fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Flows => "flows",
        Unit::Datagrams => "datagrams",
        Unit::DataRecords => "records",
    }
}

/// What a datagram of no known version looks like.
fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [0, 0, 0, 2 | 4 | 5, ..] => "sFlow",
        [0, 2..=4 | 6 | 8, ..] => "NetFlow of a version that nothing exports",
        _ => "unknown",
    }
}

//! The thread that writes to the log, so that a slow disk does not keep the sockets waiting.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use bundle_log::record::{self, bundle_prefix};
use bundle_log::{LogWriter, Usage};
use flow_store::bundle::{Bundle, Compression};

use crate::collector::Config;
use crate::counters::Counters;
use crate::entries::{EntryLog, Noticed};
use crate::sealer::Sealed;
use crate::state::{Memory, StateFile};

/// Flows that may wait for the log, in bundles: about 150 MB. Past them flows are dropped and counted.
const MAX_WAITING_FLOWS: usize = 1 << 20;
/// Shares of the limit at which the log's growth is told, in percent.
const WARN_AT_PERCENT: [u64; 4] = [25, 50, 75, 90];

/// What is to be logged.
#[derive(Debug)]
pub(crate) enum ToLog {
    Bundle(Box<Sealed>),
    Heartbeat(i64),
    /// The templates known, to be remembered.
    Templates(Vec<u8>),
}

/// The handle of the writing thread.
#[derive(Debug)]
pub(crate) struct Logger {
    sender: Option<SyncSender<ToLog>>,
    thread: Option<JoinHandle<()>>,
}

impl Logger {
    pub(crate) fn start(
        log: LogWriter,
        config: &Config,
        counters: Arc<Counters>,
        entries: Arc<Mutex<EntryLog>>,
        memory: Memory,
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = sync_channel((MAX_WAITING_FLOWS / config.bundle_flows.max(1)).max(2));
        let writer = Writer {
            log,
            compression: config.compression,
            counters,
            entries,
            state: StateFile::new(config.data.clone(), memory),
            bytes: Vec::new(),
            warned: 0,
            full: HashMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.run(&receiver))
            .context("log thread")?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Hands a bundle over; gives it back if too many wait.
    pub(crate) fn send(&self, item: ToLog) -> Result<(), ToLog> {
        let Some(sender) = &self.sender else { return Err(item) };
        sender.try_send(item).map_err(|error| match error {
            TrySendError::Full(item) | TrySendError::Disconnected(item) => item,
        })
    }

    /// Hands over, waiting for room: for the last bundles of a run.
    pub(crate) fn send_last(&self, item: ToLog) {
        if let Some(sender) = &self.sender
            && sender.send(item).is_err()
        {
            tracing::error!("the log thread has died, flows are lost");
        }
    }

    /// Waits until all is written, and closes the log.
    pub(crate) fn finish(mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread has died");
        }
    }
}

struct Writer {
    log: LogWriter,
    compression: Compression,
    counters: Arc<Counters>,
    entries: Arc<Mutex<EntryLog>>,
    state: StateFile,
    bytes: Vec<u8>,
    warned: u64,
    /// Flows dropped since the log last had room, by probe.
    full: HashMap<Arc<str>, u64>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<ToLog>) {
        while let Ok(item) = receiver.recv() {
            match item {
                ToLog::Bundle(sealed) => self.bundle(*sealed),
                ToLog::Heartbeat(watermark_ms) => {
                    // Without room there is no heartbeat either: time stands still until the log is trimmed.
                    match self.log.append(&[&record::heartbeat(watermark_ms)]) {
                        Ok(_) => self.state.clock(watermark_ms),
                        Err(error) if error.is_retryable() => {}
                        Err(error) => tracing::error!(%error, "heartbeat not logged"),
                    }
                    self.state.save_if_due(self.log.tail().position());
                }
                ToLog::Templates(templates) => self.state.templates(&templates),
            }
        }
        self.state.save(self.log.tail().position());
    }

    fn bundle(&mut self, sealed: Sealed) {
        let Sealed {
            probe,
            header,
            batch,
            missed,
        } = sealed;
        let rows = batch.num_rows() as u64;
        let (time_ms, sequence, trackers) = (header.watermark_ms, header.sequence, header.exporter_state.clone());
        self.bytes.clear();
        let appended = Bundle::new(header, batch)
            .and_then(|bundle| bundle.encode(self.compression, &mut self.bytes))
            .map_err(|error| (error.to_string(), false))
            .and_then(|()| {
                let parts: [&[u8]; 2] = [&bundle_prefix(), &self.bytes];
                self.log
                    .append(&parts)
                    .map_err(|error| (error.to_string(), error.is_retryable()))
            });
        match appended {
            Ok(_) => {
                if !missed.is_empty() {
                    let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
                    for (exporter, noticed) in &missed {
                        entries.write(time_ms, &probe, *exporter, noticed);
                    }
                }
                self.state.bundle(&probe, sequence, time_ms, &trackers);
                Counters::add(&self.counters.logged_flows, rows);
                Counters::add(&self.counters.logged_bundles, 1);
                Counters::add(&self.counters.logged_bytes, self.bytes.len() as u64);
                if let Some(flows) = self.full.remove(&probe) {
                    tracing::warn!(
                        probe = &*probe,
                        flows,
                        "the log has room again; flows were dropped meanwhile"
                    );
                }
                self.warn();
            }
            Err((error, is_retryable)) => {
                Counters::add(&self.counters.dropped_flows, rows);
                if !self.full.contains_key(&probe) || !is_retryable {
                    tracing::error!(
                        probe = &*probe,
                        flows = rows,
                        error,
                        "bundle not logged; its flows are dropped and counted"
                    );
                }
                *self.full.entry(Arc::clone(&probe)).or_default() += rows;
                let noticed = Noticed::DroppedForRoom { flows: rows, error };
                self.entries
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .write(time_ms, &probe, None, &noticed);
            }
        }
    }

    /// Tells when the log grows past a further share of its limit.
    fn warn(&mut self) {
        let Usage { bytes, limit } = self.log.usage();
        let percent = bytes.saturating_mul(100) / limit.max(1);
        let reached = WARN_AT_PERCENT
            .into_iter()
            .filter(|&share| percent >= share)
            .max()
            .unwrap_or(0);
        if reached > self.warned {
            tracing::warn!(
                bytes,
                limit,
                percent,
                "the log grows: flows come faster than they are processed and stored"
            );
        }
        self.warned = reached;
    }
}

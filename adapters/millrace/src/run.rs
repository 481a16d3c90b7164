//! The whole of it in one process: collector, log, stream processor, store and live page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bundle_log::LogWriter;
use flow_cep::Limits;
use flow_collect::{Collector, FolderLock};
use flow_report::{Board, ExporterView, ProbeView, Server};
use flow_stream::{CurrentResolver, Stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::metrics::Sources;
use crate::settings::{Settings, SubnetFile};

/// How often the page's probes are refreshed and the parts are looked after.
const TICK: Duration = Duration::from_millis(500);
/// How often the subnet file is looked at.
const WATCH_SUBNETS: Duration = Duration::from_secs(1);
/// How often a backlog is told.
const TELL_BACKLOG: Duration = Duration::from_secs(10);
/// How long a clean stop waits for the stream to catch up; what is left is processed by the next run.
const CATCH_UP: Duration = Duration::from_secs(10);

/// A running process.
#[derive(Debug)]
pub(crate) struct Millrace {
    /// Where NetFlow is received.
    pub(crate) listening: Vec<SocketAddr>,
    /// Where the page is.
    pub(crate) page: SocketAddr,
    collector: Collector,
    stream: Stream,
    server: Server,
    board: Board,
    sources: Arc<Sources>,
    resolver: Arc<CurrentResolver>,
    subnets: Option<SubnetFile>,
    _lock: FolderLock,
}

impl Millrace {
    /// Starts all parts.
    ///
    /// # Errors
    /// What hinders, where, and what to do.
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let data = settings.data;
        std::fs::create_dir_all(&data).with_context(|| format!("data folder {}", data.display()))?;
        let lock = FolderLock::take(&data)?;
        let mut log = LogWriter::open(&data.join("log"), settings.log).context("log")?;
        log.start_at_least(flow_stream::log_start(&data)?);
        let backlog = log.usage().bytes;
        if backlog > 64 << 20 {
            tracing::info!(
                bytes = backlog,
                "the log holds flows of the last run, they are processed first"
            );
        }

        let resolver = Arc::new(CurrentResolver::new(settings.resolver));
        let naming = Arc::clone(&resolver);
        let board = Board::new(settings.statements.texts.iter().cloned(), move |address| {
            let resolver = naming.current();
            resolver
                .lookup(&flow_enrich::key_of(address))
                .map(|id| resolver.subnet(id).name.clone())
        });
        let sources = Arc::new(Sources {
            collected: Arc::default(),
            streamed: Arc::default(),
            log: log.trimmer(),
            probes: settings.probes.clone(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        });

        // The page first: if its address is taken, nothing has happened yet.
        let metrics = Arc::clone(&sources);
        let server = Server::bind(settings.http, board.clone(), settings.access, move || metrics.text()).await?;

        let (showing, statements) = (board.clone(), settings.statements);
        let statements_id = statements.id;
        let config = flow_stream::Config {
            log_folder: log.folder().to_owned(),
            tail: log.tail(),
            trimmer: log.trimmer(),
            data: data.clone(),
            workers: settings.workers,
            resolver: Arc::clone(&resolver),
            spread: Box::new(move |parts| statements.spread(parts)),
            limits: Limits::default(),
            statements_id,
            deliver: Arc::new(move |statement, time_ms, rows| showing.show_delivery(statement, time_ms, rows)),
            drain: settings.drain,
            retention: settings.retention,
            retain_every: Duration::from_secs(10),
            checkpoint_every: settings.checkpoint,
            event_file_bytes: (settings.event_bytes / 16).clamp(1 << 20, 64 << 20),
            event_bytes: settings.event_bytes,
            stop_at_end: false,
        };
        let collecting = flow_collect::Config {
            listen: settings.listen,
            receive_buffer: settings.receive_buffer,
            probes: settings.probes,
            bundle_flows: settings.bundle_flows,
            bundle_age: settings.bundle_age,
            compression: settings.compression,
            data,
        };
        let collector = Collector::start(collecting, log, Arc::clone(&sources.collected))?;
        for (address, buffer) in collector.listening() {
            let (wanted, granted) = (buffer.wanted, buffer.granted);
            if granted < wanted {
                tracing::warn!(%address, wanted, granted, "the kernel grants a smaller receive buffer: raise net.core.rmem_max, or give the capability CAP_NET_ADMIN");
            } else {
                tracing::info!(%address, granted, "receiving");
            }
        }
        let stream = Stream::start(config, Arc::clone(&sources.streamed))?;
        Ok(Self {
            listening: collector.listening().iter().map(|(address, _)| *address).collect(),
            page: server.local(),
            collector,
            stream,
            server,
            board,
            sources,
            resolver,
            subnets: settings.subnets,
            _lock: lock,
        })
    }

    /// Runs until `stop` or a signal, then stops cleanly: what was received is logged, what was logged is processed
    /// and stored, as far as that takes little time.
    ///
    /// # Errors
    /// If a part fails.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            collector,
            stream,
            server,
            board,
            sources,
            resolver,
            mut subnets,
            ..
        } = self;
        let closing = Arc::new(Notify::new());
        let closed = Arc::clone(&closing);
        let serving = tokio::spawn(server.serve(async move { closed.notified().await }));
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(TICK);
        let mut watch = tokio::time::interval(WATCH_SUBNETS);
        let mut tell = tokio::time::interval(TELL_BACKLOG);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(subnets.as_ref(), &resolver, &sources),
                _ = tick.tick() => {
                    if stream.has_failed() || collector.has_ended() {
                        break;
                    }
                    board.show_probes(probe_views(&sources));
                }
                _ = watch.tick() => {
                    if subnets.as_mut().is_some_and(SubnetFile::has_changed) {
                        reload(subnets.as_ref(), &resolver, &sources);
                    }
                }
                _ = tell.tick() => {
                    let bytes = sources.log.usage().bytes;
                    if bytes > 1 << 30 {
                        let flows = sources.streamed.read_flows.load(Ordering::Relaxed);
                        tracing::info!(log_bytes = bytes, flows_processed = flows, "working on a backlog");
                    }
                }
            }
        }
        tracing::info!("stopping: what was received is logged and stored");
        let collected = tokio::task::spawn_blocking(move || collector.finish())
            .await
            .context("collector")?;
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let stopping = stream.stopper();
        let streamed = tokio::task::spawn_blocking(move || {
            // The log is closed: the stream ends by itself when it has caught up.
            std::thread::spawn(move || {
                if receiver.recv_timeout(CATCH_UP) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    stopping.stop();
                }
            });
            let result = stream.join();
            drop(sender);
            result
        })
        .await
        .context("stream")?;
        closing.notify_one();
        let served = serving.await.context("page")?;
        collected.and(streamed)?;
        Ok(served?)
    }
}

/// Reads the subnet list again. A broken one leaves the old one in force.
fn reload(file: Option<&SubnetFile>, resolver: &CurrentResolver, sources: &Sources) {
    let Some(file) = file else { return };
    let generation = resolver.current().generation() + 1;
    match file.read(generation) {
        Ok(new) => {
            tracing::info!(path = %file.path.display(), subnets = new.subnets().len(), "new subnets in force");
            resolver.replace(new);
            sources.reloads.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "new subnets refused, the old ones stay in force"
            );
            sources.failed_reloads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn probe_views(sources: &Sources) -> Vec<ProbeView> {
    let exporters = sources.collected.exporters();
    let view = |(id, probe): (flow_collect::ProbeId, &flow_collect::Probe)| ProbeView {
        name: Arc::clone(&probe.name),
        area: Arc::clone(&probe.area),
        exporters: exporters
            .iter()
            .filter(|(key, _)| key.probe == id)
            .map(|(key, counts)| ExporterView {
                address: key.address,
                domain: key.domain.0,
                version: key.version.to_string(),
                flows: counts.flows,
                bytes: counts.bytes,
                packets: counts.packets,
                lost: counts.lost,
                lost_unit: counts.lost_unit.map(flow_collect::unit_name),
                templates: counts.templates,
                last_seen: counts.last_seen_ms,
            })
            .collect(),
    };
    sources.probes.ids().map(view).collect()
}

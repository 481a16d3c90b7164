//! `flow-collect`: the collector by itself, from UDP to the log.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bundle_log::{LogWriter, Options, Sync};
use clap::{Parser, ValueEnum};
use flow_collect::{Collector, Config, Counters, FolderLock, Probes};
use flow_store::bundle::{Compression, MAX_ROWS};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How often a collector that has ended by itself is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Collects NetFlow and IPFIX to a log of bundles until it is told to stop; then says what came, as JSON.
///
/// `millrace run` on the same folder takes up the log where this has left it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address and port to receive on; may be repeated
    #[arg(long, default_value = "127.0.0.1:2055", value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Folder for the log and the collector's state
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Receive buffer to ask the kernel for, for each socket
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    receive_buffer: usize,
    /// Flows at which a bundle is sealed
    #[arg(long, default_value_t = flow_collect::BUNDLE_FLOWS, value_name = "N", value_parser = bundle_flows)]
    bundle_flows: usize,
    /// Most bytes of the log; past them the newest flows are dropped and counted
    #[arg(long, default_value_t = 8 << 30, value_name = "BYTES")]
    log_limit: u64,
    /// When the log is forced to the disk
    #[arg(long, value_enum, default_value = "never")]
    log_sync: SyncName,
    /// How bundles are compressed in the log
    #[arg(long, value_enum, default_value = "none")]
    log_compression: CompressionName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SyncName {
    /// When the system likes
    Never,
    /// Every second
    Second,
    /// Before the next bundle is logged
    Always,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionName {
    None,
    Lz4,
    Zstd,
}

fn bundle_flows(text: &str) -> Result<usize, String> {
    let most = MAX_ROWS / 2;
    match text.parse() {
        Ok(flows) if (1..=most).contains(&flows) => Ok(flows),
        _ => Err(format!("a number from 1 to {most}")),
    }
}

fn main() -> ExitCode {
    match collect(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "flow-collect: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn collect(arguments: Arguments) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let data = arguments.data;
    fs::create_dir_all(&data).with_context(|| format!("data folder {}", data.display()))?;
    let _lock = FolderLock::take(&data)?;
    let options = Options {
        limit_bytes: arguments.log_limit,
        sync: match arguments.log_sync {
            SyncName::Never => Sync::Never,
            SyncName::Second => Sync::Every(Duration::from_secs(1)),
            SyncName::Always => Sync::Always,
        },
        ..Options::default()
    };
    let log = LogWriter::open(&data.join("log"), options).context("log")?;
    let counters = Arc::new(Counters::default());
    let config = Config {
        listen: arguments.listen,
        receive_buffer: arguments.receive_buffer,
        probes: Probes::new(Vec::new(), Vec::new()),
        bundle_flows: arguments.bundle_flows,
        bundle_age: Duration::from_millis(250),
        compression: match arguments.log_compression {
            CompressionName::None => Compression::None,
            CompressionName::Lz4 => Compression::Lz4,
            CompressionName::Zstd => Compression::Zstd(1),
        },
        data,
    };
    let collector = Collector::start(config, log, Arc::clone(&counters))?;
    for (address, buffer) in collector.listening() {
        let _ = writeln!(
            std::io::stderr(),
            "receiving on {address}, buffer of {} bytes",
            buffer.granted
        );
    }
    while !stop.load(Ordering::Relaxed) && !collector.has_ended() {
        std::thread::sleep(LOOK_EVERY);
    }
    collector.finish()?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let summary = serde_json::json!({
        "datagrams": count(&counters.datagrams),
        "kernel_drops": count(&counters.kernel_drops),
        "duplicates": count(&counters.duplicates),
        "malformed": count(&counters.malformed),
        "sets_without_template": count(&counters.sets_without_template),
        "flows": count(&counters.flows),
        "logged_flows": count(&counters.logged_flows),
        "logged_bundles": count(&counters.logged_bundles),
        "logged_bytes": count(&counters.logged_bytes),
        "dropped_flows": count(&counters.dropped_flows),
    });
    writeln!(std::io::stdout(), "{summary:#}")?;
    Ok(())
}

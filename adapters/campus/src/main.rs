//! `campus`: lets the probes of an invented campus export to a collector, and says what they sent.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use campus::{Campus, Faults, Rate, Settings, VersionMix};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Lets the probes of an invented campus export NetFlow to a collector.
///
/// Says what was sent, exporter by exporter, as JSON on the standard output, also if it is interrupted.
#[derive(Debug, Parser)]
struct Arguments {
    /// The collector, as HOST:PORT
    #[arg(long, default_value = "127.0.0.1:2055")]
    to: String,
    /// Flows a second of all exporters together, or `max`
    #[arg(long, default_value = "2000", value_parser = rate)]
    rate: Rate,
    /// What the campus and its flows are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long to send, as 500ms, 30s, 10m or 2h; without end if left out
    #[arg(long = "for", value_parser = duration)]
    duration: Option<Duration>,
    /// The protocols
    #[arg(long, value_enum, default_value = "mix")]
    version: VersionMix,
    /// How many exporters
    #[arg(long, default_value_t = 6)]
    exporters: usize,
    /// Let the load follow the hours of a day that lasts so long; the run starts at nine in the morning
    #[arg(long, value_parser = duration)]
    day: Option<Duration>,
    /// Draw so many flows before the start and send them over and over: cheap, for high rates
    #[arg(long, default_value_t = 0)]
    pool: usize,
    /// Let the kernel cut one send into many datagrams
    #[arg(long)]
    segmentation_offload: bool,
    /// Share of datagrams to withhold, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    loss: f64,
    /// Share of datagrams to send twice
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    duplicate: f64,
    /// Share of datagrams to send behind the one after them
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    reorder: f64,
    /// Write the campus's list of subnets to a file and exit
    #[arg(long, value_name = "FILE")]
    write_subnets: Option<PathBuf>,
}

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate::Unlimited),
        _ => match text.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Rate::FlowsPerSecond(rate)),
            _ => Err("a number above 0, or `max`".to_owned()),
        },
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit `{unit}`: write ms, s, m or h")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "a number with a unit, such as 30s".to_owned())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("longer than nothing".to_owned()),
    }
}

fn main() -> ExitCode {
    match send(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "campus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn send(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(path) = &arguments.write_subnets {
        let context = || format!("writing {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(context)?);
        Campus::new(arguments.seed)
            .write_subnets(&mut file)
            .with_context(context)?;
        return file.flush().with_context(context);
    }
    let to: SocketAddr = arguments
        .to
        .to_socket_addrs()
        .with_context(|| format!("`{}` is no HOST:PORT", arguments.to))?
        .next()
        .with_context(|| format!("`{}` has no address", arguments.to))?;
    let faults = Faults {
        loss: arguments.loss,
        duplicate: arguments.duplicate,
        reorder: arguments.reorder,
    };
    anyhow::ensure!(
        faults.loss + faults.duplicate + faults.reorder <= 1.0,
        "the shares of datagrams lost, doubled and late are more than all"
    );
    let settings = Settings {
        to,
        rate: arguments.rate,
        duration: arguments.duration,
        seed: arguments.seed,
        versions: arguments.version,
        exporters: arguments.exporters,
        day: arguments.day,
        pool_flows: arguments.pool,
        segmentation_offload: arguments.segmentation_offload,
        faults,
    };
    // Whoever ends a run early wants to know what it sent, too.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let summary = campus::run(&settings, &stop)?;
    let mut output = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut output, &summary)?;
    writeln!(output)?;
    Ok(())
}

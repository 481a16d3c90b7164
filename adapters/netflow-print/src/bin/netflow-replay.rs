//! `netflow-replay`: sends the NetFlow of captures to a collector, as their exporters did.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use netflow_print::capture;
use netflow_print::detect::Detector;
use netflow_print::frame::Extractor;

/// Sockets kept open: one for each exporter of the captures, so that a collector can tell them apart by their ports.
const EXPORTERS: usize = 512;

/// Replays the NetFlow and IPFIX of captures to a collector. Each exporter of the captures sends from a port of its own.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Captures to read, pcap or pcapng.
    #[arg(required = true)]
    captures: Vec<PathBuf>,
    /// Where to send, as HOST:PORT.
    #[arg(long, short, value_name = "HOST:PORT")]
    to: String,
    /// Datagrams a second. Without it, the times of the capture are kept.
    #[arg(long, conflicts_with = "speed")]
    rate: Option<f64>,
    /// How many times faster than captured; 0 is as fast as possible.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// How many times to send it all.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Take all that goes to this UDP port for NetFlow, and nothing else.
    #[arg(long)]
    port: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(sent) => {
            let _ = writeln!(io::stderr(), "netflow-replay: {sent} datagrams sent");
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "netflow-replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<u64> {
    let to = arguments
        .to
        .to_socket_addrs()
        .with_context(|| format!("no address of {}", arguments.to))?
        .next();
    let to = to.with_context(|| format!("no address of {}", arguments.to))?;
    let mut pace = Pace {
        start: Instant::now(),
        first_ms: None,
        sent: 0,
        rate: arguments.rate,
        speed: arguments.speed,
    };
    let mut sockets: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    for _ in 0..arguments.repeat {
        pace.restart();
        for path in &arguments.captures {
            let mut extractor = Extractor::default();
            let mut detector = Detector::new(arguments.port);
            capture::read(path, |frame| {
                let Some(datagram) = extractor.datagram(&frame).filter(|found| detector.is_netflow(found)) else {
                    return Ok(());
                };
                if sockets.len() >= EXPORTERS && !sockets.contains_key(&datagram.source) {
                    sockets.clear();
                }
                let socket = match sockets.entry(datagram.source) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => entry.insert(connect(to)?),
                };
                pace.wait(frame.time_ms);
                match socket.send(&datagram.payload) {
                    // The collector is not there (yet): UDP exporters do not mind.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    other => drop(other.with_context(|| format!("cannot send to {to}"))?),
                }
                Ok(())
            })?;
        }
    }
    Ok(pace.sent)
}

fn connect(to: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).context("cannot open a socket")?;
    socket.connect(to).with_context(|| format!("cannot send to {to}"))?;
    Ok(socket)
}

/// When each datagram is due.
struct Pace {
    start: Instant,
    first_ms: Option<i64>,
    sent: u64,
    rate: Option<f64>,
    speed: f64,
}

impl Pace {
    /// The captures begin again; a steady rate goes on.
    fn restart(&mut self) {
        self.first_ms = None;
        if self.rate.is_none() {
            self.start = Instant::now();
        }
    }

    fn wait(&mut self, time_ms: i64) {
        let first_ms = *self.first_ms.get_or_insert(time_ms);
        let due_s = match self.rate {
            Some(rate) if rate > 0.0 => self.sent as f64 / rate,
            None if self.speed > 0.0 => time_ms.saturating_sub(first_ms).max(0) as f64 / 1000.0 / self.speed,
            _ => 0.0,
        };
        self.sent += 1;
        let due = Duration::try_from_secs_f64(due_s).unwrap_or(Duration::MAX);
        let left = due.saturating_sub(self.start.elapsed());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }
}

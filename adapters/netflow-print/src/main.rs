//! `netflow-print`: the NetFlow and IPFIX of captures or of a socket, as JSON lines.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use netflow_print::capture::{self, End};
use netflow_print::detect::Detector;
use netflow_print::frame::Extractor;
use netflow_print::printer::{Mode, Printer};

/// The largest datagram that UDP carries.
const DATAGRAM_BYTES: usize = 65_535;

/// Prints the NetFlow (v1, v5, v7, v9) and IPFIX of captures or of a socket, one JSON object a line.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// Captures to read, pcap or pcapng; `-` is the standard input.
    #[arg(required_unless_present = "listen")]
    captures: Vec<PathBuf>,
    /// Listen here for datagrams instead.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "captures")]
    listen: Option<SocketAddr>,
    /// Take all that goes to this UDP port for NetFlow, and nothing else. Without it, NetFlow is recognised at any port.
    #[arg(long)]
    port: Option<u16>,
    /// Counts only: a line for each exporter and observation domain.
    #[arg(long)]
    summary: bool,
    /// With --listen: stop after so many seconds.
    #[arg(long, requires = "listen")]
    seconds: Option<u64>,
}

const AFTER_HELP: &str = "Every line has \"kind\":
  data, options  a record: version, exporter, domain, template (null for v1, v5, v7), sequence, export_time,
                 received, fields; data also sampling_rate (0 unknown, 1 unsampled); \"waited\": true if the record came
                 before its template and is printed behind it; \"duplicate\": true if the datagram came before
  template       a template: change (added, refreshed, replaced, withdrawn), fields with name, enterprise, id, length
  no_template    a set whose template is not known (yet)
  error          a part of a datagram that cannot be decoded: error (a short name), text
  gap            lost for good: unit (flows, datagrams or records, by the version), first number, how many are missing
  restart        the exporter started anew
  summary        counts, with --summary
Times are milliseconds since 1970. Fields have IANA's or the vendor's names; unknown ones are named ENTERPRISE:NUMBER and
their bytes are hexadecimal, as are octet arrays. An element that a record has several times is an array; padding is left out.";

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &anyhow::Error) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "netflow-print: {error:#}");
}

/// Whether the reader of our output has seen enough, like `head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref()
            .is_some_and(|io: &io::Error| io.kind() == ErrorKind::BrokenPipe)
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mode = if arguments.summary { Mode::Summary } else { Mode::Lines };
    let mut printer = Printer::new(mode, BufWriter::with_capacity(1 << 16, io::stdout().lock()));
    if let Some(address) = arguments.listen {
        listen(address, arguments.seconds.map(Duration::from_secs), &mut printer)?;
    }
    let mut extractor = Extractor::default();
    let mut detector = Detector::new(arguments.port);
    let mut code = ExitCode::SUCCESS;
    for path in &arguments.captures {
        let end = capture::read(path, |frame| {
            if let Some(datagram) = extractor.datagram(&frame)
                && detector.is_netflow(&datagram)
            {
                printer.datagram(&datagram.payload, datagram.source, frame.time_ms)?;
            }
            Ok(())
        });
        match end {
            Ok(End::Complete) => {}
            Ok(End::CutShort) => writeln!(io::stderr(), "netflow-print: {} ends within a frame", path.display())?,
            Err(error) if is_broken_pipe(&error) => return Err(error),
            // What there is to tell of the others is told all the same.
            Err(error) => {
                complain(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    printer.finish()?;
    Ok(code)
}

fn listen<W: Write>(address: SocketAddr, span: Option<Duration>, printer: &mut Printer<W>) -> Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    let deadline = span.map(|span| Instant::now() + span);
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            socket.set_read_timeout(Some(left))?;
        }
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                let datagram = buffer.get(..length).unwrap_or_default();
                printer.datagram(datagram, from, i64::try_from(now.as_millis())?)?;
                printer.flush()?;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
}

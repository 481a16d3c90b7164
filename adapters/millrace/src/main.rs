//! NetFlow collector, stream processor, store and live page in one process.

mod demo;
mod metrics;
mod options;
mod run;
mod settings;
mod statements;
mod values;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::demo::DemoOptions;
use crate::options::Options;
use crate::run::Millrace;
use crate::settings::Settings;

/// Collects NetFlow, finds events in it while it streams, stores it as Parquet, and shows it on a live page.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receives flows and runs until it is told to stop
    Run(Common),
    /// The same, fed by a small invented campus
    Demo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        demo: DemoOptions,
    },
    /// Checks configuration, subnets and statements, and exits
    Check(Common),
}

#[derive(Args, Debug)]
struct Common {
    /// Configuration file (TOML)
    #[arg(long, env = "MILLRACE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

impl Common {
    fn options(self) -> anyhow::Result<Options> {
        match self.config {
            Some(path) => Ok(self.options.or(Options::read(&path)?)),
            None => Ok(self.options),
        }
    }
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "millrace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(common) => {
            let settings = Settings::new(common.options()?)?;
            let mut out = std::io::stdout();
            writeln!(out, "configuration: fine")?;
            match &settings.subnets {
                Some(file) => writeln!(
                    out,
                    "subnets: {} in {}",
                    settings.resolver.subnets().len(),
                    file.path.display()
                )?,
                None => writeln!(out, "subnets: none, every address is unknown")?,
            }
            let names: Vec<_> = settings.statements.texts.iter().map(|(name, _)| &**name).collect();
            writeln!(out, "statements: {}", names.join(", "))?;
            Ok(())
        }
        Command::Run(common) => {
            let options = common.options()?;
            messages(options.messages.as_deref())?;
            runtime()?.block_on(async {
                let millrace = Millrace::start(Settings::new(options)?).await?;
                greet(&millrace)?;
                millrace.run(std::future::pending()).await
            })
        }
        Command::Demo { common, demo } => {
            let options = common.options()?;
            messages(options.messages.as_deref())?;
            runtime()?.block_on(demo::run(options, demo))
        }
    }
}

/// Says where everything is.
fn greet(millrace: &Millrace) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for address in &millrace.listening {
        writeln!(out, "receiving NetFlow v1, v5, v7, v9 and IPFIX on {address}")?;
    }
    writeln!(out, "live page: http://{}/", millrace.page)?;
    Ok(out.flush()?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")
}

/// Sends log messages to standard error. `RUST_LOG` chooses how much.
fn messages(form: Option<&str>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let messages = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match form {
        None | Some("text") => messages
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
        Some("json") => messages.json().flatten_event(true).init(),
        Some(other) => bail!("messages is {other:?}: choose text or json"),
    }
    Ok(())
}

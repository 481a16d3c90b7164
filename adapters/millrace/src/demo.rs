//! `millrace demo`: the whole of it, fed by an invented campus over UDP.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use campus::{Campus, Faults, Rate, VersionMix};
use clap::Args;

use crate::greet;
use crate::options::Options;
use crate::run::Millrace;
use crate::settings::Settings;
use crate::values::Span;

/// From this rate on the flows are drawn once and sent over and over.
const POOL_FROM: f64 = 200_000.0;

/// What the campus sends.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoOptions {
    /// Flows a second
    #[arg(long, default_value_t = 2000.0, value_name = "FLOWS_PER_S")]
    rate: f64,
    /// What the campus and its flows are drawn from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// For how long to run; without end if left out
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,
}

/// Runs the demonstration.
pub(crate) async fn run(mut options: Options, demo: DemoOptions) -> anyhow::Result<()> {
    anyhow::ensure!(
        demo.rate.is_finite() && demo.rate >= 1.0,
        "rate is {}: choose at least 1 flow a second",
        demo.rate
    );
    let data = options
        .data
        .get_or_insert_with(|| PathBuf::from("millrace-demo"))
        .clone();
    let mut settings = campus::Settings {
        to: ([127, 0, 0, 1], 0).into(),
        rate: Rate::FlowsPerSecond(demo.rate),
        duration: demo.duration.map(|span| span.0),
        seed: demo.seed,
        versions: VersionMix::Mix,
        exporters: 6,
        day: None,
        pool_flows: if demo.rate >= POOL_FROM { 1 << 20 } else { 0 },
        segmentation_offload: false,
        faults: Faults::default(),
    };
    if options.subnets.is_none() {
        std::fs::create_dir_all(&data).with_context(|| format!("data folder {}", data.display()))?;
        let path = data.join("subnets.csv");
        let mut file = BufWriter::new(File::create(&path).with_context(|| path.display().to_string())?);
        Campus::new(demo.seed).write_subnets(&mut file)?;
        file.flush()?;
        options.subnets = Some(path);
    }
    if options.probe.is_empty() {
        options.probe = settings
            .profiles()
            .iter()
            .map(|probe| format!("{}@{}={}", probe.name, probe.area, probe.address))
            .collect();
    }
    let millrace = Millrace::start(Settings::new(options)?).await?;
    settings.to = *millrace.listening.first().context("no address to listen on")?;
    if settings.to.ip().is_unspecified() {
        settings.to.set_ip([127, 0, 0, 1].into());
    }
    greet(&millrace)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let sending = tokio::task::spawn_blocking(move || campus::run(&settings, &stopping));
    let (sent, is_over) = tokio::sync::oneshot::channel();
    let watching = tokio::spawn(async move {
        let summary = sending.await;
        let _ = sent.send(());
        summary
    });
    let result = millrace
        .run(async {
            let _ = is_over.await;
        })
        .await;
    stop.store(true, Ordering::Relaxed);
    let summary = watching.await.context("campus")?.context("campus")??;
    result?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?;
    Ok(())
}

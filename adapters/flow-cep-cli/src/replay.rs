//! `replay`: statements over recorded events, with the events' own clock.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use flow_cep::event_type::EventType;
use flow_cep::{Engine, Limits};

use crate::events::{CsvEvents, Item, ParquetEvents};
use crate::output::JsonLines;
use crate::statements::{self, report_refused};
use crate::{Outcome, schema};

/// Runs statements over recorded events and writes what they deliver as JSON lines.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The event types, their columns and types; not needed for Parquet.
    #[arg(long)]
    schema: Option<PathBuf>,
    /// The statements.
    #[arg(long)]
    epl: PathBuf,
    /// The events, CSV or Parquet (by its ending): a file, or for Parquet several in the order of their time.
    #[arg(long, required = true, num_args = 1..)]
    events: Vec<PathBuf>,
    /// Where the rows go, `-` for standard output.
    #[arg(long, default_value = "-")]
    out: PathBuf,
    /// The event type of the events, if the schema has several.
    #[arg(long = "type")]
    event_type: Option<String>,
    /// The column of a Parquet file that is the stream's clock.
    #[arg(long, default_value = "time")]
    time_column: String,
    /// When the clock starts, in milliseconds [default: the first event's time floored to the second].
    #[arg(long)]
    start: Option<i64>,
    /// How long the clock runs on after the last event.
    #[arg(long, default_value_t = 120_000)]
    tail_ms: i64,
}

type Items = Box<dyn Iterator<Item = Result<Item>>>;

impl Replay {
    /// Runs it. Statements that are refused are told on standard error.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let (event_types, event_type, mut items) = self.open()?;
        let text = statements::read(&self.epl)?;
        let planned = statements::plan(&text, event_types);
        report_refused(&planned.refused);
        let first = items.next().transpose()?;
        let first_ms = first.as_ref().and_then(|item| item.first_ms(&event_type)).unwrap_or(0);
        let start_ms = self.start.unwrap_or_else(|| first_ms.div_euclid(1000) * 1000);
        let mut engine = Engine::new(planned.catalog, &planned.statements, start_ms, Limits::default());

        let out: Box<dyn std::io::Write> = if self.out == Path::new("-") {
            Box::new(std::io::stdout().lock())
        } else {
            Box::new(File::create(&self.out).with_context(|| format!("cannot write {}", self.out.display()))?)
        };
        let mut lines = JsonLines::new(BufWriter::new(out));
        let mut last_ms = start_ms;
        for item in first.map(Ok).into_iter().chain(items) {
            let item = item?;
            last_ms = item.last_ms(&event_type).unwrap_or(last_ms).max(last_ms);
            match item {
                Item::Rows(batch) => engine.push(event_type.name(), &batch)?,
                Item::Clock(time_ms) => engine.advance(time_ms),
            }
            drain(&mut engine, &mut lines)?;
        }
        engine.advance(last_ms.saturating_add(self.tail_ms));
        drain(&mut engine, &mut lines)?;
        lines.finish()?;
        report_limits(&mut engine);
        Ok(if planned.refused.is_empty() {
            Outcome::Complete
        } else {
            Outcome::Refused
        })
    }

    fn open(&self) -> Result<(Vec<EventType>, EventType, Items)> {
        let first = self.events.first().ok_or_else(|| anyhow!("no events are given"))?;
        if is_parquet(first) {
            let name = self.event_type.as_deref().unwrap_or("Flow");
            let (_, event_type) = ParquetEvents::open(first, name, &self.time_column)?;
            let (name, time_column, files) = (name.to_owned(), self.time_column.clone(), self.events.clone());
            let wanted = event_type.clone();
            let items = files.into_iter().flat_map(move |file| -> Items {
                match ParquetEvents::open(&file, &name, &time_column) {
                    Ok((_, other)) if other.schema().fields() != wanted.schema().fields() => Box::new(std::iter::once(
                        Err(anyhow!("{} has other columns than the first file", file.display())),
                    )),
                    Ok((events, _)) => Box::new(events),
                    Err(error) => Box::new(std::iter::once(Err(error))),
                }
            });
            return Ok((vec![event_type.clone()], event_type, Box::new(items)));
        }
        ensure!(self.events.len() == 1, "of CSV files only one can be replayed");
        let schema = self
            .schema
            .as_deref()
            .ok_or_else(|| anyhow!("CSV events need --schema"))?;
        let event_types = schema::read(schema)?;
        let event_type = match &self.event_type {
            None => event_types.iter().find(|of| of.time_column().is_some()),
            Some(name) => event_types.iter().find(|of| of.name() == name),
        };
        let event_type = event_type
            .ok_or_else(|| anyhow!("{} has no such event type", schema.display()))?
            .clone();
        let events = CsvEvents::open(first, &event_type)?;
        let file = first.display().to_string();
        let items = events.map(move |item| item.with_context(|| format!("in {file}")));
        Ok((event_types, event_type, Box::new(items)))
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

fn drain<W: std::io::Write>(engine: &mut Engine, lines: &mut JsonLines<W>) -> Result<()> {
    while let Some(delivery) = engine.next_output() {
        let (new, old) = (
            delivery.new.to_batch(&delivery.row_type),
            delivery.old.to_batch(&delivery.row_type),
        );
        lines.write(&delivery.statement, delivery.time_ms, &new, &old)?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what is left out goes to standard error")]
fn report_limits(engine: &mut Engine) {
    for (statement, refusal, count) in engine.take_refusals() {
        let limit = refusal.limit();
        eprintln!("statement {statement}: the limit of {limit} was reached, {count} times something was left out");
    }
}

//! `bench`: what statements cost, in flows per second of processor time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use arrow_array::builder::{FixedSizeBinaryBuilder, StringDictionaryBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use clap::Args;
use flow_cep::event_type::EventType;
use flow_cep::plan::{Planner, StatementPlan};
use flow_cep::syntax::ast::{Body, Module, Statement};
use flow_cep::value::parse_address;
use flow_cep::{Engine, Limits, parse};
use nix::time::{ClockId, clock_gettime};

use crate::events::{CsvEvents, Item};
use crate::{Outcome, schema};

/// The event type of the cases, for events that come without a schema.
const DEFAULT_SCHEMA: &str = include_str!("../schemas/esper_flow.toml");

/// Measures statements over events in memory: each alone, with the definitions that it uses, then all together.
///
/// The events are loaded first, as a bundle would hold them: a text column whose values are all addresses as addresses, other
/// texts with a dictionary. Every run begins with a new engine; what is printed is the best of the runs, in flows per second of
/// processor time, with the rows of the output built.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The event types, their columns and types [default: the `Flow` of the cases].
    #[arg(long)]
    schema: Option<PathBuf>,
    /// The statements.
    #[arg(long)]
    epl: PathBuf,
    /// The events, a CSV file.
    #[arg(long)]
    events: PathBuf,
    /// Runs of each measurement.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
}

impl Bench {
    /// Runs it.
    #[expect(clippy::print_stdout, reason = "the figures are the output of the command")]
    pub(crate) fn run(&self) -> Result<Outcome> {
        let event_types = match &self.schema {
            Some(path) => schema::read(path)?,
            None => schema::parse(DEFAULT_SCHEMA)?,
        };
        let event_type = event_types
            .into_iter()
            .next()
            .ok_or_else(|| anyhow!("the schema names no event type"))?;
        let (event_type, items) = load(&self.events, &event_type)?;
        let text = std::fs::read_to_string(&self.epl).with_context(|| format!("cannot read {}", self.epl.display()))?;
        let module = parse(&text).map_err(|error| anyhow!("{error}"))?;
        let flows: usize = items.iter().map(rows).sum();
        ensure!(flows > 0, "there are no events");
        if module.statements.len() > 1 {
            for (at, statement) in module.statements.iter().enumerate() {
                if is_definition(statement) {
                    continue;
                }
                match alone(&module, at, &text, &event_type) {
                    Ok((name, run)) => println!("{name}: {:.0}", self.best(&run, &items, flows)?),
                    Err(error) => println!("{}: needs the others ({error})", at + 1),
                }
            }
        }
        let run = Run::new(&module, &text, &event_type)?;
        println!("all: {:.0}", self.best(&run, &items, flows)?);
        Ok(Outcome::Complete)
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for reading")]
    fn best(&self, run: &Run, items: &[Item], flows: usize) -> Result<f64> {
        let mut best: f64 = 0.0;
        for _ in 0..self.repeat.max(1) {
            best = best.max(flows as f64 / run.seconds(items)?);
        }
        Ok(best)
    }
}

/// Whether a statement defines what others use, and sees no event itself.
fn is_definition(statement: &Statement) -> bool {
    !matches!(statement.body, Body::Select(_) | Body::On(_))
}

/// Plans one statement of a module with the definitions of the module and, if it needs them, with the statements that insert into
/// what others read; and tells its name.
fn alone(module: &Module, at: usize, text: &str, event_type: &EventType) -> Result<(String, Run)> {
    let with = |is_kept: &dyn Fn(&Statement) -> bool| -> Result<(String, Run)> {
        let kept = module.statements.iter().enumerate();
        let kept: Vec<_> = kept
            .filter(|(place, statement)| *place == at || is_kept(statement))
            .collect();
        let position = kept.iter().position(|(place, _)| *place == at).unwrap_or(0);
        let statements = kept.into_iter().map(|(_, statement)| statement.clone()).collect();
        let run = Run::new(&Module { statements }, text, event_type)?;
        Ok((run.plans[position].name.clone(), run))
    };
    with(&is_definition).or_else(|_| {
        with(&|statement| match &statement.body {
            Body::Select(select) => select.insert.is_some(),
            _ => true,
        })
    })
}

fn rows(item: &Item) -> usize {
    match item {
        Item::Rows(batch) => batch.num_rows(),
        Item::Clock(_) => 0,
    }
}

/// Planned statements over one event type.
struct Run {
    event_type: EventType,
    planner: Planner,
    plans: Vec<StatementPlan>,
}

impl Run {
    fn new(module: &Module, text: &str, event_type: &EventType) -> Result<Self> {
        let mut planner = Planner::new([event_type.clone()]);
        let plan = |statement| planner.plan(statement, text).map_err(|error| anyhow!("{error}"));
        let plans = module.statements.iter().map(plan).collect::<Result<_>>()?;
        Ok(Self {
            event_type: event_type.clone(),
            planner,
            plans,
        })
    }

    /// The processor time of one run.
    fn seconds(&self, items: &[Item]) -> Result<f64> {
        let first_ms = items
            .first()
            .and_then(|item| item.first_ms(&self.event_type))
            .unwrap_or(0);
        let catalog = Arc::new(self.planner.catalog().clone());
        let begin = processor_seconds()?;
        let mut engine = Engine::new(
            catalog,
            &self.plans,
            first_ms.div_euclid(1000) * 1000,
            Limits::default(),
        );
        let mut rows = 0;
        for item in items {
            match item {
                Item::Rows(batch) => engine.push(self.event_type.name(), batch)?,
                Item::Clock(time_ms) => engine.advance(*time_ms),
            }
            while let Some(delivery) = engine.next_output() {
                rows += delivery.new.to_batch(&delivery.row_type).num_rows();
                rows += if delivery.old.is_empty() {
                    0
                } else {
                    delivery.old.to_batch(&delivery.row_type).num_rows()
                };
            }
        }
        std::hint::black_box(rows);
        Ok((processor_seconds()? - begin).max(1e-9))
    }
}

/// Processor time that this thread has used, user and system.
fn processor_seconds() -> Result<f64> {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(Duration::from(used).as_secs_f64())
}

/// Reads all events, and gives their columns the types that they would have in a bundle.
fn load(path: &Path, event_type: &EventType) -> Result<(EventType, Vec<Item>)> {
    let items: Vec<Item> = CsvEvents::open(path, event_type)?.collect::<Result<_>>()?;
    let fields = event_type.schema().fields();
    let addresses: Vec<bool> = (0..fields.len())
        .map(|column| *fields[column].data_type() == DataType::Utf8 && all_addresses(&items, column))
        .collect();
    let typed = fields.iter().zip(&addresses).map(|(field, address)| {
        let data_type = match field.data_type() {
            DataType::Utf8 if *address => DataType::FixedSizeBinary(16),
            DataType::Utf8 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    let schema = Arc::new(Schema::new(typed.collect::<Vec<_>>()));
    let time = event_type.time_column().map(|column| event_type.column_name(column));
    let typed = EventType::new(event_type.name(), Arc::clone(&schema), time)?;
    let items = items
        .into_iter()
        .map(|item| match item {
            Item::Clock(time_ms) => Ok(Item::Clock(time_ms)),
            Item::Rows(batch) => {
                let columns = batch
                    .columns()
                    .iter()
                    .zip(&addresses)
                    .map(|(column, address)| convert(column, *address));
                Ok(Item::Rows(RecordBatch::try_new(
                    Arc::clone(&schema),
                    columns.collect::<Result<_>>()?,
                )?))
            }
        })
        .collect::<Result<_>>()?;
    Ok((typed, items))
}

/// Whether a text column has values, and all of them are addresses.
fn all_addresses(items: &[Item], column: usize) -> bool {
    let mut some = false;
    for item in items {
        let Item::Rows(batch) = item else { continue };
        for text in batch.column(column).as_string::<i32>().iter().flatten() {
            if parse_address(text).is_none() {
                return false;
            }
            some = true;
        }
    }
    some
}

fn convert(column: &ArrayRef, address: bool) -> Result<ArrayRef> {
    if *column.data_type() != DataType::Utf8 {
        return Ok(Arc::clone(column));
    }
    let texts = column.as_string::<i32>();
    if address {
        let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
        for text in texts {
            match text.and_then(parse_address) {
                Some(octets) => builder.append_value(octets)?,
                None => builder.append_null(),
            }
        }
        return Ok(Arc::new(builder.finish()));
    }
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for text in texts {
        builder.append_option(text);
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_alone_brings_what_it_needs() {
        let text = "create constant variable int MANY = 5;
            @name('counts') insert into Counted select srcIp as host, count(*) as n from Flow#time(10) group by srcIp;
            @name('loud') select host from Counted where n > MANY;
            @name('all') select count(*) as n from Flow";
        let module = parse(text).unwrap();
        let event_type = schema::parse(DEFAULT_SCHEMA).unwrap().remove(0);
        let planned = |at| {
            let (name, run) = alone(&module, at, text, &event_type).unwrap();
            (name, run.plans.len())
        };
        assert!(is_definition(&module.statements[0]));
        assert_eq!(planned(1), ("counts".to_owned(), 2));
        assert_eq!(planned(2), ("loud".to_owned(), 3));
        assert_eq!(planned(3), ("all".to_owned(), 2));
    }
}

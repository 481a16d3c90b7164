//! A case: statements, events, what Esper gave; and a run of the engine over it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use flow_cep::event_type::EventType;
use flow_cep::plan::Planner;
use flow_cep::value::Value;
use flow_cep::{Engine, Limits, parse_each};

/// The columns of the event type `Flow` of the cases.
const COLUMNS: [(&str, DataType); 19] = [
    ("ts", DataType::Int64),
    ("srcIp", DataType::Utf8),
    ("srcPort", DataType::Int32),
    ("dstIp", DataType::Utf8),
    ("dstPort", DataType::Int32),
    ("bytes", DataType::Int64),
    ("packets", DataType::Int64),
    ("proto", DataType::Int32),
    ("tcpFlags", DataType::Int32),
    ("firstMs", DataType::Int64),
    ("lastMs", DataType::Int64),
    ("collector", DataType::Utf8),
    ("probe", DataType::Utf8),
    ("srcSubnet", DataType::Utf8),
    ("dstSubnet", DataType::Utf8),
    ("srcRouter", DataType::Utf8),
    ("dstRouter", DataType::Utf8),
    ("srcInternal", DataType::Boolean),
    ("dstInternal", DataType::Boolean),
];

/// The event type of the cases.
pub(crate) fn flow() -> EventType {
    let fields: Vec<_> = COLUMNS
        .iter()
        .map(|(name, of)| Field::new(*name, of.clone(), true))
        .collect();
    EventType::new("Flow", Arc::new(Schema::new(fields)), Some("ts")).unwrap()
}

/// What happens next.
pub(crate) enum Step {
    /// Time passes.
    Clock(i64),
    /// Rows arrive.
    Rows(RecordBatch),
}

/// One case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) recorded: String,
    text: String,
    steps: Vec<Step>,
    start_ms: i64,
}

/// A statement of a case that has a name.
pub(crate) struct Named {
    pub(crate) name: String,
    /// Whether it has an order by clause, so that the order of its rows counts.
    pub(crate) ordered: bool,
}

impl Case {
    /// All of them, by name.
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = entries
            .filter(|path| path.extension().is_some_and(|of| of == "epl"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let read = |extension| std::fs::read_to_string(path.with_extension(extension)).unwrap();
        let events = read("csv");
        let mut lines = events
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let (mut steps, mut rows) = (Vec::new(), Vec::new());
        let mut first_ms = None;
        for line in lines {
            if let Some(clock) = line.strip_prefix('@') {
                steps.extend(batch(&header, &std::mem::take(&mut rows)).map(Step::Rows));
                let time_ms = clock.parse().unwrap();
                steps.push(Step::Clock(time_ms));
                first_ms.get_or_insert(time_ms);
            } else {
                let row: Vec<&str> = line.split(',').collect();
                let at = header.iter().position(|column| *column == "ts").unwrap();
                first_ms.get_or_insert_with(|| row[at].parse().unwrap());
                rows.push(row);
            }
        }
        steps.extend(batch(&header, &rows).map(Step::Rows));
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            recorded: read("out8.jsonl"),
            text: read("epl"),
            steps,
            start_ms: first_ms.unwrap().div_euclid(1000) * 1000,
        }
    }

    /// The statements.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What happens, in order.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// When the clock starts.
    pub(crate) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The statements with a name.
    pub(crate) fn statements(&self) -> impl Iterator<Item = Named> {
        self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix("@name('")?;
            let (name, rest) = rest.split_once('\'')?;
            Some(Named {
                name: name.to_owned(),
                ordered: rest.contains(" order by "),
            })
        })
    }
}

fn batch(header: &[&str], rows: &[Vec<&str>]) -> Option<RecordBatch> {
    if rows.is_empty() {
        return None;
    }
    let of = flow();
    let columns = COLUMNS.iter().map(|(name, of)| -> ArrayRef {
        let at = header.iter().position(|column| column == name);
        let fields = rows
            .iter()
            .map(|row| at.and_then(|at| row.get(at)).copied().filter(|field| !field.is_empty()));
        match of {
            DataType::Int32 => Arc::new(
                fields
                    .map(|field| field.map(|f| f.parse().unwrap()))
                    .collect::<Int32Array>(),
            ),
            DataType::Int64 => Arc::new(
                fields
                    .map(|field| field.map(|f| f.parse().unwrap()))
                    .collect::<Int64Array>(),
            ),
            DataType::Boolean => Arc::new(
                fields
                    .map(|field| field.map(|f| f.parse().unwrap()))
                    .collect::<BooleanArray>(),
            ),
            _ => Arc::new(fields.collect::<StringArray>()),
        }
    });
    Some(RecordBatch::try_new(of.schema().clone(), columns.collect()).unwrap())
}

/// A delivery as the engine gave it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    pub(crate) time_ms: i64,
    pub(crate) new: Vec<Vec<(String, Value)>>,
    pub(crate) old: Vec<Vec<(String, Value)>>,
}

/// How the rows come to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feeding {
    /// As many in a batch as lie between two steps of the clock.
    Whole,
    /// One in a batch.
    SingleRows,
    /// One in a batch, and for each another engine that takes up the state of the last.
    RestartedRows,
}

/// What the engine makes of a case.
pub(crate) struct Run {
    pub(crate) deliveries: BTreeMap<String, Vec<Given>>,
    pub(crate) refused: BTreeMap<String, String>,
}

impl Run {
    pub(crate) fn new(case: &Case, feeding: Feeding) -> Self {
        let mut run = Self {
            deliveries: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        let (mut planner, mut plans) = (Planner::new([flow()]), Vec::new());
        for parsed in parse_each(&case.text) {
            match parsed.and_then(|statement| planner.plan(&statement, &case.text)) {
                Ok(plan) => plans.push(plan),
                Err(error) => {
                    let name = error.diagnostic().statement.clone().unwrap_or_default();
                    run.refused.insert(name, error.to_string());
                }
            }
        }
        let catalog = Arc::new(planner.catalog().clone());
        let engine = || Engine::new(catalog.clone(), &plans, case.start_ms, Limits::default());
        let mut at_work = engine();
        for step in &case.steps {
            match step {
                Step::Clock(time_ms) => {
                    at_work.advance(*time_ms);
                    run.drain(&mut at_work);
                }
                Step::Rows(batch) if feeding == Feeding::Whole => {
                    at_work.push("Flow", batch).unwrap();
                    run.drain(&mut at_work);
                }
                Step::Rows(batch) => {
                    for row in 0..batch.num_rows() {
                        if feeding == Feeding::RestartedRows {
                            let state = at_work.checkpoint().unwrap();
                            at_work = engine();
                            at_work.restore(&state).unwrap();
                        }
                        at_work.push("Flow", &batch.slice(row, 1)).unwrap();
                        run.drain(&mut at_work);
                    }
                }
            }
        }
        run
    }

    fn drain(&mut self, engine: &mut Engine) {
        while let Some(delivery) = engine.next_output() {
            let fields = delivery.row_type.schema().fields();
            let row = |values: Vec<Value>| fields.iter().map(|field| field.name().clone()).zip(values).collect();
            let given = Given {
                time_ms: delivery.time_ms,
                new: (0..delivery.new.len()).map(|at| row(delivery.new.values(at))).collect(),
                old: (0..delivery.old.len()).map(|at| row(delivery.old.values(at))).collect(),
            };
            self.deliveries
                .entry(delivery.statement.to_string())
                .or_default()
                .push(given);
        }
    }
}

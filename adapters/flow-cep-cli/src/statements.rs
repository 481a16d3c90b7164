//! Statement files: read, planned, and what is refused told.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use flow_cep::event_type::EventType;
use flow_cep::plan::{Catalog, Planner, StatementPlan};

/// The statements of a file that run, and those that do not.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) statements: Vec<StatementPlan>,
    pub(crate) refused: Vec<Refused>,
}

/// A statement that does not run.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) statement: String,
    pub(crate) error: flow_cep::Error,
}

/// Reads a statement file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read statements {}", path.display()))
}

/// Plans each statement of a text; one that is refused does not keep the others from running.
pub(crate) fn plan(text: &str, event_types: Vec<EventType>) -> Planned {
    let mut planner = Planner::new(event_types);
    let (mut statements, mut refused) = (Vec::new(), Vec::new());
    for (number, parsed) in flow_cep::parse_each(text).into_iter().enumerate() {
        let planned = match parsed {
            Ok(statement) => planner.plan(&statement, text),
            Err(error) => {
                planner.skip();
                Err(error)
            }
        };
        match planned {
            Ok(plan) => statements.push(plan),
            Err(error) => {
                let name = error.diagnostic().statement.clone();
                let statement = name.unwrap_or_else(|| format!("stmt-{number}"));
                refused.push(Refused { statement, error });
            }
        }
    }
    let catalog = Arc::new(planner.catalog().clone());
    Planned {
        catalog,
        statements,
        refused,
    }
}

/// Tells of statements that do not run.
#[expect(clippy::print_stderr, reason = "what is refused goes to standard error")]
pub(crate) fn report_refused(refused: &[Refused]) {
    for Refused { statement, error } in refused {
        eprintln!("statement {statement} is refused: {error}");
    }
}

//! `check`: what statements are made of, before they run.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use flow_cep::plan::explain::explain_all;

use crate::statements::{self, report_refused};
use crate::{Outcome, schema};

/// Explains statements: streams, windows, keys, state, cost for each flow, and how they spread over workers.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files of statements; what one defines, the next can name.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The event types [default: Millrace's flow schema].
    #[arg(long)]
    schema: Option<PathBuf>,
    /// Says only what is refused.
    #[arg(long)]
    quiet: bool,
}

impl Check {
    /// Explains each statement on standard output; what is refused goes to standard error.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let event_types = match &self.schema {
            Some(path) => schema::read(path)?,
            None => schema::flow()?,
        };
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&statements::read(file)?);
            text.push('\n');
        }
        let planned = statements::plan(&text, event_types);
        let mut out = std::io::stdout().lock();
        if !self.quiet {
            for explanation in explain_all(&planned.statements, &planned.catalog) {
                writeln!(out, "{explanation}")?;
            }
        }
        let (good, bad) = (planned.statements.len(), planned.refused.len());
        writeln!(out, "{good} statements are accepted, {bad} refused")?;
        report_refused(&planned.refused);
        Ok(if planned.refused.is_empty() {
            Outcome::Complete
        } else {
            Outcome::Refused
        })
    }
}

//! The statements of a run: read from files, checked against the flow schema.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use flow_cep::event_type::EventType;
use flow_cep::plan::{Catalog, Planner, StatementPlan};
use flow_cep::{Spread, parse_each};
use flow_store::schema;
use flow_stream::EVENT_TYPE;

/// The statements that run if no folder is given.
const BUILT_IN: [(&str, &str); 8] = [
    (
        "bandwidth_per_second.epl",
        include_str!("../../../statements/bandwidth_per_second.epl"),
    ),
    ("bot.epl", include_str!("../../../statements/bot.epl")),
    (
        "flows_per_second.epl",
        include_str!("../../../statements/flows_per_second.epl"),
    ),
    (
        "highest_rates.epl",
        include_str!("../../../statements/highest_rates.epl"),
    ),
    ("lowest_rates.epl", include_str!("../../../statements/lowest_rates.epl")),
    ("scan.epl", include_str!("../../../statements/scan.epl")),
    (
        "top_connections.epl",
        include_str!("../../../statements/top_connections.epl"),
    ),
    ("top_talkers.epl", include_str!("../../../statements/top_talkers.epl")),
];

/// Statements that are ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    catalog: Arc<Catalog>,
    plans: Vec<StatementPlan>,
    /// Name and text of each that has a name, in the order of the files.
    pub(crate) texts: Vec<(Arc<str>, Arc<str>)>,
    /// Tells these statements from others.
    pub(crate) id: u32,
}

impl Statements {
    /// Reads all `*.epl` files of a folder in the order of their names, or the statements that are built in.
    ///
    /// # Errors
    /// Every statement that is wrong, each with file, line, column, a caret and a hint.
    pub(crate) fn read(folder: Option<&Path>) -> anyhow::Result<Self> {
        match folder {
            None => Self::plan(
                BUILT_IN
                    .iter()
                    .map(|&(name, text)| (PathBuf::from(name), text.to_owned())),
            ),
            Some(folder) => {
                let entries = std::fs::read_dir(folder).with_context(|| format!("statements {}", folder.display()))?;
                let mut paths = Vec::new();
                for entry in entries {
                    let path = entry?.path();
                    if path.extension().is_some_and(|extension| extension == "epl") {
                        paths.push(path);
                    }
                }
                paths.sort();
                if paths.is_empty() {
                    bail!("statements {}: no file ends in .epl", folder.display());
                }
                let mut files = Vec::new();
                for path in paths {
                    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                    files.push((path, text));
                }
                Self::plan(files.into_iter())
            }
        }
    }

    fn plan(files: impl Iterator<Item = (PathBuf, String)>) -> anyhow::Result<Self> {
        let flow = EventType::new(EVENT_TYPE, schema::enriched_schema(), Some(schema::TIME))?;
        let mut planner = Planner::new([flow]);
        let (mut plans, mut texts) = (Vec::new(), Vec::new());
        let mut named: HashMap<String, PathBuf> = HashMap::new();
        let mut errors = String::new();
        let mut id = crc32fast::Hasher::new();
        for (path, text) in files {
            id.update(text.as_bytes());
            let parsed = parse_each(&text);
            let selects = parsed
                .iter()
                .flatten()
                .filter(|statement| statement.name().is_some())
                .count();
            for statement in parsed {
                let planned = statement.and_then(|statement| {
                    // The file's comments and constants belong to the statement, if it is the only one that is named.
                    let own = if selects == 1 {
                        text.clone()
                    } else {
                        statement.to_string()
                    };
                    Ok((
                        planner.plan(&statement, &text)?,
                        statement.name().is_some().then_some(own),
                    ))
                });
                match planned {
                    Ok((plan, own)) => {
                        if let Some(other) = named.insert(plan.name.clone(), path.clone()) {
                            let _ = writeln!(
                                errors,
                                "{}: a statement named {:?} is in {} already: give it another @name",
                                path.display(),
                                plan.name,
                                other.display()
                            );
                        }
                        if let Some(own) = own {
                            texts.push((Arc::from(plan.name.as_str()), Arc::from(own)));
                        }
                        plans.push(plan);
                    }
                    Err(error) => {
                        let _ = writeln!(errors, "{}: {error}", path.display());
                    }
                }
            }
        }
        if !errors.is_empty() {
            bail!("{}", errors.trim_end());
        }
        Ok(Self {
            catalog: Arc::new(planner.catalog().clone()),
            plans,
            texts,
            id: id.finalize(),
        })
    }

    /// These statements in so many parts.
    pub(crate) fn spread(&self, parts: NonZeroUsize) -> Spread {
        Spread::new(Arc::clone(&self.catalog), &self.plans, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> anyhow::Result<Statements> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Statements::read(Some(folder.path()))
    }

    #[test]
    fn the_built_in_statements_are_the_paper_s_eight() {
        let statements = Statements::read(None).unwrap();
        let names: Vec<_> = statements.texts.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            names,
            [
                "bandwidth_per_second",
                "bot",
                "flows_per_second",
                "highest_rates",
                "lowest_rates",
                "scan",
                "top_connections",
                "top_talkers"
            ]
        );
    }

    #[test]
    fn every_bad_statement_is_told_with_file_place_caret_and_hint() {
        let error = read(&[
            ("a.epl", "@name('a') select src_adr from Flow;"),
            ("b.epl", "@name('b') select count(*) as n from Flow;"),
            ("c.epl", "@name('c')\nselect * from Flow output evry 10 sec;"),
        ])
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("a.epl") && error.contains("did you mean 'src_addr'?"),
            "{error}"
        );
        assert!(
            error.contains("c.epl") && error.contains("evry") && error.contains("line 2") && error.contains('^'),
            "{error}"
        );
        assert!(!error.contains("b.epl"), "{error}");
    }

    #[test]
    fn two_statements_of_one_name_are_refused() {
        let text = "@name('same') select count(*) as n from Flow;";
        let error = read(&[("a.epl", text), ("b.epl", text)]).unwrap_err().to_string();
        assert!(error.contains("b.epl") && error.contains("a.epl already"), "{error}");
    }
}

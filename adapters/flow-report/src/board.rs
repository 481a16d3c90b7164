//! What the page shows: the latest delivery of each statement and the health of each probe.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// One row of a delivery: column names and values, in the order of the select clause.
pub type Row = serde_json::Map<String, Value>;

/// Deliveries kept of each statement, so that a page that is opened later shows the last minutes.
const HISTORY: usize = 300;
/// Rows kept in the history of one statement; a statement with large deliveries keeps fewer of them.
const HISTORY_ROWS: usize = 2_000;
/// Rows of one delivery that are shown; the event file has them all.
const ROWS_SHOWN: usize = 1_000;

/// The latest delivery of a statement.
#[derive(Clone, Debug, Serialize)]
pub struct StatementView {
    /// The statement's name.
    pub name: Arc<str>,
    /// Its text, as read from its file.
    pub text: Arc<str>,
    /// The stream's time of the latest delivery in ms since 1970, if there was one.
    pub time: Option<i64>,
    /// The rows of the latest delivery.
    pub rows: Arc<Vec<Row>>,
    /// Rows of the delivery that are left out here, as there were too many to show.
    pub rows_left_out: usize,
}

/// The health of a probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeView {
    /// The probe's name.
    pub name: Arc<str>,
    /// Its coverage area.
    pub area: Arc<str>,
    /// The exporters that were heard.
    pub exporters: Vec<ExporterView>,
}

/// What came from one exporter and observation domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExporterView {
    /// The exporter's address.
    pub address: IpAddr,
    /// The observation domain.
    pub domain: u32,
    /// The version: `v5`, `v9`, `IPFIX` …
    pub version: String,
    /// Flows decoded.
    pub flows: u64,
    /// Octets of these flows.
    pub bytes: u64,
    /// Packets of these flows.
    pub packets: u64,
    /// What is missing by the exporter's sequence numbers, in the unit that the version counts in.
    pub lost: u64,
    /// That unit: `flows`, `datagrams`, `records`; nothing if the version has no sequence numbers.
    pub lost_unit: Option<&'static str>,
    /// Templates known.
    pub templates: usize,
    /// When it was last heard, in ms since 1970.
    pub last_seen: i64,
}

/// A delivery that is remembered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Past {
    pub(crate) time: i64,
    pub(crate) rows: Arc<Vec<Row>>,
}

type Names = dyn Fn(IpAddr) -> Option<String> + Send + Sync;

/// The state that the page shows; clones share it.
#[derive(Clone)]
pub struct Board {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    names: Box<Names>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    statements: BTreeMap<Arc<str>, Statement>,
    probes: Versioned<Arc<Vec<ProbeView>>>,
}

#[derive(Debug, Default)]
struct Versioned<T> {
    version: u64,
    value: T,
}

#[derive(Debug)]
struct Statement {
    version: u64,
    view: StatementView,
    history: VecDeque<Past>,
    history_rows: usize,
}

/// What has changed since a version, in the form that goes to the page.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    #[serde(skip)]
    pub(crate) version: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) statements: Vec<StatementView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probes: Option<Arc<Vec<ProbeView>>>,
    /// Names of the subnets of the addresses in the rows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) names: BTreeMap<String, String>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("state", &self.shared.state)
            .finish_non_exhaustive()
    }
}

impl Board {
    /// A board of statements (name and text) that have not delivered yet. `names` tells the subnet of an address.
    pub fn new(
        statements: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
        names: impl Fn(IpAddr) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let statements = statements.into_iter().map(|(name, text)| {
            let view = StatementView {
                name: Arc::clone(&name),
                text,
                time: None,
                rows: Arc::default(),
                rows_left_out: 0,
            };
            (
                name,
                Statement {
                    version: 1,
                    view,
                    history: VecDeque::new(),
                    history_rows: 0,
                },
            )
        });
        let state = State {
            version: 1,
            statements: statements.collect(),
            ..State::default()
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(1),
            names: Box::new(names),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a delivery. A statement that the board does not know is not shown.
    pub fn show_delivery(&self, statement: &str, time_ms: i64, mut rows: Vec<Row>) {
        let rows_left_out = rows.len().saturating_sub(ROWS_SHOWN);
        rows.truncate(ROWS_SHOWN);
        let mut state = self.lock();
        let version = state.version + 1;
        let Some(known) = state.statements.get_mut(statement) else {
            return;
        };
        let rows = Arc::new(rows);
        known.version = version;
        known.view.time = Some(time_ms);
        known.view.rows = Arc::clone(&rows);
        known.view.rows_left_out = rows_left_out;
        known.history_rows += rows.len();
        known.history.push_back(Past { time: time_ms, rows });
        while known.history.len() > HISTORY || (known.history_rows > HISTORY_ROWS && known.history.len() > 1) {
            known.history_rows -= known.history.pop_front().map_or(0, |past| past.rows.len());
        }
        state.version = version;
        drop(state);
        self.shared.changed.send_replace(version);
    }

    /// Shows the health of the probes, if it differs from what is shown.
    pub fn show_probes(&self, probes: Vec<ProbeView>) {
        let mut state = self.lock();
        if *state.probes.value == probes {
            return;
        }
        let version = state.version + 1;
        state.version = version;
        state.probes = Versioned {
            version,
            value: Arc::new(probes),
        };
        drop(state);
        self.shared.changed.send_replace(version);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    pub(crate) fn statements(&self) -> Vec<StatementView> {
        self.lock()
            .statements
            .values()
            .map(|statement| statement.view.clone())
            .collect()
    }

    pub(crate) fn statement(&self, name: &str) -> Option<StatementView> {
        self.lock().statements.get(name).map(|statement| statement.view.clone())
    }

    pub(crate) fn history(&self, name: &str) -> Option<Vec<Past>> {
        self.lock()
            .statements
            .get(name)
            .map(|statement| statement.history.iter().cloned().collect())
    }

    pub(crate) fn probes(&self) -> Arc<Vec<ProbeView>> {
        Arc::clone(&self.lock().probes.value)
    }

    /// Everything newer than `version`.
    pub(crate) fn since(&self, version: u64) -> Change {
        let state = self.lock();
        let statements: Vec<_> = state
            .statements
            .values()
            .filter(|statement| statement.version > version)
            .map(|statement| statement.view.clone())
            .collect();
        let probes = (state.probes.version > version).then(|| Arc::clone(&state.probes.value));
        let version = state.version;
        drop(state);
        let names = self.names_in(&statements);
        Change {
            version,
            statements,
            probes,
            names,
        }
    }

    fn names_in(&self, statements: &[StatementView]) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for value in statements
            .iter()
            .flat_map(|statement| statement.rows.iter())
            .flat_map(Row::values)
        {
            if let Value::String(text) = value
                && !names.contains_key(text)
                && let Ok(address) = text.parse()
                && let Some(name) = (self.shared.names)(address)
            {
                names.insert(text.clone(), name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn board() -> Board {
        Board::new(
            [("a".into(), "select 1".into()), ("b".into(), "select 2".into())],
            |address| address.is_ipv4().then(|| "lab".to_owned()),
        )
    }

    fn rows(value: &Value) -> Vec<Row> {
        vec![value.as_object().unwrap().clone()]
    }

    #[test]
    fn a_change_holds_only_what_is_newer() {
        let board = board();
        let all = board.since(0);
        assert_eq!(all.statements.len(), 2);
        board.show_delivery("b", 5, rows(&json!({"host": "192.0.2.1", "n": 3})));
        let change = board.since(all.version);
        assert_eq!(change.statements.len(), 1);
        assert_eq!(change.statements[0].time, Some(5));
        assert_eq!(change.names["192.0.2.1"], "lab");
        assert!(board.since(change.version).statements.is_empty());
    }

    #[test]
    fn history_is_bounded_by_deliveries_and_rows() {
        let board = board();
        for time in 0..1000 {
            board.show_delivery("a", time, rows(&json!({"n": 1})));
            board.show_delivery("b", time, vec![Row::new(); 900]);
        }
        assert_eq!(board.history("a").unwrap().len(), HISTORY);
        assert_eq!(board.history("b").unwrap().len(), 2);
    }

    #[test]
    fn equal_probes_are_no_change() {
        let board = board();
        let probe = ProbeView {
            name: "north".into(),
            area: "campus".into(),
            exporters: Vec::new(),
        };
        board.show_probes(vec![probe.clone()]);
        let version = board.since(0).version;
        board.show_probes(vec![probe]);
        assert_eq!(board.since(0).version, version);
    }
}

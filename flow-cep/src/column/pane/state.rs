//! What a checkpoint keeps of windows by pane, and taking it up again.

use serde::{Deserialize, Serialize};

use super::groups::PaneGroupsState;
use super::pairs::PanePairsState;
use super::{Extent, PaneGroups, PanePairs, Panes};
use crate::column::keys::Keys;

/// The state of the panes; totals are made of them again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PanesState<'a> {
    /// Time of the latest row, rows, and the last instant of which it takes rows.
    open: Option<(i64, u64, i64)>,
    /// By pane: time of the latest row, and rows.
    closed: Vec<(i64, u64)>,
    /// How many of them the totals have, and by span how many have left.
    totalled: u64,
    left: Vec<u64>,
    next_ms: Vec<Option<i64>>,
    groups: Vec<PaneGroupsState<'a>>,
    pairs: Vec<PanePairsState<'a>>,
}

impl Panes {
    pub(crate) fn save(&self) -> PanesState<'_> {
        PanesState {
            open: self.open.map(|(open, until_ms)| (open.last_ms, open.rows, until_ms)),
            closed: self.closed.iter().map(|pane| (pane.last_ms, pane.rows)).collect(),
            totalled: self.untotalled - self.first,
            left: self.spans.iter().map(|span| span.left - self.first).collect(),
            next_ms: self.clients.iter().map(|client| client.clock.next_ms).collect(),
            groups: self.groups.iter().map(PaneGroups::save).collect(),
            pairs: self.pairs.iter().map(PanePairs::save).collect(),
        }
    }

    /// Takes up what was saved of the same statements. None if it does not fit.
    pub(crate) fn restore(&mut self, keys: &mut Keys, state: PanesState<'_>) -> Option<()> {
        let fits = state.left.len() == self.spans.len()
            && state.next_ms.len() == self.clients.len()
            && state.groups.len() == self.groups.len()
            && state.pairs.len() == self.pairs.len()
            && state.closed.is_sorted_by_key(|pane| pane.0);
        if !fits {
            return None;
        }
        let panes = state.closed.len();
        let totalled = usize::try_from(state.totalled).ok()?;
        let left: Option<Vec<usize>> = state.left.iter().map(|&left| usize::try_from(left).ok()).collect();
        let left = left?;
        for (groups, state) in self.groups.iter_mut().zip(state.groups) {
            groups.restore(keys, state, (panes, totalled), &left)?;
        }
        for (pairs, state) in self.pairs.iter_mut().zip(state.pairs) {
            pairs.restore(keys, state, (panes, totalled), &left)?;
        }
        let extent = |(last_ms, rows)| Extent { last_ms, rows };
        self.open = state
            .open
            .map(|(last_ms, rows, until_ms)| (extent((last_ms, rows)), until_ms));
        self.closed = state.closed.into_iter().map(extent).collect();
        self.first = 0;
        self.untotalled = state.totalled;
        for (span, left) in self.spans.iter_mut().zip(state.left) {
            span.left = left;
        }
        for (client, next_ms) in self.clients.iter_mut().zip(state.next_ms) {
            client.clock.next_ms = next_ms;
        }
        Some(())
    }
}

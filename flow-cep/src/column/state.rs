//! What a checkpoint keeps of the columnar statements, and taking it up again.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::groups::{Grouping, Members, Queue};
use super::interner::NONE;
use super::keys::{KeyState, Keys};
use super::packed;
use super::pane::{Panes, PanesState};
use super::runtime::{Grid, Runner, Runtime};
use super::succession::{Succession, SuccessionState};
use super::view::{Chunk, Keeping, View};
use super::watch::{Watch, WatchState};
use crate::value::Value;

/// The state of a stream's statements.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RuntimeState<'a> {
    keys: Vec<KeyState<'a>>,
    runners: Vec<RunnerState<'a>>,
    panes: Vec<PanesState<'a>>,
    watches: Vec<WatchState>,
    successions: Vec<SuccessionState>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RunnerState<'a> {
    chunks: Cow<'a, VecDeque<Chunk>>,
    sequence: u64,
    rows: u64,
    groupings: Vec<GroupingState<'a>>,
    grid: Option<GridState>,
    next_ms: Vec<Option<i64>>,
    /// By statement that selects rows: its candidates.
    candidates: Vec<Vec<Vec<Value>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct GridState {
    anchor_ms: Option<i64>,
    next_ms: Option<i64>,
    last_rows: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct GroupingState<'a> {
    #[serde(with = "packed")]
    ids: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    free: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    words: Cow<'a, [i64]>,
    #[serde(with = "packed::each")]
    nulls: Vec<Vec<i64>>,
    members: Vec<MembersState<'a>>,
    extremes: Vec<Cow<'a, [Queue]>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MembersState<'a> {
    #[serde(with = "packed")]
    ids: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    free: Cow<'a, [u32]>,
    #[serde(with = "packed")]
    counts: Cow<'a, [u32]>,
}

impl Runtime {
    /// The state between two pushes.
    pub(crate) fn save(&self) -> RuntimeState<'_> {
        RuntimeState {
            keys: self.keys.save(),
            runners: self.runners.iter().map(save_runner).collect(),
            panes: self.panes.iter().map(Panes::save).collect(),
            watches: self.watches.iter().map(Watch::save).collect(),
            successions: self.successions.iter().map(Succession::save).collect(),
        }
    }

    /// Takes up the state that a runtime of the same statements has saved. None if it does not fit; the runtime must then be
    /// dropped.
    pub(crate) fn restore(&mut self, state: RuntimeState<'_>) -> Option<()> {
        if state.runners.len() != self.runners.len()
            || state.panes.len() != self.panes.len()
            || state.watches.len() != self.watches.len()
            || state.successions.len() != self.successions.len()
        {
            return None;
        }
        self.keys.restore(state.keys)?;
        for (runner, state) in self.runners.iter_mut().zip(state.runners) {
            restore_runner(runner, &mut self.keys, state)?;
        }
        for (panes, state) in self.panes.iter_mut().zip(state.panes) {
            panes.restore(&mut self.keys, state)?;
        }
        for (watch, state) in self.watches.iter_mut().zip(state.watches) {
            watch.restore(&mut self.keys, state)?;
        }
        for (succession, state) in self.successions.iter_mut().zip(state.successions) {
            succession.restore(&mut self.keys, state)?;
        }
        Some(())
    }
}

fn save_runner(runner: &Runner) -> RunnerState<'_> {
    let view = &runner.view;
    RunnerState {
        chunks: Cow::Borrowed(&view.chunks),
        sequence: view.sequence,
        rows: view.rows as u64,
        groupings: view.groupings.iter().map(save_grouping).collect(),
        grid: runner.grid.as_ref().map(|grid| GridState {
            anchor_ms: grid.anchor_ms,
            next_ms: grid.next_ms,
            last_rows: grid.last_rows as u64,
        }),
        next_ms: runner.groups.iter().map(|client| client.next_ms).collect(),
        candidates: runner.rows.iter().map(|client| client.output.save()).collect(),
    }
}

fn save_grouping(grouping: &Grouping) -> GroupingState<'_> {
    fn save_members(members: &Members) -> MembersState<'_> {
        let (ids, free) = members.index.parts();
        MembersState {
            ids: ids.into(),
            free: free.into(),
            counts: (&members.counts).into(),
        }
    }
    let (ids, free) = grouping.index.parts();
    GroupingState {
        ids: ids.into(),
        free: free.into(),
        words: (&grouping.words).into(),
        nulls: grouping.nulls.iter().map(|nulls| nulls.counts.clone()).collect(),
        members: grouping.members.iter().map(save_members).collect(),
        extremes: grouping
            .extremes
            .iter()
            .map(|extremes| (&extremes.queues).into())
            .collect(),
    }
}

fn restore_runner(runner: &mut Runner, keys: &mut Keys, state: RunnerState<'_>) -> Option<()> {
    let fits = state.groupings.len() == runner.view.groupings.len()
        && state.next_ms.len() == runner.groups.len()
        && state.candidates.len() == runner.rows.len()
        && state.grid.is_some() == runner.grid.is_some();
    if !fits {
        return None;
    }
    for (grouping, state) in runner.view.groupings.iter_mut().zip(state.groupings) {
        restore_grouping(grouping, keys, state)?;
    }
    runner.view.chunks = state.chunks.into_owned();
    runner.view.sequence = state.sequence;
    runner.view.rows = usize::try_from(state.rows).ok()?;
    check_chunks(&runner.view)?;
    for (client, next_ms) in runner.groups.iter_mut().zip(state.next_ms) {
        client.next_ms = next_ms;
    }
    if let (Some(grid), Some(state)) = (&mut runner.grid, state.grid) {
        restore_grid(grid, &state)?;
    }
    for (client, candidates) in runner.rows.iter_mut().zip(state.candidates) {
        client.output.restore(candidates)?;
    }
    Some(())
}

fn restore_grid(grid: &mut Grid, state: &GridState) -> Option<()> {
    grid.anchor_ms = state.anchor_ms;
    grid.next_ms = state.next_ms;
    grid.last_rows = usize::try_from(state.last_rows).ok()?;
    Some(())
}

fn restore_grouping(grouping: &mut Grouping, keys: &mut Keys, state: GroupingState<'_>) -> Option<()> {
    let stride = grouping.stride;
    if !state.words.len().is_multiple_of(stride)
        || state.nulls.len() != grouping.nulls.len()
        || state.members.len() != grouping.members.len()
        || state.extremes.len() != grouping.extremes.len()
    {
        return None;
    }
    let rows = state.words.chunks_exact(stride).map(|record| record[0]);
    let ids = (state.ids.into_owned(), state.free.into_owned());
    grouping.index.restore(keys, ids, rows)?;
    grouping.words = state.words.into_owned();
    for (nulls, counts) in grouping.nulls.iter_mut().zip(state.nulls) {
        if counts.len() > grouping.index.bound() {
            return None;
        }
        nulls.counts = counts;
    }
    for (members, state) in grouping.members.iter_mut().zip(state.members) {
        let counts = state.counts.iter().map(|&count| i64::from(count));
        let ids = (state.ids.into_owned(), state.free.into_owned());
        members.index.restore(keys, ids, counts)?;
        members.counts = state.counts.into_owned();
    }
    for (extremes, queues) in grouping.extremes.iter_mut().zip(state.extremes) {
        if queues.len() > grouping.index.bound() {
            return None;
        }
        extremes.queues = queues.into_owned();
        extremes.queues.resize_with(grouping.index.bound(), VecDeque::new);
    }
    Some(())
}

/// Whether the rows of the chunks are those that the groups count: taking them out must end at nothing.
fn check_chunks(view: &View) -> Option<()> {
    let sliding = matches!(view.keeping, Keeping::Sliding { .. });
    if !sliding {
        return view.chunks.is_empty().then_some(());
    }
    let mut rows = 0;
    for chunk in &view.chunks {
        let length = chunk.times.len();
        let fits = chunk.start <= length
            && chunk.places.len() == view.groupings.len()
            && chunk.numbers.len() == view.arguments.len()
            && chunk
                .numbers
                .iter()
                .all(|numbers| numbers.len() == length && (numbers.nulls.is_empty() || numbers.nulls.len() == length));
        if !fits {
            return None;
        }
        rows += length - chunk.start;
    }
    if rows != view.rows || view.sequence < rows as u64 {
        return None;
    }
    for (at, grouping) in view.groupings.iter().enumerate() {
        let mut counted = vec![0_i64; grouping.index.bound()];
        let mut members: Vec<Vec<u32>> = grouping
            .members
            .iter()
            .map(|members| vec![0; members.index.bound()])
            .collect();
        for chunk in &view.chunks {
            let places = &chunk.places[at];
            if places.slots.len() != chunk.times.len() || places.members.len() != members.len() {
                return None;
            }
            for &slot in places.slots[chunk.start..].iter().filter(|&&slot| slot != NONE) {
                *counted.get_mut(slot as usize)? += 1;
            }
            for (kept, counts) in places.members.iter().zip(&mut members) {
                if kept.len() != chunk.times.len() {
                    return None;
                }
                for &slot in kept[chunk.start..].iter().filter(|&&slot| slot != NONE) {
                    *counts.get_mut(slot as usize)? += 1;
                }
            }
        }
        let same = (0..grouping.index.bound()).all(|slot| counted[slot] == grouping.words[slot * grouping.stride])
            && grouping
                .members
                .iter()
                .zip(&members)
                .all(|(kept, counts)| kept.counts == *counts);
        if !same {
            return None;
        }
    }
    Some(())
}

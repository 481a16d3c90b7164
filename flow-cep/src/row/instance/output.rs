//! What an output clause does with results: when they are given, and which of them.

use super::{Instance, Select, Sink, World, arrange};
use crate::plan::{OutputDelay, OutputMoment, OutputPlan, ResultKind};
use crate::row::event::Row;
use crate::row::join::rows_of;
use crate::row::result::{Processing, ResultRow, ResultState, Results, holds};
use crate::syntax::ast::{OutputKind, StreamSelector};

impl Instance {
    pub(super) fn output(&mut self, select: &Select, new: &[Row], old: &[Row], world: World<'_>, sink: &mut Sink) {
        if select.plan.into_table.is_some() {
            sink.table_rows.extend(new.iter().map(|row| (row.clone(), true)));
            sink.table_rows.extend(old.iter().map(|row| (row.clone(), false)));
        }
        let Some(output) = &select.plan.output else {
            let forced = new.is_empty() && old.is_empty();
            let results = self.with_result(select, world, |result, p| {
                let mut results = Results::default();
                result.process(p, new, old, &mut results);
                results
            });
            self.post(select, results, forced, world, sink);
            return;
        };
        let after_over = self.after_over(output, new.len(), world.now_ms);
        match output.kind {
            OutputKind::Snapshot => {
                self.with_result(select, world, |result, p| result.apply(p, new, old));
                if after_over {
                    self.condition(select, output, new.len(), old.len(), world, sink);
                }
            }
            OutputKind::First if select.grouped() => {
                // What comes before `output after` has passed is looked at when it has, as if it came then.
                if !after_over {
                    self.output.updates.push((new.to_vec(), old.to_vec()));
                    return;
                }
                let held = std::mem::take(&mut self.output.updates);
                let mut updates: Vec<(&[Row], &[Row])> =
                    held.iter().map(|(new, old)| (new.as_slice(), old.as_slice())).collect();
                updates.push((new, old));
                let results = self.with_result(select, world, |result, p| result.process_first(p, &updates));
                self.post(select, results, false, world, sink);
            }
            OutputKind::First => {
                if !after_over {
                    self.with_result(select, world, |result, p| result.apply(p, new, old));
                    return;
                }
                if self.output.witnessed {
                    self.with_result(select, world, |result, p| result.apply(p, new, old));
                } else {
                    let results = self.with_result(select, world, |result, p| {
                        let mut results = Results::default();
                        result.process(p, new, old, &mut results);
                        arrange(p, &mut results);
                        results
                    });
                    if !self.relevant(select, &results) {
                        return;
                    }
                    self.output.witnessed = true;
                    self.send(select, results, true, sink);
                }
                self.condition(select, output, new.len(), old.len(), world, sink);
            }
            OutputKind::Last | OutputKind::All => {
                self.with_result(select, world, |result, p| match output.kind {
                    OutputKind::Last => result.process_last(p, new, old),
                    _ => result.process_all(p, new, old),
                });
                if after_over {
                    self.condition(select, output, new.len(), old.len(), world, sink);
                }
            }
            OutputKind::Default if output.when == OutputMoment::Always => {
                let results = self.with_result(select, world, |result, p| {
                    let mut results = Results::default();
                    result.process(p, new, old, &mut results);
                    results
                });
                if after_over {
                    self.post(select, results, false, world, sink);
                }
            }
            OutputKind::Default => {
                if after_over || select.plan.result != ResultKind::Rows {
                    self.output.updates.push((new.to_vec(), old.to_vec()));
                }
                if after_over {
                    self.condition(select, output, new.len(), old.len(), world, sink);
                }
            }
        }
    }

    /// Whether results hold rows that would be delivered.
    fn relevant(&self, select: &Select, results: &Results) -> bool {
        match select.plan.selector {
            StreamSelector::Insert => !results.new.is_empty(),
            StreamSelector::Remove => !results.old.is_empty(),
            StreamSelector::Both => !results.is_empty(),
        }
    }

    /// Whether `output after` has passed.
    fn after_over(&mut self, output: &OutputPlan, new_rows: usize, now_ms: i64) -> bool {
        let state = &mut self.output;
        if state.after_over {
            return true;
        }
        state.after_over = match output.after {
            None => true,
            Some(OutputDelay::Ms(ms)) => now_ms >= state.since_ms + ms,
            Some(OutputDelay::Events(events)) => {
                state.after_count += new_rows as u64;
                state.after_count > events
            }
        };
        state.after_over
    }

    /// Rows have come: sets the timer, or counts and perhaps gives output.
    fn condition(
        &mut self,
        select: &Select,
        output: &OutputPlan,
        new_rows: usize,
        old_rows: usize,
        world: World<'_>,
        sink: &mut Sink,
    ) {
        match output.when {
            OutputMoment::EveryMs(ms) => {
                self.output.due.get_or_insert_with(|| world.now_ms + ms.max(1));
            }
            OutputMoment::EveryEvents(events) => {
                self.output.new_count += new_rows as u64;
                self.output.old_count += old_rows as u64;
                if self.output.new_count >= events || self.output.old_count >= events {
                    (self.output.new_count, self.output.old_count) = (0, 0);
                    self.give(select, output, false, world, sink);
                }
            }
            OutputMoment::Always | OutputMoment::Terminated => {}
        }
    }

    /// The output clause's moment has come.
    fn give(&mut self, select: &Select, output: &OutputPlan, forced: bool, world: World<'_>, sink: &mut Sink) {
        let results = match output.kind {
            OutputKind::First => {
                self.output.witnessed = false;
                return;
            }
            OutputKind::Snapshot => Results {
                new: self.snapshot(select, world),
                old: Vec::new(),
            },
            OutputKind::Last => self.with_result(select, world, ResultState::take_last),
            OutputKind::All => self.with_result(select, world, ResultState::take_all),
            OutputKind::Default => {
                let updates = std::mem::take(&mut self.output.updates);
                self.with_result(select, world, |result, p| {
                    if updates.is_empty() {
                        return result.standing(p);
                    }
                    let mut results = Results::default();
                    for (new, old) in &updates {
                        result.process(p, new, old, &mut results);
                    }
                    results
                })
            }
        };
        self.post(select, results, forced, world, sink);
    }

    /// The rows of the from clause as they are now, after `where`.
    pub(super) fn snapshot(&self, select: &Select, world: World<'_>) -> Vec<ResultRow> {
        let env = self.env(select, world);
        let p = Processing {
            plan: &select.plan,
            env,
            bounded: select.bounded,
            max_groups: world.limits.groups,
        };
        let condition = select.plan.condition.as_ref();
        if let (Some(plan), Some(join)) = (&select.join, &self.join) {
            let mut rows = Vec::new();
            for stream in 0..self.windows.len() {
                let own = rows_of(env, &self.windows, stream);
                join.rows(plan, env, &self.windows, stream, &own, &mut rows);
            }
            let mut seen = std::collections::HashSet::new();
            rows.retain(|row| seen.insert(row.id()) && holds(condition, env, row, true));
            return self.result.snapshot(p, &mut rows.iter());
        }
        if let Some(window) = self.windows.first().and_then(Option::as_ref) {
            let mut rows = window.rows().filter(|row| holds(condition, env, row, true));
            return self.result.snapshot(p, &mut rows);
        }
        let rows: Vec<Row> = rows_of(env, &self.windows, 0)
            .into_iter()
            .filter(|row| holds(condition, env, row, true))
            .collect();
        self.result.snapshot(p, &mut rows.iter())
    }

    /// Sorts and cuts results, inserts them and hands them to the sink.
    pub(super) fn post(&self, select: &Select, mut results: Results, forced: bool, world: World<'_>, sink: &mut Sink) {
        let p = Processing {
            plan: &select.plan,
            env: self.env(select, world),
            bounded: select.bounded,
            max_groups: world.limits.groups,
        };
        arrange(p, &mut results);
        self.send(select, results, forced, sink);
    }

    /// Inserts results and hands them to the sink.
    pub(super) fn send(&self, select: &Select, mut results: Results, forced: bool, sink: &mut Sink) {
        if let Some(insert) = &select.plan.insert {
            if insert.selector != StreamSelector::Remove {
                sink.inserts.extend(results.new.iter().cloned());
            }
            if insert.selector != StreamSelector::Insert {
                sink.inserts.extend(results.old.iter().cloned());
            }
        }
        match select.plan.selector {
            StreamSelector::Insert => results.old.clear(),
            StreamSelector::Remove => {
                results.new = std::mem::take(&mut results.old);
            }
            StreamSelector::Both => {}
        }
        if forced || !results.is_empty() {
            sink.results.push(results);
        }
    }

    /// Gives output if it is due.
    pub(super) fn fire_output(&mut self, select: &Select, world: World<'_>, sink: &mut Sink) {
        if self.output.due.is_some_and(|due| due <= world.now_ms)
            && let Some(output) = &select.plan.output
        {
            self.output.due = match output.when {
                OutputMoment::EveryMs(ms) => self.output.due.map(|due| due + ms.max(1)),
                _ => None,
            };
            let forced = self.partition.is_none() || gives_nothing(output.kind, select.plan.result);
            self.give(select, output, forced, world, sink);
        }
    }

    /// The partition ends: what `output when terminated` gives.
    pub(crate) fn terminate(&mut self, select: &Select, world: World<'_>, sink: &mut Sink) {
        if let Some(output) = &select.plan.output
            && (output.when == OutputMoment::Terminated || output.and_when_terminated)
        {
            let forced = gives_nothing(output.kind, select.plan.result);
            self.give(select, output, forced, world, sink);
        }
    }
}

/// Whether a context's partition that has nothing to say delivers that: as a snapshot, or where plain rows are gathered.
const fn gives_nothing(kind: OutputKind, result: ResultKind) -> bool {
    match kind {
        OutputKind::Snapshot | OutputKind::First => true,
        OutputKind::Last => false,
        OutputKind::All | OutputKind::Default => matches!(result, ResultKind::Rows),
    }
}

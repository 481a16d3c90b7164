//! At which time of the stream all parts of the statements take their state.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The parts go on at their own pace. A checkpoint is of one time that none of them is past yet: each stops there for a moment.
#[derive(Debug)]
pub(crate) struct Barrier(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By part: the time that it has come to, or is about to.
    reached_ms: Vec<i64>,
    /// The time of the checkpoint that is wanted, and by part whether it has still to take its state.
    wanted: Option<(i64, Vec<bool>)>,
    /// By reader: the stream's time where it ended.
    ended_ms: Vec<Option<i64>>,
}

impl Barrier {
    pub(crate) fn new(parts: usize, readers: usize, time_ms: i64) -> Self {
        Self(Mutex::new(State {
            reached_ms: vec![time_ms; parts],
            wanted: None,
            ended_ms: vec![None; readers],
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a checkpoint, once the last one is taken. Returns of which time it will be.
    pub(crate) fn ask(&self) -> i64 {
        let mut state = self.state();
        let time_ms = state.reached_ms.iter().copied().max().unwrap_or_default();
        state.wanted = Some((time_ms, vec![true; state.reached_ms.len()]));
        time_ms
    }

    /// A part goes on to a time. If a checkpoint is wanted on the way, returns where the part must take its state first.
    pub(crate) fn pass(&self, part: usize, to_ms: i64) -> Option<i64> {
        let mut state = self.state();
        if let Some(reached_ms) = state.reached_ms.get_mut(part) {
            *reached_ms = to_ms.max(*reached_ms);
        }
        let (time_ms, waits) = state.wanted.as_mut().filter(|(time_ms, _)| *time_ms <= to_ms)?;
        let waits = waits.get_mut(part).filter(|waits| **waits)?;
        *waits = false;
        Some(*time_ms)
    }

    /// A reader ends, at a time of the stream; called before the parts can know.
    pub(crate) fn end(&self, reader: usize, time_ms: i64) {
        if let Some(ended_ms) = self.state().ended_ms.get_mut(reader) {
            *ended_ms = Some(time_ms);
        }
    }

    /// The time that all readers had come to when they ended: the last that the parts go to. None if one of them ended for
    /// another reason.
    pub(crate) fn end_ms(&self) -> Option<i64> {
        let state = self.state();
        let ended_ms: Option<Vec<i64>> = state.ended_ms.iter().copied().collect();
        ended_ms?.into_iter().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_take_their_state_once_at_the_time_of_the_fastest() {
        let barrier = Barrier::new(2, 1, 0);
        assert_eq!((barrier.pass(0, 50), barrier.pass(1, 30)), (None, None));
        assert_eq!(barrier.ask(), 50);
        assert_eq!((barrier.pass(1, 40), barrier.pass(0, 50)), (None, Some(50)));
        assert_eq!((barrier.pass(1, 70), barrier.pass(1, 80)), (Some(50), None));
        assert_eq!(barrier.pass(0, 60), None);
        assert_eq!(barrier.ask(), 80);
    }

    #[test]
    fn the_end_is_where_the_slowest_reader_ended() {
        let barrier = Barrier::new(1, 2, 0);
        barrier.end(1, 7);
        assert_eq!(barrier.end_ms(), None);
        barrier.end(0, 9);
        assert_eq!(barrier.end_ms(), Some(7));
    }
}

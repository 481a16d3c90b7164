use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Position;

/// The end of a log that is being written, shared between its writer and its readers in one process.
#[derive(Clone, Debug, Default)]
pub struct Tail(Arc<(Mutex<End>, Condvar)>);

#[derive(Debug, Default)]
struct End {
    position: Position,
    closed: bool,
}

impl Tail {
    /// The position after the last frame appended.
    #[must_use]
    pub fn position(&self) -> Position {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).position
    }

    /// Whether the writer has gone: nothing will be appended any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Waits until the end has moved past `seen`, the writer has gone, or `patience` is over.
    pub fn wait_past(&self, seen: Position, patience: Duration) {
        let end = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.0
                .1
                .wait_timeout_while(end, patience, |end| end.position <= seen && !end.closed),
        );
    }

    pub(crate) fn publish(&self, position: Position) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).position = position;
        self.0.1.notify_all();
    }

    pub(crate) fn close(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.1.notify_all();
    }
}

//! When a statement that takes snapshots looks next.

/// An interval that starts with the first row and repeats from then on.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) every_ms: i64,
    /// None before the first row.
    pub(crate) next_ms: Option<i64>,
}

impl Clock {
    /// A clock that has not been started.
    pub(crate) const fn new(every_ms: i64) -> Self {
        Self {
            every_ms,
            next_ms: None,
        }
    }

    /// Starts it, unless it goes already.
    pub(crate) fn start(&mut self, first_ms: i64) {
        let next_ms = first_ms.saturating_add(self.every_ms);
        self.next_ms.get_or_insert(next_ms);
    }

    /// Whether it goes off at an instant; it is then set to the next.
    pub(crate) fn goes_off(&mut self, due_ms: i64) -> bool {
        let due = self.next_ms == Some(due_ms);
        if due {
            self.next_ms = Some(due_ms.saturating_add(self.every_ms));
        }
        due
    }
}

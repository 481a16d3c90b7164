//! What the runtime moves about: events, and rows made of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// An event that entered, was inserted by a statement, or lies in a named window or table.
///
/// Its number is its identity: two copies of one event, as a restored checkpoint has them, are the same event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Unique in the runtime and rising with arrival.
    pub(crate) id: u64,
    /// Which shape the values have.
    pub(crate) shape: u32,
    /// The values of the columns that statements use.
    pub(crate) values: Box<[Value]>,
}

pub(crate) type EventRef = Arc<Event>;

/// What one stream contributes to a row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Nothing: the missing side of an outer join, a tag without its event.
    #[default]
    None,
    /// One event.
    One(EventRef),
    /// The events collected under a repeated tag.
    Many(Arc<[EventRef]>),
}

/// A row that enters or leaves a window: an event, or several joined or matched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Row {
    /// The event of the only stream.
    One(EventRef),
    /// A part for each stream or tag, and a number of its own.
    Parts(u64, Arc<[Part]>),
}

impl Row {
    /// The identity of the row in its window.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::One(event) => event.id,
            Self::Parts(id, _) => *id,
        }
    }

    /// The event under a stream's number, if there is exactly one.
    pub(crate) fn event(&self, stream: usize) -> Option<&EventRef> {
        match self {
            Self::One(event) if stream == 0 => Some(event),
            Self::One(_) => None,
            Self::Parts(_, parts) => match parts.get(stream) {
                Some(Part::One(event)) => Some(event),
                Some(Part::Many(events)) => events.last(),
                _ => None,
            },
        }
    }

    /// The event of that place under a stream's number.
    pub(crate) fn nth(&self, stream: usize, index: i64) -> Option<&EventRef> {
        let index = usize::try_from(index).ok()?;
        match self {
            Self::One(event) if stream == 0 && index == 0 => Some(event),
            Self::One(_) => None,
            Self::Parts(_, parts) => match parts.get(stream) {
                Some(Part::One(event)) if index == 0 => Some(event),
                Some(Part::Many(events)) => events.get(index),
                _ => None,
            },
        }
    }
}

/// Where each column of an event type lies in its events' values.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// All columns, in their order.
    Whole,
    /// Only the columns that are used.
    Used {
        /// The place of each column.
        slots: Vec<Option<usize>>,
        /// The columns kept, in the order of the values.
        columns: Vec<usize>,
    },
}

impl Shape {
    /// The columns that are used.
    pub(crate) fn of_used(used: &[bool]) -> Self {
        let columns: Vec<usize> = (0..used.len()).filter(|column| used[*column]).collect();
        let mut slots = vec![None; used.len()];
        for (slot, column) in columns.iter().enumerate() {
            slots[*column] = Some(slot);
        }
        Self::Used { slots, columns }
    }

    /// The value of a column; none for one that is not kept.
    pub(crate) fn value<'a>(&self, values: &'a [Value], column: usize) -> Option<&'a Value> {
        match self {
            Self::Whole => values.get(column),
            Self::Used { slots, .. } => slots.get(column).copied().flatten().and_then(|slot| values.get(slot)),
        }
    }
}

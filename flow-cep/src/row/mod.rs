//! The runtime of the whole language, one row at a time, as Esper works.
//!
//! A [`runtime::Runtime`] holds planned statements, their contexts and what they share. Events come one by one; each goes to
//! the statements that listen to its type, their results are delivered, what they insert follows, then the next event.
//! Timers fire in the order of their times, and all of one instant before the results are delivered.

pub(crate) mod aggregate;
pub(crate) mod context;
pub(crate) mod decode;
pub(crate) mod distinct;
pub(crate) mod encode;
pub(crate) mod event;
pub(crate) mod index;
pub(crate) mod instance;
pub(crate) mod join;
pub(crate) mod named;
mod order;
pub(crate) mod pattern;
pub(crate) mod recognize;
pub(crate) mod result;
pub(crate) mod runtime;
pub(crate) mod scope;
pub(crate) mod subquery;
pub(crate) mod trigger;
pub(crate) mod visit;
pub(crate) mod window;

/// A map by key that also keeps the order of its entries, so that what iterates over it is the same in every run.
pub(crate) type KeyMap<K, V> = indexmap::IndexMap<K, V, foldhash::fast::RandomState>;

/// The shape of events that hold all columns of their type.
pub(crate) const WHOLE: u32 = 0;

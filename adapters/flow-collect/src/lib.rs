//! NetFlow collector: UDP datagrams to sealed bundles in the log.

pub mod clock;
pub mod socket;

//! The flow schema, and the formats in which flows are sent and kept.
//!
//! A *flow* is one row of [`schema::flow_schema`]: what an exporter said, its protocol's version gone. Flows travel from
//! the collector as [`bundle::Bundle`]s, a bundle being one sealed Arrow record batch of one probe with a sequence
//! number that never repeats; they are kept as a Parquet dataset whose layout, columns and commit record are the
//! business of [`parquet`].
//!
//! What this crate leaves out: it opens no file and no socket, reads no clock and resolves no address. It turns values
//! into bytes and foreign bytes into values or an [`Error`]; no input makes it panic.
//!
//! Where to start: [`batch::FlowBatchBuilder`], [`bundle::Bundle`], [`parquet::writer::FlowWriter`].
#![forbid(unsafe_code)]

pub mod arrow_stream;
pub mod batch;
pub mod bundle;
mod error;
pub mod key;
pub mod parquet;
pub mod schema;

pub use error::Error;

//! Live page, API and metrics over HTTP and WebSocket.
//!
//! The stream processor and the collector write to a [`Board`]; a [`Server`] shows it: the page at `/`, the latest state
//! at `/api/…`, changes pushed over `/ws`, metrics at `/metrics`. Nothing is loaded from elsewhere: the page and its
//! script are part of the binary.

mod access;
mod board;
mod server;
mod socket;

pub use access::Access;
pub use board::{Board, ExporterView, ProbeView, Row, StatementView};
pub use server::{Server, ServerError};

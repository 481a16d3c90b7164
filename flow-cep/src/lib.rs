//! Complex-event statements in a subset of EPL over Arrow record batches.
#![forbid(unsafe_code)]

pub mod engine;
mod error;
pub mod event_type;
pub mod expr;
pub mod plan;
mod row;
pub mod syntax;
pub mod value;

pub use engine::{Delivery, Engine, EngineError, Limits, Refusal, Rows};
pub use error::{Diagnostic, Error};
pub use syntax::{parse, parse_each};

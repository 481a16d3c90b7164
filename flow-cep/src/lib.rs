//! Complex-event statements in a subset of EPL over Arrow record batches.
#![forbid(unsafe_code)]

mod error;
pub mod event_type;
pub mod expr;
pub mod plan;
pub mod syntax;
pub mod value;

pub use error::{Diagnostic, Error};
pub use syntax::{parse, parse_each};

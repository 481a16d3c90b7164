//! Complex-event statements in a subset of EPL over Arrow record batches.
#![forbid(unsafe_code)]

pub mod event_type;
pub mod expr;
pub mod plan;
pub mod syntax;
pub mod value;

//! Text ↔ syntax tree.

pub mod ast;
mod parser;
mod token;

pub use parser::{NESTING_LIMIT, OPERATOR_LIMIT, parse, parse_each};
pub(crate) use parser::is_reserved;

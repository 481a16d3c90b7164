//! Text ↔ syntax tree.

pub mod ast;
mod display;
mod parser;
mod token;

pub use parser::{NESTING_LIMIT, OPERATOR_LIMIT, parse, parse_each};

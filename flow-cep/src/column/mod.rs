//! The columnar runtime: whole columns at a time for the statements that ask for throughput.
mod groups;
mod interner;
mod keys;
mod numbers;
mod text;
mod order;
mod view;
mod compile;
mod emit;
mod query;
mod scalar;
mod pick;
pub(crate) mod runtime;
#[cfg(test)]
mod proto;

//! NetFlow collector, stream processor, store and live page in one process.
fn main() {}

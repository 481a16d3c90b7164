//! Command line of flow-cep: check, replay and bench statements.
fn main() {}

//! `flow-cep`: checks statements, and runs them over recorded events with the events' own clock.

mod events;
mod output;
mod schema;

fn main() {}

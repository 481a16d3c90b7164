//! `flow-cep`: checks statements, and runs them over recorded events with the events' own clock.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod check;
mod events;
mod output;
mod replay;
mod schema;
mod statements;

/// Statements in a subset of EPL over flows.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Bench),
    Check(check::Check),
    Replay(replay::Replay),
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All of it was done.
    Complete,
    /// Some statements were refused; the others were run.
    Refused,
}

#[expect(clippy::print_stderr, reason = "the reason for a failure goes to standard error")]
fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Bench(bench) => bench.run(),
        Command::Check(check) => check.run(),
        Command::Replay(replay) => replay.run(),
    };
    match outcome {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! What each fuzz target does with its input. Targets panic where a promise is broken.
//!
//! The targets of the codec read their input as a sequence of datagrams, see [`Datagrams`]: state is where decoders of
//! templates go wrong, so one decoder takes them all.

mod codec;
mod datagrams;
mod mutation;
#[cfg(feature = "pipeline")]
mod pipeline;
#[cfg(feature = "differential")]
mod rival;

pub use codec::{capture, columns};
pub use datagrams::{Datagrams, decode, round_trip};
pub use mutation::mutations;
#[cfg(feature = "pipeline")]
pub use pipeline::{bundle, log_record, manifest, statements, subnets};
#[cfg(feature = "differential")]
pub use rival::differential;

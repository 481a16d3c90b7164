//! What each fuzz target does with its input. Targets panic where a promise is broken.
//!
//! The targets of the codec read their input as a sequence of datagrams, see [`Datagrams`]: state is where decoders of
//! templates go wrong, so one decoder takes them all.

mod codec;
#[cfg(feature = "differential")]
mod rival;
#[cfg(feature = "pipeline")]
mod pipeline;

pub use codec::{Datagrams, capture, columns, decode, round_trip};
#[cfg(feature = "pipeline")]
pub use pipeline::{bundle, log_record, manifest, statements, subnets};
#[cfg(feature = "differential")]
pub use rival::differential;

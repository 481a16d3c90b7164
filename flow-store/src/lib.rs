//! The flow schema, and the formats in which flows are sent and kept.
#![forbid(unsafe_code)]

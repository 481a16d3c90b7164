//! The Parquet dataset: which folder a flow lies in, how a file is written, and the manifest that is the commit.

pub mod manifest;
pub mod partition;
pub mod writer;

//! The Parquet dataset: which folder a flow lies in, how a file is written, and the manifest that is the commit.

mod chunk;
pub mod manifest;
mod packing;
pub mod partition;
pub mod writer;

//! The drain of enriched bundles into a Parquet dataset on a local disk.
//!
//! [`Drain`] takes each bundle's flows once, gathers them by UTC hour and commits them in files: a file appears under its
//! final name only when it is whole and on the disk, and counts only when the dataset's manifest names it. A bundle
//! that is already in the manifest is skipped, so whoever feeds the drain may start again from any earlier point.
//!
//! Files are gathered in memory, encoded and compressed, until they are committed. So a full disk or a folder without
//! permission loses nothing: [`Drain::commit`] fails, tells why, and can be called again.
//!
//! The drain starts no thread, never sleeps and is told the time by its caller.
//!
//! ```
//! # use std::time::Duration;
//! # use arrow_array::RecordBatch;
//! # use flow_drain::{Drain, Options};
//! # use flow_store::schema::enriched_schema;
//! # let folder = tempfile::tempdir()?;
//! let mut drain = Drain::open(&folder.path().join("flows"), Options::default())?;
//! let flows = RecordBatch::new_empty(enriched_schema());
//! drain.append("edge-1", 1, &flows, 0)?;
//! if drain.is_due(60_000) {
//!     drain.commit()?;
//! }
//! assert!(drain.manifest().holds("edge-1", 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod blocks;
mod dataset;
mod drain;
mod error;
mod retention;

pub use dataset::Recovery;
pub use drain::{Appended, Counters, Drain, Options};
pub use error::Error;
pub use retention::{Dropped, Reason, Retention};

//! Records of any version straight to Arrow columns (feature `arrow`).
//!
//! The caller names its columns in a [`ColumnPlan`]: for each the elements that may fill it, in order of preference, and
//! how a field becomes a value. [`Columns`] then appends whole sets. What a plan means for a template is worked out once
//! for each template; after that a set is read field by field over all its records.
//!
//! ```
//! use std::sync::Arc;
//! use netflow_codec::columns::{Column, ColumnKind, ColumnPlan, Columns, Integer};
//! use netflow_codec::ElementId;
//!
//! let plan = ColumnPlan::new(vec![
//!     Column::new("src_addr", ColumnKind::Address, [ElementId::iana(8), ElementId::iana(27)]),
//!     Column::new("src_port", ColumnKind::Unsigned(Integer::U16), [ElementId::iana(7)]),
//!     Column::new("bytes", ColumnKind::ScaledCounter, [ElementId::iana(1), ElementId::iana(85)]),
//!     Column::new("src_as", ColumnKind::Unsigned(Integer::U32), [ElementId::iana(16)]).nullable(),
//! ]);
//! let mut columns = Columns::new(Arc::new(plan), 8192);
//! // columns.append(&set) for each set of flows, then
//! let arrays = columns.finish();
//! assert_eq!(arrays.len(), 4);
//! ```
//!
//! Columns that are the same for a whole set or datagram (receive time, exporter, domain, probe) are the caller's:
//! [`Columns::append`] tells how many rows to add to them.

mod builder;
mod fields;
mod fill;
mod layout;
mod plan;
mod values;

pub use builder::Columns;
pub use plan::{Column, ColumnKind, ColumnPlan, Integer};

//! Longest-prefix-match resolver for whole columns of IPv4 and IPv6 addresses.
//!
//! A subnet list says which prefix belongs to which subnet, router, interface and VLAN. This crate reads such a list
//! ([`SubnetTable`]), compiles it to an immutable [`Resolver`], and appends what is known of an address to record
//! batches, a column at a time ([`Enrichment`]).
//!
//! What it leaves out: it opens no file and watches none (the caller brings the bytes), and it knows nothing of
//! NetFlow (the caller names the columns). A new list is a new `Resolver`: hold it in an `Arc`, and swap the `Arc`.
//! Whoever still uses the old one goes on with it, so a batch is never resolved by halves of two lists.
//!
//! An address is 16 bytes, an IPv4 address being `::ffff:a.b.c.d`.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
//! use flow_enrich::{AddressColumns, Enrichment, Resolver, SubnetTable, key_of};
//!
//! let table = SubnetTable::from_csv(b"prefix,name,router,interface,vlan\n\
//!     10.1.0.0/16,dormitories,gw-west,ge-0/1,110\n\
//!     10.1.7.0/24,dormitory 7,gw-west,ge-0/1,117\n")?;
//! let resolver = Resolver::new(table, 1);
//!
//! // One address:
//! let subnet = resolver.lookup(&key_of("10.1.7.9".parse()?)).map(|id| resolver.subnet(id));
//! assert_eq!(subnet.map(|subnet| subnet.name.as_str()), Some("dormitory 7"));
//!
//! // A column of them:
//! let addresses = [key_of("10.1.7.9".parse()?), key_of("192.0.2.1".parse()?)];
//! let addresses: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(addresses.iter())?);
//! let batch = RecordBatch::try_from_iter([("src_addr", addresses)])?;
//! let enrichment = Enrichment::new(&batch.schema(), &[AddressColumns {
//!     address: "src_addr",
//!     internal: "src_internal",
//!     subnet: "src_subnet",
//!     router: "src_router",
//!     interface: "src_interface",
//!     vlan: "src_vlan",
//! }])?;
//! let batch = enrichment.resolve(&resolver, &batch)?;
//! assert_eq!(batch.num_columns(), 6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod enrichment;
mod error;
mod resolver;
mod subnet;
mod table;
mod trie;

pub use enrichment::{AddressColumns, Enrichment, added_fields};
pub use error::Error;
pub use resolver::{Resolved, Resolver};
pub use subnet::{Subnet, SubnetId, key_of};
pub use table::{
    MAX_FIELD_BYTES, MAX_PROBLEMS, MAX_SUBNETS, PREFIX_COLUMN, Problem, ProblemKind, SUBNET_COLUMNS, SubnetTable,
};

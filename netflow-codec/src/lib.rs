//! Sans-IO decoder and encoder for NetFlow v1, v5, v7, v9 and IPFIX.
//!
//! The caller brings bytes, sender and time; this crate brings meaning. It opens no socket, reads no clock, and
//! allocates nothing per record or datagram once templates are known.
//!
//! Start with [`Decoder`], which turns a datagram into a [`Message`]; its [`Set`]s hold [`Record`]s borrowed from the
//! datagram.
//!
//! ```
//! use netflow_codec::{Decoder, ElementId, Limits, Set};
//!
//! # let datagram = [0u8; 0];
//! let mut decoder = Decoder::new(Limits::default());
//! match decoder.decode(&datagram, "192.0.2.1:2055".parse()?, 0) {
//!     Ok(message) => {
//!         for set in &message {
//!             match set {
//!                 Ok(Set::Data(set)) => {
//!                     for record in set.records() {
//!                         let bytes = record.unsigned(ElementId::iana(1));
//!                         println!("{bytes:?} bytes from {:?}", record.address(ElementId::iana(8)));
//!                     }
//!                 }
//!                 Ok(_) => {}
//!                 Err(error) => eprintln!("{}: {error}", message.exporter()),
//!             }
//!         }
//!     }
//!     Err(error) => eprintln!("{error}"),
//! }
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

extern crate alloc;

mod cache;
#[cfg(feature = "arrow")]
pub mod columns;
mod decoder;
pub mod element;
pub mod encode;
mod error;
mod header;
mod icmp;
mod limits;
pub mod list;
mod message;
mod neighbours;
mod order;
pub mod record;
mod sampling;
pub mod sequence;
mod snapshot;
mod stream;
mod template;
mod time;
mod used;
mod v5;
mod wire;

pub use decoder::{Counters, Decoder, StreamStatus};
pub use element::ElementId;
pub use error::{Error, LimitKind};
pub use header::{DomainId, Header, Version};
pub use icmp::Icmp;
pub use limits::Limits;
pub use message::{DataSet, Message, Records, Set, Sets, TemplateChange, UnknownSet, UnsignedValues};
pub use record::Record;
pub use sampling::Sampling;
pub use snapshot::{StreamSnapshot, TemplateSnapshot};
pub use stream::StreamKey;
pub use template::{FieldLength, FieldSpec, Template, TemplateFault, TemplateId, TemplateKind};
pub use v5::V5Flow;

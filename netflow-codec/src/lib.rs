//! Sans-IO decoder and encoder for NetFlow v1, v5, v7, v9 and IPFIX.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

extern crate alloc;

pub mod element;

pub use element::ElementId;

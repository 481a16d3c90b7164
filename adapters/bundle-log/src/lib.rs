//! Durable, bounded log of frames on a local disk: the queue of the all-in-one form.
//!
//! The collector appends sealed bundles, the stream processor reads them from the position of its last checkpoint, and
//! whole segments are deleted once everything in them is both processed and stored. The log does not look into its
//! frames: it promises that a frame comes out as it went in, or not at all.
//!
//! ```text
//! DIR/00000000000000000000.seg   segment: 16 byte header, then frames
//! DIR/00000000000268435456.seg   named by the position of its first byte of frames
//!
//! segment header  | magic "MRLOG" | version 1 | 0 0 | base position (u64, little endian) |
//! frame           | length (u32)  | CRC-32 of length and payload (u32) | payload          |
//! ```
//!
//! A [`Position`] counts the bytes of all frames ever appended, so it never repeats and is ordered.
//!
//! # What "durable" means
//!
//! An append returns after `write(2)`: the frame survives the death of the process (`kill -9`) at any later moment. What
//! survives a power cut is set by [`Sync`]. On opening, a frame that is cut short at the end of the last segment is
//! removed; it was never acknowledged.
//!
//! Start with [`LogWriter::open`], [`LogWriter::append`] and [`LogReader`].

mod error;
mod position;
mod reader;
pub mod record;
mod segment;
mod tail;
mod writer;

pub use error::Error;
pub use position::Position;
pub use reader::{Frame, LogReader};
pub use tail::Tail;
pub use writer::{LogWriter, Options, Sync, Trimmer, Usage};

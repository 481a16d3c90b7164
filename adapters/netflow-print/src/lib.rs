//! Prints the NetFlow and IPFIX of a capture or a socket as JSON lines, and replays captures.
//!
//! The binaries `netflow-print` and `netflow-replay` share what is here: [`capture`] reads the frames of a pcap or
//! pcapng file, [`frame`] finds the UDP datagrams in them, [`detect`] tells which of these are NetFlow, and
//! [`printer`] decodes them and writes a line for each record.

pub mod capture;
pub mod detect;
pub mod frame;
pub mod json;
pub mod printer;

mod fragments;
mod render;
mod summary;

//! Streams that differ in the exporter's port alone.
//!
//! RFC 7011 §8 scopes templates to the transport session, so two exporters behind one address do not share them. But an
//! exporter gets another port when it or a NAT on the way starts anew, and some send templates from one socket and data
//! from another; their data must not wait for the next refresh, which may be half an hour away or never come. So a stream
//! that waits for a template takes over that of a neighbour, if the neighbour has not used it since the stream began:
//! what another exporter uses stays its own.

use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use crate::header::{DomainId, Version};
use crate::stream::StreamKey;

/// How long a stream waits for a template of its own before it takes over another's. An exporter that has just started
/// sends its templates first.
pub(crate) const PATIENCE_MS: i64 = 5_000;

/// How long it waits before it looks again.
pub(crate) const RETRY_MS: i64 = 1_000;

/// Neighbours that are looked at; forged senders could make up one for each port.
const MAX_NEIGHBOURS: usize = 16;

/// The ports of each address, version and domain; of too many, the latest.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    ports: HashMap<(IpAddr, Version, DomainId), Vec<u16>, foldhash::fast::FixedState>,
}

impl Neighbours {
    pub(crate) fn add(&mut self, key: StreamKey) {
        let ports = self.ports.entry(without_port(key)).or_default();
        if ports.len() >= MAX_NEIGHBOURS {
            ports.remove(0);
        }
        ports.push(key.exporter.port());
    }

    pub(crate) fn remove(&mut self, key: StreamKey) {
        if let Some(ports) = self.ports.get_mut(&without_port(key)) {
            ports.retain(|port| *port != key.exporter.port());
            if ports.is_empty() {
                self.ports.remove(&without_port(key));
            }
        }
    }

    /// The neighbours of a stream, the latest first.
    pub(crate) fn of(&self, key: StreamKey) -> impl Iterator<Item = StreamKey> + '_ {
        let ports = self.ports.get(&without_port(key)).map_or(&[][..], Vec::as_slice);
        let others = ports.iter().rev().filter(move |port| **port != key.exporter.port());
        others.map(move |port| {
            let mut exporter = key.exporter;
            exporter.set_port(*port);
            StreamKey { exporter, ..key }
        })
    }
}

fn without_port(key: StreamKey) -> (IpAddr, Version, DomainId) {
    (key.exporter.ip(), key.version, key.domain)
}

//! What a decoder knows of its streams, as plain data: kept over a restart, so that the first datagram is understood.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cache::Entry;
use crate::header::Version;
use crate::limits::Limits;
use crate::order::Sent;
use crate::sampling::Sampling;
use crate::sequence::Tracker;
use crate::stream::StreamKey;
use crate::template::{Template, TemplateId, TemplateKind};
use crate::wire::{ipfix, v9};

/// One stream as a decoder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StreamSnapshot {
    /// Which stream.
    pub key: StreamKey,
    /// When a datagram came last, by the caller's clock.
    pub heard_ms: i64,
    /// Its templates, by id.
    pub templates: Vec<TemplateSnapshot>,
    /// What it told about sampling.
    pub sampling: Sampling,
    /// Its sequence.
    pub sequence: Tracker,
}

/// One template as the exporter defined it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TemplateSnapshot {
    /// The template's id.
    pub id: TemplateId,
    /// How many fields are scope fields; `None` for a template of flows.
    pub scope_fields: Option<u16>,
    /// The fields as the version has them on the wire.
    pub definition: Vec<u8>,
    /// When it was last defined, by the caller's clock.
    pub refreshed_ms: i64,
}

impl TemplateSnapshot {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            id: entry.template.id(),
            scope_fields: entry.scope_fields,
            definition: entry.definition.to_vec(),
            refreshed_ms: entry.refreshed_ms,
        }
    }

    /// The template, if it is whole, usable and within the limits: a snapshot may come from a file that was changed.
    pub(crate) fn into_entry(self, version: Version, limits: &Limits) -> Option<Entry> {
        let kind = match self.scope_fields {
            None => TemplateKind::Data,
            Some(scope_fields) => TemplateKind::Options { scope_fields },
        };
        let fields = match version {
            Version::V9 => v9::fields(&self.definition, usize::from(self.scope_fields.unwrap_or(0))),
            Version::Ipfix => ipfix::fields(&self.definition),
            Version::V1 | Version::V5 | Version::V7 => return None,
        };
        if fields.len() > limits.fields_per_template {
            return None;
        }
        Some(Entry {
            template: Arc::new(Template::new(self.id, kind, fields).ok()?),
            definition: Box::from(self.definition),
            scope_fields: self.scope_fields,
            refreshed_ms: self.refreshed_ms,
            used_ms: i64::MIN,
            told: Sent::default(),
        })
    }
}

//! The templates of one stream, and the sets that wait for one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::message::HeldSet;
use crate::template::{Template, TemplateId};

/// A known template.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) template: Arc<Template>,
    /// Its definition on the wire, to tell a refresh from a change without building the template.
    pub(crate) definition: Box<[u8]>,
    /// Number of scope fields, or `None` for a template of flows; with the definition, all that makes a template.
    pub(crate) scope_fields: Option<u16>,
    pub(crate) refreshed_ms: i64,
    /// When records of it last came; `i64::MIN` if none did.
    pub(crate) used_ms: i64,
}

impl Entry {
    /// Bytes held, near enough for a limit.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>()
            .saturating_add(self.template.footprint())
            .saturating_add(self.definition.len())
    }
}

/// The templates of one stream.
#[derive(Debug, Default)]
pub(crate) struct TemplateCache {
    entries: HashMap<u16, Entry, foldhash::fast::FixedState>,
    bytes: usize,
}

impl TemplateCache {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, id: TemplateId) -> Option<&Entry> {
        self.entries.get(&id.0)
    }

    pub(crate) fn get_mut(&mut self, id: TemplateId) -> Option<&mut Entry> {
        self.entries.get_mut(&id.0)
    }

    pub(crate) fn insert(&mut self, id: TemplateId, entry: Entry) -> Option<Entry> {
        self.bytes = self.bytes.saturating_add(entry.footprint());
        let old = self.entries.insert(id.0, entry);
        self.bytes = self.bytes.saturating_sub(old.as_ref().map_or(0, Entry::footprint));
        old
    }

    pub(crate) fn remove(&mut self, id: TemplateId) -> Option<Entry> {
        let old = self.entries.remove(&id.0)?;
        self.bytes = self.bytes.saturating_sub(old.footprint());
        Some(old)
    }

    /// Removes all templates of one kind: of flows, or of options.
    pub(crate) fn remove_kind(&mut self, options: bool) -> Vec<Arc<Template>> {
        let removed: Vec<Entry> = self
            .entries
            .extract_if(|_, entry| entry.scope_fields.is_some() == options)
            .map(|(_, entry)| entry)
            .collect();
        let bytes = removed.iter().map(Entry::footprint).fold(0, usize::saturating_add);
        self.bytes = self.bytes.saturating_sub(bytes);
        removed.into_iter().map(|entry| entry.template).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

/// Sets of one stream that wait for their template, oldest first.
#[derive(Debug, Default)]
pub(crate) struct HeldSets {
    sets: VecDeque<HeldSet>,
    bytes: usize,
}

impl HeldSets {
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, set: HeldSet) {
        self.bytes = self.bytes.saturating_add(footprint(&set));
        self.sets.push_back(set);
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<HeldSet> {
        let set = self.sets.pop_front()?;
        self.bytes = self.bytes.saturating_sub(footprint(&set));
        Some(set)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeldSet> {
        self.sets.iter()
    }

    /// When the oldest set came.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.sets.front().map(|set| set.received_ms)
    }

    /// Takes out the sets of one template, in the order in which they came.
    pub(crate) fn take(&mut self, template: TemplateId, into: &mut Vec<HeldSet>) {
        if !self.sets.iter().any(|set| set.template == template) {
            return;
        }
        let mut kept = VecDeque::with_capacity(self.sets.len());
        for set in self.sets.drain(..) {
            if set.template == template {
                self.bytes = self.bytes.saturating_sub(footprint(&set));
                into.push(set);
            } else {
                kept.push_back(set);
            }
        }
        self.sets = kept;
    }
}

/// Bytes that a held set takes.
pub(crate) fn footprint(set: &HeldSet) -> usize {
    size_of::<HeldSet>().saturating_add(set.body.len())
}

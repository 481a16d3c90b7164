//! The templates of one stream, and the sets that wait for one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use crate::message::HeldSet;
use crate::order::Sent;
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
    /// When the message was sent that told of it last.
    pub(crate) told: Sent,
}

/// A template that was replaced or taken back: records of it may still be under way.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// The template's, beside the others' for a fast search.
    pub(crate) id: TemplateId,
    pub(crate) template: Arc<Template>,
    /// When the message was sent that ended it.
    pub(crate) until: Sent,
}

impl Past {
    /// Bytes held, near enough for a limit.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>().saturating_add(self.template.footprint())
    }
}

/// Templates of the past that one stream keeps; of more, the latest. They matter for as long as the network reorders.
const PAST_TEMPLATES: usize = 64;

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
    /// One for each id, the latest last.
    past: Vec<Past>,
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

    /// Keeps a template that is valid no more.
    pub(crate) fn retire(&mut self, past: Past) {
        let same = self.past.iter().position(|other| other.id == past.id);
        if let Some(place) = same.or_else(|| (self.past.len() >= PAST_TEMPLATES).then_some(0)) {
            let gone = self.past.remove(place);
            self.bytes = self.bytes.saturating_sub(gone.footprint());
        }
        self.bytes = self.bytes.saturating_add(past.footprint());
        self.past.push(past);
    }

    pub(crate) fn has_past(&self) -> bool {
        !self.past.is_empty()
    }

    /// The template that an id had before.
    pub(crate) fn past(&self, id: TemplateId) -> Option<&Past> {
        self.past.iter().find(|past| past.id == id)
    }

    /// Removes all templates of one kind, of flows or of options, that were not told of after a message was sent.
    pub(crate) fn remove_kind(&mut self, options: bool, sent: Sent) -> Vec<Arc<Template>> {
        let removed: Vec<Entry> = self
            .entries
            .extract_if(|_, entry| entry.scope_fields.is_some() == options && !sent.is_before(entry.told))
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
        self.take_if(|set| set.template == template, into);
    }

    /// Takes out some of the sets, in the order in which they came.
    pub(crate) fn take_if(&mut self, wanted: impl Fn(&HeldSet) -> bool, into: &mut Vec<HeldSet>) {
        if !self.sets.iter().any(&wanted) {
            return;
        }
        let mut kept = VecDeque::with_capacity(self.sets.len());
        for set in self.sets.drain(..) {
            if wanted(&set) {
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

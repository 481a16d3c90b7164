//! The templates of a message: defined, replaced, taken back.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::walk::Walk;
use crate::cache::{self, Entry, Past};
use crate::error::{Error, LimitKind};
use crate::header::Version;
use crate::message::{HeldSet, TemplateChange};
use crate::order::Sent;
use crate::template::{Template, TemplateId, TemplateKind};
use crate::wire::definition::{self, Definition};
use crate::wire::{ipfix, v9};

impl Walk<'_> {
    /// The templates of a set. Gives an error for a template that ends the set early; those that are merely unusable are
    /// noted and passed over.
    pub(super) fn template_set(&mut self, set_id: u16, start: usize, end: usize) -> Result<(), Error> {
        let datagram = self.datagram;
        let mut rest = datagram.get(start..end).unwrap_or_default();
        // What is shorter than the head of a template, or zero, is padding.
        while rest.len() >= 4 && rest.iter().take(4).any(|byte| *byte != 0) {
            let offset = end.saturating_sub(rest.len());
            let id = TemplateId(rest.first_chunk().map_or(0, |id| u16::from_be_bytes(*id)));
            let cut_short = |_| Error::TemplateCutShort { template: id, offset };
            let head;
            (rest, head) = definition::read(rest, set_id, self.header.version).map_err(cut_short)?;
            self.template(id, offset, set_id, head);
        }
        Ok(())
    }

    /// Takes note of one template.
    fn template(&mut self, id: TemplateId, offset: usize, set_id: u16, definition: Definition<'_>) {
        let fault = |fault| Error::Template {
            template: id,
            offset,
            fault,
        };
        let (scope_fields, count, bytes) = match definition {
            Definition::Withdrawal => return self.withdraw(id, set_id),
            Definition::Faulty(what) => return self.fail(fault(what)),
            Definition::Fields {
                scope_fields,
                count,
                bytes,
            } => (scope_fields, count, bytes),
        };
        let (now_ms, sent) = (self.now_ms, Sent::of(&self.header));
        if let Some(entry) = self.stream.templates.get_mut(id)
            && *entry.definition == *bytes
            && entry.scope_fields == scope_fields
        {
            entry.refreshed_ms = now_ms;
            if !sent.is_before(entry.told) {
                entry.told = sent;
            }
            self.changes
                .push(TemplateChange::Refreshed(Arc::clone(&entry.template)));
            self.counters.templates = self.counters.templates.wrapping_add(1);
            return;
        }
        let refused = |limit| Error::TemplateRefused {
            template: id,
            offset,
            limit,
        };
        if count > self.limits.fields_per_template {
            self.forget(id);
            return self.fail(refused(LimitKind::Fields));
        }
        let kind = scope_fields.map_or(TemplateKind::Data, |scope_fields| TemplateKind::Options {
            scope_fields,
        });
        let fields = match self.header.version {
            Version::V9 => v9::fields(bytes, usize::from(scope_fields.unwrap_or(0))),
            _ => ipfix::fields(bytes),
        };
        let template = match Template::new(id, kind, fields) {
            Ok(template) => Arc::new(template),
            Err(what) => {
                // What came under this id before is not what comes under it from now on.
                self.forget(id);
                return self.fail(fault(what));
            }
        };
        if let Some(until) = self.ended(id, sent) {
            self.retire(&template, until);
            return self.changes.push(TemplateChange::Past(template));
        }
        let entry = Entry {
            template: Arc::clone(&template),
            definition: Box::from(bytes),
            scope_fields,
            refreshed_ms: now_ms,
            used_ms: i64::MIN,
            told: sent,
        };
        self.give_up_past(id, &template, sent);
        let old = self.forget(id);
        if let Some(old) = &old {
            self.retire(old, sent);
        }
        let bytes = entry.footprint();
        if self.stream.templates.len() >= self.limits.templates_per_stream && !self.expire_templates() {
            return self.fail(refused(LimitKind::Templates));
        }
        if self.totals.template_bytes.saturating_add(bytes) > self.limits.template_bytes {
            return self.fail(refused(LimitKind::TemplateBytes));
        }
        self.totals.template_bytes = self.totals.template_bytes.saturating_add(bytes);
        self.stream.templates.insert(id, entry);
        self.counters.templates = self.counters.templates.wrapping_add(1);
        self.changes.push(match old {
            Some(old) => TemplateChange::Replaced { new: template, old },
            None => TemplateChange::Added(template),
        });
        self.stream.held.take(id, self.replayed);
    }

    /// When the template that a message tells of has ended, if the network has brought the message too late.
    fn ended(&self, id: TemplateId, sent: Sent) -> Option<Sent> {
        let templates = &self.stream.templates;
        let until = match (templates.get(id), templates.past(id)) {
            (Some(entry), _) => entry.told,
            (None, Some(past)) => past.until,
            (None, None) => return None,
        };
        sent.is_before(until).then_some(until)
    }

    /// Keeps a template that has ended, if there is room for it.
    fn retire(&mut self, template: &Arc<Template>, until: Sent) {
        let past = Past {
            id: template.id(),
            template: Arc::clone(template),
            until,
        };
        let all = self.totals.template_bytes.saturating_add(past.footprint());
        if all <= self.limits.template_bytes {
            let before = self.stream.templates.bytes();
            self.stream.templates.retire(past);
            let others = self.totals.template_bytes.saturating_sub(before);
            self.totals.template_bytes = others.saturating_add(self.stream.templates.bytes());
        }
    }

    /// Gives up the sets that were sent after a template had been taken back and before another came under its id: nobody
    /// can tell what is in them.
    fn give_up_past(&mut self, id: TemplateId, template: &Template, sent: Sent) {
        let Some(past) = self.stream.templates.past(id) else {
            return;
        };
        if self.stream.held.is_empty() || past.template.fields() == template.fields() {
            return;
        }
        let until = past.until;
        let is_lost = |set: &HeldSet| {
            let held = Sent::of(&set.header);
            set.template == id && held.is_before(sent) && !held.is_before(until)
        };
        let mut lost = Vec::new();
        self.stream.held.take_if(is_lost, &mut lost);
        for set in lost {
            self.totals.held_bytes = self.totals.held_bytes.saturating_sub(cache::footprint(&set));
            self.counters.sets_given_up = self.counters.sets_given_up.wrapping_add(1);
        }
    }

    /// RFC 7011 §8.1: a template without fields takes an id back; the id of a template set takes back all of its kind.
    fn withdraw(&mut self, id: TemplateId, set_id: u16) {
        let sent = Sent::of(&self.header);
        if id.0 == set_id {
            let before = self.stream.templates.bytes();
            let removed = self
                .stream
                .templates
                .remove_kind(set_id == ipfix::OPTIONS_TEMPLATES, sent);
            let freed = before.saturating_sub(self.stream.templates.bytes());
            self.totals.template_bytes = self.totals.template_bytes.saturating_sub(freed);
            let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
            self.counters.templates_withdrawn = self.counters.templates_withdrawn.wrapping_add(count);
            for template in &removed {
                self.retire(template, sent);
            }
            self.changes.extend(removed.into_iter().map(TemplateChange::Withdrawn));
            return;
        }
        let is_late = self.ended(id, sent).is_some();
        let old = if is_late { None } else { self.forget(id) };
        let change = match old {
            Some(old) => {
                self.retire(&old, sent);
                self.counters.templates_withdrawn = self.counters.templates_withdrawn.wrapping_add(1);
                TemplateChange::Withdrawn(old)
            }
            None => TemplateChange::WithdrawnUnknown(id),
        };
        self.changes.push(change);
    }

    pub(super) fn forget(&mut self, id: TemplateId) -> Option<Arc<Template>> {
        let old = self.stream.templates.remove(id)?;
        self.totals.template_bytes = self.totals.template_bytes.saturating_sub(old.footprint());
        Some(old.template)
    }

    /// Forgets templates that were not refreshed in time; returns whether there was one.
    fn expire_templates(&mut self) -> bool {
        let oldest_ms = self.now_ms.saturating_sub(self.limits.template_lifetime_ms);
        let aged: Vec<TemplateId> = self
            .stream
            .templates
            .iter()
            .filter(|entry| entry.refreshed_ms < oldest_ms)
            .map(|entry| entry.template.id())
            .collect();
        for id in &aged {
            self.forget(*id);
            self.counters.templates_expired = self.counters.templates_expired.wrapping_add(1);
        }
        !aged.is_empty()
    }
}

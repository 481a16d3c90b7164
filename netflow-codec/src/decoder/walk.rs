//! The walk over one message: its sets and their records, and what they teach.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Counters, Processes, Totals};
use crate::cache;
use crate::error::Error;
use crate::header::{Header, Version};
use crate::limits::Limits;
use crate::message::{DataPart, HeldSet, Part, TemplateChange};
use crate::order::Sent;
use crate::record::Record;
use crate::sampling::Sampling;
use crate::sequence::{Arrival, Content, Gap, Sequencing};
use crate::stream::Stream;
use crate::template::{Template, TemplateId, TemplateKind};
use crate::used::{Used, number_in};
use crate::wire::definition::TEMPLATE_SETS;
use crate::wire::{self, fixed::FixedLayouts};

/// A walk over the sets of one message.
pub(super) struct Walk<'w> {
    pub(super) limits: &'w Limits,
    pub(super) layouts: &'w FixedLayouts,
    pub(super) totals: &'w mut Totals,
    pub(super) counters: &'w mut Counters,
    pub(super) stream: &'w mut Stream,
    pub(super) processes: &'w mut Processes,
    pub(super) parts: &'w mut Vec<Part>,
    pub(super) changes: &'w mut Vec<TemplateChange>,
    pub(super) replayed: &'w mut Vec<HeldSet>,
    pub(super) gaps: &'w mut Vec<Gap>,
    pub(super) used: &'w mut Used,
    pub(super) datagram: &'w [u8],
    pub(super) header: Header,
    pub(super) now_ms: i64,
    pub(super) content: Content,
    /// Whether the datagram came before: nothing is learned or counted from it.
    pub(super) duplicate: bool,
    /// What is known of sampling in all observation domains of the exporter.
    pub(super) process: Option<Arc<Sampling>>,
}

impl Walk<'_> {
    pub(super) fn fail(&mut self, error: Error) {
        self.counters.errors = self.counters.errors.wrapping_add(1);
        if matches!(
            error,
            Error::Template { .. } | Error::TemplateRefused { .. } | Error::TemplateCutShort { .. }
        ) {
            self.counters.templates_refused = self.counters.templates_refused.wrapping_add(1);
        }
        self.parts.push(Part::Failed(error));
    }

    /// What the message holds behind its header. `length` is that of the message, if the header tells it.
    pub(super) fn parts(&mut self, start: usize, length: Option<u16>) {
        let layouts = self.layouts;
        let long = match self.header.version {
            Version::V1 => layouts.v1_long(self.header.count, self.datagram.len().saturating_sub(start)),
            _ => None,
        };
        match long.or_else(|| layouts.of(self.header.version)) {
            Some(layout) => self.fixed_records(layout, start),
            None => self.sets(start, length),
        }
    }

    /// How the message fits the sequence of its stream, and how many units that were told as lost it brought after all.
    pub(super) fn follow(self) -> (Sequencing, u32) {
        if self.duplicate {
            self.counters.duplicates = self.counters.duplicates.wrapping_add(1);
            let sequencing = Sequencing {
                arrival: Arrival::Duplicate,
                counting: self.stream.sequence.counting(),
                expected: None,
                received: self.header.sequence,
            };
            return (sequencing, 0);
        }
        let (header, content) = (&self.header, self.content);
        self.stream.sequence.follow(header, content, self.now_ms, self.gaps)
    }

    /// The records of v1, v5 and v7: as many as the header counts, as far as they are there.
    fn fixed_records(&mut self, layout: &Arc<Template>, start: usize) {
        let record_length = layout.min_record_length();
        let space = self.datagram.len().saturating_sub(start);
        let whole = space.checked_div(record_length).unwrap_or(0);
        let count = usize::from(self.header.count).min(whole);
        let end = start.saturating_add(count.saturating_mul(record_length));
        if count > 0 {
            let template = number_in(&mut self.used.templates, layout);
            self.push_data(template, None, self.header, start, end, count);
        }
        self.content = Content {
            flows: u32::from(self.header.count),
            ..Content::default()
        };
        if count < usize::from(self.header.count) {
            self.fail(Error::RecordCount {
                count: self.header.count,
                found: u16::try_from(count).unwrap_or(u16::MAX),
            });
        }
    }

    /// The sets of v9 and IPFIX. v9's count of records is not used: some exporters count sets, and some miscount.
    fn sets(&mut self, start: usize, length: Option<u16>) {
        let mut end = self.datagram.len();
        if let Some(length) = length {
            let stated = usize::from(length);
            if stated < start {
                return self.fail(Error::MessageLength { length });
            }
            if stated > end {
                self.content.uncounted = true;
                self.fail(Error::MessageCutShort { length, found: end });
            }
            end = end.min(stated);
        }
        let mut at = start;
        while at < end {
            let mut rest = self.datagram.get(at..end).unwrap_or_default();
            let Ok((_, (id, length))) = wire::set_header(rest) else {
                if rest.iter().any(|byte| *byte != 0) {
                    self.fail(Error::TrailingBytes {
                        offset: at,
                        found: rest.len(),
                    });
                }
                return;
            };
            let stated = usize::from(length);
            if stated < wire::SET_HEADER {
                // Some exporters fill the datagram up with zeros.
                if rest.iter().any(|byte| *byte != 0) {
                    self.content.uncounted = true;
                    self.fail(Error::SetLength { id, offset: at, length });
                }
                return;
            }
            // A set that goes on behind the message's length is whole in the datagram: the length is what is wrong.
            if stated > rest.len() && at.saturating_add(stated) <= self.datagram.len() {
                end = self.datagram.len();
                rest = self.datagram.get(at..end).unwrap_or_default();
            }
            let found = stated.min(rest.len());
            let set_end = at.saturating_add(found);
            self.set(id, at.saturating_add(wire::SET_HEADER), set_end);
            if found < stated {
                self.content.uncounted = true;
                self.fail(Error::SetCutShort {
                    id,
                    offset: at,
                    length,
                    found,
                });
            }
            at = self.next_set(set_end, end);
        }
    }

    /// Where the next set begins: where this one ends, unless the exporter left the padding to a multiple of four out
    /// of the set's length.
    fn next_set(&self, set_end: usize, end: usize) -> usize {
        let aligned = set_end.next_multiple_of(4);
        let padding = self.datagram.get(set_end..aligned.min(end)).unwrap_or_default();
        if padding.is_empty() || padding.iter().any(|byte| *byte != 0) || self.is_set(set_end, end) {
            return set_end;
        }
        if aligned >= end || self.is_set(aligned, end) {
            aligned.min(end)
        } else {
            set_end
        }
    }

    /// Whether what is here looks like a set.
    fn is_set(&self, at: usize, end: usize) -> bool {
        let rest = self.datagram.get(at..end).unwrap_or_default();
        let Ok((_, (id, length))) = wire::set_header(rest) else {
            return false;
        };
        let known = TEMPLATE_SETS.contains(&id) || id >= 256;
        known && (wire::SET_HEADER..=rest.len()).contains(&usize::from(length))
    }

    /// One set without its header.
    fn set(&mut self, id: u16, start: usize, end: usize) {
        match id {
            id if TEMPLATE_SETS.contains(&id) => {
                let first_change = self.changes.len();
                let first_held = self.replayed.len();
                let fault = self.template_set(id, start, end).err();
                if self.changes.len() > first_change {
                    self.parts.push(Part::Templates {
                        start: first_change,
                        end: self.changes.len(),
                    });
                }
                if let Some(fault) = fault {
                    self.fail(fault);
                }
                for number in first_held..self.replayed.len() {
                    self.replay(number);
                }
            }
            0..=255 => self.parts.push(Part::Reserved { id, start, end }),
            _ => self.data_set(TemplateId(id), start, end),
        }
    }

    fn data_set(&mut self, id: TemplateId, start: usize, end: usize) {
        let entry = self.stream.templates.get(id);
        if entry.is_some_and(|entry| self.now_ms.saturating_sub(entry.refreshed_ms) > self.limits.template_lifetime_ms)
        {
            self.forget(id);
            self.counters.templates_expired = self.counters.templates_expired.wrapping_add(1);
        }
        if self.stream.templates.has_past()
            && let Some(template) = self.past_template(id)
        {
            return self.data(template, None, self.header, start, end);
        }
        match self.stream.templates.get_mut(id) {
            Some(entry) => {
                if !self.duplicate {
                    entry.used_ms = self.now_ms;
                }
                let template = number_in(&mut self.used.templates, &entry.template);
                self.data(template, None, self.header, start, end);
            }
            None => self.unknown_set(id, start, end),
        }
    }

    /// A set whose template is not known.
    #[cold]
    fn unknown_set(&mut self, id: TemplateId, start: usize, end: usize) {
        self.content.uncounted = true;
        let held = !self.duplicate && {
            self.counters.sets_without_template = self.counters.sets_without_template.wrapping_add(1);
            self.hold(id, start, end)
        };
        self.parts.push(Part::Unknown {
            template: id,
            start,
            end,
            held,
        });
    }

    /// The number of the template that an id had when the message was sent, if the network has brought that too late for
    /// it.
    #[cold]
    fn past_template(&mut self, id: TemplateId) -> Option<usize> {
        let past = self.stream.templates.past(id)?;
        Sent::of(&self.header)
            .is_before(past.until)
            .then(|| number_in(&mut self.used.templates, &past.template))
    }

    /// Finds the records of a set.
    fn data(&mut self, number: usize, held: Option<usize>, header: Header, start: usize, end: usize) {
        let Some(template) = self.used.template(number) else {
            return;
        };
        let id = template.id();
        let body = match held {
            None => self.datagram.get(start..end),
            Some(number) => self.replayed.get(number).and_then(|set| set.body.get(start..end)),
        };
        let mut rest = body.unwrap_or_default();
        let full = rest.len();
        let mut count = 0_usize;
        let mut cut_short = false;
        if let Some(record_length) = template.record_length() {
            count = full.checked_div(record_length).unwrap_or(0);
            rest = rest.get(count.saturating_mul(record_length)..).unwrap_or_default();
        } else {
            // Padding is shorter than any record (RFC 7011 §3.3.1), but not by all exporters: where records may be as
            // short as three bytes, zeros up to a multiple of four are taken for padding all the same.
            while rest.len() >= template.min_record_length() && !(rest.len() < 4 && rest.iter().all(|byte| *byte == 0))
            {
                let Some(after) = template.measure(rest).and_then(|length| rest.get(length..)) else {
                    cut_short = rest.iter().any(|byte| *byte != 0);
                    break;
                };
                rest = after;
                count = count.saturating_add(1);
            }
        }
        let records_end = start.saturating_add(full.saturating_sub(rest.len()));
        if count > 0 {
            self.push_data(number, held, header, start, records_end, count);
        } else if held.is_none() && !cut_short && rest.len() >= 4 && rest.iter().any(|byte| *byte != 0) {
            // Not one record, and no padding: the template is another, which is still under way.
            return self.unknown_set(id, start, end);
        }
        if cut_short {
            self.content.uncounted |= held.is_none();
            self.fail(Error::RecordCutShort {
                template: id,
                offset: records_end,
            });
        }
    }

    fn push_data(
        &mut self,
        number: usize,
        held: Option<usize>,
        header: Header,
        start: usize,
        end: usize,
        count: usize,
    ) {
        let Some(template) = self.used.template(number) else {
            return;
        };
        let records = u32::try_from(count).unwrap_or(u32::MAX);
        let (counter, content) = match template.kind() {
            TemplateKind::Data => (&mut self.counters.records, &mut self.content.flows),
            TemplateKind::Options { .. } => (&mut self.counters.options_records, &mut self.content.options),
        };
        if !self.duplicate {
            *counter = counter.wrapping_add(u64::from(records));
        }
        if held.is_none() {
            *content = content.saturating_add(records);
        }
        if !self.duplicate && template.kind() != TemplateKind::Data {
            let template = Arc::clone(template);
            self.learn(&template, held, &header, start, end);
        }
        let sampling = match &self.process {
            None => number_in(&mut self.used.sampling, &self.stream.sampling),
            Some(process) => number_in(&mut self.used.sampling, self.stream.sampling_within(process)),
        };
        self.parts.push(Part::Data(DataPart {
            template: number,
            sampling,
            header,
            held,
            start,
            end,
            count,
        }));
    }

    /// Takes note of what options records tell about sampling. Sets before them keep what was known then.
    fn learn(&mut self, template: &Template, held: Option<usize>, header: &Header, start: usize, end: usize) {
        let body = match held {
            None => self.datagram.get(start..end),
            Some(number) => self.replayed.get(number).and_then(|set| set.body.get(start..end)),
        };
        let mut rest = body.unwrap_or_default();
        while let Some((bytes, after)) = template.measure(rest).and_then(|length| rest.split_at_checked(length)) {
            if bytes.is_empty() {
                return;
            }
            rest = after;
            if let Some(next) = self.stream.sampling.learned_from(&Record::new(template, header, bytes)) {
                self.stream.sampling = Arc::new(next);
                if self.stream.key.is_process() {
                    let told = Arc::clone(&self.stream.sampling);
                    self.processes.insert(self.stream.key.exporter, told);
                }
            }
        }
    }

    /// Keeps a set until its template comes.
    fn hold(&mut self, template: TemplateId, start: usize, end: usize) -> bool {
        let set = HeldSet {
            template,
            header: self.header,
            received_ms: self.now_ms,
            body: Box::from(self.datagram.get(start..end).unwrap_or_default()),
        };
        let wanted = cache::footprint(&set);
        let limit = self.limits.held_bytes_per_stream.min(self.limits.held_bytes);
        let oldest_ms = self.now_ms.saturating_sub(self.limits.held_ms);
        while !self.stream.held.is_empty() {
            let stream_full = self.stream.held.bytes().saturating_add(wanted) > limit;
            let all_full = self.totals.held_bytes.saturating_add(wanted) > self.limits.held_bytes;
            let aged = self
                .stream
                .held
                .oldest_ms()
                .is_some_and(|received_ms| received_ms < oldest_ms);
            if !stream_full && !all_full && !aged {
                break;
            }
            self.give_up_oldest();
        }
        if wanted > limit || self.totals.held_bytes.saturating_add(wanted) > self.limits.held_bytes {
            self.counters.sets_given_up = self.counters.sets_given_up.wrapping_add(1);
            return false;
        }
        self.totals.held_bytes = self.totals.held_bytes.saturating_add(wanted);
        self.stream.held.push(set);
        true
    }

    fn give_up_oldest(&mut self) {
        if let Some(gone) = self.stream.held.pop_oldest() {
            self.totals.held_bytes = self.totals.held_bytes.saturating_sub(cache::footprint(&gone));
            self.counters.sets_given_up = self.counters.sets_given_up.wrapping_add(1);
        }
    }

    /// Decodes the sets that had waited for templates that were taken over before the walk.
    pub(super) fn replay_adopted(&mut self) {
        if !self.changes.is_empty() {
            self.parts.push(Part::Templates {
                start: 0,
                end: self.changes.len(),
            });
            for number in 0..self.replayed.len() {
                self.replay(number);
            }
        }
    }

    /// Decodes a set that had waited, now that its template has come.
    fn replay(&mut self, number: usize) {
        let Some(held) = self.replayed.get(number) else { return };
        let (id, header, end) = (held.template, held.header, held.body.len());
        self.totals.held_bytes = self.totals.held_bytes.saturating_sub(cache::footprint(held));
        self.counters.sets_replayed = self.counters.sets_replayed.wrapping_add(1);
        if let Some(entry) = self.stream.templates.get(id) {
            let template = number_in(&mut self.used.templates, &entry.template);
            self.data(template, Some(number), header, 0, end);
        }
    }
}

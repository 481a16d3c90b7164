//! Which streams there are: made when first heard, forgotten when idle, kept over a restart, and lent templates by their
//! neighbours.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Decoder;
use crate::cache::Entry;
use crate::error::{Error, LimitKind};
use crate::message::{HeldSet, Message, TemplateChange};
use crate::order::Sent;
use crate::sampling::Sampling;
use crate::sequence::{Sequencing, Tracker};
use crate::snapshot::{StreamSnapshot, TemplateSnapshot};
use crate::stream::{Stream, StreamKey};
use crate::template::TemplateId;

impl Decoder {
    /// Decodes what waits for templates of a stream that one at another port of the same address has, without waiting for
    /// the stream's next datagram: for the end of a capture. `None` if there is nothing.
    pub fn adopt(&mut self, key: &StreamKey, now_ms: i64) -> Option<Message<'_>> {
        self.start_message();
        let place = *self.places.get(key)?;
        self.adopt_templates(place, now_ms);
        let header = self.replayed.first()?.header;
        let mut walk = self.walk(place, &[], header, now_ms, false)?;
        walk.replay_adopted();
        let sequencing = Sequencing {
            counting: walk.stream.sequence.counting(),
            ..Sequencing::NONE
        };
        Some(self.message(place, key.exporter, &[], header, (sequencing, 0)))
    }

    /// Takes over the templates that sets of a stream wait for from its neighbours, and takes those sets up.
    pub(super) fn adopt_templates(&mut self, place: usize, now_ms: i64) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        stream.looked_ms = now_ms;
        let (key, since_ms) = (stream.key, stream.since_ms);
        let mut wanted: Vec<TemplateId> = stream.held.iter().map(|set| set.template).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for id in wanted {
            let Some((entry, sampling)) = self.entry_of_neighbours(key, id, since_ms) else {
                continue;
            };
            let bytes = self.totals.template_bytes.saturating_add(entry.footprint());
            let Some(stream) = self.streams.get_mut(place) else {
                return;
            };
            let fits = |set: &HeldSet| set.template != id || entry.template.fits(&set.body);
            if !stream.held.iter().all(fits)
                || bytes > self.limits.template_bytes
                || stream.templates.len() >= self.limits.templates_per_stream
            {
                continue;
            }
            self.totals.template_bytes = bytes;
            // The other stream counts by itself.
            let entry = Entry {
                told: Sent::default(),
                ..entry
            };
            self.changes.push(TemplateChange::Adopted(Arc::clone(&entry.template)));
            stream.templates.insert(id, entry);
            stream.held.take(id, &mut self.replayed);
            if *stream.sampling == Sampling::default() {
                stream.sampling = sampling;
            }
        }
    }

    /// The template that the neighbours of a stream have under an id, if they agree, and have not used it since a time;
    /// and what the latest of them knows of sampling.
    fn entry_of_neighbours(&self, key: StreamKey, id: TemplateId, since_ms: i64) -> Option<(Entry, Arc<Sampling>)> {
        let mut neighbours = self.neighbours.of(key).filter_map(|key| {
            let stream = self.streams.get(*self.places.get(&key)?)?;
            let entry = stream.templates.get(id)?;
            (entry.used_ms < since_ms).then_some((entry, &stream.sampling))
        });
        let (entry, sampling) = neighbours.next()?;
        let agree =
            |(other, _): (&Entry, _)| other.definition == entry.definition && other.scope_fields == entry.scope_fields;
        neighbours.all(agree).then(|| (entry.clone(), Arc::clone(sampling)))
    }

    /// The sequence of a stream, to be kept over a restart.
    #[must_use]
    pub fn tracker(&self, key: &StreamKey) -> Option<&Tracker> {
        let place = self.places.get(key)?;
        self.streams.get(*place).map(|stream| &stream.sequence)
    }

    /// Takes up the sequence of a stream as it was kept, so that what was sent meanwhile counts as missing.
    ///
    /// # Errors
    ///
    /// If a limit refuses the stream.
    pub fn restore_tracker(&mut self, key: StreamKey, tracker: Tracker, now_ms: i64) -> Result<(), Error> {
        let place = self.place_of(key, now_ms)?;
        if let Some(stream) = self.streams.get_mut(place) {
            stream.sequence = tracker;
        }
        Ok(())
    }

    /// What is known of every stream, to be [restored](Self::restore) after a restart. Sets that wait for their template
    /// are not part of it.
    pub fn snapshot(&self) -> impl Iterator<Item = StreamSnapshot> + '_ {
        self.streams.iter().map(|stream| {
            let mut templates: Vec<_> = stream.templates.iter().map(TemplateSnapshot::of).collect();
            templates.sort_unstable_by_key(|template| template.id);
            StreamSnapshot {
                key: stream.key,
                heard_ms: stream.heard_ms,
                templates,
                sampling: (*stream.sampling).clone(),
                sequence: stream.sequence.clone(),
            }
        })
    }

    /// Takes up what was known of a stream; what is known of it by now gives way. Templates that are unusable or beyond
    /// the limits are left out and counted as refused.
    ///
    /// # Errors
    ///
    /// If a limit refuses the stream.
    pub fn restore(&mut self, snapshot: StreamSnapshot) -> Result<(), Error> {
        let StreamSnapshot {
            key,
            heard_ms,
            templates,
            sampling,
            sequence,
        } = snapshot;
        let place = self.place_of(key, heard_ms)?;
        let Some(stream) = self.streams.get_mut(place) else {
            return Ok(());
        };
        self.totals.template_bytes = self.totals.template_bytes.saturating_sub(stream.templates.bytes());
        self.totals.held_bytes = self.totals.held_bytes.saturating_sub(stream.held.bytes());
        *stream = Stream::new(key, heard_ms);
        stream.sampling = Arc::new(sampling);
        if key.is_process() {
            self.processes.insert(key.exporter, Arc::clone(&stream.sampling));
        }
        if sequence.version() == key.version {
            stream.sequence = sequence;
        }
        for template in templates {
            let id = template.id;
            let within = |entry: &Entry| {
                self.totals
                    .template_bytes
                    .saturating_add(stream.templates.bytes())
                    .saturating_add(entry.footprint())
                    <= self.limits.template_bytes
                    && stream.templates.len() < self.limits.templates_per_stream
            };
            match template.into_entry(key.version, &self.limits).filter(within) {
                Some(entry) => drop(stream.templates.insert(id, entry)),
                None => self.counters.templates_refused = self.counters.templates_refused.wrapping_add(1),
            }
        }
        self.totals.template_bytes = self.totals.template_bytes.saturating_add(stream.templates.bytes());
        Ok(())
    }

    /// The place of a stream, made if it is new.
    pub(super) fn place_of(&mut self, key: StreamKey, now_ms: i64) -> Result<usize, Error> {
        if self.streams.get(self.latest).is_some_and(|stream| stream.key == key) {
            return Ok(self.latest);
        }
        if let Some(place) = self.places.get(&key) {
            self.latest = *place;
            return Ok(*place);
        }
        if self.streams.len() >= self.limits.streams && !self.expire_idlest(now_ms) {
            self.counters.streams_refused = self.counters.streams_refused.wrapping_add(1);
            return Err(Error::StreamRefused {
                version: key.version,
                limit: LimitKind::Streams,
            });
        }
        let place = self.streams.len();
        self.streams.push(Stream::new(key, now_ms));
        self.places.insert(key, place);
        self.neighbours.add(key);
        Ok(place)
    }

    /// Forgets the stream that was silent longest, if that is long enough.
    fn expire_idlest(&mut self, now_ms: i64) -> bool {
        let idlest = self
            .streams
            .iter()
            .enumerate()
            .min_by_key(|(_, stream)| stream.heard_ms);
        let Some((place, stream)) = idlest else { return false };
        if now_ms.saturating_sub(stream.heard_ms) < self.limits.stream_idle_ms {
            return false;
        }
        let gone = self.streams.swap_remove(place);
        self.places.remove(&gone.key);
        self.neighbours.remove(gone.key);
        if gone.key.is_process() {
            self.processes.remove(&gone.key.exporter);
        }
        if let Some(moved) = self.streams.get(place) {
            self.places.insert(moved.key, place);
        }
        self.totals.template_bytes = self.totals.template_bytes.saturating_sub(gone.templates.bytes());
        self.totals.held_bytes = self.totals.held_bytes.saturating_sub(gone.held.bytes());
        self.counters.streams_expired = self.counters.streams_expired.wrapping_add(1);
        true
    }
}

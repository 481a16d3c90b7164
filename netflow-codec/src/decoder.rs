//! The decoder: a datagram and its sender in, a message out.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hasher as _};
use core::net::SocketAddr;

use hashbrown::HashMap;

use crate::cache::{self, Entry};
use crate::error::{Error, LimitKind};
use crate::header::{Header, Version};
use crate::limits::Limits;
use crate::message::{DataPart, HeldSet, Message, Part, TemplateChange};
use crate::neighbours::{Neighbours, PATIENCE_MS, RETRY_MS};
use crate::record::Record;
use crate::sampling::Sampling;
use crate::sequence::{Arrival, Content, Counting, Gap, Sequencing, Tally, Tracker, Unit};
use crate::snapshot::{StreamSnapshot, TemplateSnapshot};
use crate::stream::{Stream, StreamKey};
use crate::template::{Template, TemplateFault, TemplateId, TemplateKind};
use crate::wire::{self, fixed::FixedLayouts, ipfix, v9};

/// Decodes the datagrams of any number of exporters.
///
/// It holds what outlives a datagram, within [`Limits`]: templates, sets that wait for theirs, and what options data
/// tell about sampling. Use one decoder for each receiving thread; an exporter's datagrams must all go to the same.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    layouts: FixedLayouts,
    places: HashMap<StreamKey, usize, foldhash::fast::FixedState>,
    streams: Vec<Stream>,
    neighbours: Neighbours,
    processes: Processes,
    totals: Totals,
    counters: Counters,
    /// Notes on the message at hand, kept for their memory.
    parts: Vec<Part>,
    changes: Vec<TemplateChange>,
    replayed: Vec<HeldSet>,
    gaps: Vec<Gap>,
    /// The templates and sampling that the parts refer to, and those of the messages before: most messages need the same
    /// again, and references are counted across threads, which takes time.
    used: Used,
    /// The place of the stream that the latest message was of.
    latest: usize,
}

/// What is known of a stream, see [`Decoder::streams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    /// Which stream.
    pub key: StreamKey,
    /// When a datagram came last, by the caller's clock.
    pub heard_ms: i64,
    /// Templates known.
    pub templates: usize,
    /// How its sequence numbers count.
    pub counting: Counting,
    /// What they count.
    pub unit: Unit,
    /// What is lost.
    pub tally: Tally,
}

/// Bytes held over all streams.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    template_bytes: usize,
    held_bytes: usize,
}

/// What a decoder has seen and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams with a readable header.
    pub messages: u64,
    /// Datagrams refused whole.
    pub datagrams_refused: u64,
    /// Datagrams that the network doubled. What is in them is not counted below.
    pub duplicates: u64,
    /// Flow records.
    pub records: u64,
    /// Options records.
    pub options_records: u64,
    /// Templates added, refreshed or replaced.
    pub templates: u64,
    /// Templates withdrawn.
    pub templates_withdrawn: u64,
    /// Templates that expired.
    pub templates_expired: u64,
    /// Templates refused for a fault or a limit.
    pub templates_refused: u64,
    /// Sets whose template was not known when they came.
    pub sets_without_template: u64,
    /// Of these, sets decoded when the template came.
    pub sets_replayed: u64,
    /// Of these, sets given up: too old, or no room.
    pub sets_given_up: u64,
    /// Parts of messages that could not be decoded.
    pub errors: u64,
    /// Streams that made room for others.
    pub streams_expired: u64,
    /// Streams refused.
    pub streams_refused: u64,
}

impl Decoder {
    /// A decoder that knows no exporter yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            layouts: FixedLayouts::new(),
            places: HashMap::default(),
            streams: Vec::new(),
            neighbours: Neighbours::default(),
            processes: HashMap::default(),
            totals: Totals::default(),
            counters: Counters::default(),
            parts: Vec::new(),
            changes: Vec::new(),
            replayed: Vec::new(),
            gaps: Vec::new(),
            used: Used::default(),
            latest: 0,
        }
    }

    /// Decodes one datagram that came from an exporter at a time. The clock is the caller's, in ms; only differences
    /// count.
    ///
    /// # Errors
    ///
    /// If the header cannot be read or its version is unknown, or if a limit refuses a new exporter. Faults behind the
    /// header are errors of the message's [sets](Message::sets) and cost nothing beside them.
    pub fn decode<'m>(&'m mut self, datagram: &'m [u8], from: SocketAddr, now_ms: i64) -> Result<Message<'m>, Error> {
        self.start_message();
        let read = wire::header(datagram).and_then(|(header, start, length)| {
            let key = StreamKey {
                exporter: from,
                version: header.version,
                domain: header.domain,
            };
            Ok((header, start, length, self.place_of(key, now_ms)?))
        });
        let (header, start, length, place) = match read {
            Ok(read) => read,
            Err(error) => {
                self.counters.datagrams_refused = self.counters.datagrams_refused.wrapping_add(1);
                return Err(error);
            }
        };
        self.counters.messages = self.counters.messages.wrapping_add(1);
        let mut duplicate = false;
        if let Some(stream) = self.streams.get_mut(place) {
            stream.heard_ms = now_ms;
            duplicate = header.sequence.is_some_and(|received| {
                let hash = fingerprint(datagram, &stream.sequence);
                stream.sequence.is_duplicate(received, hash)
            });
            let waits = !stream.held.is_empty()
                && now_ms.saturating_sub(stream.since_ms) >= PATIENCE_MS
                && now_ms.saturating_sub(stream.looked_ms) >= RETRY_MS;
            if waits && !duplicate {
                self.adopt_templates(place, now_ms);
            }
        }
        let followed = self.walk(place, datagram, header, now_ms, duplicate).map(|mut walk| {
            walk.replay_adopted();
            walk.parts(start, length);
            walk.follow()
        });
        Ok(self.message(place, from, datagram, header, followed.unwrap_or((Sequencing::NONE, 0))))
    }

    /// A walk over what a message of a stream holds.
    fn walk<'w>(
        &'w mut self,
        place: usize,
        datagram: &'w [u8],
        header: Header,
        now_ms: i64,
        duplicate: bool,
    ) -> Option<Walk<'w>> {
        let stream = self.streams.get_mut(place)?;
        let process = match header.version {
            Version::Ipfix if header.domain.0 != 0 => self.processes.get(&stream.key.exporter).map(Arc::clone),
            _ => None,
        };
        Some(Walk {
            limits: &self.limits,
            layouts: &self.layouts,
            totals: &mut self.totals,
            counters: &mut self.counters,
            stream,
            processes: &mut self.processes,
            parts: &mut self.parts,
            changes: &mut self.changes,
            replayed: &mut self.replayed,
            gaps: &mut self.gaps,
            used: &mut self.used,
            datagram,
            header,
            now_ms,
            content: Content::default(),
            duplicate,
            process,
        })
    }

    /// The message whose walk has ended.
    fn message<'m>(
        &'m self,
        place: usize,
        exporter: SocketAddr,
        datagram: &'m [u8],
        header: Header,
        (sequencing, regained): (Sequencing, u32),
    ) -> Message<'m> {
        Message {
            header,
            exporter,
            datagram,
            parts: &self.parts,
            changes: &self.changes,
            replayed: &self.replayed,
            used: &self.used,
            sequencing,
            templates: self.streams.get(place).map(|stream| &stream.templates),
            gaps: &self.gaps,
            regained,
        }
    }

    /// Forgets what the message before was told of.
    fn start_message(&mut self) {
        self.parts.clear();
        self.changes.clear();
        self.replayed.clear();
        self.gaps.clear();
        self.used.start_message();
    }

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
    fn adopt_templates(&mut self, place: usize, now_ms: i64) {
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

    /// What was seen and refused so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The templates known, each with its stream.
    pub fn templates(&self) -> impl Iterator<Item = (StreamKey, &Arc<Template>)> {
        self.streams
            .iter()
            .flat_map(|stream| stream.templates.iter().map(|entry| (stream.key, &entry.template)))
    }

    /// The streams known.
    pub fn streams(&self) -> impl Iterator<Item = StreamStatus> + '_ {
        self.streams.iter().map(|stream| StreamStatus {
            key: stream.key,
            heard_ms: stream.heard_ms,
            templates: stream.templates.len(),
            counting: stream.sequence.counting(),
            unit: stream.sequence.unit(),
            tally: stream.sequence.tally(),
        })
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

    /// Tells units as lost that have been missing for ten seconds, also of streams that have fallen silent;
    /// with `i64::MAX`, as at the end of a capture, all that are missing.
    pub fn settle(&mut self, now_ms: i64, mut lost: impl FnMut(StreamKey, Gap)) {
        for stream in &mut self.streams {
            let key = stream.key;
            stream.sequence.settle(now_ms, |gap| lost(key, gap));
        }
    }

    /// The place of a stream, made if it is new.
    fn place_of(&mut self, key: StreamKey, now_ms: i64) -> Result<usize, Error> {
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

/// What IPFIX exporters told of sampling in observation domain 0, which stands for the whole exporting process
/// (RFC 7011 §3.1).
type Processes = HashMap<SocketAddr, Arc<Sampling>, foldhash::fast::FixedState>;

/// A walk over the sets of one message.
struct Walk<'w> {
    limits: &'w Limits,
    layouts: &'w FixedLayouts,
    totals: &'w mut Totals,
    counters: &'w mut Counters,
    stream: &'w mut Stream,
    processes: &'w mut Processes,
    parts: &'w mut Vec<Part>,
    changes: &'w mut Vec<TemplateChange>,
    replayed: &'w mut Vec<HeldSet>,
    gaps: &'w mut Vec<Gap>,
    used: &'w mut Used,
    datagram: &'w [u8],
    header: Header,
    now_ms: i64,
    content: Content,
    /// Whether the datagram came before: nothing is learned or counted from it.
    duplicate: bool,
    /// What is known of sampling in all observation domains of the exporter.
    process: Option<Arc<Sampling>>,
}

/// A hash that tells datagrams of a stream apart.
///
/// Two that differ differ in their headers, as their sequence numbers do, so eight bytes of each 128 are enough behind it;
/// where an exporter does not count, all bytes are hashed. Whoever can forge an exporter's datagrams needs no collision
/// to do harm, so there is no secret in it.
fn fingerprint(datagram: &[u8], sequence: &Tracker) -> u64 {
    const SEED: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0x6d69_6c6c);
    let mut hasher = SEED.build_hasher();
    hasher.write_usize(datagram.len());
    match datagram.split_first_chunk::<24>() {
        Some((header, rest)) if sequence.counting() != Counting::Constant => {
            hasher.write(header);
            let mut sample = 0_u64;
            for block in rest.chunks_exact(128) {
                let word = block.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
                sample = (sample ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            }
            hasher.write_u64(sample);
            match rest.last_chunk::<16>() {
                Some(end) => hasher.write_u128(u128::from_ne_bytes(*end)),
                None => hasher.write(rest),
            }
        }
        _ => hasher.write(datagram),
    }
    hasher.finish()
}

/// Templates and sampling that parts of messages refer to by number.
#[derive(Debug, Default)]
pub(crate) struct Used {
    templates: Vec<Arc<Template>>,
    sampling: Vec<Arc<Sampling>>,
}

impl Used {
    /// How many are kept from message to message. More than one exporter has in use at a time.
    const KEPT: usize = 16;

    pub(crate) fn template(&self, number: usize) -> Option<&Arc<Template>> {
        self.templates.get(number)
    }

    pub(crate) fn sampling(&self, number: usize) -> Option<&Arc<Sampling>> {
        self.sampling.get(number)
    }

    fn start_message(&mut self) {
        if self.templates.len() > Self::KEPT {
            self.templates.clear();
        }
        if self.sampling.len() > Self::KEPT {
            self.sampling.clear();
        }
    }
}

/// The number of a value in a list, to which it is added if it is new.
fn number_in<T>(list: &mut Vec<Arc<T>>, value: &Arc<T>) -> usize {
    let known = list.iter().position(|known| Arc::ptr_eq(known, value));
    known.unwrap_or_else(|| {
        list.push(Arc::clone(value));
        list.len().saturating_sub(1)
    })
}

impl Walk<'_> {
    fn fail(&mut self, error: Error) {
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
    fn parts(&mut self, start: usize, length: Option<u16>) {
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
    fn follow(self) -> (Sequencing, u32) {
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
            let rest = self.datagram.get(at..end).unwrap_or_default();
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
        match self.stream.templates.get_mut(id) {
            Some(entry) => {
                if !self.duplicate {
                    entry.used_ms = self.now_ms;
                }
                let template = number_in(&mut self.used.templates, &entry.template);
                self.data(template, None, self.header, start, end);
            }
            None => {
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
        }
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
    fn replay_adopted(&mut self) {
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

    /// The templates of a set. Gives an error for a template that ends the set early; those that are merely unusable are
    /// noted and passed over.
    fn template_set(&mut self, set_id: u16, start: usize, end: usize) -> Result<(), Error> {
        let datagram = self.datagram;
        let mut rest = datagram.get(start..end).unwrap_or_default();
        // What is shorter than the head of a template, or zero, is padding.
        while rest.len() >= 4 && rest.iter().take(4).any(|byte| *byte != 0) {
            let offset = end.saturating_sub(rest.len());
            let id = TemplateId(rest.first_chunk().map_or(0, |id| u16::from_be_bytes(*id)));
            let cut_short = |_| Error::TemplateCutShort { template: id, offset };
            let head;
            let version = self.header.version;
            (rest, head) = match set_id {
                v9::TEMPLATES | ipfix::TEMPLATES => template_definition(rest, version),
                v9::OPTIONS_TEMPLATES => options_by_length(rest, version),
                _ => options_by_count(rest, version),
            }
            .map_err(cut_short)?;
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
        let now_ms = self.now_ms;
        if let Some(entry) = self.stream.templates.get_mut(id)
            && *entry.definition == *bytes
            && entry.scope_fields == scope_fields
        {
            entry.refreshed_ms = now_ms;
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
        let entry = Entry {
            template: Arc::clone(&template),
            definition: Box::from(bytes),
            scope_fields,
            refreshed_ms: now_ms,
            used_ms: i64::MIN,
        };
        let old = self.forget(id);
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

    /// RFC 7011 §8.1: a template without fields takes an id back; the id of a template set takes back all of its kind.
    fn withdraw(&mut self, id: TemplateId, set_id: u16) {
        if id.0 == set_id {
            let before = self.stream.templates.bytes();
            let removed = self.stream.templates.remove_kind(set_id == ipfix::OPTIONS_TEMPLATES);
            let freed = before.saturating_sub(self.stream.templates.bytes());
            self.totals.template_bytes = self.totals.template_bytes.saturating_sub(freed);
            let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
            self.counters.templates_withdrawn = self.counters.templates_withdrawn.wrapping_add(count);
            self.changes.extend(removed.into_iter().map(TemplateChange::Withdrawn));
            return;
        }
        let change = match self.forget(id) {
            Some(old) => {
                self.counters.templates_withdrawn = self.counters.templates_withdrawn.wrapping_add(1);
                TemplateChange::Withdrawn(old)
            }
            None => TemplateChange::WithdrawnUnknown(id),
        };
        self.changes.push(change);
    }

    fn forget(&mut self, id: TemplateId) -> Option<Arc<Template>> {
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

/// What a template set says about one id.
enum Definition<'d> {
    Withdrawal,
    Faulty(TemplateFault),
    Fields {
        /// `None` for templates of flows.
        scope_fields: Option<u16>,
        count: usize,
        bytes: &'d [u8],
    },
}

/// The ids of sets of templates. v9's are 0 and 1 and IPFIX's 2 and 3, but some exporters take those of the other version:
/// the id tells the form of the heads, the message's version that of the fields.
const TEMPLATE_SETS: core::ops::RangeInclusive<u16> = v9::TEMPLATES..=ipfix::OPTIONS_TEMPLATES;

type Read<'d> = Result<(&'d [u8], Definition<'d>), nom::Err<nom::error::Error<&'d [u8]>>>;

fn template_definition(input: &[u8], version: Version) -> Read<'_> {
    let (input, (_, count)) = ipfix::template_head(input)?;
    if count == 0 && version == Version::Ipfix {
        return Ok((input, Definition::Withdrawal));
    }
    definition(input, version, None, usize::from(count))
}

/// An options template as v9 has them, which tells the lengths of its fields.
fn options_by_length(input: &[u8], version: Version) -> Read<'_> {
    let (input, (_, scope_length, fields_length)) = v9::options_template_head(input)?;
    let (scope_length, fields_length) = (usize::from(scope_length), usize::from(fields_length));
    let (rest, bytes) = nom::bytes::complete::take(scope_length.saturating_add(fields_length))(input)?;
    let count = |bytes: Option<&[u8]>| definitions_in(bytes?, version);
    let scope_fields = count(bytes.get(..scope_length)).and_then(|count| u16::try_from(count).ok());
    let (Some(scope_fields), Some(others)) = (scope_fields, count(bytes.get(scope_length..))) else {
        return Ok((rest, Definition::Faulty(TemplateFault::Scope)));
    };
    let count = usize::from(scope_fields).saturating_add(others);
    definition(input, version, Some(scope_fields), count)
}

/// An options template as IPFIX has them, which tells the number of its fields.
fn options_by_count(input: &[u8], version: Version) -> Read<'_> {
    let (input, (_, count)) = ipfix::template_head(input)?;
    if count == 0 && version == Version::Ipfix {
        return Ok((input, Definition::Withdrawal));
    }
    let (input, scope_fields) = ipfix::scope_fields(input)?;
    definition(input, version, Some(scope_fields), usize::from(count))
}

fn definition(input: &[u8], version: Version, scope_fields: Option<u16>, count: usize) -> Read<'_> {
    let (input, bytes) = match version {
        Version::V9 => v9::definitions(input, count)?,
        _ => ipfix::definitions(input, count)?,
    };
    let definition = Definition::Fields {
        scope_fields,
        count,
        bytes,
    };
    Ok((input, definition))
}

/// How many fields are defined in so many bytes; `None` if no whole number of them.
fn definitions_in(mut bytes: &[u8], version: Version) -> Option<usize> {
    let mut count = 0_usize;
    while !bytes.is_empty() {
        let Ok((rest, _)) = (match version {
            Version::V9 => v9::definitions(bytes, 1),
            _ => ipfix::definitions(bytes, 1),
        }) else {
            return None;
        };
        bytes = rest;
        count = count.saturating_add(1);
    }
    Some(count)
}

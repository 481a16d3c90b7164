//! The decoder: a datagram and its sender in, a message out.

mod streams;
mod templates;
mod walk;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hasher as _};
use core::net::SocketAddr;

use hashbrown::HashMap;

use self::walk::Walk;
use crate::error::Error;
use crate::header::{Header, Version};
use crate::limits::Limits;
use crate::message::{HeldSet, Message, Part, TemplateChange};
use crate::neighbours::{Neighbours, PATIENCE_MS, RETRY_MS};
use crate::sampling::Sampling;
use crate::sequence::{Content, Counting, Gap, Sequencing, Tally, Tracker, Unit};
use crate::stream::{Stream, StreamKey};
use crate::template::Template;
use crate::used::Used;
use crate::wire::{self, fixed::FixedLayouts};

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

    /// Tells units as lost that have been missing for ten seconds, also of streams that have fallen silent;
    /// with `i64::MAX`, as at the end of a capture, all that are missing.
    pub fn settle(&mut self, now_ms: i64, mut lost: impl FnMut(StreamKey, Gap)) {
        for stream in &mut self.streams {
            let key = stream.key;
            stream.sequence.settle(now_ms, |gap| lost(key, gap));
        }
    }
}

/// What IPFIX exporters told of sampling in observation domain 0, which stands for the whole exporting process
/// (RFC 7011 §3.1).
type Processes = HashMap<SocketAddr, Arc<Sampling>, foldhash::fast::FixedState>;

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

//! Sequence numbers: what is missing, what came late or twice, and when an exporter started anew.
//!
//! What a number counts differs by version, and in practice by exporter:
//!
//! | Version | By its specification | Also seen |
//! |---|---|---|
//! | v1 | has none | |
//! | v5, v7 | flows before the datagram | index of the datagram's last flow (Open vSwitch) |
//! | v9 | datagrams (RFC 3954 §5.1) | flows |
//! | IPFIX | data records, those of options included, before the message (RFC 7011 §3.1, erratum 4396) | … with those of the message (softflowd); without those of options; messages |
//!
//! A [`Tracker`] follows all readings of one stream side by side and reports by the one that fits best: a reading gains
//! when it fits a datagram that another does not. So the losses it tells are those of the true reading from the first
//! datagram on, however late it was recognised.
//!
//! Missing units are lost only once the reordering window has passed. If they come later still, they are taken back.

use alloc::vec::Vec;

use crate::header::{Header, Version};

/// Datagrams by which one may come late, and among which a doubled one is recognised. Paths that reorder do so by
/// a few datagrams.
const WINDOW: u64 = 64;

/// Time after which missing units count as lost even if no further datagram came.
const WINDOW_MS: i64 = 10_000;

/// Gaps remembered, those that are lost for good included. A stream with more gaps than this within the window is
/// mostly gap.
const MAX_GAPS: usize = 128;

/// How often a number must repeat before the exporter is taken not to count at all.
const REPEATS: u32 = 4;

/// Agreement beyond which a reading gains no more.
const MAX_SCORE: i8 = 32;

/// How far an exporter's clocks may drift apart between datagrams before that means a restart.
const BOOT_JITTER_MS: i64 = 2_000;

/// How many units a stream may be ahead of the first datagram after a restart for it to be taken for the second.
const AFTER_RESTART: u32 = 1 << 16;

/// Readings of a version at most.
const MAX_READINGS: usize = 5;

/// A jump ahead by more than this to a number near zero is a restart.
const FAR: u32 = 1 << 24;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Unit {
    /// Flows.
    Flows,
    /// Datagrams (export packets, messages).
    Datagrams,
    /// Data records, those of options included.
    DataRecords,
}

/// How an exporter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Counting {
    /// Records before the datagram, as v5, v7 and IPFIX have it.
    Before,
    /// Records with those of the datagram: softflowd's IPFIX; Open vSwitch's v5, less one.
    Including,
    /// Datagrams, as v9 has it.
    Datagrams,
    /// Flow records before the datagram, without options records.
    FlowsBefore,
    /// Flow records with those of the datagram, without options records.
    FlowsIncluding,
    /// The number does not change.
    Constant,
}

impl Counting {
    /// The readings of a version, that of its specification first.
    fn readings(version: Version) -> &'static [Self] {
        match version {
            Version::V1 => &[],
            Version::V5 | Version::V7 => &[Self::Before, Self::Including, Self::Datagrams],
            Version::V9 => &[Self::Datagrams, Self::Before, Self::FlowsBefore],
            Version::Ipfix => &[
                Self::Before,
                Self::Including,
                Self::FlowsBefore,
                Self::FlowsIncluding,
                Self::Datagrams,
            ],
        }
    }

    /// What is counted in a version.
    #[must_use]
    pub fn unit(self, version: Version) -> Unit {
        match (self, version) {
            (Self::Datagrams, _) => Unit::Datagrams,
            (Self::Before | Self::Including, Version::Ipfix | Version::V9) => Unit::DataRecords,
            _ => Unit::Flows,
        }
    }

    /// The name of the departure from the version's specification, if this is one.
    #[must_use]
    pub fn quirk(self, version: Version) -> Option<&'static str> {
        if Self::readings(version).first() == Some(&self) {
            return None;
        }
        Some(match (self, version) {
            (Self::Including, Version::V5 | Version::V7) => "sequence is the index of the last flow (Open vSwitch)",
            (Self::Including, _) => "sequence includes the message's own records (softflowd)",
            (Self::Datagrams, _) => "sequence counts datagrams",
            (Self::Before, _) => "sequence counts records",
            (Self::FlowsBefore, _) => "sequence leaves options records out",
            (Self::FlowsIncluding, _) => "sequence includes the message's own flows and leaves options records out",
            (Self::Constant, _) => "sequence does not change",
        })
    }
}

/// How a datagram fits the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The version has no sequence, or the exporter does not count.
    Unsequenced,
    /// The first of its stream.
    First,
    /// As expected.
    InOrder,
    /// So many units are missing before it. They may still come.
    Ahead {
        /// Units missing.
        missing: u32,
    },
    /// It was missing before.
    Late,
    /// The network doubled it: the same bytes came shortly before.
    Duplicate,
    /// Behind what came before, and not missing: from before a restart, or the first after one. The next will tell.
    Stray,
    /// The exporter started anew.
    Restart,
    /// What was expected is not known, as the datagram before had records without a template.
    Resynchronised,
}

/// How a message fits the sequence of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequencing {
    /// How it fits.
    pub arrival: Arrival,
    /// How the exporter counts, as far as known.
    pub counting: Counting,
    /// The number expected, if known.
    pub expected: Option<u32>,
    /// The number received.
    pub received: Option<u32>,
}

impl Sequencing {
    /// Of a message without a number.
    pub(crate) const NONE: Self = Self {
        arrival: Arrival::Unsequenced,
        counting: Counting::Constant,
        expected: None,
        received: None,
    };
}

/// Units lost: the reordering window has passed without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What is counted.
    pub unit: Unit,
    /// The first missing number.
    pub first: u32,
    /// How many are missing.
    pub count: u32,
}

/// What is lost of a stream and what happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    /// Units lost.
    pub lost: u64,
    /// Units missing that may still come.
    pub missing: u64,
    /// Datagrams that came late.
    pub late: u64,
    /// Datagrams that came twice.
    pub duplicates: u64,
    /// Restarts of the exporter.
    pub restarts: u64,
}

/// What a message holds that a sequence number may count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) flows: u32,
    pub(crate) options: u32,
    /// Whether there was more that could not be counted.
    pub(crate) uncounted: bool,
}

/// Follows the sequence of one stream. Its state is plain data and can be kept over a restart of the collector; what is
/// sent meanwhile then counts as missing.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tracker {
    version: Version,
    readings: Vec<Reading>,
    /// Worked out from the readings, so not part of what is kept.
    #[cfg_attr(feature = "serde", serde(skip))]
    calm: Option<Calm>,
    /// Datagrams seen.
    seen: u64,
    /// Hashes of the latest datagrams, the oldest overwritten.
    ///
    /// Not kept over a restart: no datagram of before comes twice after it.
    #[cfg_attr(feature = "serde", serde(skip))]
    hashes: Vec<u64>,
    /// The exporter's uptime and clock in the latest datagram.
    clocks: Option<(u32, i64)>,
    last: Option<u32>,
    repeats: u32,
    late: u64,
    duplicates: u64,
    restarts: u64,
}

impl PartialEq for Tracker {
    fn eq(&self, other: &Self) -> bool {
        let of = |tracker: &Self| {
            (
                tracker.version,
                tracker.seen,
                tracker.clocks,
                tracker.last,
                tracker.repeats,
            )
        };
        let counts = |tracker: &Self| (tracker.late, tracker.duplicates, tracker.restarts);
        of(self) == of(other)
            && counts(self) == counts(other)
            && self.readings == other.readings
            && self.hashes == other.hashes
    }
}

impl Eq for Tracker {}

/// What follows from the readings of a stream if none of them waits for anything: the next datagram can be followed without
/// a look at all of them.
#[derive(Clone, Copy, Debug)]
struct Calm {
    /// The numbers of the readings that may still be the true one, the best first.
    alive: [u8; MAX_READINGS],
    /// How many these are.
    count: u8,
}

/// One way to read the numbers, and what is lost by it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Reading {
    counting: Counting,
    score: i8,
    /// The first unit of the next datagram.
    expected: Option<u32>,
    /// The unit after a datagram that may have been the first after a restart.
    restart_at: Option<u32>,
    gaps: Vec<Missing>,
    lost: u64,
}

/// Units missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Missing {
    first: u32,
    count: u32,
    /// Datagrams seen when they were found missing.
    since: u64,
    since_ms: i64,
    /// Whether the window has passed.
    lost: bool,
    /// Whether the caller was told so.
    told: bool,
}

/// How a datagram fits one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Unknown,
    Hit,
    Ahead(u32),
    Late,
    Stray,
    Restart,
}

impl Tracker {
    /// A tracker for a stream of a version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let readings = Counting::readings(version)
            .iter()
            .map(|counting| Reading {
                counting: *counting,
                score: 0,
                expected: None,
                restart_at: None,
                gaps: Vec::new(),
                lost: 0,
            })
            .collect();
        Self {
            version,
            readings,
            calm: None,
            seen: 0,
            hashes: Vec::new(),
            clocks: None,
            last: None,
            repeats: 0,
            late: 0,
            duplicates: 0,
            restarts: 0,
        }
    }

    /// The version of the stream.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the exporter counts, as far as known.
    #[must_use]
    pub fn counting(&self) -> Counting {
        if self.repeats >= REPEATS {
            return Counting::Constant;
        }
        self.best().map_or(Counting::Constant, |reading| reading.counting)
    }

    /// What is counted.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.counting().unit(self.version)
    }

    /// What is lost, by the reading that fits best.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let best = self.best();
        let open = best
            .map_or(&[][..], |reading| &reading.gaps)
            .iter()
            .filter(|gap| !gap.lost);
        Tally {
            lost: best.map_or(0, |reading| reading.lost),
            missing: open.map(|gap| u64::from(gap.count)).fold(0, u64::saturating_add),
            late: self.late,
            duplicates: self.duplicates,
            restarts: self.restarts,
        }
    }

    fn best(&self) -> Option<&Reading> {
        let mut best: Option<&Reading> = None;
        for reading in &self.readings {
            if best.is_none_or(|best| reading.score > best.score) {
                best = Some(reading);
            }
        }
        best
    }

    /// Whether a datagram with this hash came within the window; if not, it is remembered.
    pub(crate) fn is_duplicate(&mut self, received: u32, hash: u64) -> bool {
        if self.readings.is_empty() {
            return false;
        }
        // Where numbers stand for what comes before, the one expected is larger than any that came, unless the latest
        // datagram counted nothing.
        let is_next = self.last != Some(received)
            && self.calm_best().is_some_and(|best| {
                !matches!(best.counting, Counting::Including | Counting::FlowsIncluding)
                    && best.expected == Some(received)
            });
        if !is_next && self.hashes.contains(&hash) {
            self.duplicates = self.duplicates.wrapping_add(1);
            return true;
        }
        let place = usize::try_from(self.seen % WINDOW).unwrap_or(0);
        match self.hashes.get_mut(place) {
            Some(slot) => *slot = hash,
            None => {
                if self.hashes.capacity() == 0 {
                    self.hashes.reserve_exact(usize::try_from(WINDOW).unwrap_or(0));
                }
                self.hashes.push(hash);
            }
        }
        false
    }

    /// Takes note of a datagram that is no duplicate. Units that are lost from now on are pushed to `gaps`; returns how
    /// it fits, and how many units that were told as lost it brought after all.
    pub(crate) fn follow(
        &mut self,
        header: &Header,
        content: Content,
        now_ms: i64,
        gaps: &mut Vec<Gap>,
    ) -> (Sequencing, u32) {
        let Some(received) = header.sequence else {
            return (Sequencing::NONE, 0);
        };
        self.seen = self.seen.wrapping_add(1);
        let first = self.last.is_none();
        self.repeats = if self.last == Some(received) && content != Content::default() {
            self.repeats.saturating_add(1)
        } else {
            0
        };
        self.last = Some(received);
        let life = self.life(header);
        if let Some(sequencing) = self.follow_in_order(received, content, life) {
            return (sequencing, 0);
        }
        let before = self.best().and_then(|best| Some((best.counting, best.expected?)));

        let mut fits = [Fit::Unknown; MAX_READINGS];
        let mut regained = 0;
        for (reading, fit) in self
            .readings
            .iter_mut()
            .zip(&mut fits)
            .filter(|(reading, _)| reading.is_alive())
        {
            *fit = reading.step(received, content, life, (self.seen, now_ms), &mut regained);
        }
        let verdict = |fit: &Fit| match fit {
            Fit::Hit | Fit::Late => 1,
            Fit::Unknown => 0,
            Fit::Ahead(_) => -1,
            // Rare by a true reading, as what is late is missing first.
            Fit::Stray | Fit::Restart => -2,
        };
        let used = fits.get(..self.readings.len()).unwrap_or_default();
        if used.iter().any(|fit| verdict(fit) > 0) && used.iter().any(|fit| verdict(fit) < 0) {
            for (reading, fit) in self
                .readings
                .iter_mut()
                .zip(used)
                .filter(|(reading, _)| reading.is_alive())
            {
                reading.score = reading.score.saturating_add(verdict(fit)).clamp(-MAX_SCORE, MAX_SCORE);
                if !reading.is_alive() {
                    regained = regained.saturating_add(reading.untell());
                    reading.gaps = Vec::new();
                }
            }
        }
        let counting = self.counting();
        let unit = self.unit();
        let mut arrival = Arrival::Unsequenced;
        for (reading, fit) in self
            .readings
            .iter_mut()
            .zip(&fits)
            .filter(|(reading, _)| reading.is_alive())
        {
            if reading.counting != counting {
                regained = regained.saturating_add(reading.untell());
                reading.settle(self.seen, now_ms);
                continue;
            }
            reading.settle(self.seen, now_ms);
            reading.tell(|first, count| gaps.push(Gap { unit, first, count }));
            arrival = match fit {
                Fit::Unknown => Arrival::Resynchronised,
                Fit::Hit => Arrival::InOrder,
                Fit::Ahead(missing) => Arrival::Ahead { missing: *missing },
                Fit::Late => Arrival::Late,
                Fit::Stray => Arrival::Stray,
                Fit::Restart => Arrival::Restart,
            };
        }
        if first {
            arrival = Arrival::First;
        }
        match arrival {
            Arrival::Late => self.late = self.late.wrapping_add(1),
            Arrival::Restart => {
                self.restarts = self.restarts.wrapping_add(1);
                self.revive();
            }
            _ => {}
        }
        self.calm_down();
        let expected = before.and_then(|(counting, expected)| counting.on_wire(expected, content));
        (
            Sequencing {
                arrival,
                counting,
                expected,
                received: Some(received),
            },
            regained,
        )
    }

    /// The reading that fits best, if none waits for anything.
    fn calm_best(&self) -> Option<&Reading> {
        self.readings.get(usize::from(*self.calm?.alive.first()?))
    }

    /// Takes the short way if the datagram is the next one by every reading and nothing is missing, as almost always.
    #[inline]
    fn follow_in_order(&mut self, received: u32, content: Content, life: Life) -> Option<Sequencing> {
        if content.uncounted || matches!(life, Life::Next | Life::Previous) {
            return None;
        }
        let calm = self.calm?;
        let alive = calm.alive.get(..usize::from(calm.count)).unwrap_or_default();
        for number in alive {
            let reading = self.readings.get(usize::from(*number))?;
            let (first, _) = reading.counting.span(received, content);
            if first != reading.expected {
                return None;
            }
        }
        for number in alive {
            let reading = self.readings.get_mut(usize::from(*number))?;
            (_, reading.expected) = reading.counting.span(received, content);
        }
        let best = self.calm_best().map(|best| best.counting);
        Some(Sequencing {
            arrival: Arrival::InOrder,
            counting: best.filter(|_| self.repeats < REPEATS).unwrap_or(Counting::Constant),
            expected: Some(received),
            received: Some(received),
        })
    }

    /// Works out what the readings mean for the next datagram.
    fn calm_down(&mut self) {
        self.calm = None;
        // What is lost for good changes nothing for a datagram that comes in order.
        let is_calm = |reading: &Reading| reading.gaps.iter().all(|gap| gap.lost) && reading.restart_at.is_none();
        let mut calm = Calm {
            alive: [0; MAX_READINGS],
            count: 0,
        };
        let mut best_score = i8::MIN;
        for (number, reading) in (0_u8..).zip(&self.readings) {
            if !reading.is_alive() {
                continue;
            }
            if !is_calm(reading) {
                return;
            }
            let place = usize::from(calm.count);
            if let Some(slot) = calm.alive.get_mut(place) {
                *slot = number;
            }
            if reading.score > best_score {
                best_score = reading.score;
                calm.alive.swap(0, place);
            }
            calm.count = calm.count.saturating_add(1);
        }
        if calm.count > 0 {
            self.calm = Some(calm);
        }
    }

    /// What was started anew may count another way than before.
    fn revive(&mut self) {
        let lost = self.best().map_or(0, |best| best.lost);
        for reading in self.readings.iter_mut().filter(|reading| !reading.is_alive()) {
            reading.score = 0;
            reading.expected = None;
            reading.restart_at = None;
            reading.lost = lost;
        }
    }

    /// Tells units as lost that have been missing for long enough by the clock; `i64::MAX` for all that are missing.
    pub(crate) fn settle(&mut self, now_ms: i64, mut lost: impl FnMut(Gap)) {
        let counting = self.counting();
        let unit = self.unit();
        let seen = self.seen;
        for reading in &mut self.readings {
            reading.settle(seen, now_ms);
            if reading.counting == counting {
                reading.tell(|first, count| lost(Gap { unit, first, count }));
            }
        }
    }

    /// What the exporter's clocks say about restarts.
    fn life(&mut self, header: &Header) -> Life {
        let Some(uptime_ms) = header.uptime_ms else {
            return Life::Unknown;
        };
        let now = (uptime_ms, header.export_time_ms);
        let Some((last_uptime_ms, last_export_ms)) = self.clocks else {
            self.clocks = Some(now);
            return Life::Same;
        };
        // The uptime wraps; the difference does not, unless the exporter was silent for weeks.
        let uptime_step = i64::from(uptime_ms.wrapping_sub(last_uptime_ms).cast_signed());
        let clock_step = header.export_time_ms.saturating_sub(last_export_ms);
        let boot_step = clock_step.saturating_sub(uptime_step);
        if uptime_step < 0 && boot_step > BOOT_JITTER_MS {
            self.clocks = Some(now);
            return Life::Next;
        }
        if uptime_step > BOOT_JITTER_MS && clock_step <= 0 && boot_step < -BOOT_JITTER_MS {
            return Life::Previous;
        }
        self.clocks = Some(now);
        Life::Same
    }
}

/// Which run of the exporter sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// The header has no uptime.
    Unknown,
    Same,
    Next,
    /// The one before the latest restart.
    Previous,
}

impl Counting {
    /// The first unit of a datagram, and the one after its last, as far as its content is known.
    fn span(self, received: u32, content: Content) -> (Option<u32>, Option<u32>) {
        let records = match self {
            Self::Datagrams | Self::Constant => return (Some(received), Some(received.wrapping_add(1))),
            Self::Before | Self::Including => content.flows.saturating_add(content.options),
            Self::FlowsBefore | Self::FlowsIncluding => content.flows,
        };
        let known = !content.uncounted;
        match self {
            Self::Including | Self::FlowsIncluding => (known.then(|| received.wrapping_sub(records)), Some(received)),
            _ => (Some(received), known.then(|| received.wrapping_add(records))),
        }
    }

    /// The number that a datagram should carry whose first unit is given.
    fn on_wire(self, first: u32, content: Content) -> Option<u32> {
        match self {
            Self::Including => {
                (!content.uncounted).then(|| first.wrapping_add(content.flows).wrapping_add(content.options))
            }
            Self::FlowsIncluding => (!content.uncounted).then(|| first.wrapping_add(content.flows)),
            _ => Some(first),
        }
    }
}

impl Reading {
    /// Whether the reading may still be the true one. One that is not is left alone until the exporter starts anew.
    fn is_alive(&self) -> bool {
        self.score > -MAX_SCORE
    }

    fn step(&mut self, received: u32, content: Content, life: Life, now: (u64, i64), regained: &mut u32) -> Fit {
        let (first, after) = self.counting.span(received, content);
        if life == Life::Previous {
            return Fit::Stray;
        }
        if life == Life::Next {
            self.expected = after;
            self.restart_at = None;
            self.lose_all_at(now);
            return Fit::Restart;
        }
        let (Some(first), Some(expected)) = (first, self.expected) else {
            self.expected = after;
            return Fit::Unknown;
        };
        let ahead = first.wrapping_sub(expected);
        if ahead == 0 {
            self.expected = after;
            self.restart_at = None;
            return Fit::Hit;
        }
        let restarted_far = ahead > FAR && first < AFTER_RESTART && life == Life::Unknown;
        if ahead.cast_signed() > 0 && !restarted_far {
            self.miss(expected, ahead, now);
            self.expected = after;
            self.restart_at = None;
            return Fit::Ahead(ahead);
        }
        let count = after.map_or(0, |after| after.wrapping_sub(first));
        if count == 0 && after.is_some() && !restarted_far {
            // It counts nothing, so it may come at any place.
            return Fit::Late;
        }
        if self.fill(first, count, regained) {
            return Fit::Late;
        }
        match self.restart_at {
            Some(restart_at) if first.wrapping_sub(restart_at) < AFTER_RESTART => {
                self.lose_all_at(now);
                let missing = first.wrapping_sub(restart_at);
                if missing > 0 {
                    self.miss(restart_at, missing, now);
                }
                self.expected = after;
                self.restart_at = None;
                Fit::Restart
            }
            _ => {
                self.restart_at = after;
                Fit::Stray
            }
        }
    }

    fn miss(&mut self, first: u32, count: u32, (since, since_ms): (u64, i64)) {
        if self.gaps.len() >= MAX_GAPS {
            let oldest = self.gaps.remove(0);
            if !oldest.lost {
                self.lost = self.lost.saturating_add(u64::from(oldest.count));
            }
        }
        self.gaps.push(Missing {
            first,
            count,
            since,
            since_ms,
            lost: false,
            told: false,
        });
    }

    /// Takes units out of the gap that they were missing in; false if there is none that has them all.
    fn fill(&mut self, first: u32, count: u32, regained: &mut u32) -> bool {
        let holds = |gap: &Missing| {
            let skipped = first.wrapping_sub(gap.first);
            skipped < gap.count && count <= gap.count.wrapping_sub(skipped)
        };
        let Some(place) = self.gaps.iter().position(holds) else {
            return false;
        };
        let Some(gap) = self.gaps.get_mut(place) else {
            return false;
        };
        let skipped = first.wrapping_sub(gap.first);
        let behind = Missing {
            first: first.wrapping_add(count),
            count: gap.count.wrapping_sub(skipped).wrapping_sub(count),
            ..*gap
        };
        gap.count = skipped;
        if gap.told {
            *regained = regained.saturating_add(count);
        }
        if gap.lost {
            self.lost = self.lost.saturating_sub(u64::from(count));
        }
        if skipped == 0 {
            self.gaps.remove(place);
        }
        if behind.count > 0 {
            self.gaps.insert(place.min(self.gaps.len()), behind);
        }
        true
    }

    /// After a restart nothing that is missing can come any more, save what is under way: as if the window had passed.
    fn lose_all_at(&mut self, (seen, _): (u64, i64)) {
        for gap in &mut self.gaps {
            gap.since = gap.since.min(seen.saturating_sub(WINDOW));
        }
    }

    /// Counts as lost what was missing for longer than the window.
    fn settle(&mut self, seen: u64, now_ms: i64) {
        for gap in &mut self.gaps {
            let passed = seen.saturating_sub(gap.since) >= WINDOW
                || now_ms == i64::MAX
                || now_ms.saturating_sub(gap.since_ms) >= WINDOW_MS;
            if !gap.lost && passed {
                gap.lost = true;
                self.lost = self.lost.saturating_add(u64::from(gap.count));
            }
        }
    }

    /// Tells what is lost and was not told yet.
    fn tell(&mut self, mut lost: impl FnMut(u32, u32)) {
        for gap in self.gaps.iter_mut().filter(|gap| gap.lost && !gap.told) {
            gap.told = true;
            lost(gap.first, gap.count);
        }
    }

    /// Takes back what was told by this reading, as another fits better; returns how much that is.
    fn untell(&mut self) -> u32 {
        let told = self.gaps.iter_mut().filter(|gap| gap.told);
        told.map(|gap| {
            gap.told = false;
            gap.count
        })
        .fold(0, u32::saturating_add)
    }
}

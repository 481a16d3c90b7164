//! Dense ids for keys: an open-addressing table that is probed for many rows at once.

use std::hash::{BuildHasher, RandomState};
use std::hint::{black_box, select_unpredictable};

/// No id: a row that takes no part.
pub(crate) const NONE: u32 = u32::MAX;

/// Reference count of an id that is not in use.
const VACANT: u32 = u32::MAX;

/// Smallest table; a power of two.
const SMALLEST: usize = 64;

/// So many ids may lie idle before it pays to look for those that nothing is made of.
const IDLE_IDS: usize = 4096;

/// Most ids of a table: at the highest load its places are still told apart by 32 bits.
const MOST_IDS: usize = 1 << 31;

/// The rows of a slice that take part: all of them, or those listed in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Every row of a slice of this length.
    All(usize),
    /// Only these.
    Some(Vec<u32>),
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(length) => *length,
            Self::Some(rows) => rows.len(),
        }
    }

    /// The row at `place` of the selection.
    pub(crate) fn row(&self, place: usize) -> usize {
        match self {
            Self::All(_) => place,
            Self::Some(rows) => rows[place] as usize,
        }
    }

    /// Calls `visit` for each selected row between two places of the selection.
    #[inline(always)]
    pub(crate) fn each(&self, from: usize, to: usize, mut visit: impl FnMut(usize)) {
        match self {
            Self::All(_) => (from..to).for_each(visit),
            Self::Some(rows) => rows[from..to].iter().for_each(|&row| visit(row as usize)),
        }
    }

    /// How many of the selected rows lie before the row `limit`.
    pub(crate) fn before(&self, limit: usize) -> usize {
        match self {
            Self::All(length) => limit.min(*length),
            Self::Some(rows) => rows.partition_point(|&row| (row as usize) < limit),
        }
    }
}

/// A loop over the selected rows between two places of the selection. As a macro, so that the body is compiled into both loops:
/// a closure of some size is called for every row instead.
macro_rules! for_each_row {
    ($rows:expr, $from:expr, $to:expr, $row:ident => $body:expr) => {
        match $rows {
            $crate::column::interner::Rows::All(_) => {
                for $row in $from..$to {
                    $body
                }
            }
            $crate::column::interner::Rows::Some(rows) => {
                for &row in &rows[$from..$to] {
                    let $row = row as usize;
                    $body
                }
            }
        }
    };
}
pub(super) use for_each_row;

/// `usize` to id. Ids are limited far below `NONE` before they are made.
pub(crate) fn id_from(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

/// Ids in use, by the number of their holders.
///
/// An id that nobody holds is only noted; [`Ids::vacate`] gives it back, so an id that was looked up for
/// a slice stays good until the slice is done.
#[derive(Debug)]
pub(crate) struct Ids {
    holders: Vec<u32>,
    free: Vec<u32>,
    /// Ids that had no holder at some time since the last call of [`Ids::unheld`].
    idle: Vec<u32>,
    limit: usize,
    refused: u64,
}

impl Ids {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            holders: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            limit: limit.min(MOST_IDS),
            refused: 0,
        }
    }

    /// Ids in use.
    pub(crate) fn len(&self) -> usize {
        self.holders.len() - self.free.len()
    }

    /// One more than the largest id that was ever given out.
    pub(crate) fn bound(&self) -> usize {
        self.holders.len()
    }

    /// An id that nobody holds yet; none where there is no room. The last that was given back comes first, as what is
    /// kept by it is likely still in the cache.
    pub(crate) fn give(&mut self) -> Option<u32> {
        if self.len() >= self.limit {
            self.refused += 1;
            return None;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.holders.push(0);
            id_from(self.holders.len() - 1)
        });
        self.holders[id as usize] = 0;
        Some(id)
    }

    #[inline(always)]
    pub(crate) fn hold(&mut self, id: u32) {
        self.holders[id as usize] += 1;
    }

    #[inline(always)]
    pub(crate) fn release(&mut self, id: u32) {
        let holders = &mut self.holders[id as usize];
        *holders -= 1;
        if *holders == 0 {
            self.idle.push(id);
        }
    }

    /// Notes ids that may never have been held.
    pub(crate) fn note(&mut self, created: &[u32]) {
        let holders = &self.holders;
        let unheld = created.iter().filter(|&&id| holders[id as usize] == 0);
        self.idle.extend(unheld);
    }

    /// Gives back the ids that nobody holds and appends them to `unheld`.
    fn unheld(&mut self, unheld: &mut Vec<u32>) {
        for id in self.idle.drain(..) {
            let holders = &mut self.holders[id as usize];
            if *holders == 0 {
                *holders = VACANT;
                self.free.push(id);
                unheld.push(id);
            }
        }
    }

    /// Whether so many ids may be unheld that it pays to look for those that are not marked either; near the limit fewer will do.
    pub(crate) fn is_littered(&self) -> bool {
        let crowded = self.len() >= self.limit - self.limit / 8;
        let enough = if crowded {
            self.len() / 16
        } else {
            IDLE_IDS.max(self.len() / 2)
        };
        !self.idle.is_empty() && self.idle.len() >= enough
    }

    /// Gives back the ids that nobody holds and that are not marked, and appends them to `unheld`.
    fn unmarked(&mut self, marks: &Marks, unheld: &mut Vec<u32>) {
        self.idle.clear();
        for (id, holders) in (0..).zip(&mut self.holders) {
            if *holders == 0 && !marks.has(id) {
                *holders = VACANT;
                self.free.push(id);
                unheld.push(id);
            }
        }
    }

    /// Gives back the ids that nobody holds; with marks, which [`is_littered`](Self::is_littered) asks for, only those without
    /// one. `gone` then holds them.
    pub(crate) fn vacate(&mut self, marks: Option<&Marks>, gone: &mut Vec<u32>) {
        gone.clear();
        match marks {
            Some(marks) => self.unmarked(marks, gone),
            None => self.unheld(gone),
        }
    }

    /// Rows whose key found no room since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Whether an id is in use.
    pub(crate) fn knows(&self, id: u32) -> bool {
        self.holders.get(id as usize).is_some_and(|&holders| holders != VACANT)
    }

    /// The ids that are not in use, in the order of their reuse from the end.
    pub(crate) fn free(&self) -> &[u32] {
        &self.free
    }

    /// So many ids of which these are free and the others held by nobody. None if the free ones do not fit.
    pub(crate) fn from_parts(limit: usize, bound: usize, free: Vec<u32>) -> Option<Self> {
        let mut ids = Self::new(limit);
        ids.holders = vec![0; bound];
        for &id in &free {
            let holders = ids.holders.get_mut(id as usize)?;
            if std::mem::replace(holders, VACANT) == VACANT {
                return None;
            }
        }
        ids.free = free;
        ids.idle = (0..bound).filter(|&id| ids.holders[id] == 0).map(id_from).collect();
        Some(ids)
    }
}

/// Ids that something is made of.
#[derive(Debug)]
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// No marks, for ids below `bound`.
    pub(crate) fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    pub(crate) fn mark(&mut self, id: u32) {
        self.0[id as usize / 64] |= 1 << (id % 64);
    }

    fn has(&self, id: u32) -> bool {
        self.0[id as usize / 64] & (1 << (id % 64)) != 0
    }
}

/// A fixed-size key that hashes in a few cycles.
pub(crate) trait Key: Copy + Eq + Default {
    /// 32 bits that tell keys apart for the most part.
    fn tag(self, seed: [u64; 2]) -> u32;

    /// Whether no other narrow key has the same tag.
    fn is_narrow(self) -> bool;
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the product are what is folded"
)]
#[inline(always)]
const fn multiply(left: u64, right: u64) -> u32 {
    let product = left as u128 * right as u128;
    (((product as u64) ^ ((product >> 64) as u64)) >> 32) as u32
}

impl Key for u64 {
    #[inline(always)]
    fn tag(self, seed: [u64; 2]) -> u32 {
        multiply(self ^ seed[0], seed[1])
    }

    #[inline(always)]
    fn is_narrow(self) -> bool {
        false
    }
}

/// The first 12 octets of an IPv4 address as a key: `::ffff:0:0/96`.
const IPV4_MAPPED: u64 = 0xffff;

impl Key for [u64; 2] {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the IPv4 address and the parts of the seed are 32 bits"
    )]
    #[inline(always)]
    fn tag(self, seed: [u64; 2]) -> u32 {
        if self.is_narrow() {
            // Each step can be undone, so that different addresses have different tags.
            let mixed = (self[1] as u32 ^ seed[0] as u32).wrapping_mul(seed[1] as u32 | 1);
            (mixed ^ (mixed >> 16)).wrapping_mul((seed[1] >> 32) as u32 | 1)
        } else {
            multiply(self[0] ^ seed[0], self[1] ^ seed[1])
        }
    }

    #[inline(always)]
    fn is_narrow(self) -> bool {
        self[0] == 0 && self[1] >> 32 == IPV4_MAPPED
    }
}

/// An entry of the table: the tag above, one more than the id below; zero where there is none.
const fn entry(tag: u32, id: u32) -> u64 {
    ((tag as u64) << 32) | (id as u64 + 1)
}

const fn tag_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn id_after(entry: u64) -> u32 {
    entry as u32
}

/// Keys to dense ids and back.
///
/// The table is probed linearly from the place that the upper bits of a key's tag name, and has eight bytes for a place: keys
/// lie in a vector by id, where they are looked at only when tags are equal, and not even then while all keys are narrow.
#[derive(Debug)]
pub(crate) struct Interner<K> {
    /// Random, so that nobody can send keys that collide. Ids do not depend on it.
    seed: [u64; 2],
    table: Vec<u64>,
    /// What a tag is shifted by to be a place of the table.
    shift: u32,
    pub(crate) ids: Ids,
    keys: Vec<K>,
    /// Whether all keys that were ever entered are narrow.
    narrow: bool,
    /// Ids that were given out since [`Interner::settle`].
    created: Vec<u32>,
    /// By row of the slice.
    tags: Vec<u32>,
    unheld: Vec<u32>,
}

impl<K: Key> Interner<K> {
    pub(crate) fn new(limit: usize) -> Self {
        let random = RandomState::new();
        Self {
            seed: [random.hash_one(0_u8), random.hash_one(1_u8) | 1],
            table: vec![0; SMALLEST],
            shift: shift_for(SMALLEST),
            ids: Ids::new(limit),
            keys: Vec::new(),
            narrow: true,
            created: Vec::new(),
            tags: Vec::new(),
            unheld: Vec::new(),
        }
    }

    pub(crate) fn key(&self, id: u32) -> K {
        self.keys[id as usize]
    }

    /// Writes the id of each selected row's key, plus `base`, into `ids`, giving new ones where needed.
    ///
    /// The first pass only loads: it has no branch that depends on the table, so the loads of many rows overlap. What it
    /// does not find at the key's home is looked for, and entered, by the second.
    pub(crate) fn intern(&mut self, rows: &Rows, keys: &[K], base: u32, ids: &mut [u32]) {
        self.reserve(rows.len());
        if self.tags.len() < keys.len() {
            self.tags.resize(keys.len(), 0);
        }
        let (shift, seed) = (self.shift, self.seed);
        let (table, tags) = (self.table.as_slice(), self.tags.as_mut_slice());
        let mut narrow = true;
        for_each_row!(rows, 0, rows.len(), row => {
            let key = keys[row];
            let tag = key.tag(seed);
            narrow &= key.is_narrow();
            let entry = table[(tag >> shift) as usize];
            tags[row] = tag;
            // A branch would have to wait for the load, and all that follows with it.
            ids[row] = select_unpredictable(tag_of(entry) == tag, id_after(entry), 0);
        });
        self.narrow &= narrow;
        for_each_row!(rows, 0, rows.len(), row => {
            let found = ids[row];
            ids[row] = if found != 0 && (self.narrow || self.keys[found as usize - 1] == keys[row]) {
                found - 1 + base
            } else {
                match self.enter(keys[row], self.tags[row]) {
                    NONE => NONE,
                    id => id + base,
                }
            };
        });
    }

    /// The id of one key.
    #[cfg(test)]
    pub(crate) fn enter_one(&mut self, key: K) -> u32 {
        self.reserve(1);
        self.narrow &= key.is_narrow();
        self.enter(key, key.tag(self.seed))
    }

    fn enter(&mut self, key: K, tag: u32) -> u32 {
        let mask = self.table.len() - 1;
        let mut at = (tag >> self.shift) as usize;
        loop {
            let entry = self.table[at];
            if entry == 0 {
                break;
            }
            if tag_of(entry) == tag && self.keys[id_after(entry) as usize - 1] == key {
                return id_after(entry) - 1;
            }
            at = (at + 1) & mask;
        }
        let Some(id) = self.ids.give() else { return NONE };
        if id as usize == self.keys.len() {
            self.keys.push(key);
        } else {
            self.keys[id as usize] = key;
        }
        self.table[at] = entry(tag, id);
        self.created.push(id);
        id
    }

    /// Makes room for `more` keys at a load of at most five eighths.
    fn reserve(&mut self, more: usize) {
        let wanted = (self.ids.len() + more) * 8 / 5;
        if wanted < self.table.len() {
            return;
        }
        let length = (wanted + 1).next_power_of_two();
        let (mask, shift) = (length - 1, shift_for(length));
        let mut table = vec![0; length];
        // Entries are met nearly in the order of their new places.
        for &entry in self.table.iter().filter(|&&entry| entry != 0) {
            let mut at = (tag_of(entry) >> shift) as usize;
            while table[at] != 0 {
                at = (at + 1) & mask;
            }
            table[at] = entry;
        }
        (self.table, self.shift) = (table, shift);
    }

    /// The keys of the ids in use.
    pub(crate) fn live(&self) -> impl Iterator<Item = K> {
        let known = self.keys.iter().zip(&self.ids.holders);
        known.filter(|(_, holders)| **holders != VACANT).map(|(&key, _)| key)
    }

    /// Notes the ids that nobody has come to hold since they were given out.
    pub(crate) fn settle(&mut self) {
        self.ids.note(&self.created);
        self.created.clear();
    }

    /// Gives back the ids that nobody holds; with marks, which [`Ids::is_littered`] asks for, only those without one.
    pub(crate) fn sweep(&mut self, marks: Option<&Marks>) {
        self.ids.vacate(marks, &mut self.unheld);
        let (shift, seed) = (self.shift, self.seed);
        if self.tags.len() < self.unheld.len() {
            self.tags.resize(self.unheld.len(), 0);
        }
        // As in `intern`, the first pass fetches what the second changes.
        let mut fetched = 0;
        for (tag, &id) in self.tags.iter_mut().zip(&self.unheld) {
            *tag = self.keys[id as usize].tag(seed);
            fetched ^= self.table[(*tag >> shift) as usize];
        }
        black_box(fetched);
        for place in 0..self.unheld.len() {
            self.remove(self.tags[place], self.unheld[place]);
        }
    }

    /// Takes an entry out of the table and moves up those behind it that its place kept from theirs.
    fn remove(&mut self, tag: u32, id: u32) {
        let mask = self.table.len() - 1;
        let wanted = entry(tag, id);
        let mut gap = (tag >> self.shift) as usize;
        while self.table[gap] != wanted {
            debug_assert!(self.table[gap] != 0, "an id that is in use is in the table");
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let entry = self.table[at];
            if entry == 0 {
                break;
            }
            let home = (tag_of(entry) >> self.shift) as usize;
            // Whether the gap lies on the way from the entry's home to its place.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.table[gap] = entry;
                gap = at;
            }
        }
        self.table[gap] = 0;
    }

    /// The keys by id, and the ids that are not in use in the order of reuse.
    pub(crate) fn parts(&self) -> (&[K], &[u32]) {
        (&self.keys, self.ids.free())
    }

    /// The interner that [`Interner::parts`] described, its ids held by nobody.
    pub(crate) fn from_parts(limit: usize, keys: Vec<K>, free: Vec<u32>) -> Option<Self> {
        let mut interner = Self::new(limit);
        interner.ids = Ids::from_parts(limit, keys.len(), free)?;
        interner.reserve(0);
        interner.keys = keys;
        let mask = interner.table.len() - 1;
        for (index, &key) in interner.keys.iter().enumerate() {
            let id = id_from(index);
            if !interner.ids.knows(id) {
                continue;
            }
            interner.narrow &= key.is_narrow();
            let tag = key.tag(interner.seed);
            let mut at = (tag >> interner.shift) as usize;
            while interner.table[at] != 0 {
                let other = id_after(interner.table[at]) - 1;
                if interner.keys[other as usize] == key {
                    return None;
                }
                at = (at + 1) & mask;
            }
            interner.table[at] = entry(tag, id);
        }
        Some(interner)
    }
}

/// The shift that leaves as many upper bits of a tag as a table of this length, a power of two, has places.
fn shift_for(length: usize) -> u32 {
    32_u32.saturating_sub(length.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use proptest::prelude::*;

    #[test]
    fn ids_survive_removals_and_growth_as_in_a_map() {
        let mut interner = Interner::<u64>::new(1 << 20);
        let mut model: HashMap<u64, u32> = HashMap::new();
        let mut state = 1_u64;
        for _ in 0..200 {
            let keys: Vec<u64> = (0..2000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) % 50_000
                })
                .collect();
            let mut ids = vec![NONE; keys.len()];
            interner.intern(&Rows::All(keys.len()), &keys, 0, &mut ids);
            for (key, id) in keys.iter().zip(&ids) {
                assert_eq!(interner.key(*id), *key);
                if let Some(known) = model.get(key) {
                    assert_eq!(known, id);
                } else {
                    model.insert(*key, *id);
                    interner.ids.hold(*id);
                }
            }
            let leaving: Vec<u64> = model
                .keys()
                .copied()
                .filter(|key| (key ^ state).is_multiple_of(3))
                .collect();
            for key in leaving {
                if let Some(id) = model.remove(&key) {
                    interner.ids.release(id);
                }
            }
            interner.settle();
            interner.sweep(None);
            assert_eq!(interner.ids.len(), model.len());
        }
        let (keys, free) = interner.parts();
        let restored = Interner::from_parts(1 << 20, keys.to_vec(), free.to_vec());
        let mut restored = restored.expect("own parts");
        for (key, id) in &model {
            assert_eq!(restored.enter_one(*key), *id);
        }
    }

    #[test]
    fn a_full_interner_refuses_and_counts() {
        let mut interner = Interner::<u64>::new(2);
        let mut ids = [0; 4];
        interner.intern(&Rows::All(4), &[1, 2, 3, 1], 0, &mut ids);
        assert_eq!((ids[2], interner.ids.take_refused(), ids[0] == ids[3]), (NONE, 1, true));
    }

    #[test]
    fn addresses_of_both_families_share_a_table() {
        let mut interner = Interner::<[u64; 2]>::new(1 << 20);
        let narrow = |host: u64| [0, (IPV4_MAPPED << 32) | host];
        let wide = |host: u64| [0x2001_0db8 << 32, host];
        let first: Vec<[u64; 2]> = (0..5000).map(narrow).collect();
        let mut ids = vec![NONE; first.len()];
        interner.intern(&Rows::All(first.len()), &first, 1, &mut ids);
        assert!(ids.iter().zip(1..).all(|(&id, wanted)| id == wanted));
        assert!(interner.narrow);
        let both: Vec<[u64; 2]> = (0..5000).flat_map(|host| [narrow(host), wide(host)]).collect();
        let mut ids = vec![NONE; both.len()];
        for _ in 0..2 {
            interner.intern(&Rows::All(both.len()), &both, 1, &mut ids);
            assert!(ids.iter().zip(&both).all(|(&id, key)| interner.key(id - 1) == *key));
        }
        assert!(!interner.narrow);
    }

    proptest! {
        /// Few tags, many of them alike, so that entries are far from home and wrap around the end.
        #[test]
        fn removal_leaves_every_other_key_in_reach(
            steps in proptest::collection::vec((0_u32..40, any::<bool>()), 1..300),
        ) {
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            struct Crowded(u32);
            impl Key for Crowded {
                fn tag(self, _: [u64; 2]) -> u32 {
                    (self.0 % 5).wrapping_sub(3) << 26
                }
                fn is_narrow(self) -> bool {
                    false
                }
            }
            let mut interner = Interner::<Crowded>::new(1 << 20);
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (key, coming) in steps {
                if coming {
                    let id = interner.enter_one(Crowded(key));
                    match model.get(&key) {
                        Some(&known) => prop_assert_eq!(id, known),
                        None => {
                            interner.ids.hold(id);
                            model.insert(key, id);
                        }
                    }
                } else if let Some(id) = model.remove(&key) {
                    interner.ids.release(id);
                }
                interner.settle();
                interner.sweep(None);
                for (&key, &id) in &model {
                    prop_assert_eq!(interner.enter_one(Crowded(key)), id);
                }
            }
        }
    }
}

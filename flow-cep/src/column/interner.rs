//! Dense ids for keys: an open-addressing table that is probed for many rows at once.

use std::hash::{BuildHasher, RandomState};

/// No id: an empty slot, a row that takes no part.
pub(crate) const NONE: u32 = u32::MAX;

/// Reference count of an id that is not in use.
const VACANT: u32 = u32::MAX;

/// Smallest table; a power of two.
const SMALLEST: usize = 64;

/// So many ids may lie idle before it pays to give them back.
const IDLE_IDS: usize = 4096;

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

/// `usize` to id. Ids are limited far below `NONE` before they are made.
pub(crate) fn id_from(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

/// A fixed-size key that hashes in a few cycles.
pub(crate) trait Key: Copy + Eq + Default {
    fn fold(self, seed: [u64; 2]) -> usize;
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the product are what is folded"
)]
#[inline(always)]
fn multiply(left: u64, right: u64) -> usize {
    let product = u128::from(left) * u128::from(right);
    ((product as u64) ^ ((product >> 64) as u64)) as usize
}

impl Key for u64 {
    #[inline(always)]
    fn fold(self, seed: [u64; 2]) -> usize {
        multiply(self ^ seed[0], seed[1])
    }
}

impl Key for [u64; 2] {
    #[inline(always)]
    fn fold(self, seed: [u64; 2]) -> usize {
        multiply(self[0] ^ seed[0], self[1] ^ seed[1])
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry<K> {
    key: K,
    id: u32,
}

/// Keys to dense ids and back.
///
/// An id counts its holders. One that nobody holds is only marked; [`Interner::sweep`] gives it back, so an id that was
/// looked up for a slice stays good until the slice is done.
#[derive(Debug)]
pub(crate) struct Interner<K> {
    /// Random, so that nobody can send keys that collide. Ids do not depend on it.
    seed: [u64; 2],
    table: Vec<Entry<K>>,
    keys: Vec<K>,
    holders: Vec<u32>,
    free: Vec<u32>,
    /// Ids that had no holder at some time since the last sweep.
    idle: Vec<u32>,
    /// Ids that the last call of [`Interner::intern`] gave out anew.
    created: Vec<u32>,
    limit: usize,
    refused: u64,
}

impl<K: Key> Interner<K> {
    pub(crate) fn new(limit: usize) -> Self {
        let random = RandomState::new();
        Self {
            seed: [random.hash_one(0_u8), random.hash_one(1_u8) | 1],
            table: vec![
                Entry {
                    key: K::default(),
                    id: NONE
                };
                SMALLEST
            ],
            keys: Vec::new(),
            holders: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            created: Vec::new(),
            limit: limit.min(VACANT as usize - 1),
            refused: 0,
        }
    }

    /// Ids in use.
    pub(crate) fn len(&self) -> usize {
        self.keys.len() - self.free.len()
    }

    /// Rows whose key found no room since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// One more than the largest id that was ever given out.
    pub(crate) fn bound(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, id: u32) -> K {
        self.keys[id as usize]
    }

    /// Writes the id of each selected row's key into `ids`, giving new ones where needed.
    ///
    /// The first pass only loads: it has no branch that depends on the table, so the loads of many rows overlap. What it
    /// does not find at the key's home is looked for, and entered, by the second.
    pub(crate) fn intern(&mut self, rows: &Rows, keys: &[K], ids: &mut [u32]) {
        self.created.clear();
        self.reserve(rows.len());
        let (mask, seed) = (self.table.len() - 1, self.seed);
        let table = self.table.as_slice();
        rows.each(0, rows.len(), |row| {
            let key = keys[row];
            let entry = &table[key.fold(seed) & mask];
            ids[row] = if entry.key == key { entry.id } else { NONE };
        });
        rows.each(0, rows.len(), |row| {
            if ids[row] == NONE {
                ids[row] = self.enter(keys[row]);
            }
        });
    }

    /// The id of one key.
    #[cfg(test)]
    pub(crate) fn enter_one(&mut self, key: K) -> u32 {
        self.reserve(1);
        self.enter(key)
    }

    fn enter(&mut self, key: K) -> u32 {
        let mask = self.table.len() - 1;
        let mut at = key.fold(self.seed) & mask;
        loop {
            let entry = self.table[at];
            if entry.id == NONE {
                break;
            }
            if entry.key == key {
                return entry.id;
            }
            at = (at + 1) & mask;
        }
        if self.len() >= self.limit {
            self.refused += 1;
            return NONE;
        }
        let id = if let Some(id) = self.free.pop() {
            self.keys[id as usize] = key;
            self.holders[id as usize] = 0;
            id
        } else {
            let id = id_from(self.keys.len());
            self.keys.push(key);
            self.holders.push(0);
            id
        };
        self.table[at] = Entry { key, id };
        self.created.push(id);
        id
    }

    /// Ids that the last [`Interner::intern`] gave out anew.
    pub(crate) fn created(&self) -> &[u32] {
        &self.created
    }

    /// Makes room for `more` keys at a load of at most a half.
    fn reserve(&mut self, more: usize) {
        let wanted = self.len() + more;
        if wanted * 2 <= self.table.len() {
            return;
        }
        self.rebuild((wanted * 2).next_power_of_two());
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

    /// Gives back the ids that nobody holds, telling `freed` their keys, once there are enough of them to pay for a pass
    /// over the table. Until then a key that comes again finds its old id.
    pub(crate) fn sweep(&mut self, mut freed: impl FnMut(K)) {
        for index in 0..self.created.len() {
            let id = self.created[index];
            if self.holders[id as usize] == 0 {
                self.idle.push(id);
            }
        }
        self.created.clear();
        // Near the limit fewer idle ids make it worth while.
        let crowded = self.len() >= self.limit - self.limit / 8;
        let enough = if crowded {
            self.len() / 16
        } else {
            IDLE_IDS.max(self.len() / 2)
        };
        if self.idle.is_empty() || self.idle.len() < enough {
            return;
        }
        let before = self.free.len();
        for id in self.idle.drain(..) {
            let holders = &mut self.holders[id as usize];
            if *holders == 0 {
                *holders = VACANT;
                self.free.push(id);
                freed(self.keys[id as usize]);
            }
        }
        if self.free.len() > before {
            self.rebuild(self.table.len());
        }
    }

    /// Makes the table anew from the keys in use. Entries are met nearly in the order of their places in the new table.
    fn rebuild(&mut self, length: usize) {
        let empty = Entry {
            key: K::default(),
            id: NONE,
        };
        let old = std::mem::replace(&mut self.table, vec![empty; length]);
        let mask = length - 1;
        for entry in old {
            if entry.id == NONE || self.holders[entry.id as usize] == VACANT {
                continue;
            }
            let mut at = entry.key.fold(self.seed) & mask;
            while self.table[at].id != NONE {
                at = (at + 1) & mask;
            }
            self.table[at] = entry;
        }
    }

    /// The keys by id, and the ids that are not in use in the order of reuse.
    pub(crate) fn parts(&self) -> (&[K], &[u32]) {
        (&self.keys, &self.free)
    }

    /// The interner that [`Interner::parts`] described, its ids held by nobody.
    pub(crate) fn from_parts(limit: usize, keys: Vec<K>, free: Vec<u32>) -> Option<Self> {
        let mut interner = Self::new(limit);
        interner.holders = vec![0; keys.len()];
        for &id in &free {
            let holders = interner.holders.get_mut(id as usize)?;
            if std::mem::replace(holders, VACANT) == VACANT {
                return None;
            }
        }
        interner.keys = keys;
        interner.free = free;
        let length = (interner.len() * 2).next_power_of_two().max(SMALLEST);
        interner.table = vec![
            Entry {
                key: K::default(),
                id: NONE
            };
            length
        ];
        let mask = length - 1;
        for (index, &key) in interner.keys.iter().enumerate() {
            if interner.holders[index] == VACANT {
                continue;
            }
            let mut at = key.fold(interner.seed) & mask;
            while interner.table[at].id != NONE {
                if interner.table[at].key == key {
                    return None;
                }
                at = (at + 1) & mask;
            }
            let id = id_from(index);
            interner.table[at] = Entry { key, id };
            interner.created.push(id);
        }
        Some(interner)
    }

    /// Whether an id is in use.
    pub(crate) fn knows(&self, id: u32) -> bool {
        self.holders.get(id as usize).is_some_and(|&holders| holders != VACANT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

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
            interner.intern(&Rows::All(keys.len()), &keys, &mut ids);
            for (key, id) in keys.iter().zip(&ids) {
                assert_eq!(interner.key(*id), *key);
                if let Some(known) = model.get(key) {
                    assert_eq!(known, id);
                } else {
                    model.insert(*key, *id);
                    interner.hold(*id);
                }
            }
            let leaving: Vec<u64> = model
                .keys()
                .copied()
                .filter(|key| (key ^ state).is_multiple_of(3))
                .collect();
            for key in leaving {
                if let Some(id) = model.remove(&key) {
                    interner.release(id);
                }
            }
            interner.sweep(|_| ());
            assert!(interner.len() >= model.len() && interner.len() <= model.len() * 2 + IDLE_IDS);
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
        interner.intern(&Rows::All(4), &[1, 2, 3, 1], &mut ids);
        assert_eq!((ids[2], interner.take_refused(), ids[0] == ids[3]), (NONE, 1, true));
    }
}

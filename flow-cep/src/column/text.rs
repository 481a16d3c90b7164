//! Dense ids for texts.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::interner::{NONE, id_from};

/// Texts (or any bytes) to dense ids and back; holders and sweeping as in [`super::interner::Interner`].
#[derive(Debug)]
pub(crate) struct TextInterner {
    hasher: RandomState,
    table: HashTable<u32>,
    texts: Vec<Box<str>>,
    holders: Vec<u32>,
    free: Vec<u32>,
    idle: Vec<u32>,
    limit: usize,
    refused: u64,
}

/// Reference count of an id that is not in use.
const VACANT: u32 = u32::MAX;

impl TextInterner {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            table: HashTable::new(),
            texts: Vec::new(),
            holders: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            limit: limit.min(VACANT as usize - 1),
            refused: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    pub(crate) fn bound(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        &self.texts[id as usize]
    }

    pub(crate) fn enter(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let texts = &self.texts;
        if let Some(&id) = self.table.find(hash, |&id| &*texts[id as usize] == text) {
            return id;
        }
        if self.len() >= self.limit {
            self.refused += 1;
            return NONE;
        }
        let id = if let Some(id) = self.free.pop() {
            self.texts[id as usize] = text.into();
            self.holders[id as usize] = 0;
            id
        } else {
            let id = id_from(self.texts.len());
            self.texts.push(text.into());
            self.holders.push(0);
            id
        };
        self.insert(hash, id);
        self.idle.push(id);
        id
    }

    fn insert(&mut self, hash: u64, id: u32) {
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.table
            .insert_unique(hash, id, |&id| hasher.hash_one(&*texts[id as usize]));
    }

    pub(crate) fn hold(&mut self, id: u32) {
        self.holders[id as usize] += 1;
    }

    pub(crate) fn release(&mut self, id: u32) {
        let holders = &mut self.holders[id as usize];
        *holders -= 1;
        if *holders == 0 {
            self.idle.push(id);
        }
    }

    pub(crate) fn sweep(&mut self) {
        while let Some(id) = self.idle.pop() {
            if self.holders[id as usize] != 0 {
                continue;
            }
            self.holders[id as usize] = VACANT;
            let hash = self.hasher.hash_one(&*self.texts[id as usize]);
            if let Ok(entry) = self.table.find_entry(hash, |&other| other == id) {
                entry.remove();
            }
            self.texts[id as usize] = Box::default();
            self.free.push(id);
        }
    }

    /// The texts by id, and the ids that are not in use in the order of reuse.
    pub(crate) fn parts(&self) -> (&[Box<str>], &[u32]) {
        (&self.texts, &self.free)
    }

    /// The interner that [`TextInterner::parts`] described, its ids held by nobody.
    pub(crate) fn from_parts(limit: usize, texts: Vec<Box<str>>, free: Vec<u32>) -> Option<Self> {
        let mut interner = Self::new(limit);
        interner.holders = vec![0; texts.len()];
        for &id in &free {
            let holders = interner.holders.get_mut(id as usize)?;
            if std::mem::replace(holders, VACANT) == VACANT {
                return None;
            }
        }
        interner.texts = texts;
        interner.free = free;
        for index in 0..interner.texts.len() {
            if interner.holders[index] != VACANT {
                let hash = interner.hasher.hash_one(&*interner.texts[index]);
                interner.insert(hash, id_from(index));
                interner.idle.push(id_from(index));
            }
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

    #[test]
    fn a_text_keeps_its_id_while_it_is_held() {
        let mut interner = TextInterner::new(10);
        let (a, b) = (interner.enter("a"), interner.enter("b"));
        interner.hold(a);
        interner.sweep();
        assert_eq!((interner.enter("a"), interner.len()), (a, 1));
        assert_eq!(interner.enter("c"), b);
    }
}

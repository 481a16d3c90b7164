//! Dense ids for texts.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::interner::{Ids, Marks, NONE, id_from};

/// Texts to dense ids and back; held and swept as in [`super::interner::Interner`].
#[derive(Debug)]
pub(crate) struct TextInterner {
    hasher: RandomState,
    table: HashTable<u32>,
    texts: Vec<Box<str>>,
    pub(crate) ids: Ids,
    created: Vec<u32>,
    unheld: Vec<u32>,
}

impl TextInterner {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            table: HashTable::new(),
            texts: Vec::new(),
            ids: Ids::new(limit),
            created: Vec::new(),
            unheld: Vec::new(),
        }
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
        let Some(id) = self.ids.give() else { return NONE };
        if id as usize == self.texts.len() {
            self.texts.push(text.into());
        } else {
            self.texts[id as usize] = text.into();
        }
        self.insert(hash, id);
        self.created.push(id);
        id
    }

    fn insert(&mut self, hash: u64, id: u32) {
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.table
            .insert_unique(hash, id, |&id| hasher.hash_one(&*texts[id as usize]));
    }

    /// As [`super::interner::Interner::settle`].
    pub(crate) fn settle(&mut self) {
        self.ids.note(&self.created);
        self.created.clear();
    }

    /// As [`super::interner::Interner::sweep`].
    pub(crate) fn sweep(&mut self, marks: Option<&Marks>) {
        self.ids.vacate(marks, &mut self.unheld);
        for &id in &self.unheld {
            let text = std::mem::take(&mut self.texts[id as usize]);
            let hash = self.hasher.hash_one(&*text);
            if let Ok(entry) = self.table.find_entry(hash, |&other| other == id) {
                entry.remove();
            }
        }
    }

    /// The texts by id, and the ids that are not in use in the order of reuse.
    pub(crate) fn parts(&self) -> (&[Box<str>], &[u32]) {
        (&self.texts, self.ids.free())
    }

    /// The interner that [`TextInterner::parts`] described, its ids held by nobody.
    pub(crate) fn from_parts(limit: usize, texts: Vec<Box<str>>, free: Vec<u32>) -> Option<Self> {
        let mut interner = Self::new(limit);
        interner.ids = Ids::from_parts(limit, texts.len(), free)?;
        interner.texts = texts;
        for id in (0..interner.texts.len()).map(id_from) {
            if interner.ids.knows(id) {
                let hash = interner.hasher.hash_one(&*interner.texts[id as usize]);
                interner.insert(hash, id);
            }
        }
        Some(interner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_id_while_it_is_held() {
        let mut interner = TextInterner::new(10);
        let (a, b) = (interner.enter("a"), interner.enter("b"));
        interner.ids.hold(a);
        interner.settle();
        interner.sweep(None);
        assert_eq!((interner.enter("a"), interner.ids.len()), (a, 1));
        assert_eq!(interner.enter("c"), b);
    }
}

//! Which slot holds the state of which key.

use super::interner::{NONE, Rows, for_each_row, id_from};
use super::keys::{KeyId, Keys};

/// How keys are given slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// Slots are dense over the keys that have rows here, however many ids other statements keep in use.
    Own,
    /// A key's id is its slot: for rows that no filter thins out, ids are dense already.
    Same,
}

#[derive(Debug)]
enum Slots {
    /// All rows are one group, in slot 0.
    Whole,
    Same {
        bound: usize,
        used: usize,
    },
    Own {
        slot_of: Vec<u32>,
        ids: Vec<u32>,
        free: Vec<u32>,
    },
}

/// Which slot holds the state of which key.
#[derive(Debug)]
pub(crate) struct Index {
    /// None when all rows are one group, which has slot 0.
    key: Option<KeyId>,
    slots: Slots,
    /// Ids that got a slot, and that gave theirs back, since [`Index::settle`].
    created: Vec<u32>,
    left: Vec<u32>,
}

impl Index {
    pub(crate) fn new(key: Option<KeyId>, mapping: Mapping) -> Self {
        let slots = match (key, mapping) {
            (None, _) => Slots::Whole,
            (Some(_), Mapping::Same) => Slots::Same { bound: 0, used: 0 },
            (Some(_), Mapping::Own) => Slots::Own {
                slot_of: Vec::new(),
                ids: Vec::new(),
                free: Vec::new(),
            },
        };
        Self {
            key,
            slots,
            created: Vec::new(),
            left: Vec::new(),
        }
    }

    pub(crate) const fn key(&self) -> Option<KeyId> {
        self.key
    }

    pub(crate) const fn mapping(&self) -> Mapping {
        match self.slots {
            Slots::Same { .. } => Mapping::Same,
            Slots::Whole | Slots::Own { .. } => Mapping::Own,
        }
    }

    /// One more than the largest slot.
    pub(crate) const fn bound(&self) -> usize {
        match &self.slots {
            Slots::Whole => 1,
            Slots::Same { bound, .. } => *bound,
            Slots::Own { ids, .. } => ids.len(),
        }
    }

    /// Keys that have a slot.
    pub(crate) const fn len(&self) -> usize {
        match &self.slots {
            Slots::Whole => 1,
            Slots::Same { used, .. } => *used,
            Slots::Own { ids, free, .. } => ids.len() - free.len(),
        }
    }

    /// The id of the key of a slot; [`NONE`] where a slot of its own has none.
    pub(crate) fn id(&self, slot: u32) -> u32 {
        match &self.slots {
            Slots::Whole | Slots::Same { .. } => slot,
            Slots::Own { ids, .. } => ids[slot as usize],
        }
    }

    /// Writes the slots of the rows between two places of the selection to `slots`, making those that are missing. Rows
    /// for which `skip` is the id of their `check` take no slot.
    ///
    /// Where ids are slots, whoever counts the rows of a slot tells [`Index::arrive`] of its first.
    pub(crate) fn enter(
        &mut self,
        keys: &Keys,
        rows: &Rows,
        (from, to): (usize, usize),
        check: Option<KeyId>,
        slots: &mut Vec<u32>,
    ) {
        let Some(key) = self.key else {
            slots.resize(slots.len() + to - from, 0);
            return;
        };
        let known = keys.bound(key);
        let ids = keys.ids(key);
        let checked = check.map(|check| keys.ids(check));
        let skipped = |row: usize| checked.is_some_and(|checked| checked[row] == super::keys::NULL);
        slots.reserve(to - from);
        match &mut self.slots {
            Slots::Whole => {}
            Slots::Same { bound, .. } => {
                *bound = (*bound).max(known);
                match (rows, checked) {
                    (Rows::All(_), None) => slots.extend_from_slice(&ids[from..to]),
                    _ => for_each_row!(rows, from, to, row => slots.push(if skipped(row) { NONE } else { ids[row] })),
                }
            }
            Slots::Own {
                slot_of,
                ids: id_of,
                free,
            } => {
                if slot_of.len() < known {
                    slot_of.resize(known, NONE);
                }
                // All slots are looked up before any is made, so that no look-up waits for another.
                let start = slots.len();
                for_each_row!(rows, from, to, row => {
                    let known = slot_of.get(ids[row] as usize).copied().unwrap_or(NONE);
                    slots.push(if skipped(row) { NONE } else { known });
                });
                for (place, slot) in (from..to).zip(&mut slots[start..]) {
                    let row = rows.row(place);
                    let id = ids[row];
                    if *slot != NONE || id == NONE || skipped(row) {
                        continue;
                    }
                    let made = &mut slot_of[id as usize];
                    if *made == NONE {
                        *made = match free.pop() {
                            Some(slot) => {
                                id_of[slot as usize] = id;
                                slot
                            }
                            None => {
                                id_of.push(id);
                                id_from(id_of.len() - 1)
                            }
                        };
                        self.created.push(id);
                    }
                    *slot = *made;
                }
            }
        }
    }

    /// Counts a slot that had no rows, where ids are slots.
    #[inline(always)]
    pub(crate) fn arrive(&mut self, slot: u32) {
        if let Slots::Same { used, .. } = &mut self.slots {
            *used += 1;
            self.created.push(slot);
        }
    }

    /// Gives a slot back; [`Index::settle`] has to follow.
    pub(crate) fn leave(&mut self, slot: u32) {
        match &mut self.slots {
            Slots::Whole => {}
            Slots::Same { used, .. } => {
                *used -= 1;
                self.left.push(slot);
            }
            Slots::Own { slot_of, ids, free } => {
                let id = std::mem::replace(&mut ids[slot as usize], NONE);
                slot_of[id as usize] = NONE;
                free.push(slot);
                self.left.push(id);
            }
        }
    }

    /// Holds the ids that got a slot, and releases those whose slots were given back.
    pub(crate) fn settle(&mut self, keys: &mut Keys) {
        if let Some(key) = self.key {
            keys.hold_all(key, self.created.iter().copied());
            keys.release_all(key, self.left.iter().copied());
        }
        self.created.clear();
        self.left.clear();
    }

    /// The ids of one of the atoms that the key is made of, for these slots.
    pub(crate) fn ids(&self, keys: &Keys, slots: &[u32], atom: KeyId) -> Vec<u32> {
        let ids: Vec<u32> = slots.iter().map(|&slot| self.id(slot)).collect();
        self.key.map_or_else(Vec::new, |key| keys.part(key, &ids, atom))
    }

    /// The ids by slot and the free slots, where slots are their own.
    pub(crate) fn parts(&self) -> (&[u32], &[u32]) {
        match &self.slots {
            Slots::Whole | Slots::Same { .. } => (&[], &[]),
            Slots::Own { ids, free, .. } => (ids, free),
        }
    }

    /// Takes up what [`Index::parts`] gave, counting its holds; `counts` has the rows of each slot. None if it does not fit.
    pub(crate) fn restore(
        &mut self,
        keys: &mut Keys,
        (saved, vacant): (Vec<u32>, Vec<u32>),
        counts: impl ExactSizeIterator<Item = i64>,
    ) -> Option<()> {
        let Some(key) = self.key else {
            return (saved.is_empty() && vacant.is_empty() && counts.len() == 1).then_some(());
        };
        match &mut self.slots {
            Slots::Whole => {}
            Slots::Same { bound, used } => {
                *bound = counts.len();
                for (slot, _) in (0..).zip(counts).filter(|(_, count)| *count != 0) {
                    if !keys.knows(key, slot) {
                        return None;
                    }
                    self.created.push(slot);
                }
                *used = self.created.len();
            }
            Slots::Own { slot_of, ids, free } => {
                *slot_of = vec![NONE; keys.bound(key)];
                let mut holes = 0;
                for (slot, &id) in saved.iter().enumerate() {
                    if id == NONE {
                        holes += 1;
                        continue;
                    }
                    let slot_of = slot_of.get_mut(id as usize)?;
                    if *slot_of != NONE || !keys.knows(key, id) {
                        return None;
                    }
                    *slot_of = id_from(slot);
                    self.created.push(id);
                }
                let mut distinct = vacant.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let fits = holes == vacant.len()
                    && distinct.len() == vacant.len()
                    && counts.len() == saved.len()
                    && distinct.iter().all(|&slot| saved.get(slot as usize) == Some(&NONE));
                if !fits {
                    return None;
                }
                (*ids, *free) = (saved, vacant);
            }
        }
        self.settle(keys);
        Some(())
    }
}

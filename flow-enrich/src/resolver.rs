use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, StringArray, UInt16Array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::ArrowError;
use ipnet::IpNet;

use crate::subnet::{Subnet, SubnetId};
use crate::table::SubnetTable;
use crate::trie::{NO_ANSWER, Trie};

/// Bytes of an address.
const ADDRESS_BYTES: usize = 16;
/// Rows whose truth values make one word of a bitmap.
const WORD_ROWS: usize = 64;

/// A subnet list compiled for look-ups; it never changes.
///
/// Its parts are shared with what it resolved, so dropping it while batches of it are around is fine.
#[derive(Debug)]
pub struct Resolver {
    subnets: Vec<Subnet>,
    trie: Trie,
    /// What to write for each of the trie's answers; the first is for none.
    cells: Vec<Cells>,
    names: ArrayRef,
    routers: ArrayRef,
    interfaces: ArrayRef,
    generation: u64,
}

/// What the columns hold for a subnet: keys into the shared dictionaries.
#[derive(Debug, Clone, Copy, Default)]
struct Cells {
    name: i32,
    router: i32,
    interface: i32,
    vlan: u16,
    flags: u8,
}

/// Bits of [`Cells::flags`].
const INTERNAL: u32 = 0;
const HAS_NAME: u32 = 1;
const HAS_ROUTER: u32 = 2;
const HAS_INTERFACE: u32 = 3;
const HAS_VLAN: u32 = 4;

/// What is known of a column of addresses, row by row.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Whether the address is of one of our subnets; false also where no subnet matches.
    pub internal: BooleanArray,
    /// The subnet's name; null if no subnet matches. All text columns of one resolver share their dictionaries.
    pub subnet: DictionaryArray<Int32Type>,
    /// Its router.
    pub router: DictionaryArray<Int32Type>,
    /// The router's interface.
    pub interface: DictionaryArray<Int32Type>,
    /// Its VLAN.
    pub vlan: UInt16Array,
}

/// The distinct texts of a column, each with its key.
#[derive(Default)]
struct Dictionary {
    keys: HashMap<String, i32>,
    texts: Vec<String>,
}

impl Dictionary {
    fn key(&mut self, text: &str) -> i32 {
        if let Some(&key) = self.keys.get(text) {
            return key;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "at most MAX_SUBNETS texts"
        )]
        let key = self.texts.len() as i32;
        self.keys.insert(text.to_owned(), key);
        self.texts.push(text.to_owned());
        key
    }

    fn finish(self) -> ArrayRef {
        Arc::new(StringArray::from(self.texts))
    }
}

impl Resolver {
    /// Compiles a list. `generation` is the caller's: it tells one list from the next in logs and metrics.
    #[must_use]
    pub fn new(table: SubnetTable, generation: u64) -> Self {
        let subnets = table.into_subnets();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut cells = Vec::with_capacity(subnets.len() + 1);
        cells.push(Cells::default());
        let (mut names, mut routers, mut interfaces) =
            (Dictionary::default(), Dictionary::default(), Dictionary::default());
        for (answer, subnet) in (NO_ANSWER + 1..).zip(&subnets) {
            match subnet.prefix {
                IpNet::V4(prefix) => v4.push((prefix, answer)),
                IpNet::V6(prefix) => v6.push((prefix, answer)),
            }
            let flag = |is_set: bool, bit: u32| u8::from(is_set) << bit;
            cells.push(Cells {
                name: names.key(&subnet.name),
                router: subnet.router.as_deref().map_or(0, |text| routers.key(text)),
                interface: subnet.interface.as_deref().map_or(0, |text| interfaces.key(text)),
                vlan: subnet.vlan.unwrap_or(0),
                flags: flag(subnet.internal, INTERNAL)
                    | flag(true, HAS_NAME)
                    | flag(subnet.router.is_some(), HAS_ROUTER)
                    | flag(subnet.interface.is_some(), HAS_INTERFACE)
                    | flag(subnet.vlan.is_some(), HAS_VLAN),
            });
        }
        Self {
            trie: Trie::new(v4, v6),
            cells,
            names: names.finish(),
            routers: routers.finish(),
            interfaces: interfaces.finish(),
            subnets,
            generation,
        }
    }

    /// The subnet of the longest prefix that covers an address.
    #[inline]
    #[must_use]
    pub fn lookup(&self, key: &[u8; 16]) -> Option<SubnetId> {
        match self.trie.lookup(key) {
            NO_ANSWER => None,
            answer => Some(SubnetId(answer - 1)),
        }
    }

    /// What the list says about a subnet that [`lookup`](Self::lookup) found.
    ///
    /// # Panics
    ///
    /// If the id is another resolver's and beyond the end of this one's list.
    #[must_use]
    pub fn subnet(&self, id: SubnetId) -> &Subnet {
        &self.subnets[id.index()]
    }

    /// All subnets, in the order of the list.
    #[must_use]
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// The number that this list was given.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Memory that the look-up structure and the subnets' cells take, without the texts.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.trie.memory_bytes() + self.cells.len() * size_of::<Cells>()
    }

    /// Resolves a column of addresses of 16 bytes. A null is of no subnet.
    ///
    /// # Errors
    ///
    /// [`ArrowError`] if the values are not of 16 bytes, or there are more rows than Arrow can number.
    pub fn resolve_column(&self, addresses: &FixedSizeBinaryArray) -> Result<Resolved, ArrowError> {
        let (values, rest) = addresses.value_data().as_chunks::<ADDRESS_BYTES>();
        if addresses.value_length() != 16 || !rest.is_empty() || values.len() != addresses.len() {
            return Err(ArrowError::InvalidArgumentError(format!(
                "addresses are of 16 bytes, not {}",
                addresses.value_length()
            )));
        }
        let rows = values.len();
        let mut names = Vec::with_capacity(rows);
        let mut routers = Vec::with_capacity(rows);
        let mut interfaces = Vec::with_capacity(rows);
        let mut vlans = Vec::with_capacity(rows);
        let mut bitmaps: [Vec<u64>; 5] = std::array::from_fn(|_| Vec::with_capacity(rows.div_ceil(WORD_ROWS)));
        let nulls = addresses.nulls().filter(|nulls| nulls.null_count() > 0);

        let mut answers = [NO_ANSWER; WORD_ROWS];
        for (word, chunk) in values.chunks(WORD_ROWS).enumerate() {
            // The look-ups first and by themselves: they do not depend on each other, so their misses overlap.
            for (answer, key) in answers.iter_mut().zip(chunk) {
                *answer = self.trie.lookup(key);
            }
            if let Some(nulls) = nulls {
                for (row, answer) in answers.iter_mut().take(chunk.len()).enumerate() {
                    if nulls.is_null(word * WORD_ROWS + row) {
                        *answer = NO_ANSWER;
                    }
                }
            }
            let mut cells = [Cells::default(); WORD_ROWS];
            for (cells, &answer) in cells.iter_mut().zip(&answers[..chunk.len()]) {
                *cells = self.cells[answer as usize];
            }
            let rows = &cells[..chunk.len()];
            names.extend(rows.iter().map(|cells| cells.name));
            routers.extend(rows.iter().map(|cells| cells.router));
            interfaces.extend(rows.iter().map(|cells| cells.interface));
            vlans.extend(rows.iter().map(|cells| cells.vlan));
            // Rows behind the end have no flags set.
            for (bitmap, word) in bitmaps.iter_mut().zip(flag_words(&cells)) {
                bitmap.push(word);
            }
        }

        let [internal, has_name, has_router, has_interface, has_vlan] =
            bitmaps.map(|words| BooleanBuffer::new(words.into(), 0, rows));
        let validity = |bits: BooleanBuffer| Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0);
        let text = |keys: Vec<i32>, has: BooleanBuffer, texts: &ArrayRef| {
            DictionaryArray::try_new(Int32Array::new(keys.into(), validity(has)), Arc::clone(texts))
        };
        Ok(Resolved {
            internal: BooleanArray::new(internal, None),
            subnet: text(names, has_name, &self.names)?,
            router: text(routers, has_router, &self.routers)?,
            interface: text(interfaces, has_interface, &self.interfaces)?,
            vlan: UInt16Array::new(vlans.into(), validity(has_vlan)),
        })
    }
}

/// The flags of 64 rows, a word for each of the five flags: bit `row` of word `flag` is bit `flag` of that row's flags.
fn flag_words(rows: &[Cells; WORD_ROWS]) -> [u64; 5] {
    let mut words = [[0_u8; 8]; 5];
    for (eight, rows) in rows.as_chunks::<8>().0.iter().enumerate() {
        let bits = transpose(u64::from_le_bytes(rows.map(|cells| cells.flags))).to_le_bytes();
        for (word, byte) in words.iter_mut().zip(bits) {
            word[eight] = byte;
        }
    }
    words.map(u64::from_le_bytes)
}

/// Turns eight bytes of eight bits by their diagonal: bit `a` of byte `b` becomes bit `b` of byte `a`.
fn transpose(bits: u64) -> u64 {
    // Swaps the two off-diagonal quarters of each 2 × 2 square, then of each 4 × 4, then of the whole.
    let swap = |bits: u64, mask: u64, distance: u32| {
        let differing = (bits ^ (bits >> distance)) & mask;
        bits ^ differing ^ (differing << distance)
    };
    let bits = swap(bits, 0x00aa_00aa_00aa_00aa, 7);
    let bits = swap(bits, 0x0000_cccc_0000_cccc, 14);
    swap(bits, 0x0000_0000_f0f0_f0f0, 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_swaps_bit_and_byte() {
        for (byte, bit) in (0..8).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            assert_eq!(
                transpose(1 << (8 * byte + bit)),
                1 << (8 * bit + byte),
                "bit {bit} of byte {byte}"
            );
        }
    }
}

//! Long columns in a checkpoint: blocks of values, each as its distance from the block's smallest, in as few octets as the
//! largest distance needs. For the `with` attribute of serde.

use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserializer, Serialize, Serializer};

/// Values of a block: few enough that a block stays in the nearest cache, many enough that its head does not count.
const BLOCK: usize = 2048;

/// A value as two words, of which each goes into a column of its own: what two parts have in common over a block, such as
/// the high bits of both ids of a pair, is then written once.
pub(crate) trait Word: Copy {
    fn split(self) -> [u64; 2];
    fn join(words: [u64; 2]) -> Option<Self>;
}

impl Word for u32 {
    fn split(self) -> [u64; 2] {
        [self.into(), 0]
    }

    fn join([word, _]: [u64; 2]) -> Option<Self> {
        Self::try_from(word).ok()
    }
}

impl Word for u64 {
    fn split(self) -> [u64; 2] {
        [self >> 32, self & Self::from(u32::MAX)]
    }

    fn join([high, low]: [u64; 2]) -> Option<Self> {
        Some((high << 32) | low)
    }
}

impl Word for i64 {
    fn split(self) -> [u64; 2] {
        // In the order of the numbers, so that small ones of both signs are near to one another.
        [self.cast_unsigned() ^ (1 << 63), 0]
    }

    fn join([word, _]: [u64; 2]) -> Option<Self> {
        Some((word ^ (1 << 63)).cast_signed())
    }
}

impl Word for f64 {
    fn split(self) -> [u64; 2] {
        [self.to_bits(), 0]
    }

    fn join([word, _]: [u64; 2]) -> Option<Self> {
        Some(Self::from_bits(word))
    }
}

impl Word for bool {
    fn split(self) -> [u64; 2] {
        [self.into(), 0]
    }

    fn join([word, _]: [u64; 2]) -> Option<Self> {
        (word <= 1).then_some(word == 1)
    }
}

impl Word for [u64; 2] {
    fn split(self) -> [u64; 2] {
        self
    }

    fn join(words: [u64; 2]) -> Option<Self> {
        Some(words)
    }
}

/// Writes a column.
pub(crate) fn serialize<T, S>(values: &impl Deref<Target = [T]>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Word,
    S: Serializer,
{
    column(values, serializer)
}

fn column<T: Word, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut blocks = serializer.serialize_seq(Some(values.len().div_ceil(BLOCK)))?;
    let mut bytes = Vec::new();
    for block in values.chunks(BLOCK) {
        bytes.clear();
        pack(block, &mut bytes);
        blocks.serialize_element(&Bytes(&bytes))?;
    }
    blocks.end()
}

/// Reads a column that [`serialize`] has written.
pub(crate) fn deserialize<'de, C, T, D>(deserializer: D) -> Result<C, D::Error>
where
    C: From<Vec<T>> + Deref<Target = [T]>,
    T: Word,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(Blocks(PhantomData)).map(C::from)
}

/// Several columns.
pub(crate) mod each {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Blocks, PhantomData, Word, column};

    struct Column<C>(C);

    impl<T: Word> Serialize for Column<&[T]> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            column(self.0, serializer)
        }
    }

    impl<'de, T: Word> Deserialize<'de> for Column<Vec<T>> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(Blocks(PhantomData)).map(Self)
        }
    }

    /// Writes them one after the other.
    pub(crate) fn serialize<T: Word, S: Serializer>(columns: &[Vec<T>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(columns.iter().map(|column| Column(&column[..])))
    }

    /// Reads what [`serialize`] has written.
    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<Vec<T>>, D::Error>
    where
        T: Word,
        D: Deserializer<'de>,
    {
        let columns = Vec::<Column<Vec<T>>>::deserialize(deserializer)?;
        Ok(columns.into_iter().map(|column| column.0).collect())
    }
}

struct Bytes<'b>(&'b [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Blocks<T>(PhantomData<T>);

impl<'de, T: Word> Visitor<'de> for Blocks<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("blocks of packed values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut blocks: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(block) = blocks.next_element::<&[u8]>()? {
            unpack(block, &mut values).ok_or_else(|| A::Error::custom("a block of values is damaged"))?;
        }
        Ok(values)
    }
}

/// Appends a block: the number of values, then both words of all of them.
fn pack<T: Word>(block: &[T], bytes: &mut Vec<u8>) {
    let count = u16::try_from(block.len()).unwrap_or(u16::MAX); // at most BLOCK
    bytes.extend(count.to_le_bytes());
    for part in 0..2 {
        pack_words(block.iter().map(|value| value.split()[part]), bytes);
    }
}

/// Appends words: the octets that each takes, the smallest, and the distances from it.
fn pack_words(words: impl ExactSizeIterator<Item = u64> + Clone, bytes: &mut Vec<u8>) {
    let (mut least, mut most) = (u64::MAX, 0);
    for word in words.clone() {
        least = least.min(word);
        most = most.max(word);
    }
    let octets = (u64::BITS - (most - least).leading_zeros()).div_ceil(u8::BITS);
    bytes.extend(octets.to_le_bytes().first());
    bytes.extend(least.to_le_bytes());
    let distances = words.map(|word| word - least);
    match octets {
        0 => {}
        1 => pack_octets::<1>(distances, bytes),
        2 => pack_octets::<2>(distances, bytes),
        3 => pack_octets::<3>(distances, bytes),
        4 => pack_octets::<4>(distances, bytes),
        5 => pack_octets::<5>(distances, bytes),
        6 => pack_octets::<6>(distances, bytes),
        7 => pack_octets::<7>(distances, bytes),
        _ => pack_octets::<8>(distances, bytes),
    }
}

fn pack_octets<const OCTETS: usize>(words: impl ExactSizeIterator<Item = u64>, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + words.len() * OCTETS, 0);
    let (places, _) = bytes[start..].as_chunks_mut::<OCTETS>();
    for (place, word) in places.iter_mut().zip(words) {
        place.copy_from_slice(&word.to_le_bytes()[..OCTETS]);
    }
}

/// Appends the values of a block; none if it is not one.
fn unpack<T: Word>(block: &[u8], values: &mut Vec<T>) -> Option<()> {
    let (count, rest) = block.split_first_chunk()?;
    let count = usize::from(u16::from_le_bytes(*count));
    let (high, rest) = Words::read(rest, count)?;
    let (low, rest) = Words::read(rest, count)?;
    if !rest.is_empty() {
        return None;
    }
    values.reserve(count);
    for at in 0..count {
        values.push(T::join([high.get(at)?, low.get(at)?])?);
    }
    Some(())
}

/// One word of all values of a block.
struct Words<'b> {
    octets: usize,
    least: u64,
    distances: &'b [u8],
}

impl<'b> Words<'b> {
    fn read(bytes: &'b [u8], count: usize) -> Option<(Self, &'b [u8])> {
        let (octets, rest) = bytes.split_first()?;
        let octets = usize::from(*octets);
        let (least, rest) = rest.split_first_chunk()?;
        let (distances, rest) = rest.split_at_checked(octets.checked_mul(count)?)?;
        let least = u64::from_le_bytes(*least);
        let words = Self {
            octets,
            least,
            distances,
        };
        (octets <= 8).then_some((words, rest))
    }

    fn get(&self, at: usize) -> Option<u64> {
        let mut word = [0; 8];
        let distance = self.distances.get(at * self.octets..)?.get(..self.octets)?;
        word.get_mut(..self.octets)?.copy_from_slice(distance);
        self.least.checked_add(u64::from_le_bytes(word))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comes_back<T: Word + PartialEq + std::fmt::Debug>(values: &[T]) {
        let mut bytes = Vec::new();
        for block in values.chunks(BLOCK) {
            bytes.clear();
            pack(block, &mut bytes);
            let mut read: Vec<T> = Vec::new();
            assert_eq!(unpack(&bytes, &mut read), Some(()));
            assert_eq!(read, block);
            for end in 0..bytes.len() {
                assert_eq!(unpack::<T>(&bytes[..end], &mut Vec::new()), None, "cut at {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            words in proptest::collection::vec((any::<u64>(), 0_u32..64), 0..40),
            least in any::<u32>(),
        ) {
            let words: Vec<u64> = words.into_iter().map(|(word, shift)| word >> shift).collect();
            comes_back(&words);
            comes_back(&words.iter().map(|word| word.cast_signed()).collect::<Vec<i64>>());
            comes_back(&words.iter().map(|word| [word.wrapping_add(least.into()), *word]).collect::<Vec<_>>());
            comes_back(&words.iter().map(|word| word & 1 == 1).collect::<Vec<bool>>());
            comes_back(&words.iter().map(|word| least | u32::from(word.to_le_bytes()[0])).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn near_numbers_take_an_octet_each() {
        let mut bytes = Vec::new();
        pack(&[-3_i64, 0, 200], &mut bytes);
        // The count, two heads of nine octets, three distances.
        assert_eq!(bytes.len(), 2 + 2 * 9 + 3);
        pack(&[7_u32; 2048], &mut bytes);
        assert_eq!(bytes.len(), 2 * (2 + 2 * 9) + 3);
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let mut bytes = Vec::new();
        pack(&[5_u32], &mut bytes);
        bytes[2] = 9;
        assert_eq!(unpack::<u32>(&bytes, &mut Vec::new()), None);
        pack(&[u64::MAX.cast_signed(), 0], &mut bytes);
        assert_eq!(unpack::<bool>(&bytes, &mut Vec::new()), None);
    }
}

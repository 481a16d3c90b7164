//! The encodings of Parquet that a flow's columns use, written for whole slices.
//!
//! * [`hybrid`]: runs and bit-packed groups of small numbers, for dictionary indices and definition levels;
//! * [`delta`]: differences between neighbours, bit-packed in blocks, for times and counters;
//! * [`prefixes`]: what each value does not share with the one before, for addresses.

/// Values that a bit-packed group of the hybrid encoding holds.
const GROUP: usize = 8;
/// Equal values from which on a run is shorter than bit-packed groups.
const MIN_RUN: usize = 16;
/// Values of a block of the delta encoding.
const BLOCK: usize = 128;
/// Values of a miniblock, which have one width.
const MINIBLOCK: usize = 32;

/// Bits that numbers up to `highest` take.
pub(super) fn bit_width(highest: u32) -> u8 {
    // At most 32.
    u8::try_from(u32::BITS - highest.leading_zeros()).unwrap_or(32)
}

/// An unsigned variable-length integer, seven bits a byte, the lowest first.
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A signed one: the sign goes to the lowest bit.
fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

/// Appends a group of numbers of `width` bits each, the lowest bit first.
fn pack(group: &[u64; GROUP], width: u8, out: &mut Vec<u8>) {
    let bits = u32::from(width);
    match width {
        0 => {}
        // Four numbers fit 64 bits, all of them 128.
        1..=16 => {
            let [low, high] = [0, 4].map(|at| {
                u128::from(
                    group[at] | group[at + 1] << bits | group[at + 2] << (2 * bits) | group[at + 3] << (3 * bits),
                )
            });
            out.extend_from_slice(&(low | high << (4 * bits)).to_le_bytes()[..usize::from(width)]);
        }
        // Two numbers fit 64 bits, four of them 128, all of them 256.
        17..=32 => {
            let [low, high] = [0, 4].map(|at| {
                let [first, second] = [at, at + 2].map(|at| u128::from(group[at] | group[at + 1] << bits));
                first | second << (2 * bits)
            });
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&(low | high.checked_shl(4 * bits).unwrap_or(0)).to_le_bytes());
            bytes[16..].copy_from_slice(&(high >> (u128::BITS - 4 * bits)).to_le_bytes());
            out.extend_from_slice(&bytes[..usize::from(width)]);
        }
        _ => {
            let mut waiting: u128 = 0;
            let mut held = 0;
            for &value in group {
                waiting |= u128::from(value) << held;
                held += bits;
                if held >= u64::BITS {
                    out.extend_from_slice(&waiting.to_le_bytes()[..size_of::<u64>()]);
                    waiting >>= u64::BITS;
                    held -= u64::BITS;
                }
            }
            // Eight numbers end with a byte.
            let len = usize::try_from(held / 8).unwrap_or(0);
            out.extend_from_slice(&waiting.to_le_bytes()[..len]);
        }
    }
}

/// Appends numbers below 2^`width` as runs and bit-packed groups.
pub(super) fn hybrid(values: &[u32], width: u8, out: &mut Vec<u8>) {
    let mut rest = values;
    while !rest.is_empty() {
        // Groups up to the next run that begins where a group does.
        let mut packed = 0;
        let mut run = 0;
        while packed < rest.len() {
            let tail = &rest[packed..];
            run = equal(tail);
            if run >= MIN_RUN {
                break;
            }
            run = 0;
            packed += GROUP;
        }
        // The last group of all may be cut short; it is filled with zeros, which readers leave out.
        let groups = packed / GROUP;
        if groups > 0 {
            varint((groups as u64) << 1 | 1, out);
            let (taken, left) = rest.split_at(packed.min(rest.len()));
            let (whole, cut) = taken.as_chunks::<GROUP>();
            for group in whole {
                pack(&group.map(u64::from), width, out);
            }
            if !cut.is_empty() {
                let mut group = [0; GROUP];
                group[..cut.len()].copy_from_slice(cut);
                pack(&group.map(u64::from), width, out);
            }
            rest = left;
        }
        if run > 0 {
            varint((run as u64) << 1, out);
            out.extend_from_slice(&rest[0].to_le_bytes()[..usize::from(width.div_ceil(8))]);
            rest = &rest[run..];
        }
    }
}

/// How many values at the start are equal.
fn equal(values: &[u32]) -> usize {
    let first = values[0];
    values.iter().position(|&value| value != first).unwrap_or(values.len())
}

/// Appends a bitmap of `len` bits as bit-packed groups of one bit: the layout is the same.
pub(super) fn hybrid_bits(bits: &[u8], len: usize, out: &mut Vec<u8>) {
    let groups = len.div_ceil(GROUP);
    varint((groups as u64) << 1 | 1, out);
    out.extend_from_slice(&bits[..groups]);
}

/// Appends one run of a number of one byte.
pub(super) fn hybrid_run(value: u8, len: usize, out: &mut Vec<u8>) {
    varint((len as u64) << 1, out);
    out.push(value);
}

/// An integer of a Parquet column.
pub(super) trait Value: Copy {
    fn widened(self) -> i64;
    /// The difference to an earlier value, modulo the type's size, as readers add it.
    fn since(self, earlier: Self) -> i64;
}

impl Value for i32 {
    fn widened(self) -> i64 {
        i64::from(self)
    }

    fn since(self, earlier: Self) -> i64 {
        i64::from(self.wrapping_sub(earlier))
    }
}

impl Value for i64 {
    fn widened(self) -> i64 {
        self
    }

    fn since(self, earlier: Self) -> i64 {
        self.wrapping_sub(earlier)
    }
}

/// Appends integers as their differences (`DELTA_BINARY_PACKED`).
pub(super) fn delta<V: Value>(values: &[V], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINIBLOCK) as u64, out);
    varint(values.len() as u64, out);
    zigzag(values.first().map_or(0, |first| first.widened()), out);
    let mut differences = [0i64; BLOCK];
    let mut earlier = values;
    while let Some((_, later)) = earlier.split_first().filter(|(_, later)| !later.is_empty()) {
        let count = later.len().min(BLOCK);
        for ((difference, before), after) in differences.iter_mut().zip(earlier).zip(&later[..count]) {
            *difference = after.since(*before);
        }
        let lowest = differences[..count].iter().copied().min().unwrap_or(0);
        zigzag(lowest, out);
        // The last miniblock is filled with zeros.
        let mut over = [0u64; BLOCK];
        for (over, difference) in over.iter_mut().zip(&differences[..count]) {
            *over = difference.wrapping_sub(lowest).cast_unsigned();
        }
        let widths_at = out.len();
        out.extend_from_slice(&[0; BLOCK / MINIBLOCK]);
        for (at, miniblock) in over[..count.next_multiple_of(MINIBLOCK)]
            .chunks_exact(MINIBLOCK)
            .enumerate()
        {
            let all = miniblock.iter().fold(0, |all, over| all | over);
            let width = u8::try_from(u64::BITS - all.leading_zeros()).unwrap_or(64);
            out[widths_at + at] = width;
            let (groups, _) = miniblock.as_chunks::<GROUP>();
            for group in groups {
                pack(group, width, out);
            }
        }
        earlier = &earlier[count..];
    }
}

/// Bytes that neighbours may share are counted in steps of this, so that the counts take few bits.
const PREFIX_STEP: usize = 4;
/// What two IPv4 addresses, mapped into IPv6, always share. More is not looked for: what it saves, the counts take.
const MAX_PREFIX: usize = 12;

/// Appends addresses of 16 bytes without the first bytes that they share with the one before (`DELTA_BYTE_ARRAY`).
pub(super) fn prefixes(addresses: &[[u8; 16]], out: &mut Vec<u8>) {
    let mut shared = Vec::with_capacity(addresses.len());
    let mut own = Vec::with_capacity(addresses.len());
    let mut rest = Vec::with_capacity(addresses.len() * (16 - MAX_PREFIX));
    let mut before = None;
    for address in addresses {
        let value = u128::from_be_bytes(*address);
        let common = before.map_or(0, |before: u128| (before ^ value).leading_zeros() / u8::BITS);
        let len = (common as usize).min(MAX_PREFIX) / PREFIX_STEP * PREFIX_STEP;
        if len == MAX_PREFIX {
            rest.extend_from_slice(&address[MAX_PREFIX..]);
        } else {
            rest.extend_from_slice(&address[len..]);
        }
        // At most 16.
        shared.push(i32::try_from(len).unwrap_or(0));
        own.push(i32::try_from(16 - len).unwrap_or(0));
        before = Some(value);
    }
    delta(&shared, out);
    delta(&own, out);
    out.extend_from_slice(&rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn read_zigzag(bytes: &mut &[u8]) -> i64 {
        let value = read_varint(bytes);
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }

    fn bit(bytes: &[u8], at: usize) -> u64 {
        u64::from(bytes[at / 8] >> (at % 8) & 1)
    }

    fn read_packed(bytes: &[u8], width: usize, at: usize) -> u64 {
        (0..width).map(|low| bit(bytes, at * width + low) << low).sum()
    }

    /// A reader written from the format's description, a bit at a time.
    fn read_hybrid(mut bytes: &[u8], width: u8, len: usize) -> Vec<u32> {
        let width = usize::from(width);
        let mut values = Vec::new();
        while values.len() < len {
            let header = read_varint(&mut bytes);
            let count = usize::try_from(header >> 1).unwrap();
            if header & 1 == 1 {
                values.extend((0..count * GROUP).map(|at| u32::try_from(read_packed(bytes, width, at)).unwrap()));
                bytes = &bytes[count * width..];
            } else {
                let mut value = [0; 4];
                value[..width.div_ceil(8)].copy_from_slice(&bytes[..width.div_ceil(8)]);
                values.extend(std::iter::repeat_n(u32::from_le_bytes(value), count));
                bytes = &bytes[width.div_ceil(8)..];
            }
        }
        assert!(bytes.is_empty());
        values.truncate(len);
        values
    }

    fn read_delta(mut bytes: &[u8], wrap: impl Fn(i64) -> i64) -> Vec<i64> {
        let values = read_deltas(&mut bytes, wrap);
        assert!(bytes.is_empty());
        values
    }

    fn read_deltas(rest: &mut &[u8], wrap: impl Fn(i64) -> i64) -> Vec<i64> {
        let mut bytes = *rest;
        assert_eq!((read_varint(&mut bytes), read_varint(&mut bytes)), (128, 4));
        let total = usize::try_from(read_varint(&mut bytes)).unwrap();
        let mut values = vec![read_zigzag(&mut bytes)];
        while values.len() < total {
            let lowest = read_zigzag(&mut bytes);
            let (widths, rest) = bytes.split_at(4);
            bytes = rest;
            for &width in widths {
                if values.len() >= total {
                    assert_eq!(width, 0);
                    continue;
                }
                let width = usize::from(width);
                for at in 0..MINIBLOCK {
                    let difference = lowest.wrapping_add(read_packed(bytes, width, at).cast_signed());
                    values.push(wrap(values[values.len() - 1].wrapping_add(difference)));
                }
                bytes = &bytes[width * 4..];
                values.truncate(total);
            }
        }
        values.truncate(total);
        *rest = bytes;
        values
    }

    fn read_prefixes(mut bytes: &[u8]) -> Vec<[u8; 16]> {
        let shared = read_deltas(&mut bytes, |value| value);
        let own = read_deltas(&mut bytes, |value| value);
        let mut address = [0; 16];
        let mut addresses = Vec::new();
        for (shared, own) in shared.into_iter().zip(own) {
            let (shared, own) = (usize::try_from(shared).unwrap(), usize::try_from(own).unwrap());
            assert_eq!(shared + own, 16);
            address[shared..].copy_from_slice(&bytes[..own]);
            bytes = &bytes[own..];
            addresses.push(address);
        }
        assert!(bytes.is_empty());
        addresses
    }

    proptest! {
        #[test]
        fn hybrid_comes_back(runs in prop::collection::vec((0..9u32, 1..40usize), 0..30), more in 0..24u8) {
            let values: Vec<u32> = runs.into_iter().flat_map(|(value, len)| std::iter::repeat_n(value, len)).collect();
            let width = bit_width(values.iter().copied().max().unwrap_or(0)) + more;
            let mut bytes = Vec::new();
            hybrid(&values, width, &mut bytes);
            prop_assert_eq!(read_hybrid(&bytes, width, values.len()), values);
        }

        #[test]
        fn bits_are_a_hybrid_of_one_bit(bits in prop::collection::vec(any::<bool>(), 1..100)) {
            let bitmap = arrow_buffer::BooleanBuffer::from(bits.clone());
            let mut bytes = Vec::new();
            hybrid_bits(bitmap.values(), bits.len(), &mut bytes);
            let want: Vec<u32> = bits.iter().map(|&bit| u32::from(bit)).collect();
            prop_assert_eq!(read_hybrid(&bytes, 1, bits.len()), want);
        }

        #[test]
        fn wide_deltas_come_back(values in prop::collection::vec(prop_oneof![any::<i64>(), 0..100i64], 1..400)) {
            let mut bytes = Vec::new();
            delta(&values, &mut bytes);
            prop_assert_eq!(read_delta(&bytes, |value| value), values);
        }

        #[test]
        fn addresses_come_back(
            values in prop::collection::vec(prop_oneof![any::<u128>(), 0..100u128, (0..300u128).prop_map(|low| low << 60)], 0..300),
        ) {
            let addresses: Vec<_> = values.into_iter().map(u128::to_be_bytes).collect();
            let mut bytes = Vec::new();
            prefixes(&addresses, &mut bytes);
            prop_assert_eq!(read_prefixes(&bytes), addresses);
        }

        #[test]
        fn narrow_deltas_come_back(values in prop::collection::vec(prop_oneof![any::<i32>(), 0..100i32], 1..400)) {
            let mut bytes = Vec::new();
            delta(&values, &mut bytes);
            #[expect(clippy::cast_possible_truncation, reason = "as readers wrap")]
            let found = read_delta(&bytes, |value| i64::from(value as i32));
            prop_assert_eq!(found, values.into_iter().map(i64::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_constant_takes_one_run() {
        let mut bytes = Vec::new();
        hybrid(&[3; 1000], 2, &mut bytes);
        assert_eq!(bytes, [0xd0, 0x0f, 3]);
    }

    #[test]
    fn steps_of_one_take_no_bits() {
        let mut bytes = Vec::new();
        delta(&(0..129i32).collect::<Vec<_>>(), &mut bytes);
        assert_eq!(bytes, [0x80, 1, 4, 0x81, 1, 0, 2, 0, 0, 0, 0]);
    }
}

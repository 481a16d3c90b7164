//! Hashes of keys that are the same in every process, so that all agree where a row belongs.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::DataType;

use crate::expr::column::value_at;
use crate::value::Value;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

const fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(FACTOR);
    (mixed ^ (mixed >> 32)).wrapping_mul(FACTOR)
}

fn of_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(SEED, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

/// Equal numbers hash alike, whatever their types.
fn of_value(value: &Value) -> u64 {
    match value {
        Value::Bool(value) => mix(SEED, u64::from(*value)),
        Value::Int(value) => of_integer(i64::from(*value)),
        Value::Long(value) => of_integer(*value),
        Value::Double(value) => of_double(*value),
        Value::Text(value) => of_bytes(value.as_bytes()),
        Value::Address(value) => of_bytes(value.as_slice()),
        Value::List(values) | Value::Row(values) => values.iter().fold(SEED, |hash, value| mix(hash, of_value(value))),
        Value::Null => SEED,
    }
}

const fn of_integer(value: i64) -> u64 {
    mix(SEED, value.cast_unsigned())
}

fn of_double(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "only what comes back the same is taken for an integer"
    )]
    let integer = (value as i64 as f64 == value).then_some(value as i64);
    match integer {
        Some(integer) => of_integer(integer),
        None if value.is_nan() => mix(SEED, f64::NAN.to_bits()),
        None => mix(SEED, value.to_bits()),
    }
}

fn of_integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<u64>
where
    i64: From<T::Native>,
{
    let values = array.as_primitive::<T>().values().iter();
    values.map(|&value| of_integer(i64::from(value))).collect()
}

/// The hash of each value.
pub(super) fn hashes(array: &ArrayRef) -> Vec<u64> {
    let mut hashes = match array.data_type() {
        DataType::UInt8 => of_integers::<UInt8Type>(array),
        DataType::UInt16 => of_integers::<UInt16Type>(array),
        DataType::UInt32 => of_integers::<UInt32Type>(array),
        DataType::Int32 => of_integers::<Int32Type>(array),
        DataType::Int64 => of_integers::<Int64Type>(array),
        DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, _) => of_integers::<TimestampMillisecondType>(array),
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            (0..array.len()).map(|row| of_bytes(array.value(row))).collect()
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            (0..array.len())
                .map(|row| of_bytes(array.value(row).as_bytes()))
                .collect()
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = hashes(dictionary.values());
            if values.is_empty() {
                return vec![SEED; array.len()];
            }
            let keys = dictionary.normalized_keys().into_iter();
            let of_keys = keys.map(|key| values.get(key).copied().unwrap_or(SEED));
            return nulls_alike(array, of_keys.collect());
        }
        _ => (0..array.len()).map(|row| of_value(&value_at(array, row))).collect(),
    };
    if array.null_count() > 0 {
        hashes = nulls_alike(array, hashes);
    }
    hashes
}

fn nulls_alike(array: &ArrayRef, mut hashes: Vec<u64>) -> Vec<u64> {
    if let Some(nulls) = array.logical_nulls() {
        for (hash, is_valid) in hashes.iter_mut().zip(nulls.iter()) {
            if !is_valid {
                *hash = SEED;
            }
        }
    }
    hashes
}

/// The part that a hash belongs to.
pub(super) fn part_of(hash: u64, parts: usize) -> usize {
    let part = (u128::from(hash) * parts as u128) >> 64;
    usize::try_from(part).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int32Array, Int64Array, StringArray, UInt16Array};

    use super::*;

    #[test]
    fn equal_keys_hash_alike_in_any_type() {
        let forms: [ArrayRef; 4] = [
            Arc::new(Int64Array::from(vec![Some(80), None, Some(7)])),
            Arc::new(Int32Array::from(vec![Some(80), None, Some(7)])),
            Arc::new(UInt16Array::from(vec![Some(80), None, Some(7)])),
            Arc::new(Float64Array::from(vec![Some(80.0), None, Some(7.0)])),
        ];
        for form in &forms {
            assert_eq!(hashes(form), hashes(&forms[0]));
        }
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]));
        let values = [Some("a"), None, Some("b"), Some("a")].into_iter();
        let dictionary: ArrayRef = Arc::new(values.collect::<arrow_array::DictionaryArray<Int32Type>>());
        assert_eq!(hashes(&plain), hashes(&dictionary));
    }

    #[test]
    fn hashes_never_change_as_checkpoints_depend_on_them() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["", "millrace"]));
        let found: Vec<u64> = hashes(&numbers).into_iter().chain(hashes(&texts)).collect();
        assert_eq!(found, FIXED);
    }

    const FIXED: [u64; 4] = [
        9_745_341_305_060_159_651,
        6_743_107_835_816_658_043,
        4_768_864_589_924_619_576,
        12_449_029_011_556_777_765,
    ];

    #[test]
    fn keys_are_spread_evenly() {
        let addresses: Vec<[u8; 16]> = (0..3000_u16)
            .map(|host| {
                let [high, low] = host.to_be_bytes();
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, high, low]
            })
            .collect();
        let array = arrow_array::FixedSizeBinaryArray::try_from_iter(addresses.iter()).unwrap();
        let mut counts = [0; 3];
        for hash in hashes(&(Arc::new(array) as ArrayRef)) {
            counts[part_of(hash, 3)] += 1;
        }
        assert!(counts.iter().all(|&count| (900..1100).contains(&count)), "{counts:?}");
    }
}

//! One column between its own type and the narrow form in which a bundle carries it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::error::Error;
use crate::schema::ADDRESS_LEN;

/// Field metadata: what is added to a narrowed integer.
pub(super) const BASE: &str = "base";
/// Field metadata: the one value of a constant column.
pub(super) const CONSTANT: &str = "constant";
/// Field metadata: the first bytes of every address of the column, in hex.
pub(super) const PREFIX: &str = "prefix";

const ADDRESS_BYTES: usize = ADDRESS_LEN as usize;
/// Length of an IPv4 address.
const V4_BYTES: usize = 4;
/// `::ffff:0:0/96`, the prefix of IPv4 addresses.
const V4_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// The same as a number.
const V4_NETWORK: u128 = 0xffff;

/// How a column's values are laid out in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Null in every row: no bytes.
    Absent,
    /// One integer in every row: no bytes.
    ConstantInteger(i64),
    /// One address in every row: no bytes.
    ConstantAddress([u8; ADDRESS_BYTES]),
    /// `base` plus an unsigned integer of one byte.
    Narrow8(i64),
    /// `base` plus an unsigned integer of two bytes.
    Narrow16(i64),
    /// `base` plus an unsigned integer of four bytes.
    Narrow32(i64),
    /// The last four bytes of IPv4 addresses.
    V4,
    /// As the column is.
    Plain,
}

impl Packing {
    /// Whether the column takes buffers (validity and values) in the body.
    pub(super) fn has_buffers(&self) -> bool {
        !matches!(self, Self::Absent | Self::ConstantInteger(_) | Self::ConstantAddress(_))
    }

    /// The narrowest packing that keeps every value of `column`.
    pub(super) fn choose(column: &ArrayRef) -> Result<Self, Error> {
        if column.null_count() == column.len() {
            return Ok(Self::Absent);
        }
        match column.data_type() {
            DataType::UInt8 => Ok(of_integers(column.as_primitive::<UInt8Type>(), 1)),
            DataType::UInt16 => Ok(of_integers(column.as_primitive::<UInt16Type>(), 2)),
            DataType::UInt32 => Ok(of_integers(column.as_primitive::<UInt32Type>(), 4)),
            DataType::Int64 => Ok(of_integers(column.as_primitive::<Int64Type>(), 8)),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Ok(of_integers(column.as_primitive::<TimestampMillisecondType>(), 8))
            }
            DataType::FixedSizeBinary(ADDRESS_LEN) => Ok(of_addresses(column.as_fixed_size_binary())),
            other => Err(unsupported(other)),
        }
    }

    /// The field that describes the packed column.
    pub(super) fn field(&self, logical: &Field) -> Field {
        let of = |data_type, key: &str, value: String| {
            Field::new(logical.name(), data_type, logical.is_nullable())
                .with_metadata(HashMap::from([(key.to_owned(), value)]))
        };
        match self {
            Self::Absent => Field::new(logical.name(), DataType::Null, true),
            Self::ConstantInteger(value) => of(DataType::Null, CONSTANT, value.to_string()).with_nullable(true),
            Self::ConstantAddress(value) => of(DataType::Null, CONSTANT, to_hex(value)).with_nullable(true),
            Self::Narrow8(base) => of(DataType::UInt8, BASE, base.to_string()),
            Self::Narrow16(base) => of(DataType::UInt16, BASE, base.to_string()),
            Self::Narrow32(base) => of(DataType::UInt32, BASE, base.to_string()),
            Self::V4 => of(DataType::FixedSizeBinary(4), PREFIX, to_hex(&V4_PREFIX)),
            Self::Plain => logical.clone(),
        }
    }

    /// Bytes that a value takes in the body.
    fn width(&self, logical: &DataType) -> Result<usize, Error> {
        Ok(match self {
            Self::Absent | Self::ConstantInteger(_) | Self::ConstantAddress(_) => 0,
            Self::Narrow8(_) => 1,
            Self::Narrow16(_) => 2,
            Self::Narrow32(_) | Self::V4 => V4_BYTES,
            Self::Plain => match logical {
                DataType::UInt8 => 1,
                DataType::UInt16 => 2,
                DataType::UInt32 => 4,
                DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 8,
                DataType::FixedSizeBinary(ADDRESS_LEN) => ADDRESS_BYTES,
                other => return Err(unsupported(other)),
            },
        })
    }

    /// The length of the values of `rows` rows.
    pub(super) fn values_len(&self, logical: &DataType, rows: usize) -> Result<usize, Error> {
        Ok(self.width(logical)?.saturating_mul(rows))
    }

    /// Appends the packed values of `column` to `out`.
    pub(super) fn pack(&self, column: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Error> {
        match column.data_type() {
            DataType::UInt8 => self.pack_integers(column.as_primitive::<UInt8Type>(), out),
            DataType::UInt16 => self.pack_integers(column.as_primitive::<UInt16Type>(), out),
            DataType::UInt32 => self.pack_integers(column.as_primitive::<UInt32Type>(), out),
            DataType::Int64 => self.pack_integers(column.as_primitive::<Int64Type>(), out),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                self.pack_integers(column.as_primitive::<TimestampMillisecondType>(), out);
            }
            DataType::FixedSizeBinary(ADDRESS_LEN) => {
                let values = column.as_fixed_size_binary().value_data();
                if *self == Self::V4 {
                    let at = out.len();
                    out.resize(at + values.len() / ADDRESS_BYTES * V4_BYTES, 0);
                    for (to, from) in out[at..]
                        .chunks_exact_mut(V4_BYTES)
                        .zip(values.chunks_exact(ADDRESS_BYTES))
                    {
                        to.copy_from_slice(&from[V4_PREFIX.len()..]);
                    }
                } else {
                    out.extend_from_slice(values);
                }
            }
            other => return Err(unsupported(other)),
        }
        Ok(())
    }

    fn pack_integers<T: ArrowPrimitiveType>(&self, column: &PrimitiveArray<T>, out: &mut Vec<u8>)
    where
        T::Native: Integer,
    {
        let values: &[T::Native] = column.values();
        match self {
            Self::Narrow8(base) => narrow::<1, _>(values, *base, out),
            Self::Narrow16(base) => narrow::<2, _>(values, *base, out),
            Self::Narrow32(base) => narrow::<4, _>(values, *base, out),
            _ => out.extend_from_slice(column.values().inner().as_slice()),
        }
    }

    /// Rebuilds the column of type `logical` from the packed values, which hold exactly `rows` of them.
    pub(super) fn unpack(
        &self,
        logical: &DataType,
        rows: usize,
        nulls: Option<NullBuffer>,
        values: &Buffer,
    ) -> Result<ArrayRef, Error> {
        let nulls = if *self == Self::Absent {
            Some(NullBuffer::new_null(rows))
        } else {
            nulls
        };
        match logical {
            DataType::UInt8 => self.unpack_integers::<UInt8Type>(logical, rows, nulls, values),
            DataType::UInt16 => self.unpack_integers::<UInt16Type>(logical, rows, nulls, values),
            DataType::UInt32 => self.unpack_integers::<UInt32Type>(logical, rows, nulls, values),
            DataType::Int64 => self.unpack_integers::<Int64Type>(logical, rows, nulls, values),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                self.unpack_integers::<TimestampMillisecondType>(logical, rows, nulls, values)
            }
            DataType::FixedSizeBinary(ADDRESS_LEN) => {
                let values = match self {
                    Self::Absent => Buffer::from(vec![0u8; rows * ADDRESS_BYTES]),
                    Self::ConstantAddress(address) => Buffer::from(address.repeat(rows)),
                    Self::V4 => {
                        let mut wide = vec![0u8; rows * ADDRESS_BYTES];
                        for (to, from) in wide.chunks_exact_mut(ADDRESS_BYTES).zip(values.chunks_exact(V4_BYTES)) {
                            to[..V4_PREFIX.len()].copy_from_slice(&V4_PREFIX);
                            to[V4_PREFIX.len()..].copy_from_slice(from);
                        }
                        Buffer::from(wide)
                    }
                    _ => values.clone(),
                };
                let column = FixedSizeBinaryArray::try_new(ADDRESS_LEN, values, nulls)
                    .map_err(|error| Error::Batch(error.to_string()))?;
                Ok(Arc::new(column))
            }
            other => Err(unsupported(other)),
        }
    }

    fn unpack_integers<T: ArrowPrimitiveType>(
        &self,
        logical: &DataType,
        rows: usize,
        nulls: Option<NullBuffer>,
        values: &Buffer,
    ) -> Result<ArrayRef, Error>
    where
        T::Native: Integer,
    {
        let values: ScalarBuffer<T::Native> = match self {
            Self::ConstantInteger(value) => vec![T::Native::wrap(*value); rows].into(),
            Self::Narrow8(base) => widen::<1, _>(values, *base).into(),
            Self::Narrow16(base) => widen::<2, _>(values, *base).into(),
            Self::Narrow32(base) => widen::<4, _>(values, *base).into(),
            Self::Plain if is_aligned::<T::Native>(values) => ScalarBuffer::from(values.clone()),
            // A reader that hands over bytes at an odd address pays with a copy.
            Self::Plain => ScalarBuffer::from(Buffer::from(values.as_slice())),
            _ => vec![T::Native::wrap(0); rows].into(),
        };
        let column = PrimitiveArray::<T>::try_new(values, nulls).map_err(|error| Error::Batch(error.to_string()))?;
        Ok(Arc::new(column.with_data_type(logical.clone())))
    }
}

fn unsupported(data_type: &DataType) -> Error {
    Error::Batch(format!("no packing for a column of type {data_type}"))
}

fn is_aligned<T>(bytes: &Buffer) -> bool {
    bytes.as_ptr().align_offset(align_of::<T>()) == 0
}

/// An integer that a packing can hold: all of a flow's are, as none is an unsigned one of 64 bits.
trait Integer: ArrowNativeType + Ord {
    fn widened(self) -> i64;
    /// The value modulo the type's size; the range was checked when the packing was read.
    fn wrap(value: i64) -> Self;
}

macro_rules! integer {
    ($($native:ty),*) => {$(
        impl Integer for $native {
            fn widened(self) -> i64 {
                #[allow(clippy::useless_conversion, reason = "the macro covers i64 too")]
                i64::from(self)
            }

            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, trivial_numeric_casts, reason = "modulo is what is wanted")]
            fn wrap(value: i64) -> Self {
                value as Self
            }
        }
    )*};
}

integer!(u8, u16, u32, i64);

/// Whether the type holds `base`. What is added to it may still exceed the type, in a damaged bundle; it then wraps.
fn fits(logical: &DataType, base: i64) -> bool {
    let (low, high) = match logical {
        DataType::UInt8 => (0, i64::from(u8::MAX)),
        DataType::UInt16 => (0, i64::from(u16::MAX)),
        DataType::UInt32 => (0, i64::from(u32::MAX)),
        DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _) => (i64::MIN, i64::MAX),
        _ => return false,
    };
    base >= low && base <= high
}

fn of_integers<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, width: usize) -> Packing
where
    T::Native: Integer,
{
    let values: &[T::Native] = column.values();
    let Some(&first) = values.first() else {
        return Packing::Plain;
    };
    // Several at a time, so that none waits for the one before.
    let (blocks, rest) = values.as_chunks::<8>();
    let (mut lows, mut highs) = ([first; 8], [first; 8]);
    for block in blocks {
        lows = std::array::from_fn(|lane| lows[lane].min(block[lane]));
        highs = std::array::from_fn(|lane| highs[lane].max(block[lane]));
    }
    let low = lows.iter().chain(rest).fold(first, |low, &value| low.min(value));
    let high = highs.iter().chain(rest).fold(first, |high, &value| high.max(value));
    let (low, high) = (low.widened(), high.widened());
    let Some(span) = high.checked_sub(low) else {
        return Packing::Plain;
    };
    match span {
        0 if column.null_count() == 0 => Packing::ConstantInteger(low),
        0..=0xff if width > 1 => Packing::Narrow8(low),
        0..=0xffff if width > 2 => Packing::Narrow16(low),
        0..=0xffff_ffff if width > 4 => Packing::Narrow32(low),
        _ => Packing::Plain,
    }
}

fn of_addresses(column: &FixedSizeBinaryArray) -> Packing {
    let (addresses, _) = column.value_data().as_chunks::<ADDRESS_BYTES>();
    let are_v4 = match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => nulls.valid_indices().all(|row| addresses[row].starts_with(&V4_PREFIX)),
        None => {
            if let Some(first) = addresses.first()
                && addresses.iter().all(|address| address == first)
            {
                return Packing::ConstantAddress(*first);
            }
            // Without a branch for each: mostly they all are.
            let differences = addresses.iter().fold(0, |differences, address| {
                differences | (u128::from_be_bytes(*address) >> (V4_BYTES * 8) ^ V4_NETWORK)
            });
            differences == 0
        }
    };
    if are_v4 { Packing::V4 } else { Packing::Plain }
}

fn narrow<const WIDTH: usize, N: Integer>(values: &[N], base: i64, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + values.len() * WIDTH, 0);
    for (to, value) in out[at..].chunks_exact_mut(WIDTH).zip(values) {
        let offset = value.widened().wrapping_sub(base).to_le_bytes();
        to.copy_from_slice(&offset[..WIDTH]);
    }
}

fn widen<const WIDTH: usize, N: Integer>(values: &[u8], base: i64) -> Vec<N> {
    values
        .chunks_exact(WIDTH)
        .map(|stored| {
            let mut offset = [0; 8];
            offset[..WIDTH].copy_from_slice(stored);
            N::wrap(base.wrapping_add(i64::from_le_bytes(offset)))
        })
        .collect()
}

/// Bytes as lower-case hex.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Bytes from hex; none if it is not hex.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    digits
        .chunks_exact(2)
        .map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?))
        .collect()
}

/// The packing that a field of an encoded bundle declares, checked against the column's own type.
pub(super) fn declared(
    logical: &DataType,
    physical: &DataType,
    base: Option<&str>,
    constant: Option<&str>,
    prefix: Option<&str>,
) -> Option<Packing> {
    let is_address = *logical == DataType::FixedSizeBinary(ADDRESS_LEN);
    let base = base
        .and_then(|text| text.parse().ok())
        .filter(|&base| fits(logical, base));
    match (physical, constant) {
        (DataType::Null, None) => Some(Packing::Absent),
        (DataType::Null, Some(text)) if is_address => from_hex(text)?.try_into().ok().map(Packing::ConstantAddress),
        (DataType::Null, Some(text)) => text
            .parse()
            .ok()
            .filter(|&value| fits(logical, value))
            .map(Packing::ConstantInteger),
        (DataType::FixedSizeBinary(4), None) if is_address && prefix == Some(to_hex(&V4_PREFIX).as_str()) => {
            Some(Packing::V4)
        }
        (DataType::UInt8, None) if base.is_some() => base.map(Packing::Narrow8),
        (DataType::UInt16, None) if base.is_some() => base.map(Packing::Narrow16),
        (DataType::UInt32, None) if base.is_some() => base.map(Packing::Narrow32),
        (physical, None) if physical == logical => Some(Packing::Plain),
        _ => None,
    }
}

//! The memory of columns while they are filled.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use arrow_array::types::{
    ArrowPrimitiveType, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, ScalarBuffer};

use super::plan::{ColumnKind, Integer};

/// The values of one column. There are always as many as there is room for; those behind the last row mean nothing.
///
/// Room that is there beforehand lets a column of a set be written in one loop without a check of the room in each step.
#[derive(Debug)]
pub(super) enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    Moment(Vec<i64>),
    Address(Vec<Address>),
}

/// The sixteen bytes of an address in the order of the wire, whatever the machine's order: an integer, as Arrow can give
/// the memory of integers back.
pub(super) type Address = u128;

/// The rows of one column that are to be written.
#[derive(Debug)]
pub(super) enum Rows<'v> {
    U8(&'v mut [u8]),
    U16(&'v mut [u16]),
    U32(&'v mut [u32]),
    U64(&'v mut [u64]),
    I64(&'v mut [i64]),
    Address(&'v mut [Address]),
}

impl Rows<'_> {
    pub(super) fn zero(&mut self) {
        match self {
            Self::U8(rows) => rows.fill(0),
            Self::U16(rows) => rows.fill(0),
            Self::U32(rows) => rows.fill(0),
            Self::U64(rows) => rows.fill(0),
            Self::I64(rows) => rows.fill(0),
            Self::Address(rows) => rows.fill(0),
        }
    }
}

impl Values {
    /// The rows of a range.
    pub(super) fn rows(&mut self, range: Range<usize>) -> Rows<'_> {
        match self {
            Self::U8(values) => Rows::U8(values.get_mut(range).unwrap_or_default()),
            Self::U16(values) => Rows::U16(values.get_mut(range).unwrap_or_default()),
            Self::U32(values) => Rows::U32(values.get_mut(range).unwrap_or_default()),
            Self::U64(values) => Rows::U64(values.get_mut(range).unwrap_or_default()),
            Self::I64(values) | Self::Moment(values) => Rows::I64(values.get_mut(range).unwrap_or_default()),
            Self::Address(values) => Rows::Address(values.get_mut(range).unwrap_or_default()),
        }
    }

    pub(super) fn new(kind: ColumnKind, capacity: usize) -> Self {
        match kind {
            ColumnKind::Unsigned(Integer::U8) => Self::U8(alloc::vec![0; capacity]),
            ColumnKind::Unsigned(Integer::U16) | ColumnKind::SourcePort | ColumnKind::DestinationPort => {
                Self::U16(alloc::vec![0; capacity])
            }
            ColumnKind::Unsigned(Integer::U32) | ColumnKind::SamplingRate => Self::U32(alloc::vec![0; capacity]),
            ColumnKind::Unsigned(Integer::U64) => Self::U64(alloc::vec![0; capacity]),
            ColumnKind::Unsigned(Integer::I64) | ColumnKind::Counter | ColumnKind::ScaledCounter => {
                Self::I64(alloc::vec![0; capacity])
            }
            ColumnKind::Start | ColumnKind::End => Self::Moment(alloc::vec![0; capacity]),
            ColumnKind::Address => Self::Address(alloc::vec![0; capacity]),
        }
    }

    /// The same in memory that an earlier column was given out with, if nobody uses that any more.
    pub(super) fn in_memory_of(kind: ColumnKind, capacity: usize, buffer: Buffer) -> Result<Self, Buffer> {
        fn vec<T: ArrowNativeType + Default>(buffer: Buffer, capacity: usize) -> Result<Vec<T>, Buffer> {
            let mut values = buffer.into_vec::<T>()?;
            values.resize(capacity, T::default());
            Ok(values)
        }
        Ok(match kind {
            ColumnKind::Unsigned(Integer::U8) => Self::U8(vec(buffer, capacity)?),
            ColumnKind::Unsigned(Integer::U16) | ColumnKind::SourcePort | ColumnKind::DestinationPort => {
                Self::U16(vec(buffer, capacity)?)
            }
            ColumnKind::Unsigned(Integer::U32) | ColumnKind::SamplingRate => Self::U32(vec(buffer, capacity)?),
            ColumnKind::Unsigned(Integer::U64) => Self::U64(vec(buffer, capacity)?),
            ColumnKind::Unsigned(Integer::I64) | ColumnKind::Counter | ColumnKind::ScaledCounter => {
                Self::I64(vec(buffer, capacity)?)
            }
            ColumnKind::Start | ColumnKind::End => Self::Moment(vec(buffer, capacity)?),
            ColumnKind::Address => Self::Address(vec(buffer, capacity)?),
        })
    }

    /// Makes room for so many rows in all.
    pub(super) fn grow(&mut self, capacity: usize) {
        match self {
            Self::U8(values) => values.resize(capacity, 0),
            Self::U16(values) => values.resize(capacity, 0),
            Self::U32(values) => values.resize(capacity, 0),
            Self::U64(values) => values.resize(capacity, 0),
            Self::I64(values) | Self::Moment(values) => values.resize(capacity, 0),
            Self::Address(values) => values.resize(capacity, 0),
        }
    }

    /// The rows as an array.
    pub(super) fn finish(self, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
        fn primitive<T: ArrowPrimitiveType>(
            mut values: Vec<T::Native>,
            rows: usize,
            nulls: Option<NullBuffer>,
        ) -> PrimitiveArray<T> {
            values.truncate(rows);
            PrimitiveArray::new(ScalarBuffer::from(values), nulls)
        }
        match self {
            Self::U8(values) => Arc::new(primitive::<UInt8Type>(values, rows, nulls)),
            Self::U16(values) => Arc::new(primitive::<UInt16Type>(values, rows, nulls)),
            Self::U32(values) => Arc::new(primitive::<UInt32Type>(values, rows, nulls)),
            Self::U64(values) => Arc::new(primitive::<UInt64Type>(values, rows, nulls)),
            Self::I64(values) => Arc::new(primitive::<Int64Type>(values, rows, nulls)),
            Self::Moment(values) => {
                Arc::new(primitive::<TimestampMillisecondType>(values, rows, nulls).with_timezone("UTC"))
            }
            Self::Address(mut values) => {
                values.truncate(rows);
                Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(values), nulls))
            }
        }
    }
}

/// The memory of an array's values.
pub(super) fn memory_of(array: &ArrayRef) -> Option<Buffer> {
    array.to_data().buffers().first().cloned()
}

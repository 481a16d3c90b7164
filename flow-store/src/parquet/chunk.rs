//! One column of one row group, encoded by what a flow's columns are known to be like.
//!
//! `parquet`'s own writer hashes each value of a dictionary column, and knows no more of a column than its type. Here
//! a text column's dictionary is translated once for each Arrow dictionary, not for each row, integers of up to 16 bits
//! find their index in a table, and counters and times are packed as differences instead of being compressed. Pages, headers and the
//! footer are those of `parquet`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::packing::{Value, bit_width, delta, hybrid, hybrid_bits, hybrid_run, prefixes};
use crate::error::Error;
use crate::schema::ADDRESS_LEN;

/// Rows of a page: addresses of a page, uncompressed, fit a processor's second-level cache.
const PAGE_ROWS: usize = 1 << 16;
/// Marks a value that has no index yet.
const NO_INDEX: u32 = u32::MAX;

type Address = [u8; ADDRESS_LEN as usize];

/// How a column is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Differences between neighbours: times and counters.
    Delta,
    /// A dictionary: text, integers of up to 16 bits, addresses of which there are few.
    Dictionary,
    /// Without what neighbours share: addresses of which there are many.
    Prefix,
    /// A bit a value, compressed by LZ4: booleans.
    Bits,
}

/// Gathers a column's values and turns them into a column chunk.
pub(super) struct ChunkEncoder {
    descr: ColumnDescPtr,
    values: Values,
    nulls: Option<BooleanBufferBuilder>,
    /// Rows in the page at hand.
    page_rows: usize,
    /// Rows in the chunk.
    rows: usize,
    pages: TrackedWrite<Vec<u8>>,
    /// Length of the pages, headers included, as if they were not compressed.
    plain_len: usize,
    scratch: Vec<u8>,
    /// The memory of the last chunk.
    chunk: Vec<u8>,
    span: Option<(i64, i64)>,
}

/// The values of the page at hand that are not null, and what is kept through the chunk.
#[derive(Debug)]
enum Values {
    Delta32(Vec<i32>),
    Delta64(Vec<i64>),
    Bits(BooleanBufferBuilder),
    Addresses(Vec<Address>),
    Text { indices: Vec<u32>, texts: Texts },
    Small { indices: Vec<u32>, small: Small },
    Few { indices: Vec<u32>, few: Few },
    FewWords { indices: Vec<u32>, few: FewWords },
}

/// A dictionary of texts.
#[derive(Debug, Default)]
struct Texts {
    index: HashMap<String, u32>,
    /// The dictionary page.
    page: Vec<u8>,
    /// The last Arrow dictionary seen, and the index of each of its texts, where it was needed already. It is held so that its
    /// address cannot become another's.
    last: Option<(ArrayRef, Vec<u32>)>,
}

impl Texts {
    /// The indices for an Arrow dictionary, whose own stay the same from batch to batch.
    fn translation(&mut self, dictionary: &ArrayRef) -> Vec<u32> {
        match self.last.take() {
            Some((last, translation)) if Arc::ptr_eq(&last, dictionary) => translation,
            // Short dictionaries are made anew for each batch: equal ones are one.
            Some((last, translation)) if last.len() <= 4 && &last == dictionary => translation,
            _ => vec![NO_INDEX; dictionary.len()],
        }
    }

    fn index(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.index.get(text) {
            return index;
        }
        let index = len32(self.index.len());
        self.index.insert(text.to_owned(), index);
        self.page.extend_from_slice(&len32(text.len()).to_le_bytes());
        self.page.extend_from_slice(text.as_bytes());
        index
    }
}

/// A dictionary of integers of up to 16 bits.
#[derive(Debug)]
struct Small {
    /// By value.
    index: Vec<u32>,
    values: Vec<u16>,
}

impl Small {
    fn index(&mut self, value: u16) -> u32 {
        let entry = &mut self.index[usize::from(value)];
        if *entry == NO_INDEX {
            *entry = len32(self.values.len());
            self.values.push(value);
        }
        *entry
    }
}

/// A dictionary of addresses, of which one row's is mostly that of the row before.
#[derive(Debug, Default)]
struct Few {
    index: HashMap<Address, u32>,
    page: Vec<u8>,
    last: Option<(Address, u32)>,
}

impl Few {
    fn index(&mut self, address: Address) -> u32 {
        if let Some((last, index)) = self.last
            && last == address
        {
            return index;
        }
        let next = len32(self.index.len());
        let index = *self.index.entry(address).or_insert(next);
        if index == next {
            self.page.extend_from_slice(&address);
        }
        self.last = Some((address, index));
        index
    }
}

/// The same for integers.
#[derive(Debug, Default)]
struct FewWords {
    index: HashMap<i64, u32>,
    values: Vec<i64>,
    last: Option<(i64, u32)>,
}

impl FewWords {
    fn index(&mut self, value: i64) -> u32 {
        if let Some((last, index)) = self.last
            && last == value
        {
            return index;
        }
        let next = len32(self.values.len());
        let index = *self.index.entry(value).or_insert(next);
        if index == next {
            self.values.push(value);
        }
        self.last = Some((value, index));
        index
    }
}

/// Numbers of rows and of distinct values in a row group fit 32 bits.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Values {
    fn new(data_type: &DataType, coding: Coding) -> Result<Self, Error> {
        Ok(match (data_type, coding) {
            (DataType::Int32 | DataType::UInt32, Coding::Delta) => Self::Delta32(Vec::new()),
            (DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _), Coding::Delta) => {
                Self::Delta64(Vec::new())
            }
            (DataType::Boolean, Coding::Bits) => Self::Bits(BooleanBufferBuilder::new(PAGE_ROWS)),
            (DataType::FixedSizeBinary(ADDRESS_LEN), Coding::Prefix) => Self::Addresses(Vec::new()),
            (DataType::FixedSizeBinary(ADDRESS_LEN), Coding::Dictionary) => Self::Few {
                indices: Vec::new(),
                few: Few::default(),
            },
            (DataType::UInt32 | DataType::Int64, Coding::Dictionary) => Self::FewWords {
                indices: Vec::new(),
                few: FewWords::default(),
            },
            (DataType::UInt8, Coding::Dictionary) => Self::small(usize::from(u8::MAX)),
            (DataType::UInt16, Coding::Dictionary) => Self::small(usize::from(u16::MAX)),
            (DataType::Dictionary(..), Coding::Dictionary) => Self::Text {
                indices: Vec::new(),
                texts: Texts::default(),
            },
            _ => {
                return Err(Error::Batch(format!(
                    "no {coding:?} coding for a column of type {data_type}"
                )));
            }
        })
    }

    fn small(highest: usize) -> Self {
        let index = vec![NO_INDEX; highest + 1];
        Self::Small {
            indices: Vec::new(),
            small: Small {
                index,
                values: Vec::new(),
            },
        }
    }

    fn append(&mut self, column: &ArrayRef) -> Result<(), Error> {
        match self {
            Self::Delta32(values) => match column.data_type() {
                DataType::Int32 => extend(column.as_primitive::<Int32Type>(), values, |value| value),
                _ => extend(column.as_primitive::<UInt32Type>(), values, u32::cast_signed),
            },
            Self::Delta64(values) => match column.data_type() {
                DataType::Int64 => extend(column.as_primitive::<Int64Type>(), values, |value| value),
                _ => extend(column.as_primitive::<TimestampMillisecondType>(), values, |value| value),
            },
            Self::Bits(bits) => bits.append_buffer(column.as_boolean().values()),
            Self::Addresses(addresses) => {
                let (values, _) = column.as_fixed_size_binary().value_data().as_chunks();
                addresses.extend_from_slice(values);
            }
            Self::Few { indices, few } => {
                let column = column.as_fixed_size_binary();
                let (addresses, _) = column.value_data().as_chunks::<{ ADDRESS_LEN as usize }>();
                match column.nulls() {
                    None => indices.extend(addresses.iter().map(|&address| few.index(address))),
                    Some(nulls) => indices.extend(nulls.valid_indices().map(|row| few.index(addresses[row]))),
                }
            }
            Self::FewWords { indices, few } => match column.data_type() {
                DataType::Int64 => extend(column.as_primitive::<Int64Type>(), indices, |value| few.index(value)),
                _ => extend(column.as_primitive::<UInt32Type>(), indices, |value| {
                    few.index(i64::from(value.cast_signed()))
                }),
            },
            Self::Small { indices, small } => match column.data_type() {
                DataType::UInt8 => {
                    extend(column.as_primitive::<UInt8Type>(), indices, |value| {
                        small.index(u16::from(value))
                    });
                }
                _ => extend(column.as_primitive::<UInt16Type>(), indices, |value| small.index(value)),
            },
            Self::Text { indices, texts } => {
                let column = column.as_dictionary::<Int32Type>();
                let words = column
                    .values()
                    .as_string_opt::<i32>()
                    .ok_or_else(|| Error::Batch("a text column is not of text".to_owned()))?;
                let mut translation = texts.translation(column.values());
                extend(column.keys(), indices, |key| {
                    // Keys that are not null lie within their dictionary.
                    let key = usize::try_from(key).unwrap_or(0);
                    if translation[key] == NO_INDEX {
                        translation[key] = texts.index(words.value(key));
                    }
                    translation[key]
                });
                texts.last = Some((Arc::clone(column.values()), translation));
            }
        }
        Ok(())
    }

    /// Ends a page: its values go to `out`.
    fn flush(&mut self, out: &mut Vec<u8>) -> Encoding {
        match self {
            Self::Delta32(values) => flush_delta(values, out),
            Self::Delta64(values) => flush_delta(values, out),
            Self::Bits(bits) => {
                let bits = bits.finish();
                out.extend_from_slice(&bits.values()[..bits.len().div_ceil(8)]);
                Encoding::PLAIN
            }
            Self::Addresses(addresses) => {
                prefixes(addresses, out);
                addresses.clear();
                Encoding::DELTA_BYTE_ARRAY
            }
            Self::Text { indices, texts } => flush_indices(indices, texts.index.len(), out),
            Self::Small { indices, small } => flush_indices(indices, small.values.len(), out),
            Self::Few { indices, few } => flush_indices(indices, few.index.len(), out),
            Self::FewWords { indices, few } => flush_indices(indices, few.values.len(), out),
        }
    }

    /// The dictionary page and how many values it has; the next chunk starts a new one.
    fn take_dictionary(&mut self, is_wide: bool) -> Option<(Vec<u8>, usize)> {
        match self {
            Self::Delta32(_) | Self::Delta64(_) | Self::Bits(_) | Self::Addresses(_) => None,
            Self::Text { texts, .. } => {
                let texts = std::mem::take(texts);
                Some((texts.page, texts.index.len()))
            }
            Self::Small { small, .. } => {
                let values = std::mem::take(&mut small.values);
                values
                    .iter()
                    .for_each(|&value| small.index[usize::from(value)] = NO_INDEX);
                let page = values
                    .iter()
                    .flat_map(|&value| i32::from(value).to_le_bytes())
                    .collect();
                Some((page, values.len()))
            }
            Self::Few { few, .. } => {
                let few = std::mem::take(few);
                Some((few.page, few.index.len()))
            }
            Self::FewWords { few, .. } => {
                let width = if is_wide { size_of::<i64>() } else { size_of::<i32>() };
                let values = std::mem::take(few).values;
                let page = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes().into_iter().take(width))
                    .collect();
                Some((page, values.len()))
            }
        }
    }

    fn is_compressed(&self) -> bool {
        matches!(self, Self::Bits(_))
    }
}

/// Appends what a function makes of the values that are not null.
fn extend<T: ArrowPrimitiveType, V>(
    column: &PrimitiveArray<T>,
    into: &mut Vec<V>,
    mut make: impl FnMut(T::Native) -> V,
) {
    let values: &[T::Native] = column.values();
    match column.nulls() {
        None => into.extend(values.iter().map(|&value| make(value))),
        Some(nulls) => into.extend(nulls.valid_indices().map(|row| make(values[row]))),
    }
}

fn flush_delta<V: Value>(values: &mut Vec<V>, out: &mut Vec<u8>) -> Encoding {
    delta(values, out);
    values.clear();
    Encoding::DELTA_BINARY_PACKED
}

fn flush_indices(indices: &mut Vec<u32>, distinct: usize, out: &mut Vec<u8>) -> Encoding {
    let width = bit_width(len32(distinct.saturating_sub(1)));
    out.push(width);
    hybrid(indices, width, out);
    indices.clear();
    Encoding::RLE_DICTIONARY
}

impl ChunkEncoder {
    pub(super) fn new(descr: ColumnDescPtr, data_type: &DataType, coding: Coding) -> Result<Self, Error> {
        let nulls = (descr.max_def_level() > 0).then(|| BooleanBufferBuilder::new(PAGE_ROWS));
        Ok(Self {
            descr,
            values: Values::new(data_type, coding)?,
            nulls,
            page_rows: 0,
            rows: 0,
            pages: TrackedWrite::new(Vec::new()),
            plain_len: 0,
            scratch: Vec::new(),
            chunk: Vec::new(),
            span: None,
        })
    }

    /// Appends a batch's column, whose type must be that of the encoder.
    pub(super) fn append(&mut self, column: &ArrayRef) -> Result<(), Error> {
        self.values.append(column)?;
        if let Some(nulls) = &mut self.nulls {
            match column.nulls() {
                Some(bits) => nulls.append_buffer(bits.inner()),
                None => nulls.append_n(column.len(), true),
            }
        }
        if let Some(times) = column.as_primitive_opt::<TimestampMillisecondType>() {
            self.span = times.values().iter().fold(self.span, |span, &time| {
                let (low, high) = span.unwrap_or((time, time));
                Some((low.min(time), high.max(time)))
            });
        }
        self.page_rows += column.len();
        self.rows += column.len();
        if self.page_rows >= PAGE_ROWS {
            self.flush_page()?;
        }
        Ok(())
    }

    /// Bytes of the pages so far.
    pub(super) fn bytes(&self) -> usize {
        self.pages.bytes_written()
    }

    fn flush_page(&mut self) -> Result<(), Error> {
        let mut page = std::mem::take(&mut self.scratch);
        page.clear();
        if let Some(nulls) = &mut self.nulls {
            let bits = nulls.finish();
            // The levels are preceded by their length.
            page.extend_from_slice(&[0; 4]);
            levels(&bits, &mut page);
            let len = len32(page.len() - 4);
            page[..4].copy_from_slice(&len.to_le_bytes());
        }
        let encoding = self.values.flush(&mut page);
        let plain_len = page.len();
        let page = self.compressed(page);
        let memory = page.clone();
        let page = Page::DataPage {
            buf: page,
            num_values: len32(self.page_rows),
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = SerializedPageWriter::new(&mut self.pages).write_page(CompressedPage::new(page, plain_len))?;
        self.plain_len += written.uncompressed_size;
        self.page_rows = 0;
        if self.scratch.capacity() == 0 {
            self.scratch = Vec::from(memory);
        }
        Ok(())
    }

    fn compressed(&mut self, plain: Vec<u8>) -> Bytes {
        if self.values.is_compressed() {
            let compressed = lz4_flex::block::compress(&plain);
            self.scratch = plain;
            Bytes::from(compressed)
        } else {
            Bytes::from(plain)
        }
    }

    /// Takes back the memory of a chunk that is written, for the next one: fresh pages cost more than what is done to them.
    pub(super) fn reclaim(&mut self, chunk: Bytes) {
        self.chunk = Vec::from(chunk);
        self.chunk.clear();
    }

    /// Ends the chunk: its bytes, and what the row group's metadata says of it. The encoder starts anew.
    pub(super) fn finish(&mut self) -> Result<(Bytes, ColumnCloseResult), Error> {
        if self.page_rows > 0 {
            self.flush_page()?;
        }
        let is_wide = self.descr.physical_type() == parquet::basic::Type::INT64;
        let mut chunk = TrackedWrite::new(std::mem::take(&mut self.chunk));
        let mut encodings = vec![Encoding::RLE];
        let dictionary = self.values.take_dictionary(is_wide);
        let dictionary_len = match dictionary {
            None => 0,
            Some((page, distinct)) => {
                let plain_len = page.len();
                let page = Page::DictionaryPage {
                    buf: Bytes::from(page),
                    num_values: len32(distinct),
                    encoding: Encoding::PLAIN,
                    is_sorted: false,
                };
                let page = CompressedPage::new(page, plain_len);
                let written = SerializedPageWriter::new(&mut chunk).write_page(page)?;
                debug_assert_eq!(written.page_type, PageType::DICTIONARY_PAGE);
                self.plain_len += written.uncompressed_size;
                encodings.extend([Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
                chunk.bytes_written()
            }
        };
        if dictionary_len == 0 {
            encodings.push(match self.values {
                Values::Delta32(_) | Values::Delta64(_) => Encoding::DELTA_BINARY_PACKED,
                Values::Addresses(_) => Encoding::DELTA_BYTE_ARRAY,
                _ => Encoding::PLAIN,
            });
        }
        let mut pages = std::mem::replace(&mut self.pages, TrackedWrite::new(Vec::new())).into_inner()?;
        let mut bytes = chunk.into_inner()?;
        bytes.extend_from_slice(&pages);
        pages.clear();
        self.pages = TrackedWrite::new(pages);

        let codec = if self.values.is_compressed() {
            Compression::LZ4_RAW
        } else {
            Compression::UNCOMPRESSED
        };
        let mut metadata = ColumnChunkMetaData::builder(Arc::clone(&self.descr))
            .set_compression(codec)
            .set_encodings(encodings)
            .set_total_compressed_size(to_i64(bytes.len()))
            .set_total_uncompressed_size(to_i64(self.plain_len))
            .set_num_values(to_i64(self.rows))
            .set_data_page_offset(to_i64(dictionary_len));
        if dictionary_len > 0 {
            metadata = metadata.set_dictionary_page_offset(Some(0));
        }
        if let Some((low, high)) = self.span.take() {
            metadata = metadata.set_statistics(Statistics::int64(Some(low), Some(high), None, Some(0), false));
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        self.rows = 0;
        self.plain_len = 0;
        Ok((Bytes::from(bytes), close))
    }
}

/// The definition levels of a column that is not nested: 1 where there is a value.
fn levels(valid: &BooleanBuffer, out: &mut Vec<u8>) {
    match valid.count_set_bits() {
        0 => hybrid_run(0, valid.len(), out),
        all if all == valid.len() => hybrid_run(1, valid.len(), out),
        _ => hybrid_bits(valid.values(), valid.len(), out),
    }
}

fn to_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

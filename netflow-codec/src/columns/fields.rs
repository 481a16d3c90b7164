//! One field over a number of rows.

use alloc::vec::Vec;
use core::ops::Range;

use super::layout::{Layout, Needed};
use crate::record::unsigned;
use crate::template::Template;

/// The values of needed fields over a number of rows.
pub(super) trait Fields {
    /// The same over some of the rows.
    fn part(&self, rows: Range<usize>) -> Self;

    /// The bytes of a field, row by row.
    fn bytes(&self, layout: &Layout, field: Needed) -> impl Iterator<Item = &[u8]>;

    /// Writes a field as unsigned integers.
    fn unsigned<T: Narrow>(&self, layout: &Layout, field: Needed, out: &mut [T]);

    /// Writes what a function makes of a field that is so many bytes long; false if it is not in all rows.
    fn arrays<const WIDTH: usize, T>(
        &self,
        layout: &Layout,
        field: Needed,
        out: &mut [T],
        make: impl FnMut([u8; WIDTH]) -> T,
    ) -> bool;
}

/// All records of a set, all of one length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strided<'b> {
    pub(super) body: &'b [u8],
    pub(super) stride: usize,
}

impl Fields for Strided<'_> {
    fn part(&self, rows: Range<usize>) -> Self {
        let Self { body, stride } = *self;
        let place = rows.start.saturating_mul(stride)..rows.end.saturating_mul(stride);
        Self {
            body: body.get(place).unwrap_or_default(),
            stride,
        }
    }

    fn bytes(&self, layout: &Layout, field: Needed) -> impl Iterator<Item = &[u8]> {
        let (offset, length) = layout.place(field);
        let end = offset.saturating_add(length);
        self.body
            .chunks_exact(self.stride)
            .map(move |record| record.get(offset..end).unwrap_or_default())
    }

    #[inline]
    fn unsigned<T: Narrow>(&self, layout: &Layout, field: Needed, out: &mut [T]) {
        let (offset, length) = layout.place(field);
        let Self { body, stride } = *self;
        match length {
            1 => gather::<1, T>(body, stride, offset, out, |bytes| {
                T::narrow(u64::from(u8::from_be_bytes(bytes)))
            }),
            2 => gather::<2, T>(body, stride, offset, out, |bytes| {
                T::narrow(u64::from(u16::from_be_bytes(bytes)))
            }),
            4 => gather::<4, T>(body, stride, offset, out, |bytes| {
                T::narrow(u64::from(u32::from_be_bytes(bytes)))
            }),
            8 => gather::<8, T>(body, stride, offset, out, |bytes| T::narrow(u64::from_be_bytes(bytes))),
            _ => fill(out, self.bytes(layout, field).map(|bytes| T::narrow(wide(bytes)))),
        }
    }

    #[inline]
    fn arrays<const WIDTH: usize, T>(
        &self,
        layout: &Layout,
        field: Needed,
        out: &mut [T],
        make: impl FnMut([u8; WIDTH]) -> T,
    ) -> bool {
        let (offset, length) = layout.place(field);
        if length == WIDTH {
            gather(self.body, self.stride, offset, out, make);
        }
        length == WIDTH
    }
}

/// Writes what a function makes of the bytes at an offset in each record.
#[inline(never)]
fn gather<const WIDTH: usize, T>(
    body: &[u8],
    stride: usize,
    offset: usize,
    out: &mut [T],
    make: impl FnMut([u8; WIDTH]) -> T,
) {
    match stride {
        // Records of v1 and v5: as the compiler knows their length, it needs no registers for places.
        48 => gather_by::<8, WIDTH, T>(body, 48, offset, out, make),
        stride => gather_by::<4, WIDTH, T>(body, stride, offset, out, make),
    }
}

/// Writes so many records at a time. Where the field lies in them is told before the loop, in the words in which the
/// slices are made within it, so that the compiler leaves the checks there out.
#[inline(always)]
fn gather_by<const RECORDS: usize, const WIDTH: usize, T>(
    body: &[u8],
    stride: usize,
    offset: usize,
    out: &mut [T],
    mut make: impl FnMut([u8; WIDTH]) -> T,
) {
    // No datagram has longer records. With so small numbers no sum below can wrap, as the compiler can tell.
    let (Ok(stride), Ok(offset)) = (u16::try_from(stride), u16::try_from(offset)) else {
        return;
    };
    let (stride, offset) = (usize::from(stride), usize::from(offset));
    if offset.saturating_add(WIDTH) > stride {
        return; // a template's fields lie within its records
    }
    let mut rest = body;
    let (several, singles) = out.as_chunks_mut::<RECORDS>();
    for outs in several {
        let Some((records, after)) = rest.split_at_checked(stride.wrapping_mul(RECORDS)) else {
            return;
        };
        rest = after;
        *outs = core::array::from_fn(|number| make(at(records, stride.wrapping_mul(number).wrapping_add(offset))));
    }
    for out in singles {
        let Some((record, after)) = rest.split_at_checked(stride) else {
            return;
        };
        rest = after;
        *out = make(at(record, offset));
    }
}

#[inline(always)]
fn at<const WIDTH: usize>(bytes: &[u8], place: usize) -> [u8; WIDTH] {
    let field = bytes.get(place..).and_then(|field| field.first_chunk());
    field.copied().unwrap_or([0; WIDTH])
}

pub(super) fn fill<T>(out: &mut [T], values: impl Iterator<Item = T>) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = value;
    }
}

/// Rows with the places of their needed fields noted one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picked<'b> {
    pub(super) body: &'b [u8],
    pub(super) width: usize,
    pub(super) places: &'b [(u32, u32)],
}

impl Fields for Picked<'_> {
    fn part(&self, rows: Range<usize>) -> Self {
        let place = rows.start.saturating_mul(self.width)..rows.end.saturating_mul(self.width);
        Self {
            places: self.places.get(place).unwrap_or_default(),
            ..*self
        }
    }

    fn bytes(&self, _: &Layout, field: Needed) -> impl Iterator<Item = &[u8]> {
        let places = self.places.chunks_exact(self.width.max(1));
        places.map(move |row| slice(self.body, row.get(field).copied().unwrap_or_default()))
    }

    fn unsigned<T: Narrow>(&self, layout: &Layout, field: Needed, out: &mut [T]) {
        fill(out, self.bytes(layout, field).map(|bytes| T::narrow(wide(bytes))));
    }

    fn arrays<const WIDTH: usize, T>(
        &self,
        _: &Layout,
        _: Needed,
        _: &mut [T],
        _: impl FnMut([u8; WIDTH]) -> T,
    ) -> bool {
        false
    }
}

/// Adds the places of the needed fields of one record, in the order of [`Layout::needed`].
pub(super) fn push_places(
    layout: &Layout,
    template: &Template,
    start: usize,
    record: &[u8],
    places: &mut Vec<(u32, u32)>,
) {
    let at = |offset: usize, length: usize| {
        let start = u32::try_from(start.saturating_add(offset)).unwrap_or(u32::MAX);
        (start, u32::try_from(length).unwrap_or(0))
    };
    let first = places.len();
    for number in &layout.needed {
        places.push(
            template
                .fixed_place(*number)
                .map_or((0, 0), |(offset, length)| at(offset, length)),
        );
    }
    for place in template.variable_places(record).flatten() {
        if let Some(needed) = layout.needed.iter().position(|number| *number == place.number)
            && let Some(entry) = places.get_mut(first.saturating_add(needed))
        {
            *entry = at(place.offset, place.length);
        }
    }
}

pub(super) fn slice(body: &[u8], (start, length): (u32, u32)) -> &[u8] {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(0);
    body.get(start..start.saturating_add(length)).unwrap_or_default()
}

/// An unsigned integer of any width, 0 for no byte at all, the largest for what does not fit.
fn wide(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        0
    } else {
        unsigned(bytes).unwrap_or(u64::MAX)
    }
}

/// Makes a column's integer of a wire's: the largest there is if it does not fit.
pub(super) trait Narrow: Copy {
    fn narrow(value: u64) -> Self;
}

macro_rules! narrow {
    ($($integer:ty),*) => {$(
        impl Narrow for $integer {
            #[inline]
            fn narrow(value: u64) -> Self {
                Self::try_from(value).unwrap_or(Self::MAX)
            }
        }
    )*};
}

narrow!(u8, u16, u32, i64);

impl Narrow for u64 {
    #[inline]
    fn narrow(value: u64) -> Self {
        value
    }
}

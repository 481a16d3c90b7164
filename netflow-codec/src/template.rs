//! Templates: how the fields of a record are laid out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::element::ElementId;
use crate::message::Stride;
use crate::wire::ipfix;

/// The id of a template within its exporter, version and observation domain; 256 or more on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TemplateId(pub u16);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the records of a template describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TemplateKind {
    /// Flows.
    Data,
    /// The exporter itself, its interfaces, samplers and so on; the first `scope_fields` fields say what of.
    Options {
        /// How many of the fields are scope fields.
        scope_fields: u16,
    },
}

/// The length of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum FieldLength {
    /// So many bytes.
    Fixed(u16),
    /// Told in each record before the field's bytes (RFC 7011 §7).
    Variable,
}

impl FieldLength {
    /// The number that stands for a variable length in a template.
    pub(crate) const VARIABLE: u16 = 65535;

    pub(crate) const fn from_wire(length: u16) -> Self {
        if length == Self::VARIABLE {
            Self::Variable
        } else {
            Self::Fixed(length)
        }
    }

    pub(crate) const fn to_wire(self) -> u16 {
        match self {
            Self::Fixed(length) => length,
            Self::Variable => Self::VARIABLE,
        }
    }
}

/// One field of a template as the exporter specified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldSpec {
    /// What the field means.
    pub element: ElementId,
    /// How long it is.
    pub length: FieldLength,
}

impl FieldSpec {
    /// A field of fixed length.
    #[must_use]
    pub const fn fixed(element: ElementId, length: u16) -> Self {
        Self {
            element,
            length: FieldLength::Fixed(length),
        }
    }

    /// A field of variable length.
    #[must_use]
    pub const fn variable(element: ElementId) -> Self {
        Self {
            element,
            length: FieldLength::Variable,
        }
    }
}

/// What makes a template unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TemplateFault {
    /// Ids below 256 are those of sets.
    ReservedId,
    /// It has no field.
    NoFields,
    /// Its records would take no bytes, so that a set would hold any number of them.
    ZeroLength,
    /// It has more scope fields than fields, or its scope's length is no whole number of fields.
    Scope,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedId => "ids below 256 are reserved for sets",
            Self::NoFields => "has no field",
            Self::ZeroLength => "its records would take no bytes",
            Self::Scope => "its scope does not fit its fields",
        })
    }
}

impl core::error::Error for TemplateFault {}

/// The layout of a record, checked and compiled once.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    id: TemplateId,
    kind: TemplateKind,
    fields: Box<[FieldSpec]>,
    /// Where each field begins, as far as that does not depend on a field of variable length before it.
    offsets: Box<[u32]>,
    /// Where each field lies; empty if records differ in length.
    strides: Box<[Stride]>,
    /// Bytes of the shortest record; of every record if no field is of variable length.
    min_length: usize,
    /// First field of variable length.
    first_variable: Option<usize>,
    /// Element → first field that carries it: open addressing, a power of two long, at most half full.
    slots: Box<[u16]>,
}

/// An unused slot of [`Template::slots`]. No field has this number, as a template has fewer than 65,535 of them.
const FREE: u16 = u16::MAX;

impl Template {
    /// Checks and compiles a template.
    ///
    /// # Errors
    ///
    /// If the id is below 256, there is no field, more scope fields than fields, or records would take no bytes.
    pub fn new(id: TemplateId, kind: TemplateKind, fields: Vec<FieldSpec>) -> Result<Self, TemplateFault> {
        if id.0 < 256 {
            return Err(TemplateFault::ReservedId);
        }
        Self::compile(id, kind, fields)
    }

    /// As [`new`](Self::new), with any id: those below 256 name the fixed layouts of v1, v5 and v7.
    pub(crate) fn compile(id: TemplateId, kind: TemplateKind, fields: Vec<FieldSpec>) -> Result<Self, TemplateFault> {
        if fields.is_empty() || fields.len() >= usize::from(FREE) {
            return Err(TemplateFault::NoFields);
        }
        if let TemplateKind::Options { scope_fields } = kind
            && usize::from(scope_fields) > fields.len()
        {
            return Err(TemplateFault::Scope);
        }
        let mut min_length = 0_usize;
        let mut first_variable = None;
        let mut offsets = Vec::with_capacity(fields.len());
        for (position, field) in fields.iter().enumerate() {
            if first_variable.is_none() {
                offsets.push(u32::try_from(min_length).unwrap_or(u32::MAX));
            }
            match field.length {
                FieldLength::Fixed(length) => min_length = min_length.saturating_add(usize::from(length)),
                FieldLength::Variable => {
                    min_length = min_length.saturating_add(1);
                    first_variable = first_variable.or(Some(position));
                }
            }
        }
        if min_length == 0 {
            return Err(TemplateFault::ZeroLength);
        }
        let mut slots = alloc::vec![FREE; fields.len().saturating_mul(2).next_power_of_two()];
        for (number, field) in (0_u16..).zip(fields.iter()) {
            let mut place = slot_of(field.element, slots.len());
            while let Some(slot) = slots.get_mut(place) {
                if *slot == FREE {
                    *slot = number;
                    break;
                }
                if fields
                    .get(usize::from(*slot))
                    .is_some_and(|other| other.element == field.element)
                {
                    break;
                }
                place = next_slot(place, slots.len());
            }
        }
        Ok(Self {
            id,
            kind,
            strides: strides(&fields, &offsets, min_length),
            fields: fields.into_boxed_slice(),
            offsets: offsets.into_boxed_slice(),
            min_length,
            first_variable,
            slots: slots.into_boxed_slice(),
        })
    }

    /// The template's id.
    #[must_use]
    pub fn id(&self) -> TemplateId {
        self.id
    }

    /// What its records describe.
    #[must_use]
    pub fn kind(&self) -> TemplateKind {
        self.kind
    }

    /// The fields in the order of the wire.
    #[must_use]
    #[inline]
    pub fn fields(&self) -> &[FieldSpec] {
        &self.fields
    }

    /// How many of the fields, from the first, are scope fields.
    #[must_use]
    pub fn scope_fields(&self) -> usize {
        match self.kind {
            TemplateKind::Data => 0,
            TemplateKind::Options { scope_fields } => usize::from(scope_fields),
        }
    }

    /// Bytes of a record, if they are the same for all.
    #[must_use]
    pub fn record_length(&self) -> Option<usize> {
        if self.first_variable.is_none() {
            Some(self.min_length)
        } else {
            None
        }
    }

    /// Bytes of the shortest record.
    #[must_use]
    pub fn min_record_length(&self) -> usize {
        self.min_length
    }

    /// The number of the first field that carries an element, in constant time.
    #[must_use]
    #[inline]
    pub fn position(&self, element: ElementId) -> Option<usize> {
        let mut place = slot_of(element, self.slots.len());
        loop {
            let slot = *self.slots.get(place)?;
            if slot == FREE {
                return None;
            }
            let number = usize::from(slot);
            if self.fields.get(number)?.element == element {
                return Some(number);
            }
            place = next_slot(place, self.slots.len());
        }
    }

    /// The numbers of all fields that carry an element.
    pub fn positions(&self, element: ElementId) -> impl Iterator<Item = usize> + '_ {
        self.fields
            .iter()
            .enumerate()
            .filter(move |(_, field)| field.element == element)
            .map(|(number, _)| number)
    }

    /// Where a field lies in a record, if that is the same in all: its offset and length.
    #[must_use]
    #[inline]
    pub fn fixed_place(&self, number: usize) -> Option<(usize, usize)> {
        match self.fields.get(number)?.length {
            FieldLength::Fixed(length) => {
                Some((usize::try_from(*self.offsets.get(number)?).ok()?, usize::from(length)))
            }
            FieldLength::Variable => None,
        }
    }

    /// Where a field lies, if all records are of one length.
    #[inline]
    pub(crate) fn stride(&self, number: usize) -> Option<Stride> {
        self.strides.get(number).copied()
    }

    /// The field of variable length, if any, from which on places differ between records, and where it begins.
    fn variable_start(&self) -> Option<(usize, usize)> {
        let number = self.first_variable?;
        Some((number, usize::try_from(*self.offsets.get(number)?).ok()?))
    }

    /// The fields from the first of variable length on, with their place in `bytes`; ends early where a record is cut
    /// short, with `None` as the place.
    pub(crate) fn variable_places<'t>(&'t self, bytes: &'t [u8]) -> VariablePlaces<'t> {
        let (number, at) = self.variable_start().unwrap_or((self.fields.len(), self.min_length));
        VariablePlaces {
            fields: self.fields.get(number..).unwrap_or_default(),
            number,
            at,
            bytes,
        }
    }

    /// Bytes that the record at the start of `bytes` takes; `None` if it is cut short.
    #[inline]
    pub(crate) fn measure(&self, bytes: &[u8]) -> Option<usize> {
        if bytes.len() < self.min_length {
            return None;
        }
        if self.first_variable.is_none() {
            return Some(self.min_length);
        }
        let mut places = self.variable_places(bytes);
        for place in places.by_ref() {
            place?;
        }
        Some(places.at)
    }

    /// Whether the bytes of a set can be records of the template: at least one, and nothing but padding behind the last.
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        let mut rest = body;
        while let Some((_, after)) = self.measure(rest).and_then(|length| rest.split_at_checked(length)) {
            rest = after;
        }
        rest.len() < body.len() && (rest.len() < 4 || rest.iter().all(|byte| *byte == 0))
    }

    /// Bytes that the template holds, near enough for a limit.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>()
            .saturating_add(size_of_val(&*self.fields))
            .saturating_add(size_of_val(&*self.offsets))
            .saturating_add(size_of_val(&*self.strides))
            .saturating_add(size_of_val(&*self.slots))
    }
}

/// Where fields lie in records of one length, which must have room in a datagram; none if records differ in length.
fn strides(fields: &[FieldSpec], offsets: &[u32], record_length: usize) -> Box<[Stride]> {
    let stride = u16::try_from(record_length);
    let places = fields.iter().zip(offsets).map(|(field, offset)| match field.length {
        FieldLength::Fixed(width) => Some(Stride {
            stride: stride.ok()?,
            offset: u16::try_from(*offset).ok()?,
            width,
        }),
        FieldLength::Variable => None,
    });
    let places: Option<Box<[Stride]>> = places.collect();
    places.unwrap_or_default()
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// The place of one field in a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// Walks the fields of a record of variable length.
#[derive(Debug)]
pub(crate) struct VariablePlaces<'t> {
    fields: &'t [FieldSpec],
    number: usize,
    /// Where the next field begins; past the last field, the record's length.
    at: usize,
    bytes: &'t [u8],
}

impl Iterator for VariablePlaces<'_> {
    type Item = Option<Place>;

    fn next(&mut self) -> Option<Self::Item> {
        let (field, rest) = self.fields.split_first()?;
        self.fields = rest;
        let number = self.number;
        self.number = number.saturating_add(1);
        let (prefix, length) = match field.length {
            FieldLength::Fixed(length) => (0, usize::from(length)),
            FieldLength::Variable => match self.bytes.get(self.at..).and_then(ipfix::variable_length) {
                Some(length) => length,
                None => {
                    self.fields = &[];
                    return Some(None);
                }
            },
        };
        let offset = self.at.saturating_add(prefix);
        self.at = offset.saturating_add(length);
        if self.at > self.bytes.len() {
            self.fields = &[];
            return Some(None);
        }
        Some(Some(Place { number, offset, length }))
    }
}

/// The slot where the search for an element begins. `len` is a power of two.
fn slot_of(element: ElementId, len: usize) -> usize {
    let mixed = u32::from(element.id)
        .wrapping_add(element.enterprise.wrapping_mul(0x85EB_CA6B))
        .wrapping_mul(0x9E37_79B1);
    usize::try_from(mixed >> 16).unwrap_or(0) & len.wrapping_sub(1)
}

fn next_slot(place: usize, len: usize) -> usize {
    place.wrapping_add(1) & len.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_several_fields_with_one_element_is_found() {
        let fields = alloc::vec![
            FieldSpec::fixed(ElementId::iana(8), 4),
            FieldSpec::fixed(ElementId::iana(104), 2),
            FieldSpec::fixed(ElementId::vendor(9, 8), 4),
            FieldSpec::fixed(ElementId::iana(104), 2),
        ];
        let template = Template::new(TemplateId(256), TemplateKind::Data, fields).unwrap();
        assert_eq!(template.position(ElementId::iana(104)), Some(1));
        assert_eq!(template.positions(ElementId::iana(104)).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(template.position(ElementId::vendor(9, 8)), Some(2));
        assert_eq!(template.position(ElementId::iana(9)), None);
        assert_eq!(template.fixed_place(3), Some((10, 2)));
        assert_eq!(template.record_length(), Some(12));
    }

    #[test]
    fn templates_whose_records_would_take_no_bytes_are_refused() {
        let fields = alloc::vec![FieldSpec::fixed(ElementId::iana(8), 0)];
        assert_eq!(
            Template::new(TemplateId(256), TemplateKind::Data, fields),
            Err(TemplateFault::ZeroLength)
        );
        assert_eq!(
            Template::new(TemplateId(256), TemplateKind::Data, Vec::new()),
            Err(TemplateFault::NoFields)
        );
    }

    #[test]
    fn both_forms_of_a_variable_length_are_measured() {
        let fields = alloc::vec![
            FieldSpec::variable(ElementId::iana(82)),
            FieldSpec::fixed(ElementId::iana(4), 1)
        ];
        let template = Template::new(TemplateId(256), TemplateKind::Data, fields).unwrap();
        assert_eq!(template.measure(&[0, 6]), Some(2));
        assert_eq!(template.measure(&[2, b'e', b'0', 6, 99]), Some(4));
        assert_eq!(template.measure(&[255, 0, 2, b'e', b'0', 6]), Some(6));
        assert_eq!(template.measure(&[255, 0, 2, b'e', b'0']), None);
        assert_eq!(template.measure(&[255, 0]), None);
    }
}

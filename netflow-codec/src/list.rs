//! Lists within a record (RFC 6313): views of a field's bytes.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |   semantic    |E|          element            |  length of …  |   basicList: values of one element
//! +---------------+---------------+---------------+---------------+
//! |  … an element | enterprise if E is set, then the values …     |
//! +---------------+---------------+---------------+---------------+
//!
//! +---------------+---------------+---------------+---------------+
//! |   semantic    |          template             |  records …    |   subTemplateList: records of one template
//! +---------------+---------------+---------------+---------------+
//!
//! +---------------+---------------+---------------+---------------+
//! |   semantic    |          template             |  length of …  |   subTemplateMultiList: such entries, one after
//! +---------------+---------------+---------------+---------------+   the other; the length counts the entry's head
//! |  … the entry  |  records …                                    |
//! +---------------+---------------+---------------+---------------+
//! ```
//!
//! ```
//! use netflow_codec::list::{BasicList, ListSemantic};
//! use netflow_codec::ElementId;
//!
//! // All of: interfaces (element 10) 8 and 9, in two bytes each.
//! let list = BasicList::new(&[3, 0, 10, 0, 2, 0, 8, 0, 9]).ok_or("cut short")?;
//! assert_eq!(list.semantic, ListSemantic::AllOf);
//! assert_eq!(list.field.element, ElementId::iana(10));
//! assert_eq!(list.values().collect::<Vec<_>>(), [[0, 8], [0, 9]]);
//! # Ok::<(), &str>(())
//! ```

use crate::header::Header;
use crate::record::Record;
use crate::template::{FieldLength, FieldSpec, Template, TemplateId};
use crate::wire::ipfix;

/// How the items of a list relate to the flow (RFC 6313 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListSemantic {
    /// None of them is true of it.
    NoneOf,
    /// Exactly one is.
    ExactlyOneOf,
    /// One or more are.
    OneOrMoreOf,
    /// All are.
    AllOf,
    /// All are, in this order.
    Ordered,
    /// Not said, or by a number that has no meaning.
    Undefined,
}

impl ListSemantic {
    const fn from_wire(number: u8) -> Self {
        match number {
            0 => Self::NoneOf,
            1 => Self::ExactlyOneOf,
            2 => Self::OneOrMoreOf,
            3 => Self::AllOf,
            4 => Self::Ordered,
            _ => Self::Undefined,
        }
    }

    /// The name in IANA's registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoneOf => "noneOf",
            Self::ExactlyOneOf => "exactlyOneOf",
            Self::OneOrMoreOf => "oneOrMoreOf",
            Self::AllOf => "allOf",
            Self::Ordered => "ordered",
            Self::Undefined => "undefined",
        }
    }
}

/// Several values of one element (RFC 6313 §4.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicList<'f> {
    /// How the values relate to the flow.
    pub semantic: ListSemantic,
    /// What each value is, and its length.
    pub field: FieldSpec,
    body: &'f [u8],
}

impl<'f> BasicList<'f> {
    /// Views a field as a list; `None` if its head is cut short.
    #[must_use]
    pub fn new(bytes: &'f [u8]) -> Option<Self> {
        let (semantic, rest) = bytes.split_first()?;
        let (body, field) = ipfix::field(rest).ok()?;
        Some(Self {
            semantic: ListSemantic::from_wire(*semantic),
            field,
            body,
        })
    }

    /// The values in the order of the wire; ends where one is cut short. Values of no bytes cannot be counted, so there
    /// are none.
    pub fn values(&self) -> impl Iterator<Item = &'f [u8]> + use<'f> {
        let (mut rest, length) = (self.body, self.field.length);
        core::iter::from_fn(move || {
            let (value, after) = match length {
                FieldLength::Fixed(0) => return None,
                FieldLength::Fixed(length) => rest.split_at_checked(usize::from(length))?,
                FieldLength::Variable => {
                    let (start, length) = ipfix::variable_length(rest)?;
                    rest.get(start..)?.split_at_checked(length)?
                }
            };
            rest = after;
            Some(value)
        })
    }
}

/// Records of one template, or of an entry of a [`SubTemplateMultiList`] (RFC 6313 §4.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubTemplateList<'f> {
    /// How the records relate to the flow; for an entry of a list of several templates, that list's.
    pub semantic: ListSemantic,
    /// The template of the records, in the stream of the record that they are in: see
    /// [`Message::template`](crate::Message::template).
    pub template: TemplateId,
    body: &'f [u8],
}

impl<'f> SubTemplateList<'f> {
    /// Views a field as a list; `None` if its head is cut short.
    #[must_use]
    pub fn new(bytes: &'f [u8]) -> Option<Self> {
        let (semantic, rest) = bytes.split_first()?;
        let (template, body) = rest.split_first_chunk::<2>()?;
        Some(Self {
            semantic: ListSemantic::from_wire(*semantic),
            template: TemplateId(u16::from_be_bytes(*template)),
            body,
        })
    }

    /// The bytes of the records.
    #[must_use]
    pub fn body(&self) -> &'f [u8] {
        self.body
    }

    /// The records, read by their template and with the header of the message they came in; ends where one is cut
    /// short.
    pub fn records<'r>(
        &self,
        template: &'r Template,
        header: &'r Header,
    ) -> impl Iterator<Item = Record<'r>> + use<'r, 'f>
    where
        'f: 'r,
    {
        let mut rest = self.body;
        core::iter::from_fn(move || {
            let (bytes, after) = rest.split_at_checked(template.measure(rest)?)?;
            rest = after;
            Some(Record::new(template, header, bytes))
        })
    }
}

/// Records of several templates (RFC 6313 §4.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubTemplateMultiList<'f> {
    /// How the records relate to the flow.
    pub semantic: ListSemantic,
    body: &'f [u8],
}

impl<'f> SubTemplateMultiList<'f> {
    /// Views a field as a list; `None` if it has no byte.
    #[must_use]
    pub fn new(bytes: &'f [u8]) -> Option<Self> {
        let (semantic, body) = bytes.split_first()?;
        Some(Self {
            semantic: ListSemantic::from_wire(*semantic),
            body,
        })
    }

    /// The entries, each with records of one template; ends where one is cut short.
    pub fn entries(&self) -> impl Iterator<Item = SubTemplateList<'f>> + use<'f> {
        let (mut rest, semantic) = (self.body, self.semantic);
        core::iter::from_fn(move || {
            let (template, after) = rest.split_first_chunk::<2>()?;
            let (length, _) = after.split_first_chunk::<2>()?;
            let (entry, after) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            let body = entry.get(4..)?;
            rest = after;
            Some(SubTemplateList {
                semantic,
                template: TemplateId(u16::from_be_bytes(*template)),
                body,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementId;
    use alloc::vec::Vec;

    #[test]
    fn values_of_variable_length_and_of_an_enterprise_come_out() {
        // One of: netscalerHttpReqUrl (5951:130), variable: "ab", "", and "c" in the long form.
        let bytes = [
            1, 0x80, 130, 0xFF, 0xFF, 0, 0, 0x17, 0x3F, 2, b'a', b'b', 0, 255, 0, 1, b'c',
        ];
        let list = BasicList::new(&bytes).unwrap();
        assert_eq!(
            (list.semantic, list.field.element),
            (ListSemantic::ExactlyOneOf, ElementId::vendor(5951, 130))
        );
        assert_eq!(list.values().collect::<Vec<_>>(), [&b"ab"[..], b"", b"c"]);
        for cut in 0..bytes.len() {
            let values = BasicList::new(&bytes[..cut]).map(|list| list.values().count());
            assert_eq!(values.is_some(), cut >= 9, "cut at {cut}");
            assert!(values.is_none_or(|count| count < 3), "cut at {cut}");
        }
    }

    #[test]
    fn values_of_no_bytes_end_at_once() {
        assert_eq!(BasicList::new(&[3, 0, 10, 0, 0, 1, 2]).unwrap().values().count(), 0);
    }

    #[test]
    fn entries_of_several_templates_come_out() {
        let bytes = [4, 1, 0, 0, 6, 7, 8, 1, 1, 0, 4, 1, 0, 0, 5, 9];
        let list = SubTemplateMultiList::new(&bytes).unwrap();
        let entries: Vec<_> = list.entries().map(|entry| (entry.template.0, entry.body())).collect();
        assert_eq!(entries, [(256, &[7, 8][..]), (257, &[]), (256, &[9])]);
        // A length below that of the head would never end.
        assert_eq!(
            SubTemplateMultiList::new(&[4, 1, 0, 0, 0, 1, 0, 0, 0])
                .unwrap()
                .entries()
                .count(),
            0
        );
    }

    #[test]
    fn the_rest_of_a_list_without_its_head_is_none() {
        assert_eq!(SubTemplateList::new(&[3, 1]), None);
        assert_eq!(SubTemplateMultiList::new(&[]), None);
    }
}

//! v9 (RFC 3954).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |          version = 9          |             count             |
//! +---------------+---------------+---------------+---------------+
//! |                 uptime of the exporter in ms                  |
//! +---------------+---------------+---------------+---------------+
//! |                      seconds since 1970                       |
//! +---------------+---------------+---------------+---------------+
//! |              datagrams sent before (from 0 or 1)              |
//! +---------------+---------------+---------------+---------------+
//! |                           source id                           |
//! +---------------+---------------+---------------+---------------+
//! ```

use alloc::vec::Vec;

use nom::bytes::complete::take;
use nom::number::complete::{be_u16, be_u32};
use nom::{IResult, Parser};

use super::clock_ms;
use crate::element::ElementId;
use crate::header::{DomainId, Header, Version};
use crate::template::{FieldLength, FieldSpec};

pub(crate) const HEADER: usize = 20;
pub(crate) const TEMPLATES: u16 = 0;
pub(crate) const OPTIONS_TEMPLATES: u16 = 1;

/// Bytes of one field in a template.
const FIELD: u16 = 4;

pub(crate) fn header(input: &[u8]) -> IResult<&[u8], (Header, Option<u16>)> {
    let (input, _version) = be_u16(input)?;
    let (input, count) = be_u16(input)?;
    let (input, uptime_ms) = be_u32(input)?;
    let (input, seconds) = be_u32(input)?;
    let (input, sequence) = be_u32(input)?;
    let (input, source_id) = be_u32(input)?;
    let header = Header {
        version: Version::V9,
        domain: DomainId(source_id),
        sequence: Some(sequence),
        export_time_ms: clock_ms(seconds, 0),
        uptime_ms: Some(uptime_ms),
        count,
        sampling: 0,
    };
    Ok((input, (header, None)))
}

/// The head of an options template: its id, and the lengths in bytes of its scope fields and its other fields
/// (RFC 3954 §6.1).
pub(crate) fn options_template_head(input: &[u8]) -> IResult<&[u8], (u16, u16, u16)> {
    (be_u16, be_u16, be_u16).parse(input)
}

/// The definitions of so many fields, unread.
pub(crate) fn definitions(input: &[u8], count: usize) -> IResult<&[u8], &[u8]> {
    take(count.saturating_mul(usize::from(FIELD)))(input)
}

/// Fields from their definitions. The first `scope_fields` have a scope type in place of an element. The high bit of a
/// type has no meaning in v9: no enterprise number follows.
pub(crate) fn fields(definitions: &[u8], scope_fields: usize) -> Vec<FieldSpec> {
    definitions
        .chunks_exact(usize::from(FIELD))
        .enumerate()
        .filter_map(|(number, definition)| {
            let (_, (kind, length)): (_, (u16, u16)) =
                (be_u16::<_, nom::error::Error<&[u8]>>, be_u16).parse(definition).ok()?;
            let element = if number < scope_fields {
                ElementId::v9_scope(kind)
            } else {
                ElementId::iana(kind)
            };
            Some(FieldSpec {
                element,
                length: FieldLength::from_wire(length),
            })
        })
        .collect()
}

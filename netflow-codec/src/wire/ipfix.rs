//! IPFIX (RFC 7011).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |         version = 10          |    length of the message      |
//! +---------------+---------------+---------------+---------------+
//! |                      seconds since 1970                       |
//! +---------------+---------------+---------------+---------------+
//! |            data records sent before this message              |
//! +---------------+---------------+---------------+---------------+
//! |                      observation domain                       |
//! +---------------+---------------+---------------+---------------+
//! ```

use alloc::vec::Vec;

use nom::number::complete::{be_u16, be_u32};
use nom::{IResult, Parser};

use super::clock_ms;
use crate::element::ElementId;
use crate::header::{DomainId, Header, Version};
use crate::template::{FieldLength, FieldSpec};

pub(crate) const HEADER: usize = 16;
pub(crate) const TEMPLATES: u16 = 2;
pub(crate) const OPTIONS_TEMPLATES: u16 = 3;

/// The bit that says that an enterprise number follows (RFC 7011 §3.2).
pub(crate) const ENTERPRISE_BIT: u16 = 0x8000;

pub(crate) fn header(input: &[u8]) -> IResult<&[u8], (Header, Option<u16>)> {
    let (input, _version) = be_u16(input)?;
    let (input, length) = be_u16(input)?;
    let (input, seconds) = be_u32(input)?;
    let (input, sequence) = be_u32(input)?;
    let (input, domain) = be_u32(input)?;
    let header = Header {
        version: Version::Ipfix,
        domain: DomainId(domain),
        sequence: Some(sequence),
        export_time_ms: clock_ms(seconds, 0),
        uptime_ms: None,
        count: 0,
        sampling: 0,
    };
    Ok((input, (header, Some(length))))
}

/// The head of a template: its id and number of fields (RFC 7011 §3.4.1, RFC 3954 §5.2).
pub(crate) fn template_head(input: &[u8]) -> IResult<&[u8], (u16, u16)> {
    (be_u16, be_u16).parse(input)
}

/// The number of scope fields, which follows the head of an options template unless it is a withdrawal
/// (RFC 7011 §3.4.2.2).
pub(crate) fn scope_fields(input: &[u8]) -> IResult<&[u8], u16> {
    be_u16(input)
}

/// One field's definition (RFC 7011 §3.2).
pub(crate) fn field(input: &[u8]) -> IResult<&[u8], FieldSpec> {
    let (input, id) = be_u16(input)?;
    let (input, length) = be_u16(input)?;
    let (input, enterprise) = if id & ENTERPRISE_BIT == 0 {
        (input, 0)
    } else {
        be_u32(input)?
    };
    let element = ElementId {
        enterprise,
        id: id & !ENTERPRISE_BIT,
    };
    Ok((
        input,
        FieldSpec {
            element,
            length: FieldLength::from_wire(length),
        },
    ))
}

/// The length that stands before a field of variable length (RFC 7011 §7), and how many bytes that takes: one, or 255
/// and two more, which may also tell a length below 255.
pub(crate) fn variable_length(input: &[u8]) -> Option<(usize, usize)> {
    match input {
        [255, high, low, ..] => Some((3, usize::from(u16::from_be_bytes([*high, *low])))),
        [length, ..] if *length < 255 => Some((1, usize::from(*length))),
        _ => None,
    }
}

/// The definitions of so many fields, unread.
pub(crate) fn definitions(input: &[u8], count: usize) -> IResult<&[u8], &[u8]> {
    let mut rest = input;
    for _ in 0..count {
        (rest, _) = field(rest)?;
    }
    let taken = input.len().saturating_sub(rest.len());
    nom::bytes::complete::take(taken)(input)
}

/// Fields from their definitions.
pub(crate) fn fields(definitions: &[u8]) -> Vec<FieldSpec> {
    let mut rest = definitions;
    core::iter::from_fn(|| {
        let (after, spec) = field(rest).ok()?;
        rest = after;
        Some(spec)
    })
    .collect()
}

//! Definitions of templates, in the forms of v9 and IPFIX and their mixtures.

use super::{ipfix, v9};
use crate::header::Version;
use crate::template::TemplateFault;

/// What a template set says about one id.
pub(crate) enum Definition<'d> {
    Withdrawal,
    Faulty(TemplateFault),
    Fields {
        /// `None` for templates of flows.
        scope_fields: Option<u16>,
        count: usize,
        bytes: &'d [u8],
    },
}

/// The ids of sets of templates. v9's are 0 and 1 and IPFIX's 2 and 3, but some exporters take those of the other version:
/// the id tells the form of the heads, the message's version that of the fields.
pub(crate) const TEMPLATE_SETS: core::ops::RangeInclusive<u16> = v9::TEMPLATES..=ipfix::OPTIONS_TEMPLATES;

pub(crate) type Read<'d> = Result<(&'d [u8], Definition<'d>), nom::Err<nom::error::Error<&'d [u8]>>>;

/// One template of a set, whose id tells the form of its head.
pub(crate) fn read(input: &[u8], set_id: u16, version: Version) -> Read<'_> {
    match set_id {
        v9::TEMPLATES | ipfix::TEMPLATES => template_definition(input, version),
        v9::OPTIONS_TEMPLATES => options_by_length(input, version),
        _ => options_by_count(input, version),
    }
}

fn template_definition(input: &[u8], version: Version) -> Read<'_> {
    let (input, (_, count)) = ipfix::template_head(input)?;
    if count == 0 && version == Version::Ipfix {
        return Ok((input, Definition::Withdrawal));
    }
    definition(input, version, None, usize::from(count))
}

/// An options template as v9 has them, which tells the lengths of its fields.
fn options_by_length(input: &[u8], version: Version) -> Read<'_> {
    let (input, (_, scope_length, fields_length)) = v9::options_template_head(input)?;
    let (scope_length, fields_length) = (usize::from(scope_length), usize::from(fields_length));
    let (rest, bytes) = nom::bytes::complete::take(scope_length.saturating_add(fields_length))(input)?;
    let count = |bytes: Option<&[u8]>| definitions_in(bytes?, version);
    let scope_fields = count(bytes.get(..scope_length)).and_then(|count| u16::try_from(count).ok());
    let (Some(scope_fields), Some(others)) = (scope_fields, count(bytes.get(scope_length..))) else {
        return Ok((rest, Definition::Faulty(TemplateFault::Scope)));
    };
    let count = usize::from(scope_fields).saturating_add(others);
    definition(input, version, Some(scope_fields), count)
}

/// An options template as IPFIX has them, which tells the number of its fields.
fn options_by_count(input: &[u8], version: Version) -> Read<'_> {
    let (input, (_, count)) = ipfix::template_head(input)?;
    if count == 0 && version == Version::Ipfix {
        return Ok((input, Definition::Withdrawal));
    }
    let (input, scope_fields) = ipfix::scope_fields(input)?;
    definition(input, version, Some(scope_fields), usize::from(count))
}

fn definition(input: &[u8], version: Version, scope_fields: Option<u16>, count: usize) -> Read<'_> {
    let (input, bytes) = match version {
        Version::V9 => v9::definitions(input, count)?,
        _ => ipfix::definitions(input, count)?,
    };
    let definition = Definition::Fields {
        scope_fields,
        count,
        bytes,
    };
    Ok((input, definition))
}

/// How many fields are defined in so many bytes; `None` if no whole number of them.
fn definitions_in(mut bytes: &[u8], version: Version) -> Option<usize> {
    let mut count = 0_usize;
    while !bytes.is_empty() {
        let Ok((rest, _)) = (match version {
            Version::V9 => v9::definitions(bytes, 1),
            _ => ipfix::definitions(bytes, 1),
        }) else {
            return None;
        };
        bytes = rest;
        count = count.saturating_add(1);
    }
    Some(count)
}

//! The wire: headers, set headers and template definitions, as private `nom` functions. Each takes bytes and gives what
//! it read, so that none can read past what it was given.

pub(crate) mod definition;
pub(crate) mod fixed;
pub(crate) mod ipfix;
pub(crate) mod v9;

use nom::IResult;
use nom::number::complete::be_u16;

use crate::error::Error;
use crate::header::{Header, Version};

/// Bytes of a set's header.
pub(crate) const SET_HEADER: usize = 4;

/// Reads the header of a message. Gives it, the bytes it took, and for IPFIX the message's length.
pub(crate) fn header(datagram: &[u8]) -> Result<(Header, usize, Option<u16>), Error> {
    let cut_short = |wanted| Error::HeaderCutShort {
        wanted,
        found: datagram.len(),
    };
    let (_, number) = version(datagram).map_err(|_| cut_short(2))?;
    let version = Version::from_number(number).ok_or(Error::UnknownVersion { version: number })?;
    let (read, wanted): (HeaderResult<'_>, usize) = match version {
        Version::V1 => (fixed::v1_header(datagram), fixed::V1_HEADER),
        Version::V5 => (fixed::v5_header(datagram), fixed::V5_HEADER),
        Version::V7 => (fixed::v7_header(datagram), fixed::V7_HEADER),
        Version::V9 => (v9::header(datagram), v9::HEADER),
        Version::Ipfix => (ipfix::header(datagram), ipfix::HEADER),
    };
    let (_, (header, length)) = read.map_err(|_| cut_short(wanted))?;
    Ok((header, wanted, length))
}

/// A header and, for IPFIX, the length of the message.
type HeaderResult<'d> = IResult<&'d [u8], (Header, Option<u16>)>;

fn version(input: &[u8]) -> IResult<&[u8], u16> {
    be_u16(input)
}

/// A set's header: its id and its length with the header.
pub(crate) fn set_header(input: &[u8]) -> IResult<&[u8], (u16, u16)> {
    let (input, id) = be_u16(input)?;
    let (input, length) = be_u16(input)?;
    Ok((input, (id, length)))
}

/// Milliseconds of a clock given as seconds and a rest in nanoseconds.
fn clock_ms(seconds: u32, nanoseconds: u32) -> i64 {
    i64::from(seconds)
        .saturating_mul(1000)
        .saturating_add(i64::from(nanoseconds / 1_000_000))
}

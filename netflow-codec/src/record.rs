//! Records, read in place.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::element::ElementId;
use crate::header::Header;
use crate::icmp::{self, Icmp};
use crate::template::{FieldLength, FieldSpec, Template};
use crate::time;
use crate::wire::ipfix;

/// One record of a set, borrowed from the datagram.
#[derive(Clone, Copy, Debug)]
pub struct Record<'m> {
    template: &'m Template,
    header: &'m Header,
    bytes: &'m [u8],
}

impl<'m> Record<'m> {
    #[inline]
    pub(crate) fn new(template: &'m Template, header: &'m Header, bytes: &'m [u8]) -> Self {
        Self {
            template,
            header,
            bytes,
        }
    }

    /// The layout of the record.
    #[must_use]
    pub fn template(&self) -> &'m Template {
        self.template
    }

    /// The record as on the wire.
    #[must_use]
    pub fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// The fields in the order of the wire, each with its bytes.
    #[inline]
    pub fn fields(&self) -> impl Iterator<Item = (FieldSpec, &'m [u8])> + use<'m> {
        let (mut specs, mut rest) = (self.template.fields().iter(), self.bytes);
        core::iter::from_fn(move || {
            let spec = *specs.next()?;
            let length = match spec.length {
                FieldLength::Fixed(length) => usize::from(length),
                FieldLength::Variable => {
                    let (prefix, length) = ipfix::variable_length(rest)?;
                    rest = rest.get(prefix..)?;
                    length
                }
            };
            let bytes;
            (bytes, rest) = rest.split_at_checked(length)?;
            Some((spec, bytes))
        })
    }

    /// The bytes of the field with a number, as [`Template::position`] tells it: in constant time up to the first field
    /// of variable length, by a walk from there on.
    #[must_use]
    #[inline]
    pub fn at(&self, number: usize) -> Option<&'m [u8]> {
        let (offset, length) = match self.template.fixed_place(number) {
            Some(place) => place,
            None => {
                let place = self
                    .template
                    .variable_places(self.bytes)
                    .flatten()
                    .find(|place| place.number == number)?;
                (place.offset, place.length)
            }
        };
        self.bytes.get(offset..offset.checked_add(length)?)
    }

    /// The bytes of the first field that carries an element.
    #[must_use]
    #[inline]
    pub fn field(&self, element: ElementId) -> Option<&'m [u8]> {
        self.at(self.template.position(element)?)
    }

    /// An unsigned integer of any width, also reduced (RFC 7011 §6.2); `None` if it needs more than 64 bits.
    #[must_use]
    #[inline]
    pub fn unsigned(&self, element: ElementId) -> Option<u64> {
        unsigned(self.field(element)?)
    }

    /// A signed integer of any width, also reduced.
    #[must_use]
    pub fn signed(&self, element: ElementId) -> Option<i64> {
        signed(self.field(element)?)
    }

    /// A floating point number, of 4 bytes or 8.
    #[must_use]
    pub fn float(&self, element: ElementId) -> Option<f64> {
        float(self.field(element)?)
    }

    /// An address of 4 bytes or 16.
    #[must_use]
    pub fn address(&self, element: ElementId) -> Option<IpAddr> {
        address(self.field(element)?)
    }

    /// A MAC address.
    #[must_use]
    pub fn mac(&self, element: ElementId) -> Option<[u8; 6]> {
        self.field(element)?.try_into().ok()
    }

    /// Text, without the zero bytes with which fields of fixed length are filled up; `None` if it is not UTF-8.
    #[must_use]
    pub fn text(&self, element: ElementId) -> Option<&'m str> {
        text(self.field(element)?)
    }

    /// A moment in ms since 1970, whatever unit the element has; also those that count from the exporter's start or
    /// back from the export, where the message or the record tells when that was.
    #[must_use]
    pub fn time_ms(&self, element: ElementId) -> Option<i64> {
        let start = || self.unsigned(time::SYSTEM_INIT).and_then(|ms| i64::try_from(ms).ok());
        time::to_ms(element, self.field(element)?, self.header, start)
    }

    /// Type and code of a flow of ICMP or ICMPv6 messages, wherever the exporter puts them: in elements of their own or in
    /// the place of the ports, as v5 has no other. `None` for other protocols, and where it cannot be told.
    #[must_use]
    pub fn icmp(&self) -> Option<Icmp> {
        icmp::of_record(self)
    }
}

/// A moment in ms since 1970, as [`Record::time_ms`] tells it, of a value wherever it lies: in a list, in a field that is
/// not the first of its element. `started_ms` is when the exporter started, if the message's header does not tell, as
/// [`Sampling::system_init_ms`](crate::Sampling::system_init_ms) has it. `None` for elements that are no moment.
#[must_use]
pub fn time_ms(element: ElementId, bytes: &[u8], header: &Header, started_ms: Option<i64>) -> Option<i64> {
    time::to_ms(element, bytes, header, || started_ms)
}

/// An unsigned integer in network order, of any width; `None` if it needs more than 64 bits or has no byte.
#[must_use]
#[inline]
pub fn unsigned(bytes: &[u8]) -> Option<u64> {
    // By length first: the bytes of a slice that a pattern takes apart are read one by one.
    match bytes.len() {
        1 => bytes.first().map(|byte| u64::from(*byte)),
        2 => bytes.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes))),
        4 => bytes.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes))),
        8 => bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => unsigned_of_any_width(bytes),
    }
}

fn unsigned_of_any_width(bytes: &[u8]) -> Option<u64> {
    let Some(excess) = bytes.len().checked_sub(8) else {
        if bytes.is_empty() {
            return None;
        }
        return Some(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)));
    };
    let (high, low) = bytes.split_at_checked(excess)?;
    if high.iter().any(|byte| *byte != 0) {
        return None;
    }
    Some(u64::from_be_bytes(low.try_into().ok()?))
}

/// A signed integer in network order, of up to 8 bytes.
#[must_use]
pub fn signed(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { u64::MAX };
    Some(
        bytes
            .iter()
            .fold(sign, |value, byte| (value << 8) | u64::from(*byte))
            .cast_signed(),
    )
}

/// A floating point number in network order, of 4 bytes or 8.
#[must_use]
pub fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

/// An address of 4 bytes or 16.
#[must_use]
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    }
}

/// Text without the zero bytes that fill it up; `None` if it is not UTF-8.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<&str> {
    Some(core::str::from_utf8(bytes).ok()?.trim_end_matches('\0'))
}

//! Writes messages of any version.
//!
//! ```
//! use netflow_codec::encode::MessageWriter;
//! use netflow_codec::{DomainId, ElementId, FieldSpec, Header, Template, TemplateId, TemplateKind, Version};
//!
//! let fields = vec![
//!     FieldSpec::fixed(ElementId::iana(8), 4),
//!     FieldSpec::variable(ElementId::iana(82)),
//! ];
//! let template = Template::new(TemplateId(256), TemplateKind::Data, fields)?;
//! let header = Header::new(Version::Ipfix, DomainId(1), 0, 1_700_000_000_000);
//! let mut datagram = Vec::new();
//! let mut message = MessageWriter::new(&mut datagram, &header);
//! message.templates([&template])?;
//! let mut set = message.data_set(&template)?;
//! set.record_of([&[192, 0, 2, 1][..], b"eth0"])?;
//! set.finish()?;
//! message.finish()?;
//! assert_eq!(datagram.len(), 16 + 4 + 12 + 4 + 4 + 5 + 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::element::ElementId;
use crate::header::{Header, Version};
use crate::template::{FieldLength, Template, TemplateId, TemplateKind};
use crate::wire::{fixed, ipfix, v9};

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The version has no templates, or no sets of this kind.
    #[error("{version} has no such set")]
    NoSuchSet {
        /// The version of the message.
        version: Version,
    },
    /// The message, or a set in it, would be longer than its length field can say.
    #[error("{length} bytes are more than a message or set can have")]
    TooLong {
        /// The length it would have.
        length: usize,
    },
    /// A record does not have the length, or the number of fields, that its template says.
    #[error("in template {template}: {wanted} wanted, {found} found")]
    RecordLength {
        /// The template.
        template: TemplateId,
        /// Bytes or fields that the template says.
        wanted: usize,
        /// Bytes or fields given.
        found: usize,
    },
    /// v9 cannot say which enterprise an element is of.
    #[error("in template {template}: v9 has no element {element}")]
    Element {
        /// The template.
        template: TemplateId,
        /// The element.
        element: ElementId,
    },
}

/// Writes one message into a buffer.
///
/// A writer that is dropped before [`finish`](Self::finish) leaves a message whose header does not fit it.
#[derive(Debug)]
pub struct MessageWriter<'b> {
    buffer: &'b mut Vec<u8>,
    version: Version,
    start: usize,
    /// Records and templates written: v9's count, and that of v1, v5 and v7.
    count: u16,
}

impl<'b> MessageWriter<'b> {
    /// Begins a message at the end of a buffer. Its count or length is set at the end.
    pub fn new(buffer: &'b mut Vec<u8>, header: &Header) -> Self {
        let start = buffer.len();
        let version = header.version;
        let seconds = u32::try_from(header.export_time_ms.div_euclid(1000)).unwrap_or(u32::MAX);
        let nanoseconds = u32::try_from(header.export_time_ms.rem_euclid(1000))
            .unwrap_or(0)
            .wrapping_mul(1_000_000);
        let sequence = header.sequence.unwrap_or(0);
        buffer.extend_from_slice(&version.number().to_be_bytes());
        buffer.extend_from_slice(&[0; 2]);
        if version != Version::Ipfix {
            buffer.extend_from_slice(&header.uptime_ms.unwrap_or(0).to_be_bytes());
        }
        buffer.extend_from_slice(&seconds.to_be_bytes());
        match version {
            Version::V1 => buffer.extend_from_slice(&nanoseconds.to_be_bytes()),
            Version::V5 => {
                buffer.extend_from_slice(&nanoseconds.to_be_bytes());
                buffer.extend_from_slice(&sequence.to_be_bytes());
                // The low half of the domain: engine type and id.
                buffer.extend(header.domain.0.to_be_bytes().into_iter().skip(2));
                buffer.extend_from_slice(&header.sampling.to_be_bytes());
            }
            Version::V7 => {
                buffer.extend_from_slice(&nanoseconds.to_be_bytes());
                buffer.extend_from_slice(&sequence.to_be_bytes());
                buffer.extend_from_slice(&[0; 4]);
            }
            Version::V9 | Version::Ipfix => {
                buffer.extend_from_slice(&sequence.to_be_bytes());
                buffer.extend_from_slice(&header.domain.0.to_be_bytes());
            }
        }
        Self {
            buffer,
            version,
            start,
            count: 0,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    /// Never: a message has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes records of v1, v5 or v7 as they are on the wire: of 48, 48 and 52 bytes, see [`FixedRecord`].
    ///
    /// # Errors
    ///
    /// If the version has templates, or the bytes are no whole number of records.
    pub fn fixed_records(&mut self, records: &[u8]) -> Result<(), EncodeError> {
        let Some(length) = fixed::record_length(self.version) else {
            return Err(EncodeError::NoSuchSet { version: self.version });
        };
        if !records.len().is_multiple_of(length) {
            let template = TemplateId(self.version.number());
            return Err(EncodeError::RecordLength {
                template,
                wanted: length,
                found: records.len(),
            });
        }
        self.buffer.extend_from_slice(records);
        let count = records.len().checked_div(length).unwrap_or(0);
        self.count = self.count.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        Ok(())
    }

    /// Writes a set of templates, which must be all of flows or all of options.
    ///
    /// # Errors
    ///
    /// If the version has none, a template does not fit the set or the version, or the set grows too long.
    pub fn templates<'t>(&mut self, templates: impl IntoIterator<Item = &'t Template>) -> Result<(), EncodeError> {
        let mut templates = templates.into_iter().peekable();
        let Some(first) = templates.peek() else { return Ok(()) };
        let kind = first.kind();
        let set = self.start_set(self.template_set_id(kind)?);
        for template in templates {
            if (template.kind() == TemplateKind::Data) != (kind == TemplateKind::Data) {
                return Err(EncodeError::NoSuchSet { version: self.version });
            }
            self.template(template)?;
            self.count = self.count.saturating_add(1);
        }
        self.end_set(set, TEMPLATE_HEAD)
    }

    /// Takes a template back (RFC 7011 §8.1).
    ///
    /// # Errors
    ///
    /// If the version is not IPFIX, which alone can.
    pub fn withdraw(&mut self, template: TemplateId, kind: TemplateKind) -> Result<(), EncodeError> {
        if self.version != Version::Ipfix {
            return Err(EncodeError::NoSuchSet { version: self.version });
        }
        let set = self.start_set(self.template_set_id(kind)?);
        self.buffer.extend_from_slice(&template.0.to_be_bytes());
        self.buffer.extend_from_slice(&[0; 2]);
        self.end_set(set, TEMPLATE_HEAD)
    }

    /// Begins a set of records.
    ///
    /// # Errors
    ///
    /// If the version has no templates.
    pub fn data_set<'s>(&'s mut self, template: &'s Template) -> Result<DataSetWriter<'s, 'b>, EncodeError> {
        if !self.version.has_templates() {
            return Err(EncodeError::NoSuchSet { version: self.version });
        }
        let set = self.start_set(template.id().0);
        Ok(DataSetWriter {
            message: self,
            template,
            set,
        })
    }

    /// Ends the message: writes its count or length to the header. Returns its length.
    ///
    /// # Errors
    ///
    /// If it grew longer than a datagram can be.
    pub fn finish(self) -> Result<usize, EncodeError> {
        let length = self.len();
        let length_field = u16::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        let field = if self.version == Version::Ipfix {
            length_field
        } else {
            self.count
        };
        patch(self.buffer, self.start.saturating_add(2), field);
        Ok(length)
    }

    fn template_set_id(&self, kind: TemplateKind) -> Result<u16, EncodeError> {
        match (self.version, kind) {
            (Version::V9, TemplateKind::Data) => Ok(v9::TEMPLATES),
            (Version::V9, TemplateKind::Options { .. }) => Ok(v9::OPTIONS_TEMPLATES),
            (Version::Ipfix, TemplateKind::Data) => Ok(ipfix::TEMPLATES),
            (Version::Ipfix, TemplateKind::Options { .. }) => Ok(ipfix::OPTIONS_TEMPLATES),
            (version, _) => Err(EncodeError::NoSuchSet { version }),
        }
    }

    fn template(&mut self, template: &Template) -> Result<(), EncodeError> {
        let number = |count: usize| {
            u16::try_from(count)
                .map(u16::to_be_bytes)
                .map_err(|_| EncodeError::TooLong { length: count })
        };
        let (fields, scope) = (template.fields().len(), template.scope_fields());
        self.buffer.extend_from_slice(&template.id().0.to_be_bytes());
        match (self.version, template.kind()) {
            (Version::V9, TemplateKind::Options { .. }) => {
                self.buffer.extend_from_slice(&number(scope.saturating_mul(4))?);
                self.buffer
                    .extend_from_slice(&number(fields.saturating_sub(scope).saturating_mul(4))?);
            }
            (_, TemplateKind::Data) => self.buffer.extend_from_slice(&number(fields)?),
            (_, TemplateKind::Options { .. }) => {
                self.buffer.extend_from_slice(&number(fields)?);
                self.buffer.extend_from_slice(&number(scope)?);
            }
        }
        for (position, field) in template.fields().iter().enumerate() {
            let ElementId { enterprise, id } = field.element;
            let length = field.length.to_wire().to_be_bytes();
            let scope_type = position < scope && enterprise == ElementId::V9_SCOPE_ENTERPRISE;
            match self.version {
                Version::V9 if enterprise == 0 || scope_type => {
                    self.buffer.extend_from_slice(&id.to_be_bytes());
                    self.buffer.extend_from_slice(&length);
                }
                Version::V9 => {
                    return Err(EncodeError::Element {
                        template: template.id(),
                        element: field.element,
                    });
                }
                _ if enterprise == 0 => {
                    self.buffer
                        .extend_from_slice(&(id & !ipfix::ENTERPRISE_BIT).to_be_bytes());
                    self.buffer.extend_from_slice(&length);
                }
                _ => {
                    self.buffer
                        .extend_from_slice(&(id | ipfix::ENTERPRISE_BIT).to_be_bytes());
                    self.buffer.extend_from_slice(&length);
                    self.buffer.extend_from_slice(&enterprise.to_be_bytes());
                }
            }
        }
        Ok(())
    }

    /// Begins a set; returns where.
    fn start_set(&mut self, id: u16) -> usize {
        let set = self.buffer.len();
        self.buffer.extend_from_slice(&id.to_be_bytes());
        self.buffer.extend_from_slice(&[0; 2]);
        set
    }

    /// Ends a set: pads it to a multiple of four, as both RFCs want, unless that would read as one more record of
    /// `shortest` bytes (RFC 7011 §3.3.1), and writes its length.
    fn end_set(&mut self, set: usize, shortest: usize) -> Result<(), EncodeError> {
        let unpadded = self.buffer.len().saturating_sub(set);
        let padded = unpadded.next_multiple_of(4);
        let length = if padded.saturating_sub(unpadded) < shortest {
            padded
        } else {
            unpadded
        };
        self.buffer.resize(set.saturating_add(length), 0);
        let field = u16::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        patch(self.buffer, set.saturating_add(2), field);
        Ok(())
    }
}

/// Bytes of the shortest template: its id and number of fields.
const TEMPLATE_HEAD: usize = 4;

fn patch(buffer: &mut [u8], at: usize, value: u16) {
    if let Some(place) = buffer.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value.to_be_bytes();
    }
}

/// Writes the records of one set.
#[derive(Debug)]
pub struct DataSetWriter<'s, 'b> {
    message: &'s mut MessageWriter<'b>,
    template: &'s Template,
    set: usize,
}

impl DataSetWriter<'_, '_> {
    /// Bytes of the message so far.
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.message.len()
    }

    /// Writes a record as it is on the wire.
    ///
    /// # Errors
    ///
    /// If it does not have the template's length.
    pub fn record(&mut self, record: &[u8]) -> Result<(), EncodeError> {
        if self.template.measure(record) != Some(record.len()) {
            return Err(EncodeError::RecordLength {
                template: self.template.id(),
                wanted: self.template.min_record_length(),
                found: record.len(),
            });
        }
        self.message.buffer.extend_from_slice(record);
        self.message.count = self.message.count.saturating_add(1);
        Ok(())
    }

    /// Writes a record field by field. A field of variable length gets its length before it; an integer in fewer bytes
    /// than its field is filled up with zeros before it, anything else that differs from the template is refused.
    ///
    /// # Errors
    ///
    /// If there are more or fewer fields than in the template, or a field is longer than the template says.
    pub fn record_of<'f>(&mut self, fields: impl IntoIterator<Item = &'f [u8]>) -> Result<(), EncodeError> {
        let start = self.message.buffer.len();
        let written = self.fields(fields);
        if written.is_err() {
            self.message.buffer.truncate(start);
        } else {
            self.message.count = self.message.count.saturating_add(1);
        }
        written
    }

    fn fields<'f>(&mut self, fields: impl IntoIterator<Item = &'f [u8]>) -> Result<(), EncodeError> {
        let template = self.template.id();
        let buffer = &mut *self.message.buffer;
        let specs = self.template.fields();
        let mut fields = fields.into_iter();
        for (position, spec) in specs.iter().enumerate() {
            let wrong_count = EncodeError::RecordLength {
                template,
                wanted: specs.len(),
                found: position,
            };
            let field = fields.next().ok_or(wrong_count)?;
            match spec.length {
                FieldLength::Fixed(length) => {
                    let wanted = usize::from(length);
                    let missing = wanted.checked_sub(field.len()).ok_or(EncodeError::RecordLength {
                        template,
                        wanted,
                        found: field.len(),
                    })?;
                    buffer.resize(buffer.len().saturating_add(missing), 0);
                }
                FieldLength::Variable => match u8::try_from(field.len()) {
                    Ok(length) if length < 255 => buffer.push(length),
                    _ => {
                        let too_long = |_| EncodeError::TooLong { length: field.len() };
                        let length = u16::try_from(field.len()).map_err(too_long)?;
                        buffer.push(255);
                        buffer.extend_from_slice(&length.to_be_bytes());
                    }
                },
            }
            buffer.extend_from_slice(field);
        }
        match fields.count() {
            0 => Ok(()),
            more => Err(EncodeError::RecordLength {
                template,
                wanted: specs.len(),
                found: specs.len().saturating_add(more),
            }),
        }
    }

    /// Ends the set.
    ///
    /// # Errors
    ///
    /// If it grew too long.
    pub fn finish(self) -> Result<(), EncodeError> {
        self.message.end_set(self.set, self.template.min_record_length())
    }
}

/// A flow record of v1, v5 or v7. v1 has no AS numbers and prefix lengths, and only v7 a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the protocol's")]
pub struct FixedRecord {
    pub src_addr: Ipv4Addr,
    pub dst_addr: Ipv4Addr,
    pub next_hop: Ipv4Addr,
    pub in_if: u16,
    pub out_if: u16,
    pub packets: u32,
    pub octets: u32,
    /// Uptime of the exporter at the first packet.
    pub first_ms: u32,
    /// Uptime of the exporter at the last packet.
    pub last_ms: u32,
    pub src_port: u16,
    pub dst_port: u16,
    pub tcp_flags: u8,
    pub proto: u8,
    pub tos: u8,
    pub src_as: u16,
    pub dst_as: u16,
    pub src_mask: u8,
    pub dst_mask: u8,
    /// v7: the router that the switch cut short.
    pub router: Ipv4Addr,
}

impl FixedRecord {
    /// What the three begin with.
    fn common(&self) -> [u8; 36] {
        let [s0, s1, s2, s3] = self.src_addr.octets();
        let [d0, d1, d2, d3] = self.dst_addr.octets();
        let [n0, n1, n2, n3] = self.next_hop.octets();
        let [i0, i1] = self.in_if.to_be_bytes();
        let [o0, o1] = self.out_if.to_be_bytes();
        let [p0, p1, p2, p3] = self.packets.to_be_bytes();
        let [b0, b1, b2, b3] = self.octets.to_be_bytes();
        let [f0, f1, f2, f3] = self.first_ms.to_be_bytes();
        let [l0, l1, l2, l3] = self.last_ms.to_be_bytes();
        let [sp0, sp1] = self.src_port.to_be_bytes();
        let [dp0, dp1] = self.dst_port.to_be_bytes();
        [
            s0, s1, s2, s3, d0, d1, d2, d3, n0, n1, n2, n3, i0, i1, o0, o1, p0, p1, p2, p3, b0, b1, b2, b3, f0, f1, f2,
            f3, l0, l1, l2, l3, sp0, sp1, dp0, dp1,
        ]
    }

    /// What follows in v5 and v7.
    fn tail(&self) -> [u8; 12] {
        let [sa0, sa1] = self.src_as.to_be_bytes();
        let [da0, da1] = self.dst_as.to_be_bytes();
        let (flags, proto, tos) = (self.tcp_flags, self.proto, self.tos);
        [
            0,
            flags,
            proto,
            tos,
            sa0,
            sa1,
            da0,
            da1,
            self.src_mask,
            self.dst_mask,
            0,
            0,
        ]
    }

    /// The record as v1 has it.
    #[must_use]
    pub fn to_v1(&self) -> [u8; 48] {
        join(&self.common(), &[0, 0, self.proto, self.tos, self.tcp_flags])
    }

    /// The record as v5 has it.
    #[must_use]
    pub fn to_v5(&self) -> [u8; 48] {
        join(&self.common(), &self.tail())
    }

    /// The record as v7 has it.
    #[must_use]
    pub fn to_v7(&self) -> [u8; 52] {
        let most: [u8; 48] = self.to_v5();
        join(&most, &self.router.octets())
    }
}

/// One after the other, filled up with zeros.
fn join<const LENGTH: usize>(first: &[u8], then: &[u8]) -> [u8; LENGTH] {
    let mut record = [0; LENGTH];
    for (place, byte) in record.iter_mut().zip(first.iter().chain(then)) {
        *place = *byte;
    }
    record
}

/// Bytes of a message's header.
#[must_use]
pub fn header_length(version: Version) -> usize {
    match version {
        Version::V1 => fixed::V1_HEADER,
        Version::V5 => fixed::V5_HEADER,
        Version::V7 => fixed::V7_HEADER,
        Version::V9 => v9::HEADER,
        Version::Ipfix => ipfix::HEADER,
    }
}

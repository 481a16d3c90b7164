//! What can be wrong with a datagram, and where.

use crate::header::Version;
use crate::template::{TemplateFault, TemplateId};

/// Why a datagram, or one part of it, could not be decoded. Offsets count bytes from the start of the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too short to hold a version, or the header of its version.
    #[error("datagram of {found} bytes is cut short: a header needs {wanted}")]
    HeaderCutShort {
        /// Bytes that the header takes.
        wanted: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The first two bytes are no version that this crate decodes.
    #[error("version {version} is none of 1, 5, 7, 9 and 10 (IPFIX)")]
    UnknownVersion {
        /// The number found.
        version: u16,
    },
    /// The header's count of records is more than the datagram holds (v1, v5, v7). The records there are come out.
    #[error("header counts {count} records, but the datagram holds {found}")]
    RecordCount {
        /// Records that the header promises.
        count: u16,
        /// Whole records there are.
        found: u16,
    },
    /// An IPFIX header states more bytes than the datagram has. What is there is decoded.
    #[error("message of {length} bytes is cut short: the datagram has {found}")]
    MessageCutShort {
        /// The message length stated.
        length: u16,
        /// Bytes there are.
        found: usize,
    },
    /// An IPFIX header states fewer bytes than the header itself takes.
    #[error("message length {length} is less than its header")]
    MessageLength {
        /// The message length stated.
        length: u16,
    },
    /// A set states a length less than its own header. Nothing after it can be found.
    #[error("set {id} at byte {offset}: length {length} is less than its header")]
    SetLength {
        /// The set id.
        id: u16,
        /// Where the set begins.
        offset: usize,
        /// The length stated.
        length: u16,
    },
    /// A set runs past the end of the datagram. Its whole records come out.
    #[error("set {id} at byte {offset} is cut short: {length} bytes wanted, {found} found")]
    SetCutShort {
        /// The set id.
        id: u16,
        /// Where the set begins.
        offset: usize,
        /// The length stated.
        length: u16,
        /// Bytes there are.
        found: usize,
    },
    /// Bytes after the last set that are neither a set nor padding.
    #[error("{found} bytes at byte {offset} are no set")]
    TrailingBytes {
        /// Where they begin.
        offset: usize,
        /// How many.
        found: usize,
    },
    /// A record of variable length runs past the end of its set. Those before it come out.
    #[error("in template {template}: record cut short at byte {offset}")]
    RecordCutShort {
        /// The template.
        template: TemplateId,
        /// Where the record begins.
        offset: usize,
    },
    /// A template runs past the end of its set. Those before it are kept.
    #[error("template {template} at byte {offset} is cut short")]
    TemplateCutShort {
        /// The template.
        template: TemplateId,
        /// Where it begins.
        offset: usize,
    },
    /// A template that cannot be used.
    #[error("template {template} at byte {offset}: {fault}")]
    Template {
        /// The template.
        template: TemplateId,
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        fault: TemplateFault,
    },
    /// A limit set by the caller refuses a template.
    #[error("template {template} at byte {offset} refused: limit of {limit} reached")]
    TemplateRefused {
        /// The template.
        template: TemplateId,
        /// Where it begins.
        offset: usize,
        /// The limit.
        limit: LimitKind,
    },
    /// A limit set by the caller refuses an exporter that was not known before.
    #[error("datagram of version {version} refused: limit of {limit} reached")]
    StreamRefused {
        /// The datagram's version.
        version: Version,
        /// The limit.
        limit: LimitKind,
    },
}

/// Which of the [`Limits`](crate::Limits) was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Streams: pairs of exporter and observation domain.
    Streams,
    /// Templates of one stream.
    Templates,
    /// Fields of one template.
    Fields,
    /// Bytes of all templates together.
    TemplateBytes,
}

impl core::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Streams => "streams",
            Self::Templates => "templates of a stream",
            Self::Fields => "fields of a template",
            Self::TemplateBytes => "bytes of templates",
        })
    }
}

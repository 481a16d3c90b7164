//! Messages and their sets.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;

use crate::cache::TemplateCache;
use crate::error::Error;
use crate::header::{DomainId, Header, Version};
use crate::record::Record;
use crate::sampling::Sampling;
use crate::sequence::{Arrival, Gap, Sequencing};
use crate::template::{Template, TemplateId, TemplateKind};
use crate::used::Used;
use crate::v5::{self, V5Flow};

/// A decoded datagram: its header and its sets, borrowed from the datagram and from the decoder.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    pub(crate) header: Header,
    pub(crate) exporter: SocketAddr,
    pub(crate) datagram: &'m [u8],
    pub(crate) parts: &'m [Part],
    pub(crate) changes: &'m [TemplateChange],
    pub(crate) replayed: &'m [HeldSet],
    pub(crate) used: &'m Used,
    pub(crate) sequencing: Sequencing,
    pub(crate) templates: Option<&'m TemplateCache>,
    pub(crate) gaps: &'m [Gap],
    pub(crate) regained: u32,
}

impl<'m> Message<'m> {
    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.header.version
    }

    /// The observation domain.
    #[must_use]
    pub fn domain(&self) -> DomainId {
        self.header.domain
    }

    /// The sequence number, if the version has one.
    #[must_use]
    pub fn sequence(&self) -> Option<u32> {
        self.header.sequence
    }

    /// The exporter's clock at the export, in ms since 1970.
    #[must_use]
    pub fn export_time_ms(&self) -> i64 {
        self.header.export_time_ms
    }

    /// The exporter: the address and port that the datagram came from.
    #[must_use]
    pub fn exporter(&self) -> SocketAddr {
        self.exporter
    }

    /// A template of the message's stream, as it is after the message: for the records of [lists](crate::list).
    #[must_use]
    pub fn template(&self, id: TemplateId) -> Option<&'m Arc<Template>> {
        self.templates?.get(id).map(|entry| &entry.template)
    }

    /// How the message fits the sequence of its stream.
    #[must_use]
    pub fn sequencing(&self) -> &Sequencing {
        &self.sequencing
    }

    /// Whether the network doubled the datagram: its sets came before.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.sequencing.arrival == Arrival::Duplicate
    }

    /// Units that are lost, as the reordering window has passed without them: told once each, with the message that
    /// makes them so.
    #[must_use]
    pub fn gaps(&self) -> &'m [Gap] {
        self.gaps
    }

    /// Units that were told as lost by an earlier message, and came with this one after all.
    #[must_use]
    pub fn regained(&self) -> u32 {
        self.regained
    }

    /// The sets in the order of the wire; each set that had waited for its template follows the set that defines it.
    /// A part that cannot be decoded is an error in its place, and does not end the iteration.
    #[must_use]
    pub fn sets(&self) -> Sets<'m> {
        Sets {
            datagram: self.datagram,
            parts: self.parts.iter(),
            changes: self.changes,
            replayed: self.replayed,
            used: self.used,
        }
    }
}

impl<'m> IntoIterator for Message<'m> {
    type Item = Result<Set<'m>, Error>;
    type IntoIter = Sets<'m>;

    fn into_iter(self) -> Sets<'m> {
        self.sets()
    }
}

impl<'m> IntoIterator for &Message<'m> {
    type Item = Result<Set<'m>, Error>;
    type IntoIter = Sets<'m>;

    fn into_iter(self) -> Sets<'m> {
        self.sets()
    }
}

/// The sets of a message.
#[derive(Clone, Debug)]
pub struct Sets<'m> {
    datagram: &'m [u8],
    parts: core::slice::Iter<'m, Part>,
    changes: &'m [TemplateChange],
    replayed: &'m [HeldSet],
    used: &'m Used,
}

impl<'m> Iterator for Sets<'m> {
    type Item = Result<Set<'m>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.parts.next()? {
            Part::Data(data) => {
                let (whole, header) = match data.held {
                    None => (self.datagram, &data.header),
                    Some(number) => {
                        let held = self.replayed.get(number)?;
                        (&*held.body, &held.header)
                    }
                };
                let template = self.used.template(data.template)?;
                let set = DataSet {
                    template,
                    header,
                    sampling: self.used.sampling(data.sampling)?,
                    body: whole.get(data.start..data.end).unwrap_or_default(),
                    count: data.count,
                    replayed: data.held.is_some(),
                };
                Ok(match template.kind() {
                    TemplateKind::Data => Set::Data(set),
                    TemplateKind::Options { .. } => Set::Options(set),
                })
            }
            Part::Templates { start, end } => Ok(Set::Templates(self.changes.get(*start..*end).unwrap_or_default())),
            Part::Unknown {
                template,
                start,
                end,
                held,
            } => Ok(Set::Unknown(UnknownSet {
                template: *template,
                body: self.datagram.get(*start..*end).unwrap_or_default(),
                held: *held,
            })),
            Part::Reserved { id, start, end } => Ok(Set::Reserved {
                id: *id,
                body: self.datagram.get(*start..*end).unwrap_or_default(),
            }),
            Part::Failed(error) => Err(*error),
        })
    }
}

/// One set of a message.
#[derive(Clone, Copy, Debug)]
pub enum Set<'m> {
    /// Flow records.
    Data(DataSet<'m>),
    /// Options records.
    Options(DataSet<'m>),
    /// Templates defined or withdrawn. The decoder has taken note of them already.
    Templates(&'m [TemplateChange]),
    /// Records whose template is not known (yet).
    Unknown(UnknownSet<'m>),
    /// A set whose id has no meaning in the version.
    Reserved {
        /// The set id, below 256.
        id: u16,
        /// The set without its header.
        body: &'m [u8],
    },
}

/// The records of one set, all of one template. v1, v5 and v7 have one such set, of a fixed template.
#[derive(Clone, Copy, Debug)]
pub struct DataSet<'m> {
    template: &'m Arc<Template>,
    header: &'m Header,
    sampling: &'m Sampling,
    body: &'m [u8],
    count: usize,
    replayed: bool,
}

impl<'m> DataSet<'m> {
    /// The layout of the records.
    #[must_use]
    #[inline]
    pub fn template(&self) -> &'m Arc<Template> {
        self.template
    }

    /// The header of the message that brought the set: not that of the message at hand if it [had to
    /// wait](Self::is_replayed) for its template.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &'m Header {
        self.header
    }

    /// Whether the set came in an earlier datagram and had to wait for its template.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// What the exporter has told about sampling before these records.
    #[must_use]
    pub fn sampling(&self) -> &'m Sampling {
        self.sampling
    }

    /// How many records there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the records, without the set's header and padding.
    #[must_use]
    #[inline]
    pub fn body(&self) -> &'m [u8] {
        self.body
    }

    /// The records in the order of the wire.
    #[must_use]
    #[inline]
    pub fn records(&self) -> Records<'m> {
        Records {
            template: self.template,
            header: self.header,
            rest: self.body,
            left: self.count,
        }
    }

    /// The records as flows of v5, the fastest way to every field of it; `None` of other versions.
    #[must_use]
    #[inline]
    pub fn v5_flows(&self) -> Option<impl ExactSizeIterator<Item = V5Flow<'m>> + Clone + use<'m>> {
        (self.header.version == Version::V5).then(|| v5::flows(self.body))
    }

    /// The sampling rate of one of the records: one packet in so many was looked at; 1 is unsampled, 0 not known.
    #[must_use]
    pub fn sampling_rate(&self, record: &Record<'_>) -> u32 {
        self.sampling.rate_of(record, self.header)
    }
}

/// The records of a set.
#[derive(Clone, Debug)]
pub struct Records<'m> {
    template: &'m Arc<Template>,
    header: &'m Header,
    rest: &'m [u8],
    left: usize,
}

impl<'m> Iterator for Records<'m> {
    type Item = Record<'m>;

    #[inline]
    fn next(&mut self) -> Option<Record<'m>> {
        self.left = self.left.checked_sub(1)?;
        let (bytes, rest) = self.rest.split_at_checked(self.template.measure(self.rest)?)?;
        self.rest = rest;
        Some(Record::new(self.template, self.header, bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Records<'_> {}

/// Records whose template is not known.
#[derive(Clone, Copy, Debug)]
pub struct UnknownSet<'m> {
    /// The id of the missing template.
    pub template: TemplateId,
    /// The set without its header.
    pub body: &'m [u8],
    /// Whether the set is kept until the template comes, within the limits; it is then part of the message that brings
    /// the template.
    pub held: bool,
}

/// What a template set changed.
#[derive(Clone, Debug)]
pub enum TemplateChange {
    /// A template not known before.
    Added(Arc<Template>),
    /// The same again.
    Refreshed(Arc<Template>),
    /// Another layout under a known id.
    Replaced {
        /// The template from now on.
        new: Arc<Template>,
        /// The template up to here.
        old: Arc<Template>,
    },
    /// Another layout of a known id, but told by a message that the network has brought too late: the exporter has replaced
    /// it or taken it back since. Records that were sent before that are read by it.
    Past(Arc<Template>),
    /// Taken over from the same address at another port, as data here waited for it: the exporter or a NAT on the way
    /// started anew, or it sends templates and data from two sockets. The sets that waited follow.
    Adopted(Arc<Template>),
    /// Taken back by the exporter (RFC 7011 §8.1).
    Withdrawn(Arc<Template>),
    /// Taken back, but never known.
    WithdrawnUnknown(TemplateId),
}

impl TemplateChange {
    /// The template that is valid after the change.
    #[must_use]
    pub fn template(&self) -> Option<&Arc<Template>> {
        match self {
            Self::Added(template)
            | Self::Refreshed(template)
            | Self::Adopted(template)
            | Self::Replaced { new: template, .. } => Some(template),
            Self::Past(_) | Self::Withdrawn(_) | Self::WithdrawnUnknown(_) => None,
        }
    }
}

/// A part of a message as the decoder notes it: places only, so that the decoder's notes can be used again.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Data(DataPart),
    /// A range of the decoder's changes.
    Templates {
        start: usize,
        end: usize,
    },
    Unknown {
        template: TemplateId,
        start: usize,
        end: usize,
        held: bool,
    },
    Reserved {
        id: u16,
        start: usize,
        end: usize,
    },
    Failed(Error),
}

#[derive(Clone, Debug)]
pub(crate) struct DataPart {
    /// The numbers of its template and of what is known of sampling.
    pub(crate) template: usize,
    pub(crate) sampling: usize,
    pub(crate) header: Header,
    /// The number of the held set that the places lie in, else they lie in the datagram.
    pub(crate) held: Option<usize>,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) count: usize,
}

/// A set that waits for its template.
#[derive(Clone, Debug)]
pub(crate) struct HeldSet {
    pub(crate) template: TemplateId,
    pub(crate) header: Header,
    pub(crate) received_ms: i64,
    pub(crate) body: Box<[u8]>,
}

impl<'m> DataSet<'m> {
    /// One field of every record, in order, as it is on the wire; by the field's number, as [`Template::position`]
    /// tells it. `None` if the template has no such field.
    #[must_use]
    pub fn values(&self, number: usize) -> Option<impl Iterator<Item = &'m [u8]> + use<'m>> {
        self.template.fields().get(number)?;
        Some(self.records().map(move |record| record.at(number).unwrap_or_default()))
    }

    /// One field of every record, in order, as an unsigned integer; those of more than eight bytes by their last eight.
    /// `None` if the template has no such field.
    ///
    /// Where a set is read field by field, what the template says about a field is looked up once for all records.
    /// [`fold`](Iterator::fold) and what builds on it, such as `for_each` and `sum`, is the fastest way through.
    #[must_use]
    #[inline]
    pub fn unsigned_values(&self, number: usize) -> Option<UnsignedValues<'m>> {
        self.template.fields().get(number)?;
        Some(UnsignedValues {
            records: self.records(),
            number,
            place: self.template.stride(number),
        })
    }
}

/// One field of every record of a set, see [`DataSet::unsigned_values`].
#[derive(Clone, Debug)]
pub struct UnsignedValues<'m> {
    records: Records<'m>,
    number: usize,
    /// Where the field lies, if that is the same in all records.
    place: Option<Stride>,
}

/// Where a field lies in records of one length. No datagram has longer records than such numbers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stride {
    pub(crate) stride: u16,
    pub(crate) offset: u16,
    pub(crate) width: u16,
}

impl Stride {
    /// Folds over the field of every record, its width known to the compiler.
    #[inline(always)]
    fn fold<const WIDTH: usize, B>(self, body: &[u8], init: B, f: impl FnMut(B, [u8; WIDTH]) -> B) -> B {
        match self.stride {
            // Records of v1 and v5: as the compiler knows their length, it needs no registers for places. A full datagram
            // of v5 has thirty.
            48 => Self { stride: 48, ..self }.fold_by::<10, WIDTH, B>(body, init, f),
            _ => self.fold_by::<4, WIDTH, B>(body, init, f),
        }
    }

    /// Folds over so many records at a time, then over what is left. Where the field lies in them is told before the loop,
    /// in the words in which the slices are made within it, so that the compiler leaves the checks there out.
    #[inline(always)]
    fn fold_by<const RECORDS: usize, const WIDTH: usize, B>(
        self,
        body: &[u8],
        init: B,
        mut f: impl FnMut(B, [u8; WIDTH]) -> B,
    ) -> B {
        #[inline(always)]
        fn fold_some<const RECORDS: usize, const WIDTH: usize, B>(
            records: &[u8],
            (stride, offset): (usize, usize),
            init: B,
            f: &mut impl FnMut(B, [u8; WIDTH]) -> B,
        ) -> B {
            (0..RECORDS).fold(init, |folded, number| {
                let place = stride.wrapping_mul(number).wrapping_add(offset);
                let field = records.get(place..).and_then(|field| field.first_chunk());
                f(folded, field.copied().unwrap_or([0; WIDTH]))
            })
        }
        let place @ (stride, offset) = (usize::from(self.stride), usize::from(self.offset));
        let mut folded = init;
        if stride == 0 || offset.saturating_add(WIDTH) > stride {
            return folded; // a template's fields lie within its records
        }
        let mut rest = body;
        while let Some((records, after)) = rest.split_at_checked(stride.wrapping_mul(RECORDS)) {
            folded = fold_some::<RECORDS, WIDTH, B>(records, place, folded, &mut f);
            rest = after;
        }
        while RECORDS > 4
            && let Some((records, after)) = rest.split_at_checked(stride.wrapping_mul(4))
        {
            folded = fold_some::<4, WIDTH, B>(records, place, folded, &mut f);
            rest = after;
        }
        if let Some((records, after)) = rest.split_at_checked(stride.wrapping_mul(2)) {
            folded = fold_some::<2, WIDTH, B>(records, place, folded, &mut f);
            rest = after;
        }
        if let Some((record, _)) = rest.split_at_checked(stride) {
            folded = fold_some::<1, WIDTH, B>(record, place, folded, &mut f);
        }
        folded
    }
}

/// The last eight bytes as a number.
fn low_bits(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

impl Iterator for UnsignedValues<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let record = self.records.next()?;
        Some(low_bits(record.at(self.number).unwrap_or_default()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }

    fn fold<B, F: FnMut(B, u64) -> B>(self, init: B, mut f: F) -> B {
        let body = self.records.rest;
        match self.place {
            Some(place @ Stride { width: 1, .. }) => place.fold::<1, B>(body, init, |folded, bytes| {
                f(folded, u64::from(u8::from_be_bytes(bytes)))
            }),
            Some(place @ Stride { width: 2, .. }) => place.fold::<2, B>(body, init, |folded, bytes| {
                f(folded, u64::from(u16::from_be_bytes(bytes)))
            }),
            Some(place @ Stride { width: 4, .. }) => place.fold::<4, B>(body, init, |folded, bytes| {
                f(folded, u64::from(u32::from_be_bytes(bytes)))
            }),
            Some(place @ Stride { width: 8, .. }) => {
                place.fold::<8, B>(body, init, |folded, bytes| f(folded, u64::from_be_bytes(bytes)))
            }
            Some(Stride { stride, offset, width }) => {
                let place = usize::from(offset)..usize::from(offset).saturating_add(usize::from(width));
                let records = body.chunks_exact(usize::from(stride));
                records.fold(init, |folded, record| {
                    f(folded, low_bits(record.get(place.clone()).unwrap_or_default()))
                })
            }
            None => {
                let number = self.number;
                self.records.fold(init, |folded, record| {
                    f(folded, low_bits(record.at(number).unwrap_or_default()))
                })
            }
        }
    }
}

impl ExactSizeIterator for UnsignedValues<'_> {}

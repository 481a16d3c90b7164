//! What a plan means for one template.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::plan::{Column, ColumnKind, ColumnPlan};
use crate::element::ElementId;
use crate::icmp;
use crate::sampling::RateFields;
use crate::template::Template;
use crate::time::{self, TimeUnit};

const PROTOCOL: ElementId = ElementId::iana(4);
const SOURCE_PORT: ElementId = ElementId::iana(7);
const DESTINATION_PORT: ElementId = ElementId::iana(11);
const DURATION_MS: ElementId = ElementId::iana(161);
const DURATION_US: ElementId = ElementId::iana(162);
const START_UPTIME: ElementId = ElementId::iana(22);
const END_UPTIME: ElementId = ElementId::iana(21);
const STARTS: [u16; 6] = [152, 150, 154, 156, 22, 158];
const ENDS: [u16; 6] = [153, 151, 155, 157, 21, 159];

/// A field as the columns use it: its number among those that a [`Layout`] needs.
pub(super) type Needed = usize;

/// What fills one column from the records of a template.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Nothing in the template: null, or zero.
    Missing,
    Unsigned(Needed),
    /// In order of preference; the first that is not zero.
    Address(Vec<Needed>),
    /// In order of preference; the first that tells a moment.
    Moment(Vec<Moment>),
    FromPort {
        port: Needed,
        icmp: Option<IcmpInPorts>,
    },
    ToPort {
        port: Option<Needed>,
        icmp: Option<Icmp>,
    },
    SamplingRate,
}

#[derive(Clone, Debug)]
pub(super) enum Moment {
    At {
        field: Needed,
        unit: TimeUnit,
    },
    /// The flow's other end, less or plus the duration.
    FromDuration {
        other: Needed,
        unit: TimeUnit,
        duration: Needed,
        per_ms: u64,
        sign: Sign,
    },
    /// The export, less the time between the uptimes of the flow's ends: where an exporter tells these, and never when it
    /// started, the time that the flow took is all that is known.
    FromUptimes {
        start: Needed,
        end: Needed,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

/// Where a template has an ICMP type and code.
#[derive(Clone, Debug)]
pub(super) enum Icmp {
    Elements(IcmpInElements),
    /// Where no element is for it, in the ports, in either of two forms.
    Ports(IcmpInPorts),
}

#[derive(Clone, Debug)]
pub(super) struct IcmpInElements {
    pub(super) protocol: Option<Needed>,
    /// Type × 256 + code, for IPv4 and IPv6.
    pub(super) together: [Option<Needed>; 2],
    /// Type and code apart, for IPv4 and IPv6.
    pub(super) apart: [Option<(Needed, Option<Needed>)>; 2],
}

/// The fields of a template that has ports and no element for ICMP.
#[derive(Clone, Copy, Debug)]
pub(super) struct IcmpInPorts {
    pub(super) protocol: Needed,
    pub(super) source: Needed,
    pub(super) destination: Needed,
}

/// A plan worked out for one template and one direction.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) sources: Vec<Source>,
    /// Numbers of the template's fields that the sources use, in ascending order once sealed.
    pub(super) needed: Vec<usize>,
    /// Where these lie in a record, if that is the same in all; else none.
    places: Vec<(usize, usize)>,
    /// The field that tells when the exporter started.
    pub(super) system_init: Option<Needed>,
    /// Counters of the other direction: a record in which all are zero is no flow in that direction.
    pub(super) gate: Vec<Needed>,
}

/// A plan worked out for one template.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    /// Held so that its address cannot become another template's.
    pub(super) template: Arc<Template>,
    /// Which of the template's fields tell a sampling rate; none if no column asks for it.
    pub(super) sampled: Option<RateFields>,
    pub(super) forward: Layout,
    /// Flows of the other direction, if records can hold two.
    pub(super) reverse: Option<Layout>,
}

impl Compiled {
    pub(super) fn new(plan: &ColumnPlan, template: &Arc<Template>) -> Self {
        let mut forward = Layout::new(plan, template, |column| (&column.elements, &[]));
        forward.seal(template);
        let has = |element: &ElementId| template.position(*element).is_some();
        let two_way = plan
            .columns()
            .iter()
            .any(|column| column.kind.is_counter() && column.reverse.iter().any(has));
        let reverse = two_way.then(|| {
            let mut layout = Layout::new(plan, template, |column| match column.kind.is_counter() {
                true => (&column.reverse, &[]),
                false => (&column.reverse, &column.elements),
            });
            for column in plan.columns().iter().filter(|column| column.kind.is_counter()) {
                let found = column.reverse.iter().find_map(|element| template.position(*element));
                if let Some(number) = found {
                    let needed = layout.need(number);
                    layout.gate.push(needed);
                }
            }
            // No exporter that puts ICMP types in ports tells of two directions in one record.
            for source in &mut layout.sources {
                match source {
                    Source::FromPort { icmp, .. } => *icmp = None,
                    Source::ToPort { icmp, .. } if matches!(icmp, Some(Icmp::Ports(_))) => *icmp = None,
                    _ => {}
                }
            }
            layout.seal(template);
            layout
        });
        let scaled = |column: &Column| matches!(column.kind, ColumnKind::SamplingRate | ColumnKind::ScaledCounter);
        Self {
            template: Arc::clone(template),
            sampled: plan.columns().iter().any(scaled).then(|| RateFields::of(template)),
            forward,
            reverse,
        }
    }
}

impl Layout {
    /// `elements` gives those to look for first in a column, and those to fall back to.
    fn new<'p>(
        plan: &'p ColumnPlan,
        template: &Template,
        elements: impl Fn(&'p Column) -> (&'p [ElementId], &'p [ElementId]),
    ) -> Self {
        let mut layout = Self {
            sources: Vec::new(),
            needed: Vec::new(),
            places: Vec::new(),
            system_init: None,
            gate: Vec::new(),
        };
        layout.system_init = template.position(time::SYSTEM_INIT).map(|number| layout.need(number));
        for column in plan.columns() {
            let (first, then) = elements(column);
            let source = layout.source(column.kind, first.iter().chain(then), template);
            layout.sources.push(source);
        }
        layout
    }

    /// Notes where the needed fields lie, once no more are needed.
    fn seal(&mut self, template: &Template) {
        if template.record_length().is_some() {
            let places = self.needed.iter().map(|number| template.fixed_place(*number));
            self.places = places.map(Option::unwrap_or_default).collect();
        }
    }

    /// Where a field lies in a record of fixed length: its offset and length.
    #[inline]
    pub(super) fn place(&self, field: Needed) -> (usize, usize) {
        self.places.get(field).copied().unwrap_or_default()
    }

    fn need(&mut self, number: usize) -> Needed {
        match self.needed.iter().position(|known| *known == number) {
            Some(needed) => needed,
            None => {
                self.needed.push(number);
                self.needed.len().saturating_sub(1)
            }
        }
    }

    fn find(&mut self, element: ElementId, template: &Template) -> Option<Needed> {
        template.position(element).map(|number| self.need(number))
    }

    fn source<'p>(
        &mut self,
        kind: ColumnKind,
        elements: impl Iterator<Item = &'p ElementId>,
        template: &Template,
    ) -> Source {
        let mut elements = elements.copied();
        match kind {
            ColumnKind::Unsigned(_) | ColumnKind::Counter | ColumnKind::ScaledCounter => elements
                .find_map(|element| self.find(element, template))
                .map_or(Source::Missing, Source::Unsigned),
            ColumnKind::Address => {
                let fields: Vec<Needed> = elements.filter_map(|element| self.find(element, template)).collect();
                if fields.is_empty() {
                    Source::Missing
                } else {
                    Source::Address(fields)
                }
            }
            ColumnKind::Start => self.moments(elements, template, &ENDS, Sign::Minus),
            ColumnKind::End => self.moments(elements, template, &STARTS, Sign::Plus),
            ColumnKind::SourcePort => match elements.find_map(|element| self.find(element, template)) {
                Some(port) => Source::FromPort {
                    port,
                    icmp: match self.icmp(template) {
                        Some(Icmp::Ports(ports)) => Some(ports),
                        _ => None,
                    },
                },
                None => Source::Missing,
            },
            ColumnKind::DestinationPort => {
                let port = elements.find_map(|element| self.find(element, template));
                let icmp = self.icmp(template);
                if port.is_none() && icmp.is_none() {
                    Source::Missing
                } else {
                    Source::ToPort { port, icmp }
                }
            }
            ColumnKind::SamplingRate => Source::SamplingRate,
        }
    }

    fn moments(
        &mut self,
        elements: impl Iterator<Item = ElementId>,
        template: &Template,
        other_ends: &[u16],
        sign: Sign,
    ) -> Source {
        let mut moments = Vec::new();
        for element in elements {
            let per_ms = match element {
                DURATION_MS => 1,
                DURATION_US => 1000,
                _ => {
                    if let (Some(unit), Some(field)) = (time::unit(element), self.find(element, template)) {
                        moments.push(Moment::At { field, unit });
                    }
                    continue;
                }
            };
            let other = other_ends.iter().find_map(|id| {
                let element = ElementId::iana(*id);
                Some((self.find(element, template)?, time::unit(element)?))
            });
            if let (Some((other, unit)), Some(duration)) = (other, self.find(element, template)) {
                moments.push(Moment::FromDuration {
                    other,
                    unit,
                    duration,
                    per_ms,
                    sign,
                });
            }
        }
        if sign == Sign::Minus
            && let (Some(start), Some(end)) = (self.find(START_UPTIME, template), self.find(END_UPTIME, template))
        {
            moments.push(Moment::FromUptimes { start, end });
        }
        // Where a template has none, the time of the export stands in.
        Source::Moment(moments)
    }

    fn icmp(&mut self, template: &Template) -> Option<Icmp> {
        let together = icmp::TOGETHER.map(|element| self.find(element, template));
        let apart = icmp::APART.map(|(kind, code)| {
            let kind = self.find(kind, template)?;
            Some((kind, self.find(code, template)))
        });
        let protocol = self.find(PROTOCOL, template);
        if together.iter().all(Option::is_none) && apart.iter().all(Option::is_none) {
            return Some(Icmp::Ports(IcmpInPorts {
                protocol: protocol?,
                source: self.find(SOURCE_PORT, template)?,
                destination: self.find(DESTINATION_PORT, template)?,
            }));
        }
        Some(Icmp::Elements(IcmpInElements {
            protocol,
            together,
            apart,
        }))
    }
}

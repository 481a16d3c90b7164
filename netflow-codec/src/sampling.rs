//! Sampling rates: what exporters tell in headers, options and records.

use alloc::vec::Vec;

use crate::element::ElementId;
use crate::header::{Header, Version};
use crate::record::{self, Record};
use crate::time::SYSTEM_INIT;

const SAMPLING_INTERVAL: ElementId = ElementId::iana(34);
const SAMPLER_ID: ElementId = ElementId::iana(48);
const SAMPLER_RANDOM_INTERVAL: ElementId = ElementId::iana(50);
const SELECTOR_ID: ElementId = ElementId::iana(302);
const PACKET_INTERVAL: ElementId = ElementId::iana(305);
const PACKET_SPACE: ElementId = ElementId::iana(306);
const SAMPLING_SIZE: ElementId = ElementId::iana(309);
const SAMPLING_POPULATION: ElementId = ElementId::iana(310);
const SAMPLING_PROBABILITY: ElementId = ElementId::iana(311);
const INGRESS_INTERFACE: ElementId = ElementId::iana(10);
const SCOPE_INTERFACE: ElementId = ElementId::v9_scope(2);

/// Samplers and interfaces of which a rate is kept. Routers have tens of samplers and at most thousands of interfaces.
const MAX_RATES: usize = 4096;

/// What one exporter has told about sampling, and when it started, in the options data of one observation domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sampling {
    /// The rate that holds for the whole observation domain.
    pub rate: Option<u32>,
    /// Rates by sampler (or selector) id, sorted by it.
    pub samplers: Vec<(u64, u32)>,
    /// Rates by interface, sorted by it.
    pub interfaces: Vec<(u64, u32)>,
    /// When the exporter started, in ms since 1970 (`systemInitTimeMilliseconds`).
    pub system_init_ms: Option<i64>,
}

impl Sampling {
    /// What is known after an options record, if that is anything new.
    pub(crate) fn learned_from(&self, record: &Record<'_>) -> Option<Self> {
        let init = record.unsigned(SYSTEM_INIT).and_then(|ms| i64::try_from(ms).ok());
        let rate = stated_rate(record);
        if init.is_none() && rate.is_none() {
            return None;
        }
        let sampler = sampler_of(record);
        let interface = scope_interface(record);
        let known = match (sampler, interface) {
            (Some(sampler), _) => find(&self.samplers, sampler),
            (None, Some(interface)) => find(&self.interfaces, interface),
            (None, None) => self.rate,
        };
        if (init.is_none() || init == self.system_init_ms) && (rate.is_none() || rate == known) {
            return None;
        }
        let mut next = self.clone();
        next.system_init_ms = init.or(self.system_init_ms);
        if let Some(rate) = rate {
            match (sampler, interface) {
                (Some(sampler), _) => note(&mut next.samplers, sampler, rate),
                (None, Some(interface)) => note(&mut next.interfaces, interface, rate),
                (None, None) => next.rate = Some(rate),
            }
        }
        Some(next)
    }

    /// What is known of an observation domain by what holds for all of its exporter, where it is silent itself.
    pub(crate) fn within(&self, process: &Self) -> Self {
        let mut both = self.clone();
        both.rate = self.rate.or(process.rate);
        both.system_init_ms = self.system_init_ms.or(process.system_init_ms);
        for (id, rate) in &process.samplers {
            if find(&self.samplers, *id).is_none() {
                note(&mut both.samplers, *id, *rate);
            }
        }
        for (id, rate) in &process.interfaces {
            if find(&self.interfaces, *id).is_none() {
                note(&mut both.interfaces, *id, *rate);
            }
        }
        both
    }

    /// The rate of a flow record: 1 unsampled, 0 not known.
    #[must_use]
    pub fn rate_of(&self, record: &Record<'_>, header: &Header) -> u32 {
        if header.version == Version::V5 {
            return u32::from(header.sampling & 0x3FFF);
        }
        if let Some(rate) = stated_rate(record) {
            return rate;
        }
        if let Some(sampler) = sampler_of(record)
            && let Some(rate) = find(&self.samplers, sampler)
        {
            return rate;
        }
        if !self.interfaces.is_empty()
            && let Some(rate) = record
                .unsigned(INGRESS_INTERFACE)
                .and_then(|id| find(&self.interfaces, id))
        {
            return rate;
        }
        self.default_rate(sampler_of(record).is_some())
    }

    /// The rate of flows that neither name a rate nor a known sampler.
    fn default_rate(&self, names_sampler: bool) -> u32 {
        if let Some(rate) = self.rate {
            return rate;
        }
        // An exporter that describes its samplers but does not say which took a flow: known if they all agree.
        match self.samplers.split_first() {
            Some(((_, rate), others)) if !names_sampler && others.iter().all(|(_, other)| other == rate) => *rate,
            _ => 0,
        }
    }

    /// The rate of all flows whose template has none of the fields that could tell one apart from another; `None` if
    /// rates must be told record by record.
    #[cfg(feature = "arrow")]
    pub(crate) fn uniform_rate(&self, fields: RateFields, header: &Header) -> Option<u32> {
        if header.version == Version::V5 {
            return Some(u32::from(header.sampling & 0x3FFF));
        }
        if fields.rate
            || (!self.samplers.is_empty() && fields.sampler)
            || (!self.interfaces.is_empty() && fields.interface)
        {
            return None;
        }
        Some(self.default_rate(fields.sampler))
    }
}

/// Which of a template's fields tell the sampling rates of its records.
#[cfg(feature = "arrow")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateFields {
    /// The rate itself.
    rate: bool,
    /// A sampler that took the packets.
    sampler: bool,
    /// The interface by which they came in.
    interface: bool,
}

#[cfg(feature = "arrow")]
impl RateFields {
    pub(crate) fn of(template: &crate::template::Template) -> Self {
        let has = |element| template.position(element).is_some();
        let rates = [
            SAMPLING_INTERVAL,
            SAMPLER_RANDOM_INTERVAL,
            PACKET_INTERVAL,
            SAMPLING_SIZE,
            SAMPLING_PROBABILITY,
        ];
        Self {
            rate: rates.into_iter().any(has),
            sampler: has(SAMPLER_ID) || has(SELECTOR_ID),
            interface: has(INGRESS_INTERFACE),
        }
    }
}

/// The rate that a record states by itself.
fn stated_rate(record: &Record<'_>) -> Option<u32> {
    let number = |element| record.unsigned(element).filter(|value| *value > 0);
    let rate = if let Some(interval) = number(SAMPLING_INTERVAL) {
        interval
    } else if let Some(interval) = number(SAMPLER_RANDOM_INTERVAL) {
        interval
    } else if let Some(taken) = number(PACKET_INTERVAL) {
        // So many packets are taken, then so many left out (RFC 5477 §8.2.2).
        let left_out = record.unsigned(PACKET_SPACE)?;
        taken.checked_add(left_out)?.checked_div(taken)?
    } else if let Some(size) = number(SAMPLING_SIZE) {
        record.unsigned(SAMPLING_POPULATION)?.checked_div(size)?
    } else {
        let probability = record::float(record.field(SAMPLING_PROBABILITY)?)?;
        if !(probability > 0.0 && probability <= 1.0) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1; too large saturates"
        )]
        let rate = (1.0 / probability + 0.5) as u64;
        rate
    };
    u32::try_from(rate).ok().filter(|rate| *rate > 0)
}

fn sampler_of(record: &Record<'_>) -> Option<u64> {
    record.unsigned(SAMPLER_ID).or_else(|| record.unsigned(SELECTOR_ID))
}

/// The interface that an options record is about, if its scope says one.
fn scope_interface(record: &Record<'_>) -> Option<u64> {
    let scope = record.template().fields().get(..record.template().scope_fields())?;
    let number = scope
        .iter()
        .position(|field| matches!(field.element, SCOPE_INTERFACE | INGRESS_INTERFACE))?;
    record::unsigned(record.at(number)?)
}

fn find(rates: &[(u64, u32)], id: u64) -> Option<u32> {
    let place = rates.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    rates.get(place).map(|(_, rate)| *rate)
}

fn note(rates: &mut Vec<(u64, u32)>, id: u64, rate: u32) {
    match rates.binary_search_by_key(&id, |(id, _)| *id) {
        Ok(place) => {
            if let Some(entry) = rates.get_mut(place) {
                entry.1 = rate;
            }
        }
        Err(place) if rates.len() < MAX_RATES => rates.insert(place, (id, rate)),
        Err(_) => {}
    }
}

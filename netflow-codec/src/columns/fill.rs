//! Fills columns from the fields of a layout.

use arrow_buffer::NullBufferBuilder;

use super::fields::{Fields, fill};
use super::layout::{Icmp, IcmpInElements, IcmpInPorts, Layout, Moment, Needed, Sign, Source};
use super::plan::{Column, ColumnKind};
use super::values::{Address, Rows, Values};
use crate::header::Header;
use crate::icmp::{self, ICMP, ICMP_V6};
use crate::message::DataSet;
use crate::record::unsigned;
use crate::time::{self, TimeUnit};

/// Rows of one set, and what holds for all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) rows: usize,
    header: Header,
    system_init_ms: Option<i64>,
    rate: u32,
}

impl Run {
    pub(super) fn new(set: &DataSet<'_>, rate: u32) -> Self {
        Self {
            rows: set.len(),
            header: *set.header(),
            system_init_ms: set.sampling().system_init_ms,
            rate,
        }
    }

    /// So many of the set's rows.
    pub(super) fn of_rows(set: &DataSet<'_>, rows: usize) -> Self {
        Self {
            rows,
            ..Self::new(set, 0)
        }
    }
}

/// The sampling rates of the rows at hand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rates<'r> {
    OfRuns,
    Each(&'r [u32]),
}

impl Rates<'_> {
    pub(super) fn at(&self, row: usize) -> u32 {
        match self {
            Self::OfRuns => 0,
            Self::Each(rates) => rates.get(row).copied().unwrap_or(0),
        }
    }
}

/// The columns that rows are written to, and the sets that they are of.
pub(super) struct Target<'t> {
    pub(super) columns: &'t [Column],
    pub(super) values: &'t mut [Values],
    pub(super) nulls: &'t mut [Option<NullBufferBuilder>],
    pub(super) runs: &'t [Run],
    pub(super) rates: Rates<'t>,
}

impl Target<'_> {
    /// Writes so many rows from row `first` on, for which there is room.
    pub(super) fn write(&mut self, layout: &Layout, fields: &impl Fields, first: usize, rows: usize) {
        let (runs, rates) = (self.runs, self.rates);
        let place = first..first.saturating_add(rows);
        let targets = self
            .columns
            .iter()
            .zip(self.values.iter_mut())
            .zip(self.nulls.iter_mut());
        for (((column, values), nulls), source) in targets.zip(&layout.sources) {
            if let Some(nulls) = nulls {
                match source {
                    Source::Missing => nulls.append_n_nulls(rows),
                    _ => nulls.append_n_non_nulls(rows),
                }
            }
            let mut out = values.rows(place.clone());
            match (source, &mut out) {
                (Source::Unsigned(field), Rows::U8(out)) => fields.unsigned(layout, *field, out),
                (Source::Unsigned(field), Rows::U16(out)) => fields.unsigned(layout, *field, out),
                (Source::Unsigned(field), Rows::U32(out)) => fields.unsigned(layout, *field, out),
                (Source::Unsigned(field), Rows::U64(out)) => fields.unsigned(layout, *field, out),
                (Source::Unsigned(field), Rows::I64(out)) => {
                    fields.unsigned(layout, *field, out);
                    if column.kind == ColumnKind::ScaledCounter {
                        scale(out, runs, rates);
                    }
                }
                (Source::Address(candidates), Rows::Address(out)) => addresses(layout, fields, candidates, out),
                (Source::Moment(moments), Rows::I64(out)) => {
                    let mut start = 0_usize;
                    for_each_run(out, runs, |out, run| {
                        let end = start.saturating_add(out.len());
                        write_moments(layout, &fields.part(start..end), moments, out, run);
                        start = end;
                    });
                }
                (Source::FromPort { port, icmp }, Rows::U16(out)) => {
                    fields.unsigned(layout, *port, out);
                    if let Some(icmp) = icmp {
                        clear_icmp_types(layout, fields, *icmp, out);
                    }
                }
                (Source::ToPort { port, icmp }, Rows::U16(out)) => {
                    match port {
                        Some(port) => fields.unsigned(layout, *port, out),
                        None => out.fill(0),
                    }
                    match icmp {
                        Some(Icmp::Elements(icmp)) => icmp_from_elements(layout, fields, icmp, out),
                        Some(Icmp::Ports(icmp)) => icmp_from_ports(layout, fields, *icmp, out),
                        None => {}
                    }
                }
                (Source::SamplingRate, Rows::U32(out)) => match rates {
                    Rates::OfRuns => for_each_run(out, runs, |out, run| out.fill(run.rate)),
                    Rates::Each(rates) => fill(out, rates.iter().copied()),
                },
                (_, out) => out.zero(),
            }
        }
    }
}

/// Calls a function with the rows of each set.
fn for_each_run<T>(out: &mut [T], runs: &[Run], mut each: impl FnMut(&mut [T], &Run)) {
    let mut rest = out;
    for run in runs {
        let (rows, after) = rest.split_at_mut(run.rows.min(rest.len()));
        each(rows, run);
        rest = after;
    }
}

/// Multiplies counters by the sampling rate, where that is above 1.
fn scale(out: &mut [i64], runs: &[Run], rates: Rates<'_>) {
    match rates {
        Rates::OfRuns if runs.iter().all(|run| run.rate <= 1) => {}
        Rates::OfRuns => for_each_run(out, runs, |out, run| {
            let rate = i64::from(run.rate.max(1));
            out.iter_mut().for_each(|value| *value = value.saturating_mul(rate));
        }),
        Rates::Each(rates) => out
            .iter_mut()
            .zip(rates)
            .for_each(|(value, rate)| *value = value.saturating_mul(i64::from((*rate).max(1)))),
    }
}

/// `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
#[inline]
fn mapped(v4: [u8; 4]) -> Address {
    const PREFIX: Address = 0xFFFF << 80;
    Address::from_le(PREFIX | Address::from(u32::from_le_bytes(v4)) << 96)
}

/// An address of a field; `None` if it is neither 4 bytes long nor 16.
fn to_address(bytes: &[u8]) -> Option<Address> {
    match bytes.len() {
        4 => bytes.try_into().ok().map(mapped),
        _ => bytes.try_into().ok().map(Address::from_ne_bytes),
    }
}

fn addresses(layout: &Layout, fields: &impl Fields, candidates: &[Needed], out: &mut [Address]) {
    let Some((first, others)) = candidates.split_first() else {
        return out.fill(0);
    };
    if !fields.arrays(layout, *first, out, mapped) && !fields.arrays(layout, *first, out, Address::from_ne_bytes) {
        let bytes = fields.bytes(layout, *first);
        fill(out, bytes.map(|bytes| to_address(bytes).unwrap_or(0)));
    }
    let unset = |address: &Address| *address == 0 || *address == mapped([0; 4]);
    for other in others {
        if !out.iter().any(unset) {
            return;
        }
        for (value, bytes) in out.iter_mut().zip(fields.bytes(layout, *other)) {
            if unset(value)
                && let Some(address) = to_address(bytes)
                && !unset(&address)
            {
                *value = address;
            }
        }
    }
}

fn write_moments(layout: &Layout, fields: &impl Fields, moments: &[Moment], out: &mut [i64], run: &Run) {
    let (header, system_init_ms) = (&run.header, run.system_init_ms);
    let export_ms = header.export_time_ms;
    // What most exporters send: uptimes in v5 and v9, milliseconds in IPFIX.
    match (moments.first(), header.uptime_ms) {
        (
            Some(Moment::At {
                field,
                unit: TimeUnit::Uptime,
            }),
            Some(uptime_ms),
        ) => {
            let whole = fields.arrays(layout, *field, out, |bytes| {
                let age = uptime_ms.wrapping_sub(u32::from_be_bytes(bytes)).cast_signed();
                export_ms.wrapping_sub(i64::from(age))
            });
            // An uptime always tells a moment.
            if whole {
                return;
            }
        }
        (
            Some(Moment::At {
                field,
                unit: TimeUnit::Milliseconds,
            }),
            _,
        ) => {
            let mut earliest = i64::MAX;
            let whole = fields.arrays(layout, *field, out, |bytes| {
                let ms = i64::from_be_bytes(bytes);
                earliest = earliest.min(ms);
                ms
            });
            if whole && earliest > 0 {
                return;
            }
        }
        _ => {}
    }
    out.fill(MISSING);
    let rows = out.len();
    for moment in moments {
        if !out.contains(&MISSING) {
            break;
        }
        match moment {
            Moment::At { field, unit } => {
                let inits = init_times(layout, fields, *unit, header, system_init_ms, rows);
                let bytes = fields.bytes(layout, *field);
                for ((value, bytes), init) in out.iter_mut().zip(bytes).zip(inits) {
                    if *value == MISSING {
                        *value = moment_ms(*unit, bytes, header, init).unwrap_or(MISSING);
                    }
                }
            }
            Moment::FromDuration {
                other,
                unit,
                duration,
                per_ms,
                sign,
            } => {
                let inits = init_times(layout, fields, *unit, header, system_init_ms, rows);
                let pairs = fields.bytes(layout, *other).zip(fields.bytes(layout, *duration));
                for ((value, (other, duration)), init) in out.iter_mut().zip(pairs).zip(inits) {
                    if *value != MISSING {
                        continue;
                    }
                    let (Some(other), Some(duration)) = (moment_ms(*unit, other, header, init), unsigned(duration))
                    else {
                        continue;
                    };
                    let duration = i64::try_from(duration.checked_div(*per_ms).unwrap_or(0)).unwrap_or(i64::MAX);
                    *value = match sign {
                        Sign::Plus => other.saturating_add(duration),
                        Sign::Minus => other.saturating_sub(duration),
                    };
                }
            }
            Moment::FromUptimes { start, end } => {
                let pairs = fields.bytes(layout, *start).zip(fields.bytes(layout, *end));
                for (value, (start, end)) in out.iter_mut().zip(pairs) {
                    let lasted = match (unsigned(start), unsigned(end)) {
                        (Some(start), Some(end)) => end.wrapping_sub(start),
                        _ => continue,
                    };
                    // Uptimes have 32 bits and wrap.
                    let lasted = lasted & u64::from(u32::MAX);
                    if *value == MISSING && lasted <= u64::from(i32::MAX.unsigned_abs()) {
                        *value = export_ms.saturating_sub(i64::try_from(lasted).unwrap_or(0));
                    }
                }
            }
        }
    }
    for value in out {
        if *value == MISSING {
            *value = export_ms;
        }
    }
}

/// Stands for a moment not found yet. No exporter's clock is set to it.
const MISSING: i64 = i64::MIN;

/// When the exporter started, row by row, for those elements and versions where that is needed.
fn init_times(
    layout: &Layout,
    fields: &impl Fields,
    unit: TimeUnit,
    header: &Header,
    known_ms: Option<i64>,
    rows: usize,
) -> impl Iterator<Item = Option<i64>> {
    let wanted = unit == TimeUnit::Uptime && header.uptime_ms.is_none();
    let in_record = layout
        .system_init
        .filter(|_| wanted)
        .map(|field| fields.bytes(layout, field));
    let mut in_record = in_record.into_iter().flatten();
    (0..rows).map(move |_| {
        let told = in_record
            .next()
            .and_then(unsigned)
            .and_then(|ms| i64::try_from(ms).ok());
        told.or(known_ms)
    })
}

/// A moment in ms since 1970; `None` for zero, with which exporters fill in what they do not know.
fn moment_ms(unit: TimeUnit, bytes: &[u8], header: &Header, init: Option<i64>) -> Option<i64> {
    let value = unsigned(bytes)?;
    if value == 0 && matches!(unit, TimeUnit::Seconds | TimeUnit::Milliseconds | TimeUnit::Ntp) {
        return None;
    }
    time::value_to_ms(unit, value, header, || init)
}

/// Clears source ports in whose place exporters have put an ICMP type; it goes to the destination port.
fn clear_icmp_types(layout: &Layout, fields: &impl Fields, icmp: IcmpInPorts, ports: &mut [u16]) {
    // The ports alone rule most sets out, and that without a branch for each row.
    let is_type = |port: &u16| icmp::TYPES_IN_PORTS.contains(port);
    if ports.iter().fold(false, |any, port| any | is_type(port)) {
        let rows = fields
            .bytes(layout, icmp.protocol)
            .zip(fields.bytes(layout, icmp.destination));
        for (port, (protocol, destination)) in ports.iter_mut().zip(rows) {
            if is_type(port)
                && unsigned(protocol) == Some(ICMP)
                && let Some(destination) = unsigned(destination).and_then(|port| u16::try_from(port).ok())
                && icmp::Icmp::in_ports(*port, destination).is_some()
            {
                *port = 0;
            }
        }
    }
}

/// Puts type × 256 + code in the place of the destination ports of ICMP records that have the type as their source port.
fn icmp_from_ports(layout: &Layout, fields: &impl Fields, icmp: IcmpInPorts, ports: &mut [u16]) {
    let is_code = |port: &u16| *port <= icmp::MAX_CODE_IN_PORTS;
    if ports.iter().fold(false, |any, port| any | is_code(port)) {
        let rows = fields
            .bytes(layout, icmp.protocol)
            .zip(fields.bytes(layout, icmp.source));
        for (port, (protocol, source)) in ports.iter_mut().zip(rows) {
            if is_code(port)
                && unsigned(protocol) == Some(ICMP)
                && let Some(source) = unsigned(source).and_then(|port| u16::try_from(port).ok())
                && let Some(told) = icmp::Icmp::in_ports(source, *port)
            {
                *port = told;
            }
        }
    }
}

/// Puts type × 256 + code in the place of the ports of ICMP records.
fn icmp_from_elements(layout: &Layout, fields: &impl Fields, icmp: &IcmpInElements, ports: &mut [u16]) {
    let is_icmp = |bytes: &[u8]| matches!(unsigned(bytes), Some(ICMP | ICMP_V6));
    if icmp
        .protocol
        .is_some_and(|field| !fields.bytes(layout, field).any(is_icmp))
    {
        return;
    }
    let mut protocols = icmp.protocol.map(|field| fields.bytes(layout, field));
    let mut column = |field: Option<Needed>| field.map(|field| fields.bytes(layout, field));
    let mut together = icmp.together.map(&mut column);
    let mut types = icmp.apart.map(|apart| column(apart.map(|(kind, _)| kind)));
    let mut codes = icmp.apart.map(|apart| column(apart.and_then(|(_, code)| code)));
    fn read<'b>(values: &mut Option<impl Iterator<Item = &'b [u8]>>) -> Option<u16> {
        values
            .as_mut()?
            .next()
            .and_then(unsigned)
            .and_then(|value| u16::try_from(value).ok())
    }
    for port in ports {
        let protocol = protocols
            .as_mut()
            .map(|values| values.next().and_then(unsigned).unwrap_or(0));
        let both = together.each_mut().map(read);
        let kinds = types.each_mut().map(read);
        let code = codes.each_mut().map(read);
        let apart = |kind: Option<u16>, code: Option<u16>| {
            Some(u16::from_be_bytes([
                u8::try_from(kind?).ok()?,
                u8::try_from(code.unwrap_or(0)).ok()?,
            ]))
        };
        let [both_v4, both_v6] = both;
        let [type_v4, type_v6] = kinds;
        let [code_v4, code_v6] = code;
        let v4 = [both_v4, apart(type_v4, code_v4)];
        let v6 = [both_v6, apart(type_v6, code_v6)];
        let told = match protocol {
            Some(ICMP) => [v4, v6],
            Some(ICMP_V6) => [v6, v4],
            Some(_) => continue,
            // Without a protocol, a record with ports is no ICMP record.
            None if *port != 0 => continue,
            None => [v4, v6],
        };
        // Fields that do not apply are zero; so is an echo reply, which then leaves the port, 0 as well.
        if let Some(value) = told.into_iter().flatten().flatten().find(|value| *value != 0) {
            *port = value;
        }
    }
}

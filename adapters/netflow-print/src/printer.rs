//! Decodes datagrams and writes a line of JSON for each record, template and error, or counts them.

use std::io::{self, Write};
use std::net::SocketAddr;

use netflow_codec::sequence::{Arrival, Gap, Unit};
use netflow_codec::{
    DataSet, Decoder, Error, FieldLength, Header, Limits, Message, Set, Template, TemplateChange, TemplateKind,
    UnknownSet,
};

use crate::json::Json;
use crate::render::{self, Context};
use crate::summary::{Counts, Sender, Summary, Waiting};

/// A capture is decoded as a whole, so templates do not expire and data may wait for them as long as there is room.
const LIMITS: Limits = Limits {
    template_lifetime_ms: i64::MAX,
    held_bytes_per_stream: 64 << 20,
    held_bytes: 256 << 20,
    held_ms: i64::MAX,
    ..Limits::COLLECTOR
};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A line for each record, template, error and gap.
    Lines,
    /// Counts only, a line for each exporter and observation domain.
    Summary,
}

/// Decodes the datagrams of any number of exporters and prints what is in them.
#[derive(Debug)]
pub struct Printer<W> {
    decoder: Decoder,
    mode: Mode,
    summary: Summary,
    out: Lines<W>,
}

/// Where lines go.
#[derive(Debug)]
struct Lines<W> {
    out: W,
    json: Json,
}

impl<W: Write> Lines<W> {
    /// Begins a line with what all lines have in common.
    fn begin(&mut self, kind: &str, exporter: SocketAddr, received_ms: Option<i64>) -> &mut Json {
        self.json.clear();
        self.json
            .begin_object()
            .key("kind")
            .string(kind)
            .key("exporter")
            .plain(exporter);
        if let Some(received_ms) = received_ms {
            self.json.key("received").number(received_ms);
        }
        &mut self.json
    }

    /// The same with what all lines of a message have in common.
    fn begin_in(&mut self, kind: &str, exporter: SocketAddr, received_ms: i64, header: &Header) -> &mut Json {
        let json = self.begin(kind, exporter, Some(received_ms));
        json.key("version")
            .number(header.version.number())
            .key("domain")
            .number(header.domain.0);
        if let Some(sequence) = header.sequence {
            json.key("sequence").number(sequence);
        }
        json.key("export_time").number(header.export_time_ms)
    }

    fn end(&mut self) -> io::Result<()> {
        self.json.end_object();
        write_line(&mut self.out, &self.json)
    }
}

fn write_line(out: &mut impl Write, json: &Json) -> io::Result<()> {
    out.write_all(json.text().as_bytes())?;
    out.write_all(b"\n")
}

impl<W: Write> Printer<W> {
    /// A printer that knows no exporter yet.
    pub fn new(mode: Mode, out: W) -> Self {
        Self {
            decoder: Decoder::new(LIMITS),
            mode,
            summary: Summary::default(),
            out: Lines { out, json: Json::new() },
        }
    }

    /// Prints what a datagram holds.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn datagram(&mut self, payload: &[u8], exporter: SocketAddr, received_ms: i64) -> io::Result<()> {
        let Self {
            decoder,
            mode,
            summary,
            out,
        } = self;
        let message = match decoder.decode(payload, exporter, received_ms) {
            Ok(message) => message,
            Err(error) => {
                let version = payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
                let counts = summary.of((exporter, version, None));
                counts.datagrams += 1;
                *counts.errors.entry(error_name(&error)).or_default() += 1;
                if *mode == Mode::Lines {
                    let json = out.begin("error", exporter, Some(received_ms));
                    json.key("error")
                        .string(error_name(&error))
                        .key("text")
                        .string(&error.to_string());
                    out.end()?;
                }
                return Ok(());
            }
        };
        count(summary, &message);
        if *mode == Mode::Lines {
            print_arrival(out, &message, received_ms)?;
            for set in &message {
                print_set(out, &message, set, received_ms)?;
            }
        }
        Ok(())
    }

    /// Tells what is missing at the end, writes the counts, if only these are wanted, and flushes the output.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.adopt()?;
        let mut gaps = Vec::new();
        self.decoder.settle(i64::MAX, |key, gap| gaps.push((key, gap)));
        for (key, gap) in gaps {
            self.summary
                .of((key.exporter, Some(key.version.number()), Some(key.domain.0)))
                .gaps += 1;
            if self.mode == Mode::Lines {
                let json = self.out.begin("gap", key.exporter, None);
                json.key("version")
                    .number(key.version.number())
                    .key("domain")
                    .number(key.domain.0);
                print_gap(json, &gap);
                self.out.end()?;
            }
        }
        for stream in self.decoder.streams() {
            let key = stream.key;
            let counts = self
                .summary
                .of((key.exporter, Some(key.version.number()), Some(key.domain.0)));
            counts.missing = stream.tally.lost;
            counts.unit = Some(unit_name(stream.unit));
            counts.quirk = stream.counting.quirk(key.version);
        }
        if self.mode == Mode::Summary {
            let Lines { out, json } = &mut self.out;
            self.summary.write(json, |json| write_line(out, json))?;
        }
        self.out.out.flush()
    }

    /// Prints what waits for templates that came from other ports of the same address.
    fn adopt(&mut self) -> io::Result<()> {
        let streams: Vec<_> = self
            .decoder
            .streams()
            .map(|stream| (stream.key, stream.heard_ms))
            .collect();
        for (key, heard_ms) in streams {
            let Some(message) = self.decoder.adopt(&key, heard_ms) else {
                continue;
            };
            let counts = self
                .summary
                .of((key.exporter, Some(key.version.number()), Some(key.domain.0)));
            for set in &message {
                if let Ok(Set::Data(set) | Set::Options(set)) = set {
                    count_records(counts, &set);
                }
                if self.mode == Mode::Lines {
                    print_set(&mut self.out, &message, set, heard_ms)?;
                }
            }
        }
        Ok(())
    }

    /// Flushes the output.
    ///
    /// # Errors
    ///
    /// If the output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.out.flush()
    }
}

fn count(summary: &mut Summary, message: &Message<'_>) {
    let sender: Sender = (
        message.exporter(),
        Some(message.version().number()),
        Some(message.domain().0),
    );
    let counts = summary.of(sender);
    counts.datagrams += 1;
    counts.duplicates += u64::from(message.is_duplicate());
    counts.gaps += message.gaps().len() as u64;
    counts.restarts += u64::from(message.sequencing().arrival == Arrival::Restart);
    let mut accounted = 0_u64;
    let mut unknown = Vec::new();
    for set in message {
        match set {
            Ok(Set::Data(set) | Set::Options(set)) => {
                count_records(counts, &set);
                if !set.is_replayed() {
                    accounted += set.len() as u64;
                }
            }
            Ok(Set::Templates(changes)) => {
                let is_withdrawal = |change: &&TemplateChange| {
                    matches!(
                        change,
                        TemplateChange::Withdrawn(_) | TemplateChange::WithdrawnUnknown(_)
                    )
                };
                let withdrawn = changes.iter().filter(is_withdrawal).count() as u64;
                let defined = changes.len() as u64 - withdrawn;
                counts.templates += defined;
                counts.withdrawals += withdrawn;
                accounted += defined;
            }
            Ok(Set::Unknown(set)) => unknown.push(set),
            Ok(Set::Reserved { .. }) => *counts.errors.entry("reserved_set").or_default() += 1,
            Err(error) => *counts.errors.entry(error_name(&error)).or_default() += 1,
        }
    }
    // What v9's header counts beyond what was decoded is in the sets that were not.
    let mut left = u64::from(message.header().count).saturating_sub(accounted);
    for (number, set) in unknown.iter().enumerate() {
        let others = (unknown.len() - number - 1) as u64;
        let records = left.saturating_sub(others).max(1);
        left = left.saturating_sub(records);
        let records = if others > 0 { 1 } else { records };
        let waiting: &mut Waiting = counts.waiting.entry(set.template.0).or_default();
        waiting.sets += 1;
        waiting.bytes += set.body.len() as u64;
        waiting.records += records;
    }
}

/// Counts the records of a set; those that had waited wait no more.
fn count_records(counts: &mut Counts, set: &DataSet<'_>) {
    let records = set.len() as u64;
    match set.template().kind() {
        TemplateKind::Data => counts.records += records,
        TemplateKind::Options { .. } => counts.options_records += records,
    }
    let id = set.template().id().0;
    if set.is_replayed()
        && let Some(waiting) = counts.waiting.get_mut(&id)
    {
        waiting.sets = waiting.sets.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(set.body().len() as u64);
        waiting.records = waiting.records.saturating_sub(records);
        if waiting.sets == 0 {
            counts.waiting.remove(&id);
        }
    }
}

/// Tells of losses and restarts that the message brought to light.
fn print_arrival<W: Write>(out: &mut Lines<W>, message: &Message<'_>, received_ms: i64) -> io::Result<()> {
    let (exporter, header) = (message.exporter(), message.header());
    for gap in message.gaps() {
        print_gap(out.begin_in("gap", exporter, received_ms, header), gap);
        out.end()?;
    }
    if message.sequencing().arrival == Arrival::Restart {
        out.begin_in("restart", exporter, received_ms, header);
        out.end()?;
    }
    Ok(())
}

fn print_gap(json: &mut Json, gap: &Gap) {
    json.key("unit")
        .string(unit_name(gap.unit))
        .key("first")
        .number(gap.first)
        .key("missing")
        .number(gap.count);
}

const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Flows => "flows",
        Unit::Datagrams => "datagrams",
        Unit::DataRecords => "records",
    }
}

fn print_set<W: Write>(
    out: &mut Lines<W>,
    message: &Message<'_>,
    set: Result<Set<'_>, Error>,
    received_ms: i64,
) -> io::Result<()> {
    let (exporter, header) = (message.exporter(), message.header());
    match set {
        Ok(Set::Data(set)) => print_records(out, "data", message, &set, received_ms),
        Ok(Set::Options(set)) => print_records(out, "options", message, &set, received_ms),
        Ok(Set::Templates(changes)) => {
            for change in changes {
                print_change(out.begin_in("template", exporter, received_ms, header), change);
                out.end()?;
            }
            Ok(())
        }
        Ok(Set::Unknown(UnknownSet { template, body, held })) => {
            let json = out.begin_in("no_template", exporter, received_ms, header);
            json.key("template")
                .number(template.0)
                .key("bytes")
                .number(body.len() as u64)
                .key("held")
                .boolean(held);
            out.end()
        }
        Ok(Set::Reserved { id, body }) => {
            let json = out.begin_in("error", exporter, received_ms, header);
            json.key("error").string("reserved_set");
            json.key("text")
                .string(&format!("set id {id} has no meaning"))
                .key("bytes")
                .number(body.len() as u64);
            out.end()
        }
        Err(error) => {
            let json = out.begin_in("error", exporter, received_ms, header);
            json.key("error")
                .string(error_name(&error))
                .key("text")
                .string(&error.to_string());
            out.end()
        }
    }
}

fn print_records<W: Write>(
    out: &mut Lines<W>,
    kind: &str,
    message: &Message<'_>,
    set: &DataSet<'_>,
    received_ms: i64,
) -> io::Result<()> {
    let header = set.header();
    for record in set.records() {
        let json = out.begin_in(kind, message.exporter(), received_ms, header);
        if header.version.has_templates() {
            json.key("template").number(set.template().id().0);
        } else {
            json.key("template").null();
        }
        if set.is_replayed() {
            json.key("waited").boolean(true);
        }
        if message.is_duplicate() {
            json.key("duplicate").boolean(true);
        }
        if kind == "data" {
            json.key("sampling_rate").number(set.sampling_rate(&record));
            if let Some(icmp) = record.icmp() {
                json.key("icmp_type")
                    .number(icmp.kind)
                    .key("icmp_code")
                    .number(icmp.code);
            }
        }
        json.key("fields");
        Context::new(message, set).fields(json, &record);
        out.end()?;
    }
    Ok(())
}

fn print_change(json: &mut Json, change: &TemplateChange) {
    let (name, template) = match change {
        TemplateChange::Added(template) => ("added", template),
        TemplateChange::Refreshed(template) => ("refreshed", template),
        TemplateChange::Adopted(template) => ("adopted", template),
        TemplateChange::Past(template) => ("past", template),
        TemplateChange::Replaced { new, .. } => ("replaced", new),
        TemplateChange::Withdrawn(template) => ("withdrawn", template),
        TemplateChange::WithdrawnUnknown(id) => {
            json.key("template")
                .number(id.0)
                .key("change")
                .string("withdrawn_unknown");
            return;
        }
    };
    json.key("template").number(template.id().0).key("change").string(name);
    layout(json, template);
}

fn layout(json: &mut Json, template: &Template) {
    if let TemplateKind::Options { scope_fields } = template.kind() {
        json.key("scope_fields").number(scope_fields);
    }
    json.key("fields").begin_array();
    for field in template.fields() {
        json.begin_object().key("name").string(&render::name(field.element));
        json.key("enterprise")
            .number(field.element.enterprise)
            .key("id")
            .number(field.element.id)
            .key("length");
        match field.length {
            FieldLength::Fixed(length) => json.number(length),
            FieldLength::Variable => json.string("variable"),
        };
        json.end_object();
    }
    json.end_array();
}

/// A short name for each kind of error, for counting.
const fn error_name(error: &Error) -> &'static str {
    match error {
        Error::HeaderCutShort { .. } => "header_cut_short",
        Error::UnknownVersion { .. } => "unknown_version",
        Error::RecordCount { .. } => "record_count",
        Error::MessageCutShort { .. } => "message_cut_short",
        Error::MessageLength { .. } => "message_length",
        Error::SetLength { .. } => "set_length",
        Error::SetCutShort { .. } => "set_cut_short",
        Error::TrailingBytes { .. } => "trailing_bytes",
        Error::RecordCutShort { .. } => "record_cut_short",
        Error::TemplateCutShort { .. } => "template_cut_short",
        Error::Template { .. } => "template",
        Error::TemplateRefused { .. } => "template_refused",
        Error::StreamRefused { .. } => "stream_refused",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(datagrams: &[&[u8]], mode: Mode) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        let mut printer = Printer::new(mode, &mut out);
        for datagram in datagrams {
            printer.datagram(datagram, ([192, 0, 2, 1], 4739).into(), 5).unwrap();
        }
        printer.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// An IPFIX message of domain 7 with these sets.
    fn ipfix(sets: &[&[u8]]) -> Vec<u8> {
        let sets = sets.concat();
        let mut message = vec![0, 10];
        message.extend(u16::try_from(16 + sets.len()).unwrap().to_be_bytes());
        message.extend(1_700_000_000_u32.to_be_bytes());
        message.extend([0, 0, 0, 0, 0, 0, 0, 7]);
        message.extend(sets);
        message
    }

    /// Template 256: octetDeltaCount, two bytes.
    const TEMPLATE: &[u8] = &[0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 2];

    #[test]
    fn lists_are_nested_objects() {
        // Template 257: two ports. Template 258: basicList 291 and subTemplateMultiList 293, both of variable length.
        let ports = [0, 2, 0, 16, 1, 1, 0, 2, 0, 7, 0, 2, 0, 11, 0, 2];
        let lists = [0, 2, 0, 16, 1, 2, 0, 2, 1, 0x23, 255, 255, 1, 0x25, 255, 255];
        let data = [
            &[1, 2, 0, 31][..],
            &[7, 3, 0, 10, 0, 1, 8, 9], // all of: ingressInterface 8, 9
            &[18, 255],                 // undefined: an entry of 257 and one of 999, which is not known
            &[1, 1, 0, 12, 0, 53, 0, 80, 0, 54, 0, 81],
            &[3, 0xE7, 0, 5, 0xAB],
        ];
        let printed = lines(&[&ipfix(&[&ports, &lists, &data.concat()])], Mode::Lines);
        let fields = &printed.last().unwrap()["fields"];
        let wanted = serde_json::json!({
            "basicList": {"semantic": "allOf", "field": "ingressInterface", "values": [8, 9]},
            "subTemplateMultiList": {"semantic": "undefined", "entries": [
                {"template": 257, "records": [
                    {"sourceTransportPort": 53, "destinationTransportPort": 80},
                    {"sourceTransportPort": 54, "destinationTransportPort": 81},
                ]},
                {"template": 999, "bytes": "ab"},
            ]},
        });
        assert_eq!(*fields, wanted);
    }

    #[test]
    fn moments_are_told_wherever_they_lie() {
        // The start of the exporter in options; flowStartSysUpTime twice and a list of flowStartSeconds in data.
        let options = [0, 3, 0, 18, 1, 1, 0, 2, 0, 1, 0, 144, 0, 4, 0, 160, 0, 8];
        let template = [0, 2, 0, 20, 1, 2, 0, 3, 0, 22, 0, 4, 0, 22, 0, 4, 1, 35, 0xFF, 0xFF];
        let started: &[u8] = &[1, 1, 0, 16, 0, 0, 0, 1, 0, 0, 1, 0x8B, 0xCF, 0xE5, 0x40, 0xF0];
        let data: &[u8] = &[1, 2, 0, 22, 0, 0, 0, 5, 0, 0, 0, 6, 9, 3, 0, 150, 0, 4, 0, 0, 0, 7];
        let printed = lines(&[&ipfix(&[&options, &template, started, data])], Mode::Lines);
        assert_eq!(
            printed.last().unwrap()["fields"],
            serde_json::json!({
                "flowStartSysUpTime": [1_699_999_990_005_i64, 1_699_999_990_006_i64],
                "basicList": {"semantic": "allOf", "field": "flowStartSeconds", "values": [7000]},
            })
        );
    }

    #[test]
    fn data_before_its_template_is_printed_behind_it() {
        let early = ipfix(&[&[1, 0, 0, 6, 0, 9]]);
        let printed = lines(&[&early, &ipfix(&[TEMPLATE])], Mode::Lines);
        let kinds: Vec<_> = printed.iter().map(|line| line["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["no_template", "template", "data"]);
        assert_eq!(
            (&printed[2]["waited"], &printed[2]["fields"]["octetDeltaCount"]),
            (&true.into(), &9.into())
        );

        let counted = lines(&[&early, &ipfix(&[TEMPLATE])], Mode::Summary);
        assert_eq!(
            (&counted[0]["records"], &counted[0]["records_without_template"]),
            (&1.into(), &0.into())
        );
        let counted = lines(&[&early], Mode::Summary);
        assert_eq!(
            (&counted[0]["records"], &counted[0]["records_without_template"]),
            (&0.into(), &1.into())
        );
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let mut cut = ipfix(&[TEMPLATE, &[1, 0, 0, 6, 0, 9]]);
        cut.pop();
        let printed = lines(&[&[0, 6, 0, 0], &cut], Mode::Lines);
        assert_eq!(printed[0]["error"], "unknown_version");
        assert!(
            printed[1..].iter().any(|line| line["error"] == "message_cut_short"),
            "{printed:?}"
        );
        let counted = lines(&[&[0, 6, 0, 0]], Mode::Summary);
        assert_eq!(
            (&counted[0]["version"], &counted[0]["errors"]["unknown_version"]),
            (&6.into(), &1.into())
        );
    }
}

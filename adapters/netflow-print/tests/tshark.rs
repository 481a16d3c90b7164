//! What real exporters sent, field by field, as tshark reads it.
//!
//! Every field of every record of the captures must lie where tshark finds one, with the same bytes, and mean the same
//! number or address; and tshark must find as many records. Without tshark the test fails, unless
//! `MILLRACE_WITHOUT_TSHARK` is set: `scripts/install-test-parts.sh codec` installs it.
//!
//! `MILLRACE_CAPTURES=FOLDER cargo test -p netflow-print --test tshark -- --nocapture` compares all captures in a folder of
//! one's own as well, and tells every difference. Where a datagram is malformed, tshark may find less than we do.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use netflow_codec::element::{self, DataType};
use netflow_codec::record;
use netflow_codec::{Decoder, ElementId, Limits, Record, Set};
use netflow_print::capture;
use netflow_print::detect::Detector;
use netflow_print::frame::Extractor;

/// `paddingOctets`
const PADDING: ElementId = ElementId::iana(210);

/// All files below a folder that look like captures.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(captures(&path));
        } else if path
            .extension()
            .is_some_and(|kind| ["pcap", "pcapng", "cap"].iter().any(|known| kind == *known))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A field as tshark shows it.
struct Shown {
    show: String,
    hex: String,
    is_end_time: bool,
}

/// The NetFlow part of a frame as tshark reads it.
#[derive(Default)]
struct Dissected {
    fields: HashMap<(usize, usize), Vec<Shown>>,
    records: usize,
}

fn dissect(path: &Path, ports: &BTreeSet<u16>) -> Vec<Dissected> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-n", "-T", "pdml"]);
    // By itself it does not remember templates of more than 60 fields.
    command.args(["-o", "cflow.max_template_fields:0"]);
    for port in ports {
        command.arg("-d").arg(format!("udp.port=={port},cflow"));
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!(
            "tshark cannot be run ({error}): install it (scripts/install-test-parts.sh codec), or set \
             MILLRACE_WITHOUT_TSHARK to do without this comparison"
        ),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut frames = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line = line.trim_start();
        if line.starts_with("<packet>") {
            frames.push(Dissected::default());
        } else if line.starts_with("<field ")
            && let Some(frame) = frames.last_mut()
        {
            let attribute = |name: &str| {
                let (_, rest) = line.split_once(&format!(" {name}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let show = attribute("show").unwrap_or_default();
            if attribute("name").is_some_and(|name| name.is_empty())
                && (show.starts_with("Flow ") || show.starts_with("pdu "))
            {
                frame.records += 1;
            }
            let is_end_time = attribute("name").is_some_and(|name| name.ends_with("timeend"));
            let place = attribute("pos").zip(attribute("size"));
            if let Some((position, size)) = place {
                let place = (position.parse().unwrap(), size.parse().unwrap());
                let hex = attribute("value").unwrap_or_default();
                frame
                    .fields
                    .entry(place)
                    .or_default()
                    .push(Shown { show, hex, is_end_time });
            }
        }
    }
    frames
}

/// Where a slice begins within another.
fn offset_in(part: &[u8], whole: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// What came of comparing a capture.
#[derive(Debug, Default)]
struct Comparison {
    records: usize,
    fields: usize,
    differences: Vec<String>,
}

#[test]
fn every_field_is_read_as_tshark_reads_it() {
    if std::env::var_os("MILLRACE_WITHOUT_TSHARK").is_some() {
        return;
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../netflow-codec/tests/data");
    let mut all = captures(&ours);
    assert!(!all.is_empty());
    if let Some(folder) = std::env::var_os("MILLRACE_CAPTURES") {
        all.extend(captures(Path::new(&folder)));
    }
    let mut differing = Vec::new();
    for path in all {
        let found = compare(&path);
        let count = found.differences.len();
        println!(
            "{}: {} records, {} fields, {count} differences",
            path.display(),
            found.records,
            found.fields
        );
        for difference in found.differences.iter().take(20) {
            println!("    {difference}");
        }
        if count > 0 || (found.fields == 0 && path.starts_with(&ours)) {
            differing.push(path);
        }
    }
    assert!(differing.is_empty(), "not read as tshark reads them: {differing:?}");
}

/// A datagram of a capture that is NetFlow.
struct Export {
    frame: usize,
    payload: Vec<u8>,
    /// Where the payload begins in the frame; `None` if it was put together from several.
    start: Option<usize>,
    source: SocketAddr,
    destination: SocketAddr,
    time_ms: i64,
}

/// The exports in a capture, and how many frames it has.
fn exports(path: &Path) -> (Vec<Export>, usize) {
    let (mut extractor, mut detector) = (Extractor::default(), Detector::new(None));
    let (mut exports, mut frames) = (Vec::new(), 0);
    let end = capture::read(path, |frame| {
        if let Some(datagram) = extractor.datagram(&frame)
            && detector.is_netflow(&datagram)
        {
            exports.push(Export {
                frame: frames,
                start: match &datagram.payload {
                    Cow::Borrowed(payload) => Some(offset_in(payload, frame.bytes)),
                    Cow::Owned(_) => None,
                },
                payload: datagram.payload.to_vec(),
                source: datagram.source,
                destination: datagram.destination,
                time_ms: frame.time_ms,
            });
        }
        frames += 1;
        Ok(())
    });
    end.unwrap();
    (exports, frames)
}

fn compare(path: &Path) -> Comparison {
    let mut comparison = Comparison::default();
    let (exports, frames) = exports(path);
    let ports = exports.iter().map(|export| export.destination.port()).collect();
    let dissected = dissect(path, &ports);
    assert_eq!(dissected.len(), frames, "{}", path.display());
    let mut decoder = Decoder::new(Limits::default());
    for export in &exports {
        let at = format!("frame {}", export.frame + 1);
        let shown = &dissected[export.frame];
        let Ok(message) = decoder.decode(&export.payload, export.source, export.time_ms) else {
            if shown.records > 0 {
                comparison
                    .differences
                    .push(format!("{at}: tshark reads {} records", shown.records));
            }
            continue;
        };
        let (mut records, mut is_whole) = (0, true);
        for set in &message {
            let set = match set {
                Ok(Set::Data(set) | Set::Options(set)) if !set.is_replayed() => set,
                Ok(_) => continue,
                Err(error) => {
                    println!("    {at}: {error}");
                    is_whole = false;
                    continue;
                }
            };
            for record in set.records() {
                records += 1;
                if let Some(start) = export.start {
                    compare_record(&record, start, &export.payload, shown, &at, &mut comparison);
                }
            }
        }
        comparison.records += records;
        if records != shown.records && (is_whole || records < shown.records) {
            let text = format!("{at}: {records} records, {} by tshark", shown.records);
            comparison.differences.push(text);
        }
    }
    comparison
}

fn compare_record(
    record: &Record<'_>,
    start: usize,
    payload: &[u8],
    shown: &Dissected,
    at: &str,
    comparison: &mut Comparison,
) {
    for (field, value) in record.fields() {
        if value.is_empty() || field.element == PADDING {
            continue; // there is nothing to see, or tshark divides it otherwise
        }
        comparison.fields += 1;
        let place = (start + offset_in(value, payload), value.len());
        let wanted: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let there = shown.fields.get(&place).map_or(&[][..], Vec::as_slice);
        // tshark misplaces an end that comes before its start in the record.
        let same = there.iter().find(|field| field.hex == wanted).or_else(|| {
            let ends = shown.fields.iter().filter(|(other, _)| other.1 == value.len());
            let mut ends = ends.flat_map(|(_, fields)| fields.iter().filter(|field| field.is_end_time));
            ends.find(|field| field.hex == wanted)
        });
        let difference = match same {
            Some(same) => differing_meaning(element::data_type(field.element), value, &same.show),
            None if in_parts(shown, place.0, value) => None,
            None => Some(format!("{wanted} is not what tshark reads")),
        };
        if let Some(difference) = difference {
            comparison
                .differences
                .push(format!("{at} {}: {difference}", field.element));
        }
    }
}

/// Whether tshark shows parts of a field, such as the type and the code of ICMP, or the text behind an application's number.
fn in_parts(shown: &Dissected, start: usize, value: &[u8]) -> bool {
    let parts = (0..value.len()).flat_map(|from| (from + 1..=value.len()).map(move |to| (from, to)));
    parts.into_iter().any(|(from, to)| {
        let part = value.get(from..to).unwrap_or_default();
        let wanted: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let there = shown.fields.get(&(start + from, part.len()));
        there.is_some_and(|there| there.iter().any(|field| field.hex == wanted))
    })
}

/// What a value means, if that is not what tshark shows, as far as tshark shows it plainly.
fn differing_meaning(data_type: Option<DataType>, value: &[u8], show: &str) -> Option<String> {
    let bytes: Vec<String> = value.iter().map(|byte| format!("{byte:02x}")).collect();
    if show == bytes.join(":") {
        return None; // an element that it does not know, or not the type of
    }
    let (ours, wanted) = match data_type? {
        DataType::Unsigned8 | DataType::Unsigned16 | DataType::Unsigned32 | DataType::Unsigned64 => {
            let number = match show.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                None => show.parse().ok()?,
            };
            (record::unsigned(value)?.to_string(), number.to_string())
        }
        DataType::Ipv4Address | DataType::Ipv6Address => (record::address(value)?.to_string(), show.to_owned()),
        DataType::String => (record::text(value)?.to_owned(), show.to_owned()),
        _ => return None,
    };
    (ours != wanted).then(|| format!("{ours}, by tshark {wanted}"))
}

//! What real exporters sent, field by field, as tshark reads it.
//!
//! Every field of every record of the captures must lie where tshark finds one, with the same bytes, and mean the same
//! number or address; and tshark must find as many records. Without tshark the test fails, unless
//! `MILLRACE_WITHOUT_TSHARK` is set: `scripts/install-test-parts.sh codec` installs it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use netflow_codec::element::{self, DataType};
use netflow_codec::record;
use netflow_codec::{Decoder, ElementId, Limits, Set};
use netflow_print::capture::{self, End};
use netflow_print::frame::Extractor;

/// `paddingOctets`
const PADDING: ElementId = ElementId::iana(210);

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../netflow-codec/tests/data");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let captures: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    assert!(!captures.is_empty());
    captures
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

#[test]
fn every_field_is_read_as_tshark_reads_it() {
    if std::env::var_os("MILLRACE_WITHOUT_TSHARK").is_some() {
        return;
    }
    for path in captures() {
        let mut ports = BTreeSet::new();
        let mut frames = Vec::new();
        let end = capture::read(&path, |frame| {
            frames.push(frame.bytes.to_vec());
            if let Some(datagram) = Extractor::default().datagram(&frame) {
                ports.insert(datagram.destination.port());
            }
            Ok(())
        });
        assert_eq!(end.unwrap(), End::Complete);
        let dissected = dissect(&path, &ports);
        assert_eq!(dissected.len(), frames.len(), "{}", path.display());

        let mut decoder = Decoder::new(Limits::default());
        let mut compared = 0;
        for (number, (bytes, shown)) in frames.iter().zip(&dissected).enumerate() {
            let frame = capture::Frame {
                time_ms: 0,
                link: 1,
                bytes,
            };
            let datagram = Extractor::default().datagram(&frame).unwrap();
            let start = offset_in(&datagram.payload, bytes);
            let message = decoder.decode(&datagram.payload, datagram.source, 0).unwrap();
            let mut records = 0;
            for set in &message {
                let (Set::Data(set) | Set::Options(set)) = set.unwrap() else {
                    continue;
                };
                for record in set.records() {
                    records += 1;
                    for (field, value) in record.fields() {
                        if value.is_empty() || field.element == PADDING {
                            continue; // there is nothing to see, or tshark divides it otherwise
                        }
                        let place = (start + offset_in(value, &datagram.payload), value.len());
                        let wanted: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                        let at = format!("{} frame {} {}", path.display(), number + 1, field.element);
                        let there = shown.fields.get(&place).map_or(&[][..], Vec::as_slice);
                        // tshark misplaces an end that comes before its start in the record.
                        let same = there.iter().find(|field| field.hex == wanted).or_else(|| {
                            let ends = shown.fields.iter().filter(|(other, _)| other.1 == value.len());
                            let mut ends = ends.flat_map(|(_, fields)| fields.iter().filter(|field| field.is_end_time));
                            ends.find(|field| field.hex == wanted)
                        });
                        match same {
                            Some(same) => assert_meaning(element::data_type(field.element), value, &same.show, &at),
                            // ICMP type and code are one field for us.
                            None => assert!(in_bytes(shown, place, value), "{at}: {wanted} is not what tshark reads"),
                        }
                        compared += 1;
                    }
                }
            }
            assert_eq!(records, shown.records, "{} frame {}", path.display(), number + 1);
        }
        assert!(compared > 0, "{}", path.display());
    }
}

/// Whether tshark divides a field into its bytes.
fn in_bytes(shown: &Dissected, (start, _): (usize, usize), value: &[u8]) -> bool {
    value.iter().enumerate().all(|(number, byte)| {
        let wanted = format!("{byte:02x}");
        let there = shown.fields.get(&(start + number, 1));
        there.is_some_and(|there| there.iter().any(|field| field.hex == wanted))
    })
}

/// Whether a value means what tshark shows, as far as tshark shows it plainly.
fn assert_meaning(data_type: Option<DataType>, value: &[u8], show: &str, at: &str) {
    match data_type {
        Some(DataType::Unsigned8 | DataType::Unsigned16 | DataType::Unsigned32 | DataType::Unsigned64) => {
            if let Ok(number) = show.parse::<u64>() {
                assert_eq!(record::unsigned(value), Some(number), "{at}");
            } else if let Some(number) = show
                .strip_prefix("0x")
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            {
                assert_eq!(record::unsigned(value), Some(number), "{at}");
            }
        }
        Some(DataType::Ipv4Address | DataType::Ipv6Address) => {
            assert_eq!(
                record::address(value).map(|address| address.to_string()).as_deref(),
                Some(show),
                "{at}"
            );
        }
        Some(DataType::String) => assert_eq!(record::text(value), Some(show), "{at}"),
        _ => {}
    }
}

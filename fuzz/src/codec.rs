//! Targets of the codec that need Arrow or files.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt16Type};
use arrow_array::{Array, ArrayRef};
use netflow_codec::columns::{Column, ColumnKind, ColumnPlan, Columns, Integer};
use netflow_codec::{DataSet, Decoder, ElementId, Set};
use netflow_print::capture::{Frame, read_from};
use netflow_print::detect::Detector;
use netflow_print::frame::Extractor;
use netflow_print::printer::{Mode, Printer};

use crate::datagrams::{Datagrams, LIMITS};

/// Appends sets to columns and compares with the records, one by one.
pub fn columns(input: &[u8]) {
    const PORT: ElementId = ElementId::iana(7);
    const OCTETS: ElementId = ElementId::iana(1);
    const SOURCE: [ElementId; 2] = [ElementId::iana(8), ElementId::iana(27)];
    let plan = Arc::new(ColumnPlan::new(vec![
        Column::new("port", ColumnKind::Unsigned(Integer::U16), [PORT]).nullable(),
        Column::new("source", ColumnKind::Address, SOURCE),
        Column::new("octets", ColumnKind::Counter, [OCTETS]),
    ]));
    let mut columns = Columns::new(plan, 16);
    let mut decoder = Decoder::new(LIMITS);
    for (datagram, from, now_ms) in Datagrams::new(input) {
        let Ok(message) = decoder.decode(datagram, from, now_ms) else {
            continue;
        };
        for set in &message {
            let Ok(Set::Data(set)) = set else { continue };
            let rows = columns.append(&set);
            assert_eq!(rows, set.len());
            assert_eq!(columns.len(), rows);
            let arrays = columns.finish();
            compare(&arrays, &set, rows);
        }
    }

    fn compare(arrays: &[ArrayRef], set: &DataSet<'_>, rows: usize) {
        for array in arrays {
            assert_eq!(array.len(), rows);
        }
        let (ports, sources) = (arrays[0].as_primitive::<UInt16Type>(), arrays[1].as_fixed_size_binary());
        let octets = arrays[2].as_primitive::<Int64Type>();
        for (row, record) in set.records().enumerate() {
            let port = record.unsigned(PORT).and_then(|port| u16::try_from(port).ok());
            if let Some(port) = port {
                assert!(ports.is_valid(row) && ports.value(row) == port, "port {port} at {row}");
            }
            let source = SOURCE.into_iter().find_map(|element| record.address(element));
            if let (Some(source), 1) = (
                source,
                SOURCE.into_iter().filter(|id| record.field(*id).is_some()).count(),
            ) {
                let wanted = match source {
                    std::net::IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    std::net::IpAddr::V6(address) => address.octets(),
                };
                assert_eq!(sources.value(row), wanted, "address at {row}");
            }
            if let Some(count) = record.unsigned(OCTETS).and_then(|count| i64::try_from(count).ok()) {
                assert_eq!(octets.value(row), count, "octets at {row}");
            }
        }
    }
}

/// Reads a capture file and prints what is in it, in both modes.
pub fn capture(input: &[u8]) {
    for mode in [Mode::Lines, Mode::Summary] {
        let mut printer = Printer::new(mode, std::io::sink());
        let (mut extractor, mut detector) = (Extractor::default(), Detector::new(None));
        let _ = read_from(input, &mut |frame: Frame<'_>| {
            if let Some(datagram) = extractor.datagram(&frame)
                && detector.is_netflow(&datagram)
            {
                printer.datagram(&datagram.payload, datagram.source, frame.time_ms)?;
            }
            Ok(())
        });
        printer.finish().expect("a sink takes all");
    }
}

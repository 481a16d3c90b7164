//! Memory: once the templates are known, to decode a datagram and to read its records asks for none.
#![allow(
    unsafe_code,
    reason = "a global allocator cannot be had without; it only counts and hands on to the system's"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::SocketAddr;

use netflow_codec::encode::MessageWriter;
use netflow_codec::{
    Decoder, DomainId, ElementId, FieldSpec, Header, Limits, Set, Template, TemplateId, TemplateKind, Version,
};

thread_local! {
    /// Requests for memory by this thread; others belong to the test harness.
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

impl Counting {
    fn count() {
        // A thread that is ending has no counter any more.
        let _ = REQUESTS.try_with(|requests| requests.set(requests.get() + 1));
    }
}

// SAFETY: each call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often a piece of work asks for memory.
fn requests(work: impl FnOnce()) -> usize {
    let before = REQUESTS.get();
    work();
    REQUESTS.get() - before
}

const RECORDS: usize = 20;
const DATAGRAMS: usize = 200;

fn exporter() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 2055))
}

fn header(version: Version, sequence: usize) -> Header {
    Header::new(
        version,
        DomainId(1),
        u32::try_from(sequence).unwrap(),
        1_700_000_000_000,
    )
}

/// Datagrams of v5, v9 or IPFIX; of the latter two, the first defines the template.
fn datagrams(version: Version) -> Vec<Vec<u8>> {
    let mut fields: Vec<FieldSpec> = [(8, 4), (12, 4), (1, 8), (2, 4), (7, 2), (11, 2), (4, 1)]
        .map(|(id, length)| FieldSpec::fixed(ElementId::iana(id), length))
        .to_vec();
    let mut record = vec![7; 25];
    if version == Version::Ipfix {
        fields.push(FieldSpec::variable(ElementId::iana(82)));
        record.extend(b"\x04eth0");
    }
    let template = Template::new(TemplateId(256), TemplateKind::Data, fields).unwrap();
    (0..DATAGRAMS)
        .map(|number| {
            let sequence = match version {
                Version::V9 => number,
                _ => number * RECORDS,
            };
            let mut datagram = Vec::new();
            let mut message = MessageWriter::new(&mut datagram, &header(version, sequence));
            if version == Version::V5 {
                for _ in 0..RECORDS {
                    message.fixed_records(&[7; 48]).unwrap();
                }
            } else {
                if number == 0 {
                    message.templates([&template]).unwrap();
                }
                let mut set = message.data_set(&template).unwrap();
                for _ in 0..RECORDS {
                    set.record(&record).unwrap();
                }
                set.finish().unwrap();
            }
            message.finish().unwrap();
            datagram
        })
        .collect()
}

#[test]
fn requests_are_counted() {
    assert_eq!(requests(|| drop(black_box(Box::new(1)))), 1);
    assert_eq!(requests(|| ()), 0);
}

#[test]
fn decoding_and_reading_records_ask_for_no_memory_once_templates_are_known() {
    for version in [Version::V5, Version::V9, Version::Ipfix] {
        let datagrams = datagrams(version);
        let mut decoder = Decoder::new(Limits::default());
        let (known, measured) = datagrams.split_at(DATAGRAMS / 2);
        let mut records = 0;
        let mut read = |datagrams: &[Vec<u8>]| {
            for datagram in datagrams {
                for set in &decoder.decode(datagram, exporter(), 0).unwrap() {
                    let Ok(Set::Data(set)) = set else { continue };
                    for record in set.records() {
                        records += 1;
                        black_box(record.unsigned(ElementId::iana(1)));
                        record.fields().for_each(|field| {
                            black_box(field);
                        });
                    }
                    for number in 0..set.template().fields().len() {
                        black_box(set.unsigned_values(number).map(Iterator::sum::<u64>));
                    }
                }
            }
        };
        read(known);
        let asked = requests(|| read(measured));
        assert_eq!(records, DATAGRAMS * RECORDS, "{version:?}");
        assert_eq!(asked, 0, "{version:?}");
    }
}

#[cfg(feature = "arrow")]
#[test]
fn appending_to_columns_asks_for_no_memory_where_there_is_room() {
    use std::sync::Arc;

    use netflow_codec::columns::{Column, ColumnKind, ColumnPlan, Columns, Integer};

    for version in [Version::V5, Version::V9, Version::Ipfix] {
        let datagrams = datagrams(version);
        let mut decoder = Decoder::new(Limits::default());
        let iana = ElementId::iana;
        let plan = ColumnPlan::new(vec![
            Column::new("end", ColumnKind::End, [153, 21].map(iana)),
            Column::new("source", ColumnKind::Address, [8, 27].map(iana)),
            Column::new("bytes", ColumnKind::ScaledCounter, [iana(1)]),
            Column::new("port", ColumnKind::DestinationPort, [iana(11)]),
            Column::new("as", ColumnKind::Unsigned(Integer::U32), [iana(16)]).nullable(),
        ]);
        let mut columns = Columns::new(Arc::new(plan), DATAGRAMS * RECORDS);
        let (known, measured) = datagrams.split_at(DATAGRAMS / 2);
        let mut append = |datagrams: &[Vec<u8>]| {
            for datagram in datagrams {
                for set in &decoder.decode(datagram, exporter(), 0).unwrap() {
                    if let Ok(Set::Data(set)) = set {
                        columns.append(&set);
                    }
                }
            }
        };
        append(known);
        let asked = requests(|| append(measured));
        assert_eq!(columns.len(), DATAGRAMS * RECORDS, "{version:?}");
        assert_eq!(asked, 0, "{version:?}");
    }
}

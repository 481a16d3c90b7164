//! What the campus says it sent is what a collector decodes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not be")]

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use campus::{Faults, Rate, Settings, Summary, VersionMix};
use netflow_codec::{Decoder, ElementId, Limits, Set, Version};

const OCTETS: ElementId = ElementId::iana(1);
const PACKETS: ElementId = ElementId::iana(2);
const FIRST_UPTIME: ElementId = ElementId::iana(22);
const START_MS: ElementId = ElementId::iana(152);

/// What a collector has of one exporter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    flows: u64,
    packets: u64,
    bytes: u64,
    datagrams: u64,
    /// Those that came before.
    repeated: u64,
    /// Those whose sequence number is not the one to come: after a loss, and twice for each that is late.
    breaks: u64,
}

fn settings(to: SocketAddr) -> Settings {
    Settings {
        to,
        // Slow enough for the smallest of receive buffers, and a decoder that is held up for half a second.
        rate: Rate::FlowsPerSecond(6000.0),
        duration: Some(Duration::from_millis(700)),
        seed: 7,
        versions: VersionMix::Mix,
        exporters: 6,
        day: None,
        pool_flows: 0,
        segmentation_offload: false,
        faults: Faults::default(),
    }
}

/// Runs a campus against a socket, and decodes all that comes.
fn exchange(change: impl Fn(&mut Settings)) -> (Summary, BTreeMap<SocketAddr, Received>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut settings = settings(socket.local_addr().unwrap());
    change(&mut settings);
    let sender = std::thread::spawn(move || campus::run(&settings, &AtomicBool::new(false)).unwrap());

    let mut decoder = Decoder::new(Limits::default());
    let mut received = BTreeMap::<SocketAddr, Received>::new();
    let mut seen = HashSet::new();
    let mut next_sequence = BTreeMap::new();
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(datagram) => datagram,
            Err(_) if sender.is_finished() => break,
            Err(_) => continue,
        };
        let exporter = received.entry(from).or_default();
        exporter.datagrams += 1;
        if !seen.insert((from, buffer[..length].to_vec())) {
            exporter.repeated += 1;
            continue;
        }
        let message = decoder.decode(&buffer[..length], from, 0).unwrap();
        let mut records = 0;
        for set in &message {
            match set.unwrap() {
                Set::Data(set) => {
                    for record in set.records() {
                        let times = set.sampling_rate(&record).max(1);
                        exporter.flows += 1;
                        exporter.packets += record.unsigned(PACKETS).unwrap() * u64::from(times);
                        exporter.bytes += record.unsigned(OCTETS).unwrap() * u64::from(times);
                        records += 1;
                        let start_ms = match message.version() {
                            Version::Ipfix => record.unsigned(START_MS).unwrap().try_into().unwrap(),
                            _ => {
                                let uptime = u32::try_from(record.unsigned(FIRST_UPTIME).unwrap()).unwrap();
                                message.header().uptime_to_ms(uptime).unwrap()
                            }
                        };
                        // IPFIX and v9 headers tell whole seconds.
                        let age_ms = message.export_time_ms() - start_ms;
                        assert!((-1000..70_000).contains(&age_ms), "{age_ms} ms before the export");
                    }
                }
                Set::Options(set) => records += u32::try_from(set.len()).unwrap(),
                Set::Templates(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let sequence = message.sequence().unwrap();
        let step = if message.version() == Version::V9 { 1 } else { records };
        if sequence != *next_sequence.get(&from).unwrap_or(&0) {
            exporter.breaks += 1;
        }
        next_sequence.insert(from, sequence.wrapping_add(step));
    }
    (sender.join().unwrap(), received)
}

fn assert_equal(summary: &Summary, received: &BTreeMap<SocketAddr, Received>) {
    assert_eq!(summary.exporters.len(), received.len());
    for exporter in &summary.exporters {
        let found = &received[&exporter.address];
        let sent = [
            exporter.flows,
            exporter.packets,
            exporter.bytes,
            exporter.datagrams,
            exporter.doubled_datagrams,
        ];
        assert_eq!(
            [found.flows, found.packets, found.bytes, found.datagrams, found.repeated],
            sent,
            "{exporter:?}"
        );
    }
}

#[test]
fn every_flow_of_every_version_arrives_as_stated() {
    let (summary, received) = exchange(|_| ());
    assert_equal(&summary, &received);
    assert_eq!(summary.flows, 4200, "the flows due in 0.7 s, exporter by exporter");
    assert!(received.values().all(|exporter| exporter.breaks == 0), "{received:?}");
    assert!(summary.exporters.iter().any(|exporter| exporter.sampling_interval > 1));
    let addresses: HashSet<IpAddr> = received.keys().map(SocketAddr::ip).collect();
    assert_eq!(addresses.len(), 6, "each exporter has an address of its own");
}

#[test]
fn accidents_are_as_stated() {
    let (summary, received) = exchange(|settings| {
        settings.faults = Faults {
            loss: 0.15,
            duplicate: 0.15,
            reorder: 0.15,
        }
    });
    assert_equal(&summary, &received);
    assert_eq!(summary.flows + summary.lost_flows, 4200);
    for exporter in &summary.exporters {
        let found = &received[&exporter.address];
        assert!(exporter.lost_datagrams > 0 && exporter.doubled_datagrams > 0 && exporter.late_datagrams > 0);
        let most = exporter.lost_datagrams + 3 * exporter.late_datagrams;
        assert!(
            (exporter.late_datagrams..=most).contains(&found.breaks),
            "{exporter:?}: {found:?}"
        );
    }
}

#[test]
fn a_pool_is_sent_over_and_over_with_fresh_sequence_numbers() {
    for segmentation_offload in [false, true] {
        let (summary, received) = exchange(|settings| {
            settings.pool_flows = 900;
            settings.segmentation_offload = segmentation_offload;
        });
        assert_equal(&summary, &received);
        assert!((4200..4500).contains(&summary.flows), "{}", summary.flows);
        assert!(received.values().all(|exporter| exporter.breaks == 0), "{received:?}");
    }
}

#[test]
fn the_same_seed_sends_the_same_flows() {
    let totals = |seed| {
        let (summary, _) = exchange(|settings| settings.seed = seed);
        (summary.flows, summary.packets, summary.bytes, summary.datagrams)
    };
    assert_eq!(totals(1), totals(1));
    assert_ne!(totals(1), totals(2));
}

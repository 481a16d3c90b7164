//! Real exporters, through the real process, into Parquet; tshark reads the same datagrams as a witness.
//!
//! Needs root, the programs that `scripts/install-test-parts.sh` installs, and a kernel with veth pairs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Millrace, now_ms, totals};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

/// Passes on what an exporter sends, and keeps it as a capture.
fn relay(from: UdpSocket, to: SocketAddr, capture: PathBuf, stop: Arc<AtomicBool>) {
    from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut file = File::create(capture).unwrap();
    // A capture of raw IPv4 packets (link type 101).
    file.write_all(&[
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 101, 0, 0, 0,
    ])
    .unwrap();
    let mut datagram = [0; 65_535];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, _)) = from.recv_from(&mut datagram) else {
            continue;
        };
        let datagram = &datagram[..length];
        out.send_to(datagram, to).unwrap();
        let udp = u16::try_from(length + 8).unwrap().to_be_bytes();
        let ip = u16::try_from(length + 28).unwrap().to_be_bytes();
        let packet = u32::try_from(length + 28).unwrap().to_le_bytes();
        file.write_all(&[[0; 4], [0; 4], packet, packet].concat()).unwrap();
        file.write_all(&[
            0x45, 0, ip[0], ip[1], 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
        ])
        .unwrap();
        file.write_all(&[0x13, 0x88, 0x08, 0x07, udp[0], udp[1], 0, 0]).unwrap();
        file.write_all(datagram).unwrap();
    }
}

/// Flows, packets and bytes in a capture, as tshark reads them.
fn by_tshark(capture: &Path) -> (u64, u64, u64) {
    let output = Command::new("tshark")
        .args([
            "-d",
            "udp.port==2055,cflow",
            "-T",
            "fields",
            "-E",
            "occurrence=a",
            "-e",
            "cflow.packets",
            "-e",
            "cflow.octets",
            "-r",
        ])
        .arg(capture)
        .output()
        .expect("tshark is installed: scripts/install-test-parts.sh");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut totals = (0, 0, 0);
    for line in text.lines() {
        let (packets, octets) = line.split_once('\t').unwrap();
        let numbers = |text: &str| -> Vec<u64> {
            text.split(',')
                .filter(|number| !number.is_empty())
                .map(|number| number.parse().unwrap())
                .collect()
        };
        let (packets, octets) = (numbers(packets), numbers(octets));
        assert_eq!(packets.len(), octets.len());
        totals.0 += octets.len() as u64;
        totals.1 += packets.iter().sum::<u64>();
        totals.2 += octets.iter().sum::<u64>();
    }
    totals
}

/// One exporter at a time: they watch interfaces of fixed names.
static ONE: Mutex<()> = Mutex::new(());

fn stores_what_it_exports(exporter: &str, version: &str, shown: &str) {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let traffic = folder.path().join("traffic.pcap");
    let made = Command::new(scripts().join("make-traffic.py"))
        .arg(&traffic)
        .args(["--seconds", "3"])
        .status()
        .unwrap();
    assert!(made.success());
    let data = folder.path().join("data");
    let millrace = Millrace::start(&data, &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = socket.local_addr().unwrap();
    let (capture, stop) = (folder.path().join("export.pcap"), Arc::new(AtomicBool::new(false)));
    let relaying = {
        let (to, capture, stop) = (millrace.listening, capture.clone(), Arc::clone(&stop));
        std::thread::spawn(move || relay(socket, to, capture, stop))
    };
    let output = Command::new(scripts().join("exporters.sh"))
        .args([exporter, version])
        .arg(&traffic)
        .arg(target.to_string())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{exporter}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    stop.store(true, Ordering::Relaxed);
    relaying.join().unwrap();
    millrace.wait_past(now_ms());
    let probes = millrace.probes_with_flows();
    millrace.stop();

    let witness = by_tshark(&capture);
    assert!(witness.0 > 5, "{exporter} exported {witness:?}");
    assert_eq!(
        totals(&data),
        witness,
        "{exporter}: flows, packets, bytes as stored, and as tshark reads them"
    );
    let seen = &probes[0]["exporters"];
    assert!(
        seen.as_array()
            .unwrap()
            .iter()
            .any(|exporter| exporter["version"] == shown),
        "{seen}"
    );
    for exporter in seen.as_array().unwrap() {
        assert_eq!(exporter["lost"], 0, "nothing was lost: {seen}");
    }
}

#[test]
fn fprobe_v5() {
    stores_what_it_exports("fprobe", "5", "v5");
}

#[test]
fn softflowd_v5() {
    stores_what_it_exports("softflowd", "5", "v5");
}

#[test]
fn softflowd_v9() {
    stores_what_it_exports("softflowd", "9", "v9");
}

#[test]
fn softflowd_ipfix() {
    stores_what_it_exports("softflowd", "10", "IPFIX");
}

#[test]
fn pmacctd_v9() {
    stores_what_it_exports("pmacctd", "9", "v9");
}

#[test]
fn pmacctd_ipfix() {
    stores_what_it_exports("pmacctd", "10", "IPFIX");
}

#[test]
fn open_vswitch_v5() {
    stores_what_it_exports("ovs", "5", "v5");
}

#[test]
fn open_vswitch_ipfix() {
    stores_what_it_exports("ovs", "10", "IPFIX");
}

//! The command, from a datagram to the log.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bundle_log::record::Record;
use bundle_log::{LogReader, LogWriter, Options};
use flow_store::bundle::Bundle;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flow-collect"));
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts the collector, and reads from its first line where it listens.
fn start(data: &Path) -> (Child, SocketAddr) {
    let mut collector = command(data).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(collector.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .strip_prefix("receiving on ")
        .and_then(|rest| rest.split_once(','))
        .unwrap()
        .0;
    (collector, address.parse().unwrap())
}

fn stop(collector: Child) -> serde_json::Value {
    kill(Pid::from_raw(i32::try_from(collector.id()).unwrap()), Signal::SIGTERM).unwrap();
    let output = collector.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A version 5 datagram of two flows, the first with this sequence number.
fn datagram(sequence: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = vec![0, 5, 0, 2];
    // Uptime, then seconds and nanoseconds since 1970.
    bytes.extend(
        [60_000_u32, 1_700_000_000, 0, sequence]
            .map(u32::to_be_bytes)
            .as_flattened(),
    );
    // Engine, and no sampling.
    bytes.extend([0; 4]);
    for host in [1, 2] {
        let mut record = [0_u8; 48];
        record[..4].copy_from_slice(&[192, 0, 2, host]);
        record[4..8].copy_from_slice(&[198, 51, 100, 7]);
        // 3 packets, 180 octets, TCP.
        record[19] = 3;
        record[23] = 180;
        record[38] = 6;
        bytes.extend(record);
    }
    bytes
}

#[test]
fn what_was_received_when_the_stop_came_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, address) = start(folder.path());
    let exporter = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in [0, 2, 4] {
        exporter.send_to(&datagram(sequence), address).unwrap();
    }
    exporter.send_to(b"no NetFlow", address).unwrap();
    let summary = stop(collector);
    assert_eq!(
        (&summary["datagrams"], &summary["logged_flows"]),
        (&4.into(), &6.into()),
        "{summary}"
    );

    let log = LogWriter::open(&folder.path().join("log"), Options::default()).unwrap();
    let mut reader = LogReader::from_oldest(log.folder(), log.tail()).unwrap();
    let mut flows = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Record::Bundle(bytes) = Record::read(&frame.payload).unwrap() {
            flows += Bundle::decode(bytes.to_vec().into()).unwrap().batch().num_rows();
        }
    }
    assert_eq!(flows, 6);
}

#[test]
fn what_was_sent_while_it_was_down_counts_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in [0, 10] {
        let (collector, address) = start(folder.path());
        exporter.send_to(&datagram(sequence), address).unwrap();
        exporter.send_to(&datagram(sequence + 2), address).unwrap();
        stop(collector);
    }
    let entries = std::fs::read_to_string(folder.path().join("entries/default.jsonl")).unwrap();
    let missed: Vec<serde_json::Value> = entries
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(missed.len(), 1, "{entries}");
    assert_eq!(
        (&missed[0]["kind"], &missed[0]["missed"]),
        (&"missed".into(), &6.into())
    );
}

#[test]
fn a_folder_has_one_collector() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, _) = start(folder.path());
    let second = command(folder.path()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process uses"));
    stop(collector);
}

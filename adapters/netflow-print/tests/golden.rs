//! What `netflow-print` makes of the exports that real exporters sent.
//!
//! `UPDATE_GOLDEN=1 cargo test -p netflow-print --test golden` rewrites the expected lines; review them in the diff.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../netflow-codec/tests/data")
}

fn print(arguments: &[&str], capture: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_netflow-print"))
        .args(arguments)
        .arg(capture)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn captures_are_printed_as_expected() {
    let mut captures = 0;
    for entry in std::fs::read_dir(data()).unwrap() {
        let capture = entry.unwrap().path();
        if capture.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        captures += 1;
        let printed = print(&[], &capture) + &print(&["--summary"], &capture);
        let expected = capture.with_extension("jsonl");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &printed).unwrap();
            continue;
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        for (number, (printed, wanted)) in printed.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(printed, wanted, "{} line {}", expected.display(), number + 1);
        }
        assert_eq!(
            printed.lines().count(),
            wanted.lines().count(),
            "{}",
            expected.display()
        );
    }
    assert!(captures > 0);
}

#[test]
fn every_line_is_a_json_object_with_its_kind() {
    let mut kinds = std::collections::BTreeSet::new();
    for name in ["softflowd-v9.pcap", "ovs-ipfix.pcap", "fprobe-v5.pcap"] {
        for line in print(&[], &data().join(name)).lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            kinds.insert(value["kind"].as_str().unwrap().to_owned());
            assert!(value["exporter"].as_str().unwrap().starts_with("127.0.0.1:"));
        }
    }
    assert!(
        kinds.contains("data") && kinds.contains("options") && kinds.contains("template"),
        "{kinds:?}"
    );
}

#[test]
fn a_port_without_netflow_prints_nothing() {
    assert_eq!(print(&["--port", "9"], &data().join("softflowd-v9.pcap")), "");
}

#[test]
fn a_capture_that_cannot_be_read_costs_nothing_of_the_others() {
    let good = data().join("softflowd-v9.pcap");
    let output = Command::new(env!("CARGO_BIN_EXE_netflow-print"))
        .args(["--summary", "there-is-no-such-file"])
        .arg(&good)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), print(&["--summary"], &good));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.starts_with("netflow-print: cannot open there-is-no-such-file"),
        "{complaint}"
    );
}

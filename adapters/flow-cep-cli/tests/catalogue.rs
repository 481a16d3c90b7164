//! The catalogue of statements over a labelled recording: which hosts are found, and which are accused wrongly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "random numbers within their bounds")]
#![allow(clippy::too_many_arguments, reason = "the fields of a flow")]

mod labelled;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use labelled::Recording;

/// Rules whose event is about the host attacked.
const ABOUT_THE_VICTIM: [&str; 2] = ["flood_syn", "amplification"];

/// The hosts that each rule reports.
fn reported(recording: &Recording, statements: &str) -> BTreeMap<String, BTreeSet<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("events.csv"), recording.csv()).unwrap();
    std::fs::write(path("rules.epl"), statements).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_flow-cep"))
        .arg("replay")
        .args(["--schema", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/flow.toml")])
        .arg("--epl")
        .arg(path("rules.epl"))
        .arg("--events")
        .arg(path("events.csv"))
        .arg("--out")
        .arg(path("rows.jsonl"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut hosts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(path("rows.jsonl")).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let rule = line["s"].as_str().unwrap();
        let column = if ABOUT_THE_VICTIM.contains(&rule) {
            "dst_addr"
        } else {
            "src_addr"
        };
        if let Some(host) = line["row"][column].as_str() {
            hosts.entry(rule.to_owned()).or_default().insert(host.to_owned());
        }
    }
    hosts
}

/// The alarms of the catalogue: what the live page shows besides is no accusation.
fn alarms() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../statements");
    let mut text = String::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let shown = ["top_", "highest_", "lowest_", "flows_per", "bandwidth_per"];
        if path.extension().is_some_and(|of| of == "epl") && !shown.iter().any(|start| name.starts_with(start)) {
            // A shorter silence and learning time, so that a recording of hours shows both.
            let statement = std::fs::read_to_string(&path).unwrap();
            text += &statement
                .replace("AWAKENED_SILENCE_MS = 259200000", "AWAKENED_SILENCE_MS = 5400000")
                .replace(
                    "NEW_SERVICE_LEARNING_MS = 86400000",
                    "NEW_SERVICE_LEARNING_MS = 3600000",
                );
        }
    }
    text
}

#[test]
fn labelled_hosts_are_found_and_few_others_accused() {
    let recording = Recording::new(7, 2);
    let reported = reported(&recording, &alarms());
    let guilty: BTreeSet<&String> = recording.labels.values().flatten().collect();
    println!("{} flows", recording.len());
    println!(
        "{:<20} {:>8} {:>8} {:>9} {:>6}",
        "rule", "labelled", "reported", "precision", "recall"
    );
    let mut failures = Vec::new();
    let nothing = BTreeSet::new();
    for (rule, labelled) in &recording.labels {
        let hosts = reported.get(*rule).unwrap_or(&nothing);
        let found = labelled.intersection(hosts).count();
        let right = hosts.iter().filter(|host| guilty.contains(host)).count();
        let precision = if hosts.is_empty() {
            1.0
        } else {
            right as f64 / hosts.len() as f64
        };
        let recall = found as f64 / labelled.len() as f64;
        println!(
            "{rule:<20} {:>8} {:>8} {precision:>9.2} {recall:>6.2}",
            labelled.len(),
            hosts.len()
        );
        if recall < 1.0 || precision < 1.0 {
            failures.push(format!("{rule}: labelled {labelled:?}, reported {hosts:?}"));
        }
    }
    for (rule, hosts) in &reported {
        let innocent: Vec<_> = hosts.iter().filter(|host| !guilty.contains(host)).collect();
        // Statements without a name only feed others.
        let is_alarm = !rule.starts_with("stmt-");
        if is_alarm && !innocent.is_empty() && !recording.labels.contains_key(rule.as_str()) {
            failures.push(format!("{rule} accuses {innocent:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

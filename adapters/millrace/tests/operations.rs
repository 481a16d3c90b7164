//! What an operator meets: checks, refusals, reloads, metrics, readers of the dataset.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use campus::{Faults, Rate, VersionMix};
use nix::sys::signal::Signal;
use support::{Millrace, copy, now_ms, python, totals};

fn millrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(arguments)
        .output()
        .unwrap()
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn campus(to: std::net::SocketAddr) -> campus::Settings {
    campus::Settings {
        to,
        rate: Rate::FlowsPerSecond(4_000.0),
        duration: Some(Duration::from_secs(3)),
        seed: 3,
        versions: VersionMix::Mix,
        exporters: 3,
        day: None,
        pool_flows: 0,
        segmentation_offload: false,
        faults: Faults::default(),
    }
}

#[test]
fn check_says_what_is_fine() {
    let statements = repository().join("statements");
    let output = millrace(&["check", "--statements", statements.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains("top_talkers") && text.contains("scan_horizontal"),
        "{text}"
    );
}

#[test]
fn check_says_what_is_wrong_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let config = file("bad.toml", "workers = 2\nlog_limt = \"1GiB\"\n");
    let error = error_of(&millrace(&["check", "--config", &config]));
    assert!(
        error.contains("bad.toml") && error.contains("line 2") && error.contains("log_limit"),
        "{error}"
    );

    let subnets = file("bad.csv", "prefix,name\n10.0.0.0/8,all\n10.1.2.3/16,some\n");
    let error = error_of(&millrace(&["check", "--subnets", &subnets]));
    assert!(
        error.contains("bad.csv") && error.contains("3:1") && error.contains("10.1.0.0/16"),
        "{error}"
    );

    let error = error_of(&millrace(&["check", "--http", "0.0.0.0:8080"]));
    assert!(error.contains("http_token"), "{error}");
    let error = error_of(&millrace(&["check", "--probe", "north"]));
    assert!(error.contains("NAME@AREA=ADDRESS"), "{error}");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Millrace::start(folder.path(), &[]);
    let data = folder.path().to_str().unwrap();
    let error = error_of(&millrace(&[
        "run",
        "--data",
        data,
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ]));
    assert!(error.contains("another process uses"), "{error}");
    first.stop();
}

#[test]
fn a_port_in_use_is_told_by_name() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Millrace::start(one.path(), &[]);
    let data = two.path().to_str().unwrap();
    let (listening, page) = (first.listening.to_string(), first.page.to_string());
    let error = error_of(&millrace(&[
        "run",
        "--data",
        data,
        "--listen",
        &listening,
        "--http",
        "127.0.0.1:0",
    ]));
    assert!(error.contains(&listening) && error.contains("in use"), "{error}");
    let error = error_of(&millrace(&[
        "run",
        "--data",
        data,
        "--listen",
        "127.0.0.1:0",
        "--http",
        &page,
    ]));
    assert!(error.contains(&page) && error.contains("in use"), "{error}");
    first.stop();
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let process = Millrace::start(folder.path(), &[]);
    let served = process.get("/metrics");
    process.stop();
    let served: BTreeSet<&str> = served
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let dashboard = fs::read_to_string(repository().join("deploy/grafana/millrace.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut asked = BTreeSet::new();
    for target in dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
    {
        let expression = target["expr"].as_str().unwrap();
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        asked.extend(
            words
                .filter(|word| word.starts_with("flow_") || word.starts_with("process_"))
                .map(str::to_owned),
        );
    }
    assert!(asked.len() > 10);
    for metric in &asked {
        assert!(served.contains(metric.as_str()), "{metric} is not served");
    }
}

#[test]
fn a_broken_subnet_file_leaves_the_old_one_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let subnets = folder.path().join("subnets.csv");
    fs::write(&subnets, "prefix,name\n10.0.0.0/8,old\n").unwrap();
    let process = Millrace::start(&folder.path().join("data"), &["--subnets", subnets.to_str().unwrap()]);
    fs::write(&subnets, "prefix,name\n10.0.0.0/33,broken\n").unwrap();
    process.wait_for("flow_subnets_failed_reloads_total", 1);
    assert_eq!(process.metric("flow_subnets_reloads_total"), 0);
    fs::write(&subnets, "prefix,name\n10.0.0.0/8,new\n10.1.0.0/16,more\n").unwrap();
    process.wait_for("flow_subnets_reloads_total", 1);
    process.signal(Signal::SIGHUP);
    process.wait_for("flow_subnets_reloads_total", 2);
    process.stop();
}

#[test]
fn duckdb_and_pyarrow_read_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let process = Millrace::start(folder.path(), &[]);
    let sent = campus::run(&campus(process.listening), &AtomicBool::new(false)).unwrap();
    process.wait_past(now_ms());
    process.stop();
    let (flows, packets, bytes) = totals(folder.path());
    assert_eq!(flows, sent.flows);
    let script = "
import sys, duckdb, pyarrow.dataset as ds, pyarrow.compute as pc
folder = sys.argv[1]
print(*duckdb.sql(f\"select count(*), sum(packets)::bigint, sum(bytes)::bigint from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)\").fetchall()[0])
table = ds.dataset(folder, format='parquet', partitioning='hive', exclude_invalid_files=True).to_table(columns=['packets', 'bytes'])
print(table.num_rows, pc.sum(table['packets']).as_py(), pc.sum(table['bytes']).as_py())
";
    let output = python()
        .args(["-c", script])
        .arg(folder.path().join("flows"))
        .output()
        .expect("python with duckdb and pyarrow is installed: scripts/install-test-parts.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let wanted = format!("{flows} {packets} {bytes}\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{wanted}{wanted}"));
}

/// Needs root, for a disk of its own.
#[test]
fn a_full_disk_costs_what_is_counted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let process = Millrace::start_on_small_disk(folder.path(), 64 << 20, &[]);
    let disk = process.its(folder.path());
    let send = || {
        campus::run(&campus(process.listening), &AtomicBool::new(false))
            .unwrap()
            .flows
    };
    let before = send();
    process.wait_past(now_ms());

    let filler = disk.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    drop(file);
    let during = send();
    process.wait_for("flow_collector_dropped_flows_total", 1);

    fs::remove_file(&filler).unwrap();
    let after = send();
    process.wait_past(now_ms());
    let dropped = process.metric("flow_collector_dropped_flows_total");
    assert_eq!(process.metric("flow_collector_kernel_dropped_datagrams_total"), 0);
    assert!(dropped <= during);
    let wanted = before + during + after - dropped;
    process.wait_for("flow_store_flows_total", wanted);
    // The disk goes with the process.
    let kept = tempfile::tempdir().unwrap();
    copy(&disk.join("flows"), &kept.path().join("flows"));
    process.stop();
    assert_eq!(totals(kept.path()).0, wanted);
}

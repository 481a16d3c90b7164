//! Kills the real process at random moments, and compares what it stored and reported with undisturbed runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bundle_log::LogWriter;
use campus::{Faults, Rate, VersionMix};
use flow_collect::{Collector, Counters, Probe, Probes};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Millrace, copy, events, now_ms, stored};

const STATEMENTS: &str = "
    @name('talkers') select src_addr, sum(bytes) as total from Flow#time(2 sec) group by src_addr
        output snapshot every 500 msec order by sum(bytes) desc, src_addr limit 5;
    @name('seconds') select count(*) as flows, sum(bytes) as bytes from Flow#time_batch(1 sec);
    @name('pairs') select src_addr, dst_addr, count(*) as flows from Flow#time(1 sec) group by src_addr, dst_addr
        having count(*) > 3 output last every 300 msec order by src_addr, dst_addr;
    @name('large') select src_addr, bytes from Flow(bytes > 20000000);
    @name('follows') select a.src_addr as first, b.bytes as bytes
        from pattern [every a=Flow(bytes > 30000000) -> b=Flow(src_addr = a.dst_addr) where timer:within(1 sec)];
";

fn campus(to: std::net::SocketAddr, rate: f64, duration: Duration) -> campus::Settings {
    campus::Settings {
        to,
        rate: Rate::FlowsPerSecond(rate),
        duration: Some(duration),
        seed: 7,
        versions: VersionMix::Mix,
        exporters: 3,
        day: None,
        pool_flows: 0,
        segmentation_offload: false,
        faults: Faults::default(),
    }
}

/// Collects what a campus sends into a log, and nothing more; returns how many flows were logged.
fn record_log(data: &Path) -> u64 {
    let log = LogWriter::open(&data.join("log"), bundle_log::Options::default()).unwrap();
    let probes = ["127.0.0.10", "127.0.0.11"].map(|address| Probe {
        name: Arc::from(format!("probe {address}")),
        area: "".into(),
        exporters: vec![format!("{address}/32").parse().unwrap()],
    });
    let config = flow_collect::Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        receive_buffer: 16 << 20,
        probes: Probes::new(probes.into(), Vec::new()),
        bundle_flows: 4096,
        bundle_age: Duration::from_millis(50),
        compression: flow_store::bundle::Compression::None,
        data: data.to_owned(),
    };
    let counters = Arc::new(Counters::default());
    let collector = Collector::start(config, log, Arc::clone(&counters)).unwrap();
    let to = collector.listening()[0].0;
    campus::run(&campus(to, 8_000.0, Duration::from_secs(4)), &AtomicBool::new(false)).unwrap();
    collector.finish().unwrap();
    counters.logged_flows.load(Ordering::Relaxed)
}

/// The clock of the last record of a log.
fn last_time(data: &Path) -> i64 {
    let memory: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(data.join("collector.json")).unwrap()).unwrap();
    memory["clock_ms"].as_i64().unwrap()
}

#[test]
fn kills_at_random_moments_change_neither_flows_nor_events() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = folder.path().join("recorded");
    let logged = record_log(&recorded);
    let end_ms = last_time(&recorded);
    let statements = folder.path().join("statements");
    std::fs::create_dir(&statements).unwrap();
    std::fs::write(statements.join("all.epl"), STATEMENTS).unwrap();
    let statements = statements.to_str().unwrap();

    let calm = folder.path().join("calm");
    copy(&recorded, &calm);
    let process = Millrace::start(&calm, &["--statements", statements, "--workers", "1"]);
    process.wait_past(end_ms);
    process.stop();
    let (flows, reported) = (stored(&calm), events(&calm, end_ms));
    assert_eq!(flows.len() as u64, logged);
    for statement in ["talkers", "seconds", "pairs", "large"] {
        assert!(
            reported.keys().any(|key| key.contains(statement)),
            "nothing reported by {statement}"
        );
    }

    let mut random = ChaCha8Rng::seed_from_u64(41);
    for workers in ["1", "2", "4"] {
        let killed = folder.path().join(format!("killed with {workers} workers"));
        copy(&recorded, &killed);
        for _ in 0..12 {
            let process = Millrace::start(
                &killed,
                &["--statements", statements, "--workers", workers, "--file-flows", "3000"],
            );
            // The moment of the kill is what is drawn; the process works on its log meanwhile.
            std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
            process.kill();
        }
        let process = Millrace::start(&killed, &["--statements", statements, "--workers", workers]);
        process.wait_past(end_ms);
        process.stop();
        assert!(stored(&killed) == flows, "flows differ with {workers} workers");
        let found = events(&killed, end_ms);
        for (key, event) in &reported {
            assert_eq!(found.get(key), Some(event), "with {workers} workers");
        }
        assert_eq!(
            found.len(),
            reported.len(),
            "events that an undisturbed run does not report"
        );
    }
}

#[test]
fn under_load_each_flow_is_stored_once_or_counted_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut random = ChaCha8Rng::seed_from_u64(42);
    let mut process = Millrace::start(&data, &[]);
    let to = process.listening;
    let settings = campus::Settings {
        versions: VersionMix::V5,
        ..campus(to, 6_000.0, Duration::from_secs(9))
    };
    let sending = std::thread::spawn(move || campus::run(&settings, &AtomicBool::new(false)).unwrap());
    let begun = Instant::now();
    // The last seconds are quiet, so that what came last tells what was missed before.
    while begun.elapsed() < Duration::from_secs(6) {
        // As above, the moment of the kill is what is drawn.
        std::thread::sleep(Duration::from_millis(random.random_range(100..700)));
        process.kill();
        process = Millrace::start_on(&to.to_string(), &data, &[]);
    }
    let sent = sending.join().unwrap();
    process.wait_past(now_ms());
    let probes: serde_json::Value = serde_json::from_str(&process.get("/api/probes")).unwrap();
    process.stop();

    let flows = stored(&data);
    let mut places: Vec<_> = flows
        .iter()
        .map(|flow| flow.splitn(4, ' ').take(3).collect::<Vec<_>>())
        .collect();
    places.dedup();
    assert_eq!(places.len(), flows.len(), "a flow is stored twice");
    let exporters = probes[0]["exporters"].as_array().unwrap();
    let missed: u64 = exporters
        .iter()
        .map(|exporter| exporter["lost"].as_u64().unwrap())
        .sum();
    assert!(missed > 0, "the kills cost nothing, so the test shows nothing");
    assert_eq!(flows.len() as u64 + missed, sent.flows);
}

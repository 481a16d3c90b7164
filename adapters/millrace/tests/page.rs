//! The live page in a real browser. Pictures are left in `target/page/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campus::{Campus, Faults, Rate, VersionMix};
use support::{Millrace, python};

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_page_shows_the_traffic_and_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let subnets = folder.path().join("subnets.csv");
    Campus::new(1)
        .write_subnets(&mut std::fs::File::create(&subnets).unwrap())
        .unwrap();
    let (data, subnets) = (folder.path().join("data"), subnets.to_str().unwrap());
    let process = Millrace::start(&data, &["--subnets", subnets]);
    let (page, stop) = (process.page.to_string(), Arc::new(AtomicBool::new(false)));
    let settings = campus::Settings {
        to: process.listening,
        rate: Rate::FlowsPerSecond(2_000.0),
        duration: Some(Duration::from_secs(300)),
        seed: 1,
        versions: VersionMix::Mix,
        exporters: 3,
        day: None,
        pool_flows: 0,
        segmentation_offload: false,
        faults: Faults::default(),
    };
    let sending = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || campus::run(&settings, &stop).unwrap())
    };

    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("page");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut look = python()
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/look.py"))
        .arg(format!("http://{page}/"))
        .arg(&pictures)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python with selenium is installed: scripts/install-test-parts.sh");
    let mut says = BufReader::new(look.stdout.take().unwrap()).lines();
    let mut tell = look.stdin.take().unwrap();
    let mut hear = || says.next().expect("the browser went on").unwrap();

    // A failure ends the sender too, which has nobody to send to then.
    let _stop = StopOnDrop(Arc::clone(&stop));
    let seen: serde_json::Value = serde_json::from_str(&hear()).unwrap();
    assert!(
        seen["alarm"].as_str().unwrap().contains("peers"),
        "the bot of the campus: {seen}"
    );
    process.kill();
    writeln!(tell, "killed").unwrap();
    assert_eq!(hear(), "lost");
    let process = Millrace::start_with_page(&page, &data, &["--subnets", subnets]);
    writeln!(tell, "started").unwrap();
    assert_eq!(hear(), "back");
    drop(tell);
    assert!(look.wait().unwrap().success());
    stop.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    process.stop();
}

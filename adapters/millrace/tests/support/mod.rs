//! Runs the real process, and reads what it has stored.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "shared by tests that each use a part, and stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A running `millrace`.
pub(crate) struct Millrace {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) listening: SocketAddr,
    pub(crate) page: SocketAddr,
}

impl Millrace {
    /// Starts `millrace run` on free ports and waits until it receives.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", data, more)
    }

    /// The same, receiving on a port that is known.
    pub(crate) fn start_on(listen: &str, data: &Path, more: &[&str]) -> Self {
        Self::start_at(listen, "127.0.0.1:0", data, more)
    }

    /// The same, with the page on a port that is known.
    pub(crate) fn start_with_page(page: &str, data: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", page, data, more)
    }

    /// The same, with `data` on a disk of its own that has so many bytes. As root: the disk is mounted for the process alone,
    /// which makes it go with the process.
    pub(crate) fn start_on_small_disk(data: &Path, bytes: usize, more: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && exec \"$@\""))
            .arg(data)
            .arg(env!("CARGO_BIN_EXE_millrace"));
        Self::start_with(command, "127.0.0.1:0", "127.0.0.1:0", data, more)
    }

    fn start_at(listen: &str, page: &str, data: &Path, more: &[&str]) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        Self::start_with(command, listen, page, data, more)
    }

    fn start_with(mut command: Command, listen: &str, page: &str, data: &Path, more: &[&str]) -> Self {
        let mut child = command
            .args(["run", "--listen", listen, "--http", page, "--data"])
            .arg(data)
            .args(["--keep-free", "0", "--file-age", "500ms", "--checkpoint", "100ms"])
            .args(more)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line
        };
        let listening = line()
            .trim()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .expect("it says where it listens");
        let page = line()
            .trim()
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        Self {
            child,
            out,
            listening,
            page,
        }
    }

    /// A path as the process sees it.
    pub(crate) fn its(&self, path: &Path) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap())
    }

    /// A metric without labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not served")).parse().unwrap()
    }

    /// Waits until a metric has come to a value.
    pub(crate) fn wait_for(&self, name: &str, wanted: u64) {
        poll(3000, || (self.metric(name) >= wanted).then_some(()))
            .unwrap_or_else(|| panic!("{name} has not come to {wanted}"));
    }

    /// Asks the page for a path.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.page).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.page
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        body.to_owned()
    }

    /// Waits until the stream's time is past `time_ms`: all flows before it are processed.
    pub(crate) fn wait_past(&self, time_ms: i64) {
        let is_past = || {
            let metrics = self.get("/metrics");
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix("flow_stream_time_timestamp_seconds "))
                .unwrap();
            (line.parse::<f64>().unwrap() * 1000.0 > time_ms as f64).then_some(())
        };
        poll(6000, is_past).unwrap_or_else(|| panic!("the stream has not come to {time_ms}"));
    }

    /// The probes of the page, once they show that flows came.
    pub(crate) fn probes_with_flows(&self) -> serde_json::Value {
        let with_flows = || {
            let probes: serde_json::Value = serde_json::from_str(&self.get("/api/probes")).unwrap();
            let exporters = probes[0]["exporters"].as_array();
            exporters
                .is_some_and(|exporters| !exporters.is_empty())
                .then_some(probes)
        };
        poll(1500, with_flows).expect("a probe shows flows")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it cleanly and waits for the end.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Millrace {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All flows of a dataset that its manifest names, as text with their place, sorted.
pub(crate) fn stored(data: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(data.join("flows/_manifest.jsonl")).unwrap();
    let mut flows = Vec::new();
    for path in parquet_files(&data.join("flows")) {
        let name = path
            .strip_prefix(data.join("flows"))
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert!(manifest.contains(&name), "{name} is not in the manifest");
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
            .unwrap()
            .build()
            .unwrap();
        for batch in reader {
            flows.extend(rows(&batch.unwrap()));
        }
    }
    flows.sort_unstable();
    flows
}

fn rows(batch: &RecordBatch) -> Vec<String> {
    let columns = [
        "probe", "bundle", "row", "time", "src_addr", "dst_addr", "src_port", "dst_port", "bytes", "packets",
    ];
    let columns = columns.map(|name| {
        let column = batch.column_by_name(name).unwrap();
        // As a number: without a time zone database UTC has no text form.
        if name == "time" {
            cast(column, &DataType::Int64).unwrap()
        } else {
            column.clone()
        }
    });
    let options = FormatOptions::default();
    let columns = columns
        .each_ref()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap());
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    files
}

/// The events up to a time: line by line, by statement and id. Panics if one stands there twice.
pub(crate) fn events(data: &Path, until_ms: i64) -> BTreeMap<String, String> {
    let mut events = BTreeMap::new();
    for entry in fs::read_dir(data.join("events")).unwrap() {
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            if event["time"].as_i64().unwrap() <= until_ms {
                let key = format!("{} {}", event["statement"], event["id"]);
                let twice = events.insert(key, line.to_owned());
                assert_eq!(twice, None, "an event stands there twice");
            }
        }
    }
    events
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target)
        } else {
            fs::copy(&path, &target).map(|_| ()).unwrap()
        }
    }
}

/// Flows, packets and bytes of a dataset.
pub(crate) fn totals(data: &Path) -> (u64, u64, u64) {
    let flows = stored(data);
    let sum = |column: usize| {
        flows
            .iter()
            .map(|flow| flow.split(' ').nth(column).unwrap().parse::<u64>().unwrap())
            .sum()
    };
    let columns = flows.first().map_or(0, |flow| flow.split(' ').count());
    if columns == 0 {
        return (0, 0, 0);
    }
    (flows.len() as u64, sum(columns - 1), sum(columns - 2))
}

/// The time now, ms since 1970.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The Python that `scripts/install-test-parts.sh` equips.
pub(crate) fn python() -> Command {
    let venv = std::env::var("MILLRACE_VENV")
        .unwrap_or_else(|_| format!("{}/.local/share/millrace/venv", std::env::var("HOME").unwrap()));
    Command::new(format!("{venv}/bin/python"))
}

/// Asks a running process until it gives the answer, so many times at most: it tells nobody by itself when it has come there.
fn poll<T>(times: usize, mut answer: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..times {
        if let Some(answer) = answer() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

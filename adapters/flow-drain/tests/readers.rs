//! Strangers read the dataset: DuckDB and pyarrow find the rows and sums that were handed over.
//!
//! They are installed by `scripts/install-test-parts.sh`; `MILLRACE_WITHOUT_PYTHON=1` leaves the test out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../flow-store/tests/flows/mod.rs"]
mod flows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use flow_drain::{Drain, Options};
use flow_store::bundle::{Bundle, Compression};
use flows::{Kind, Random, START_MS, enriched, flows, header, v4};

const HOUR_MS: i64 = 3_600_000;

type Sums = BTreeMap<String, i64>;

fn installed() -> PathBuf {
    let venv = std::env::var_os("MILLRACE_VENV")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share/millrace/venv")));
    venv.unwrap_or_default().join("bin/python")
}

/// What a reader must find, summed up a row at a time.
fn sum_up(batch: &RecordBatch, sequence: i64, sums: &mut Sums) {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let mut add = |name: &str, value: i64| *sums.entry(name.to_owned()).or_default() += value;
    let subnets = column("src_subnet").as_dictionary::<Int32Type>();
    let names = subnets.values().as_string::<i32>();
    for row in 0..batch.num_rows() {
        let i64s = |name| column(name).as_primitive::<Int64Type>().value(row);
        let u16s = |name| i64::from(column(name).as_primitive::<UInt16Type>().value(row));
        let times = |name| column(name).as_primitive::<TimestampMillisecondType>().value(row);
        let is_set = |name: &str| i64::from(!column(name).is_null(row));
        add("rows", 1);
        add("bytes", i64s("bytes"));
        add("packets", i64s("packets"));
        add("src_port", u16s("src_port"));
        add("dst_port", u16s("dst_port"));
        add("tcp_flags", u16s("tcp_flags"));
        add(
            "proto",
            i64::from(column("proto").as_primitive::<UInt8Type>().value(row)),
        );
        add("in_if_set", is_set("in_if"));
        add(
            "in_if",
            is_set("in_if") * i64::from(column("in_if").as_primitive::<UInt32Type>().value(row)),
        );
        add("next_hop_set", is_set("next_hop"));
        add("time", times("time"));
        add("flow_start", times("flow_start"));
        add(
            "src_internal",
            i64::from(column("src_internal").as_boolean().value(row)),
        );
        add("src_subnet_set", is_set("src_subnet"));
        add(
            "src_subnet",
            i64::from(subnets.key(row).is_some_and(|key| names.value(key) == "building-lan-7")),
        );
        add("dst_vlan", is_set("dst_vlan") * u16s("dst_vlan"));
        add("probe", 1);
        add("exporter", 1);
        add("bundle", sequence);
        add("row", i64::try_from(row).unwrap());
        let source = column("src_addr").as_fixed_size_binary().value(row);
        add(
            "inside",
            i64::from((v4(0x0a00_0000)..=v4(0x0aff_ffff)).contains(&source.try_into().unwrap())),
        );
    }
}

/// The Python with the readers; none if the test is to be left out.
fn python() -> Option<PathBuf> {
    if std::env::var_os("MILLRACE_WITHOUT_PYTHON").is_some() {
        return None;
    }
    let python = installed();
    assert!(
        python.exists(),
        "{} is missing: run scripts/install-test-parts.sh, or set MILLRACE_WITHOUT_PYTHON=1 to leave this test out",
        python.display()
    );
    Some(python)
}

#[test]
fn pyarrow_opens_a_bundle_of_any_compression() {
    let Some(python) = python() else { return };
    let guard = tempfile::tempdir().unwrap();
    let path = guard.path().join("one.bundle");
    let batch = flows(Kind::Mixed, 3000, START_MS, &mut Random(5));
    let packets = batch
        .column_by_name("packets")
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .iter()
        .sum::<i64>();
    let bundle = Bundle::new(header(7), batch).unwrap();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1)] {
        let mut bytes = Vec::new();
        bundle.encode(compression, &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let script = r#"
import sys, pyarrow as pa, pyarrow.compute as pc
reader = pa.ipc.open_stream(open(sys.argv[1], "rb"))
table = reader.read_all()
table.validate(full=True)
base = int(table.schema.field("packets").metadata[b"base"])
print(reader.schema.metadata[b"sequence"].decode(), len(table), pc.sum(table["packets"]).as_py() + base * len(table))
"#;
        let found = Command::new(&python).args(["-c", script]).arg(&path).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        assert_eq!(
            String::from_utf8(found.stdout).unwrap().trim(),
            format!("7 3000 {packets}"),
            "{compression:?}"
        );
    }
}

#[test]
fn duckdb_and_pyarrow_find_what_was_handed_over() {
    let Some(python) = python() else { return };
    let guard = tempfile::tempdir().unwrap();
    let mut drain = Drain::open(&guard.path().join("flows"), Options::default()).unwrap();
    let mut random = Random(11);
    let mut sums = Sums::new();
    // Enough rows of one file for several pages, and hours with a border within a bundle.
    for sequence in 1..=24u64 {
        let kind = if sequence % 2 == 0 { Kind::Mixed } else { Kind::V5 };
        let start_ms = START_MS + if sequence > 20 { HOUR_MS - 20 } else { 0 };
        let batch = enriched(&flows(kind, 7001, start_ms, &mut random), &mut random);
        sum_up(&batch, i64::try_from(sequence).unwrap(), &mut sums);
        drain.append("edge-1", sequence, &batch, 0).unwrap();
        if sequence == 22 {
            drain.commit().unwrap();
        }
    }
    drain.commit().unwrap();
    sums.insert("hours".to_owned(), 2);

    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(&python)
        .arg(manifest.join("tests/read.py"))
        .arg(drain.folder())
        .arg(manifest.join("../../flow-store/sql/duckdb.sql"))
        .output()
        .unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let lines: Vec<Sums> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [duckdb, pyarrow, committed] = lines.as_slice() else {
        panic!("{} lines", lines.len())
    };
    assert_eq!(duckdb, &sums, "DuckDB");
    assert_eq!(pyarrow, &sums, "pyarrow");
    let files = i64::try_from(drain.manifest().files().count()).unwrap();
    assert_eq!(
        committed,
        &Sums::from([("rows".to_owned(), sums["rows"]), ("files".to_owned(), files)])
    );
}

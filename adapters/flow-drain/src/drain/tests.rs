//! Every step of the way to the disk is made to fail: as a crash, after which the dataset is opened anew and fed from
//! its last commit, and as an error that goes away, after which the same drain goes on.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, new_null_array};
use arrow_array::{BooleanArray, FixedSizeBinaryArray, UInt8Array, UInt16Array, UInt32Array};
use flow_store::bundle::constant_text;
use flow_store::schema::{BUNDLE, BYTES, enriched_schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::*;
use crate::dataset::Failure;
use crate::retention::Reason;

const HOUR_MS: i64 = 3_600_000;

/// Flows at the given times; the bytes of each are its time.
fn flows(times: &[i64]) -> RecordBatch {
    let rows = times.len();
    let columns: Vec<ArrayRef> = enriched_schema()
        .fields()
        .iter()
        .map(|field| -> ArrayRef {
            use arrow_array::types::Int32Type;
            use arrow_schema::{DataType, TimeUnit};
            match field.data_type() {
                _ if field.is_nullable() => new_null_array(field.data_type(), rows),
                DataType::Timestamp(TimeUnit::Millisecond, _) => {
                    Arc::new(TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC"))
                }
                DataType::FixedSizeBinary(_) => {
                    Arc::new(FixedSizeBinaryArray::try_from_iter(times.iter().map(|_| [7u8; 16])).unwrap())
                }
                DataType::UInt8 => Arc::new(UInt8Array::from(vec![6; rows])),
                DataType::UInt16 => Arc::new(UInt16Array::from(vec![80; rows])),
                DataType::UInt32 => Arc::new(UInt32Array::from(vec![1; rows])),
                DataType::Int64 => Arc::new(Int64Array::from(times.to_vec())),
                DataType::Boolean => Arc::new(BooleanArray::from(vec![true; rows])),
                _ => {
                    let text = constant_text("p", rows);
                    assert!(text.as_dictionary_opt::<Int32Type>().is_some());
                    text
                }
            }
        })
        .collect();
    RecordBatch::try_new(enriched_schema(), columns).unwrap()
}

/// The flows of bundle `sequence` of the test's log: some hours have a border within a bundle.
fn bundle(sequence: u64) -> RecordBatch {
    let start = i64::try_from(sequence).unwrap() * HOUR_MS / 2;
    flows(&[start, start + 1, start + HOUR_MS / 2 - 1, start + HOUR_MS / 2])
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows");
    (folder, path)
}

fn open(path: &Path) -> Drain {
    Drain::open(path, Options::default()).unwrap()
}

/// What a reader who only globs finds: (bundle, bytes) of every row of every `.parquet` file.
fn globbed(path: &Path) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for date in fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        for hour in fs::read_dir(date).unwrap().map(|entry| entry.unwrap().path()) {
            for file in fs::read_dir(hour).unwrap().map(|entry| entry.unwrap().path()) {
                if file.extension().is_some_and(|extension| extension == "parquet") {
                    found.extend(rows(&file));
                }
            }
        }
    }
    found.sort_unstable();
    found
}

/// What a reader who follows the manifest finds.
fn committed(drain: &Drain) -> Vec<(i64, i64)> {
    let mut found: Vec<_> = drain
        .manifest()
        .files()
        .flat_map(|file| rows(&drain.folder().join(&file.path)))
        .collect();
    found.sort_unstable();
    found
}

fn rows(file: &Path) -> Vec<(i64, i64)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap())
        .unwrap()
        .build()
        .unwrap();
    reader
        .flat_map(|batch| {
            let batch = batch.unwrap();
            let column = |name| {
                batch
                    .column_by_name(name)
                    .unwrap()
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            };
            column(BUNDLE).into_iter().zip(column(BYTES)).collect::<Vec<_>>()
        })
        .collect()
}

fn expected(sequences: impl IntoIterator<Item = u64>) -> Vec<(i64, i64)> {
    let mut rows: Vec<_> = sequences
        .into_iter()
        .flat_map(|sequence| {
            let batch = bundle(sequence);
            let bytes = batch
                .column_by_name(BYTES)
                .unwrap()
                .as_primitive::<Int64Type>()
                .values()
                .to_vec();
            bytes
                .into_iter()
                .map(move |bytes| (i64::try_from(sequence).unwrap(), bytes))
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// Feeds bundles 1 to 6 of the log, with a commit after every second one, and drops the first hours. Stops at an error.
fn work(drain: &mut Drain) -> Result<(), Error> {
    for sequence in 1..=6 {
        drain.append("p", sequence, &bundle(sequence), 0)?;
        if sequence % 2 == 0 {
            drain.commit()?;
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_doubles_nothing() {
    let mut steps = 0;
    loop {
        let (_guard, path) = folder();
        let mut drain = open(&path);
        drain.dataset.fail = Some(Failure {
            after: steps,
            for_ever: true,
        });
        let outcome = work(&mut drain);
        drop(drain);

        let mut drain = open(&path);
        assert_eq!(
            globbed(&path),
            committed(&drain),
            "after the start, globbing finds what is committed; step {steps}"
        );
        work(&mut drain).unwrap();
        assert_eq!(committed(&drain), expected(1..=6), "step {steps}");
        assert_eq!(globbed(&path), expected(1..=6), "step {steps}");
        if outcome.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 20, "only {steps} steps were tried");
}

#[test]
fn an_error_that_goes_away_loses_nothing_and_doubles_nothing() {
    let mut steps = 0;
    loop {
        let (_guard, path) = folder();
        let mut drain = open(&path);
        drain.dataset.fail = Some(Failure {
            after: steps,
            for_ever: false,
        });
        let mut failed = 0;
        for sequence in 1..=6 {
            drain.append("p", sequence, &bundle(sequence), 0).unwrap();
            if sequence % 2 == 0
                && let Err(error) = drain.commit()
            {
                assert!(error.is_retryable(), "{error}");
                failed += 1;
            }
        }
        drain.commit().unwrap();
        assert_eq!(committed(&drain), expected(1..=6), "step {steps}");
        assert_eq!(globbed(&path), expected(1..=6), "step {steps}");
        assert_eq!(drain.counters().rows, 24);
        assert_eq!(drain.counters().errors, failed);
        drop(drain);
        assert_eq!(committed(&open(&path)), expected(1..=6), "step {steps}");
        if failed == 0 {
            break;
        }
        steps += 1;
    }
    assert!(steps > 20, "only {steps} steps were tried");
}

#[test]
fn a_crash_while_hours_are_dropped_leaves_whole_hours() {
    let mut steps = 0;
    loop {
        let (_guard, path) = folder();
        let mut drain = open(&path);
        work(&mut drain).unwrap();
        drain.dataset.fail = Some(Failure {
            after: steps,
            for_ever: true,
        });
        let retention = Retention {
            max_age_ms: Some(HOUR_MS),
            ..Retention::default()
        };
        let outcome = drain.retain(&retention, 4 * HOUR_MS);
        drop(drain);

        let mut drain = open(&path);
        assert_eq!(globbed(&path), committed(&drain), "step {steps}");
        drain.retain(&retention, 4 * HOUR_MS).unwrap();
        let kept: Vec<_> = expected(1..=6)
            .into_iter()
            .filter(|(_, bytes)| *bytes >= 2 * HOUR_MS)
            .collect();
        assert_eq!(committed(&drain), kept, "step {steps}");
        assert_eq!(globbed(&path), kept, "step {steps}");
        assert!(
            (1..=6).all(|sequence| drain.manifest().holds("p", sequence)),
            "what was dropped is not taken again"
        );
        if outcome.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 6, "only {steps} steps were tried");
}

#[test]
fn a_bundle_delivered_twice_is_stored_once() {
    let (_guard, path) = folder();
    let mut drain = open(&path);
    assert_eq!(drain.append("p", 1, &bundle(1), 0).unwrap(), Appended::Taken);
    assert_eq!(drain.append("p", 1, &bundle(1), 0).unwrap(), Appended::Known);
    drain.commit().unwrap();
    assert_eq!(drain.append("p", 1, &bundle(1), 0).unwrap(), Appended::Known);
    assert_eq!(drain.append("q", 1, &bundle(1), 0).unwrap(), Appended::Taken);
    drain.commit().unwrap();
    assert_eq!(committed(&drain).len(), 8);
    assert_eq!(drain.counters().skipped, 2);
}

#[test]
fn a_commit_is_due_by_rows_and_by_age() {
    let (_guard, path) = folder();
    let options = Options {
        max_rows: 8,
        max_age_ms: 100,
        ..Options::default()
    };
    let mut drain = Drain::open(&path, options).unwrap();
    assert!(!drain.is_due(i64::MAX));
    drain.append("p", 1, &bundle(1), 1000).unwrap();
    assert!(!drain.is_due(1099));
    assert!(drain.is_due(1100));
    drain.append("p", 2, &bundle(2), 1001).unwrap();
    assert!(drain.is_due(1002));
    drain.commit().unwrap();
    assert!(!drain.is_due(9999));
}

#[test]
fn while_commits_fail_no_more_is_taken_than_fits() {
    let (_guard, path) = folder();
    let mut drain = Drain::open(
        &path,
        Options {
            max_rows: 4,
            ..Options::default()
        },
    )
    .unwrap();
    drain.dataset.fail = Some(Failure {
        after: 0,
        for_ever: true,
    });
    drain.append("p", 1, &bundle(1), 0).unwrap();
    assert!(drain.commit().is_err());
    drain.append("p", 2, &bundle(2), 0).unwrap();
    let error = drain.append("p", 3, &bundle(3), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "8 flows wait to be committed, no more can be taken until a commit succeeds"
    );
    drain.dataset.fail = None;
    drain.commit().unwrap();
    drain.append("p", 3, &bundle(3), 0).unwrap();
    drain.commit().unwrap();
    assert_eq!(committed(&drain), expected(1..=3));
}

#[test]
fn a_batch_of_other_columns_leaves_the_drain_as_it_was() {
    let (_guard, path) = folder();
    let mut drain = open(&path);
    let narrow = bundle(1).project(&[0, 1]).unwrap();
    assert!(matches!(drain.append("p", 1, &narrow, 0), Err(Error::Store(_))));
    drain.append("p", 1, &bundle(1), 0).unwrap();
    drain.commit().unwrap();
    assert_eq!(committed(&drain), expected([1]));
}

#[test]
fn the_oldest_hours_go_first_until_the_size_is_kept() {
    let (_guard, path) = folder();
    let mut drain = open(&path);
    work(&mut drain).unwrap();
    let total: u64 = drain.manifest().files().map(|file| file.bytes).sum();
    let retention = Retention {
        max_bytes: Some(total - 1),
        ..Retention::default()
    };
    let dropped = drain.retain(&retention, 0).unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].hour, dropped[0].reason), (Hour::of(0), Reason::Size));
    assert!(
        dropped[0]
            .to_string()
            .starts_with("dropped date=1970-01-01/hour=00 (3 flows, "),
        "{}",
        dropped[0]
    );
    assert!(!path.join("date=1970-01-01/hour=00").exists());
    assert_eq!(drain.counters().dropped_rows, 3);

    let dropped = drain
        .retain(
            &Retention {
                min_free_bytes: u64::MAX,
                ..Retention::default()
            },
            0,
        )
        .unwrap();
    assert!(dropped.iter().all(|dropped| dropped.reason == Reason::FreeSpace));
    let kept: Vec<_> = drain
        .manifest()
        .files()
        .filter_map(|file| Hour::from_path(&file.path))
        .collect();
    assert_eq!(kept, [Hour::of(3 * HOUR_MS)], "the newest hour always stays");
}

#[test]
fn a_second_process_is_refused() {
    let (_guard, path) = folder();
    let first = open(&path);
    let error = Drain::open(&path, Options::default()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(first);
    open(&path);
}

#[test]
fn files_without_a_manifest_are_not_touched() {
    let (_guard, path) = folder();
    let mut drain = open(&path);
    work(&mut drain).unwrap();
    drop(drain);
    fs::remove_file(path.join("_manifest.jsonl")).unwrap();
    let error = Drain::open(&path, Options::default()).unwrap_err();
    assert!(matches!(error, Error::NoManifest { .. }), "{error}");
    assert_eq!(globbed(&path), expected(1..=6));
}

#[test]
fn foreign_files_are_left_alone_and_missing_ones_told() {
    let (_guard, path) = folder();
    let mut drain = open(&path);
    work(&mut drain).unwrap();
    let lost = path.join(&drain.manifest().files().next().unwrap().path);
    drop(drain);
    fs::remove_file(&lost).unwrap();
    fs::write(path.join("README.txt"), "mine").unwrap();
    fs::write(path.join("date=1970-01-01/notes.parquet"), "mine").unwrap();
    fs::write(path.join("date=1970-01-01/hour=01/stray.parquet"), "of a crash").unwrap();
    let drain = open(&path);
    assert_eq!(drain.recovery().missing, [lost]);
    assert_eq!(
        drain.recovery().removed,
        [path.join("date=1970-01-01/hour=01/stray.parquet")]
    );
    assert!(path.join("README.txt").exists() && path.join("date=1970-01-01/notes.parquet").exists());
}

#[test]
fn a_long_manifest_is_replaced_by_a_short_one_that_says_the_same() {
    let (_guard, path) = folder();
    let mut drain = open(&path);
    for sequence in 1..=1100 {
        drain
            .append("p", sequence, &RecordBatch::new_empty(enriched_schema()), 0)
            .unwrap();
        drain.commit().unwrap();
    }
    work(&mut drain).unwrap();
    assert!(drain.manifest().lines() < 100, "{} lines", drain.manifest().lines());
    let number = drain.manifest().number();
    assert_eq!(number, 1100, "known bundles make no commit");
    drop(drain);
    let drain = open(&path);
    assert_eq!(drain.manifest().number(), number);
    assert_eq!(
        drain
            .manifest()
            .bundles()
            .next()
            .unwrap()
            .1
            .ranges()
            .collect::<Vec<_>>(),
        [(1, 1100)]
    );
}

#[test]
fn a_folder_without_permission_is_told_with_its_path() {
    let guard = tempfile::tempdir().unwrap();
    let file = guard.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Drain::open(&file.join("flows"), Options::default()).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

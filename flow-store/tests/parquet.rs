//! The Parquet file's public contract: what goes in comes out, with the types that other programs expect.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod flows;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use flow_store::Error;
use flow_store::parquet::writer::{FlowWriter, Place, VERSION_KEY};
use flow_store::schema::{BUNDLE, ROW, enriched_schema, stored_schema};
use flows::{Kind, Random, START_MS, enriched, flows};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Type;

fn write(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FlowWriter::new(&mut bytes).unwrap();
    for (at, batch) in batches.iter().enumerate() {
        writer
            .write(
                batch,
                Place {
                    bundle: 100 + at as u64,
                    first_row: 5,
                },
            )
            .unwrap();
    }
    let summary = writer.finish().unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(
        summary.rows,
        batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>()
    );
    bytes
}

fn read(bytes: Vec<u8>) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    assert_eq!(reader.schema().fields(), stored_schema().fields());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&stored_schema(), &batches).unwrap()
}

#[test]
fn rows_come_back_with_their_place() {
    for kind in [Kind::V5, Kind::Mixed] {
        let mut random = Random(3);
        let batches: Vec<_> = [1, 4000, 37]
            .into_iter()
            .map(|rows| enriched(&flows(kind, rows, START_MS, &mut random), &mut random))
            .collect();
        let found = read(write(&batches));
        let want = concat_batches(&enriched_schema(), &batches).unwrap();
        for (at, field) in enriched_schema().fields().iter().enumerate() {
            let (want, found) = (want.column(at), found.column(at));
            // Dictionaries may be numbered anew: compare the text.
            if matches!(field.data_type(), arrow_schema::DataType::Dictionary(..)) {
                let text = |column| arrow_cast::cast(column, &arrow_schema::DataType::Utf8).unwrap();
                assert_eq!(&text(want), &text(found), "{}", field.name());
            } else {
                assert_eq!(want, found, "{}", field.name());
            }
        }
        let bundles = found.column_by_name(BUNDLE).unwrap();
        let rows = found.column_by_name(ROW).unwrap();
        let value =
            |column: &arrow_array::ArrayRef, at: usize| arrow_cast::display::array_value_to_string(column, at).unwrap();
        assert_eq!(
            [value(bundles, 0), value(bundles, 1), value(bundles, 4001)],
            ["100", "101", "102"]
        );
        assert_eq!(
            [value(rows, 0), value(rows, 1), value(rows, 4000), value(rows, 4001)],
            ["5", "5", "4004", "5"]
        );
    }
}

#[test]
fn no_column_needs_more_than_other_programs_know() {
    let mut random = Random(3);
    let bytes = write(&[enriched(&flows(Kind::Mixed, 10, START_MS, &mut random), &mut random)]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr();
    for (name, physical) in [
        ("time", Type::INT64),
        ("src_addr", Type::FIXED_LEN_BYTE_ARRAY),
        ("bytes", Type::INT64),
        ("src_port", Type::INT32),
        ("src_subnet", Type::BYTE_ARRAY),
        ("src_internal", Type::BOOLEAN),
        ("bundle", Type::INT64),
    ] {
        let column = schema.columns().iter().find(|column| column.name() == name).unwrap();
        assert_eq!(column.physical_type(), physical, "{name}");
    }
    let words = reader.metadata().file_metadata().key_value_metadata().unwrap();
    assert!(
        words
            .iter()
            .any(|word| word.key == VERSION_KEY && word.value.as_deref() == Some("1"))
    );
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let mut writer = FlowWriter::new(Vec::new()).unwrap();
    let batch = flows(Kind::V5, 3, START_MS, &mut Random(1));
    let error = writer
        .write(
            &batch,
            Place {
                bundle: 1,
                first_row: 0,
            },
        )
        .unwrap_err();
    assert_eq!(error.to_string(), "batch: columns are not those of the enriched schema");
}

#[test]
fn a_place_that_cannot_be_stored_is_refused() {
    let mut random = Random(1);
    let batch = enriched(&flows(Kind::V5, 3, START_MS, &mut random), &mut random);
    let mut writer = FlowWriter::new(Vec::new()).unwrap();
    assert!(
        writer
            .write(
                &batch,
                Place {
                    bundle: u64::MAX,
                    first_row: 0
                }
            )
            .is_err()
    );
    assert!(
        writer
            .write(
                &batch,
                Place {
                    bundle: 1,
                    first_row: usize::MAX
                }
            )
            .is_err()
    );
}

/// A sink that is full after some bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_that_can_be_tried_again() {
    let mut random = Random(1);
    let batch = enriched(&flows(Kind::V5, 3, START_MS, &mut random), &mut random);
    for room in [0, 3, 4, 500, 2000] {
        let outcome = FlowWriter::new(Full(room)).and_then(|mut writer| {
            writer.write(
                &batch,
                Place {
                    bundle: 1,
                    first_row: 0,
                },
            )?;
            writer.finish()
        });
        let error = outcome.err().unwrap();
        assert!(
            matches!(&error, Error::Write(error) if error.kind() == std::io::ErrorKind::StorageFull),
            "{error:?}"
        );
        assert!(error.is_retryable());
    }
}

//! The bundle's public contract: what is sealed comes back, and damage is refused without a panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod flows;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_buffer::Buffer;
use flow_store::Error;
use flow_store::bundle::{Bundle, Compression, MAX_ROWS, Metadata};
use flow_store::schema::{BYTES, NEXT_HOP, SRC_ADDR, flow_schema};
use flows::{Kind, Random, START_MS, flows, header};
use proptest::prelude::*;
use std::sync::Arc;

fn encoded(bundle: &Bundle, compression: Compression) -> Vec<u8> {
    let mut bytes = Vec::new();
    bundle.encode(compression, &mut bytes).unwrap();
    bytes
}

fn sample(kind: Kind, rows: usize) -> Bundle {
    Bundle::new(header(9), flows(kind, rows, START_MS, &mut Random(1))).unwrap()
}

#[test]
fn a_bundle_comes_back_as_it_was_sealed() {
    for kind in [Kind::V5, Kind::Mixed] {
        for rows in [1, 2, 7, 8, 9, 1000, 8192] {
            let bundle = sample(kind, rows);
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1)] {
                let bytes = encoded(&bundle, compression);
                assert_eq!(Metadata::decode(&bytes).unwrap(), *bundle.metadata());
                assert_eq!(
                    Bundle::decode(bytes.into()).unwrap(),
                    bundle,
                    "{kind:?} {rows} {compression:?}"
                );
            }
        }
    }
}

#[test]
fn a_bundle_without_flows_tells_its_watermark() {
    let bundle = Bundle::new(header(3), RecordBatch::new_empty(flow_schema())).unwrap();
    let bytes = encoded(&bundle, Compression::Lz4);
    assert!(bytes.len() < 700, "{} bytes", bytes.len());
    let found = Bundle::decode(bytes.into()).unwrap();
    assert_eq!(found, bundle);
    assert_eq!(found.metadata().span, None);
}

#[test]
fn the_narrow_form_of_v5_takes_less_than_a_third() {
    let bundle = sample(Kind::V5, 8192);
    let bytes = encoded(&bundle, Compression::None);
    let per_row = bytes.len() / 8192;
    assert!(per_row <= 45, "{per_row} bytes a row");
    assert_eq!(
        bundle
            .batch()
            .column_by_name(SRC_ADDR)
            .unwrap()
            .as_fixed_size_binary()
            .value_data()
            .len(),
        16 * 8192
    );
}

#[test]
fn any_arrow_reader_opens_a_bundle() {
    let bytes = encoded(&sample(Kind::Mixed, 100), Compression::None);
    let mut reader = arrow_ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
    assert_eq!(reader.schema().metadata()["probe"], "edge-1");
    let batch = reader.next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (100, 20));
    assert!(reader.next().is_none());
}

#[test]
fn full_width_columns_are_read_in_place_and_unaligned_bytes_by_a_copy() {
    let mut batch = flows(Kind::V5, 64, START_MS, &mut Random(1)).columns().to_vec();
    let wide = Int64Array::from_iter_values((0..64).map(|row| row * (i64::MAX / 64)));
    let at = flow_schema().index_of(BYTES).unwrap();
    batch[at] = Arc::new(wide.clone());
    let bundle = Bundle::new(header(1), RecordBatch::try_new(flow_schema(), batch).unwrap()).unwrap();
    let bytes = Buffer::from(encoded(&bundle, Compression::None));
    let within = bytes.as_slice().as_ptr_range();
    let found = Bundle::decode(bytes.clone()).unwrap();
    let values = found
        .batch()
        .column(at)
        .as_primitive::<Int64Type>()
        .values()
        .as_ptr()
        .cast::<u8>();
    assert!(within.contains(&values), "a copy was made");
    drop(found);

    let mut shifted = vec![0u8];
    shifted.extend_from_slice(&bytes);
    let found = Bundle::decode(Buffer::from(shifted).slice(1)).unwrap();
    assert_eq!(found.batch().column(at).as_primitive::<Int64Type>(), &wide);
}

#[test]
fn values_at_the_edges_of_their_types_survive() {
    for values in [
        [i64::MIN, i64::MAX],
        [0, i64::from(u32::MAX)],
        [-1, i64::from(u32::MAX)],
        [i64::MAX, i64::MAX],
    ] {
        let mut batch = flows(Kind::V5, 2, START_MS, &mut Random(1)).columns().to_vec();
        let at = flow_schema().index_of(BYTES).unwrap();
        batch[at] = Arc::new(Int64Array::from(values.to_vec()));
        let bundle = Bundle::new(header(1), RecordBatch::try_new(flow_schema(), batch).unwrap()).unwrap();
        assert_eq!(
            Bundle::decode(encoded(&bundle, Compression::None).into()).unwrap(),
            bundle
        );
    }
}

#[test]
fn a_null_beside_ipv4_next_hops_stays_null() {
    let bundle = sample(Kind::Mixed, 200);
    let found = Bundle::decode(encoded(&bundle, Compression::Zstd(3)).into()).unwrap();
    let (want, found) = (
        bundle.batch().column_by_name(NEXT_HOP).unwrap(),
        found.batch().column_by_name(NEXT_HOP).unwrap(),
    );
    assert!(want.null_count() > 0 && want.null_count() < 200);
    assert_eq!(want, found);
}

#[test]
fn a_batch_of_another_probe_is_refused() {
    let mut foreign = header(1);
    foreign.probe = Arc::from("edge-2");
    let error = Bundle::new(foreign, flows(Kind::V5, 3, START_MS, &mut Random(1))).unwrap_err();
    assert_eq!(error.to_string(), "batch: column probe is not \"edge-2\" in every row");
}

#[test]
fn a_bundle_cut_at_any_length_is_refused() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1)] {
        let bytes = encoded(&sample(Kind::Mixed, 20), compression);
        for len in 0..bytes.len() {
            let error = Bundle::decode(Buffer::from(&bytes[..len])).unwrap_err();
            assert!(
                matches!(error, Error::Bundle { offset, .. } if offset <= len),
                "at {len}: {error}"
            );
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = encoded(&sample(Kind::V5, 20), Compression::None);
    let len = bytes.len();
    bytes.push(0);
    let error = Bundle::decode(bytes.into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("bundle: bytes after the end mark at byte {len}")
    );
}

fn with_word(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn a_newer_version_is_refused_as_such() {
    let bundle = Bundle::new(header(3), RecordBatch::new_empty(flow_schema())).unwrap();
    let bytes = encoded(&bundle, Compression::None);
    // The version's value is a string of length 1: length, then the digit and the closing zero.
    let at = bytes
        .windows(8)
        .position(|window| window == [1, 0, 0, 0, b'1', 0, 0, 0])
        .unwrap();
    let mut newer = bytes;
    newer[at + 4] = b'7';
    let error = Bundle::decode(newer.into()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Version {
                what: "bundle",
                found: 7,
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[test]
fn a_row_count_beyond_the_limit_is_refused_before_anything_is_made_of_it() {
    let rows = 1_000_000;
    let bytes = encoded(
        &Bundle::new(header(3), constant_rows(rows)).unwrap(),
        Compression::Zstd(1),
    );
    let bytes = with_word(&bytes, "1000000", "9999999");
    let error = Bundle::decode(bytes.into()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("9999999 rows, a bundle holds at most {MAX_ROWS}")),
        "{error}"
    );
}

fn constant_rows(rows: usize) -> RecordBatch {
    let one = flows(Kind::V5, 1, START_MS, &mut Random(5));
    let indices = arrow_array::UInt32Array::from(vec![0; rows]);
    arrow_select::take::take_record_batch(&one, &indices).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damage_anywhere_never_panics(seed in any::<u64>(), flips in 1..8usize, mixed in any::<bool>(), codec in 0..3) {
        let compression = [Compression::None, Compression::Lz4, Compression::Zstd(1)][usize::try_from(codec).unwrap()];
        let kind = if mixed { Kind::Mixed } else { Kind::V5 };
        let mut bytes = encoded(&sample(kind, 33), compression);
        let mut random = Random(seed);
        for _ in 0..flips {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        if let Ok(bundle) = Bundle::decode(bytes.into()) {
            prop_assert_eq!(bundle.batch().num_columns(), 22);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Bundle::decode(bytes.into()).is_err());
    }
}

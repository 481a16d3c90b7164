//! Hostile sequences of datagrams: the corpus and the findings of the fuzz targets, and mutations of them.
//!
//! `MUTATIONS=20000 cargo test -p netflow-codec --test hostile` tries more of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

#[path = "../../fuzz/src/datagrams.rs"]
#[expect(unreachable_pub, reason = "of a library in its own place")]
#[allow(clippy::expect_used, reason = "a panic is a finding")]
mod datagrams;
#[path = "../../fuzz/src/mutation.rs"]
#[expect(unreachable_pub, reason = "of a library in its own place")]
mod mutation;

fn inputs() -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let folders = ["corpus/decode", "findings/decode", "findings/round_trip"].map(|folder| fuzz.join(folder));
    let folders = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut paths: Vec<_> = folders.flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let inputs: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!inputs.is_empty());
    inputs
}

#[test]
fn decoding_holds_its_promises() {
    for input in inputs() {
        datagrams::decode(&input);
        mutation::mutations(&input, 20, &datagrams::decode);
    }
}

#[test]
fn what_is_decoded_is_written_and_decoded_again() {
    for input in inputs() {
        datagrams::round_trip(&input);
        mutation::mutations(&input, 20, &datagrams::round_trip);
    }
}

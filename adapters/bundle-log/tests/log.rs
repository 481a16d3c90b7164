//! What the log promises to its writer and readers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise"
)]

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use bundle_log::{Error, LogReader, LogWriter, Options, Position, Sync, Tail};
use proptest::prelude::*;

fn options() -> Options {
    Options {
        segment_bytes: 100,
        limit_bytes: 1 << 20,
        sync: Sync::Never,
    }
}

fn read_all(folder: &Path, tail: &Tail, from: Position) -> Vec<Vec<u8>> {
    let mut reader = LogReader::new(folder, tail.clone(), from);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push(frame.payload);
    }
    frames
}

fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn frames_come_out_as_they_went_in_across_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut positions = Vec::new();
    for run in 0..3u8 {
        let mut writer = LogWriter::open(folder.path(), options()).unwrap();
        for i in 0..10u8 {
            positions.push(writer.append(&[&[run], &vec![i; usize::from(i) * 7]]).unwrap());
        }
    }
    let writer = LogWriter::open(folder.path(), options()).unwrap();
    let frames = read_all(folder.path(), &writer.tail(), Position(0));
    assert_eq!(frames.len(), 30);
    assert_eq!(frames[13], [vec![1], vec![3; 21]].concat());
    assert!(positions.is_sorted());
    assert_eq!(read_all(folder.path(), &writer.tail(), positions[13]), frames[13..]);
    assert!(segments(folder.path()).len() > 5);
}

#[test]
fn a_frame_cut_short_at_any_byte_is_removed_and_the_log_goes_on() {
    let whole = tempfile::tempdir().unwrap();
    let long = Options {
        segment_bytes: 1 << 20,
        ..options()
    };
    let mut writer = LogWriter::open(whole.path(), long).unwrap();
    writer.append(&[b"first"]).unwrap();
    let second = writer.append(&[b"second"]).unwrap();
    drop(writer);
    let file = segments(whole.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    for cut in (16 + second.0) as usize..bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file.file_name().unwrap()), &bytes[..cut]).unwrap();
        let mut writer = LogWriter::open(folder.path(), long).unwrap();
        assert_eq!(writer.tail().position(), second, "cut at {cut}");
        writer.append(&[b"third"]).unwrap();
        let frames = read_all(folder.path(), &writer.tail(), Position(0));
        assert_eq!(frames, [b"first".to_vec(), b"third".to_vec()]);
    }
}

#[test]
fn a_segment_without_its_header_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), options()).unwrap();
    writer.append(&[&[7; 120]]).unwrap();
    let end = writer.tail().position();
    drop(writer);
    fs::write(folder.path().join(format!("{:020}.seg", end.0)), b"MRL").unwrap();
    let mut writer = LogWriter::open(folder.path(), options()).unwrap();
    writer.append(&[b"next"]).unwrap();
    assert_eq!(
        read_all(folder.path(), &writer.tail(), Position(0)),
        [vec![7; 120], b"next".to_vec()]
    );
}

#[test]
fn damage_in_the_middle_is_reported_and_the_next_segment_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), options()).unwrap();
    for i in 0..9u8 {
        writer.append(&[&[i; 60]]).unwrap();
    }
    let path = segments(folder.path()).remove(1);
    let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(16 + 8 + 5)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(16 + 8 + 5)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    let mut reader = LogReader::from_oldest(folder.path(), writer.tail()).unwrap();
    let (mut frames, mut damages) = (Vec::new(), 0);
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(frame.payload[0]),
            Ok(None) => break,
            Err(Error::Damaged { offset, what, .. }) => {
                assert_eq!((offset, what), (16, "checksum differs"));
                damages += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((frames, damages), (vec![0, 1, 4, 5, 6, 7, 8], 1));
}

#[test]
fn trimming_deletes_whole_segments_and_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(
        folder.path(),
        Options {
            limit_bytes: 1000,
            ..options()
        },
    )
    .unwrap();
    let mut last = Position(0);
    let refused = loop {
        match writer.append(&[&[1; 50]]) {
            Ok(position) => last = position,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, Error::Full { limit: 1000, .. }) && refused.is_retryable(),
        "{refused}"
    );
    writer.trimmer().trim(last).unwrap();
    assert_eq!(segments(folder.path()).len(), 1);
    let on_disk: u64 = segments(folder.path())
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(writer.usage().bytes, on_disk);
    writer.append(&[&[2; 50]]).unwrap();
    let mut reader = LogReader::new(folder.path(), writer.tail(), Position(0));
    assert!(matches!(reader.next_frame(), Err(Error::Trimmed { .. })));
}

#[test]
fn a_waiting_reader_wakes_for_a_frame_and_for_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), options()).unwrap();
    let tail = writer.tail();
    let path = folder.path().to_owned();
    let reading = std::thread::spawn(move || {
        let mut reader = LogReader::new(&path, tail.clone(), Position(0));
        let mut frames = 0;
        loop {
            match reader.next_frame().unwrap() {
                Some(_) => frames += 1,
                None if tail.is_closed() => return frames,
                None => tail.wait_past(reader.position(), Duration::from_secs(60)),
            }
        }
    });
    for _ in 0..100 {
        writer.append(&[b"frame"]).unwrap();
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), 100);
}

#[test]
fn foreign_segment_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("00000000000000000000.seg"),
        b"not a log segment at all",
    )
    .unwrap();
    let error = LogWriter::open(folder.path(), options()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[test]
fn a_log_that_was_lost_goes_on_after_the_positions_that_others_remember() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(
        folder.path(),
        Options {
            sync: Sync::Always,
            ..options()
        },
    )
    .unwrap();
    writer.start_at_least(Position(5000));
    assert_eq!(writer.append(&[b"x"]).unwrap(), Position(5000));
    drop(writer);
    let writer = LogWriter::open(folder.path(), options()).unwrap();
    assert_eq!(writer.tail().position(), Position(5009));
}

proptest! {
    #[test]
    fn opening_any_bytes_neither_panics_nor_loses_the_frames_before_them(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let long = Options { segment_bytes: 1 << 20, ..options() };
        let mut writer = LogWriter::open(folder.path(), long).unwrap();
        writer.append(&[b"kept"]).unwrap();
        drop(writer);
        let path = segments(folder.path()).remove(0);
        OpenOptions::new().append(true).open(path).unwrap().write_all(&garbage).unwrap();
        let writer = LogWriter::open(folder.path(), long).unwrap();
        let frames = read_all(folder.path(), &writer.tail(), Position(0));
        prop_assert_eq!(&frames[0], b"kept");
    }
}

//! The bytes of one segment file.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::{Error, Position};

/// Bytes before the first frame of a segment.
pub(crate) const HEADER_BYTES: u64 = 16;
/// Bytes before the payload of a frame: its length and its checksum.
pub(crate) const FRAME_HEADER_BYTES: u64 = 8;
/// The same, read or written.
pub(crate) type FrameHeader = [u8; 8];
/// Longest payload: a bundle is a few megabytes, so a larger length is damage, and must not make a reader allocate it.
pub(crate) const MAX_FRAME_BYTES: u64 = 256 << 20;

const MAGIC: [u8; 8] = *b"MRLOG\x01\0\0";
const EXTENSION: &str = "seg";

pub(crate) fn header(base: Position) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&base.0.to_le_bytes());
    bytes
}

pub(crate) fn path(folder: &Path, base: Position) -> PathBuf {
    folder.join(format!("{:020}.{EXTENSION}", base.0))
}

/// The bases of all segments of a folder, oldest first.
pub(crate) fn list(folder: &Path) -> Result<Vec<Position>, Error> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let base = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| stem.parse().ok());
            bases.push(Position(base.ok_or_else(|| Error::Foreign { path: path.clone() })?));
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Opens a segment for reading and checks its header; the file is left at the first frame.
///
/// # Errors
/// If the file cannot be read or is no segment with this base.
pub(crate) fn open(folder: &Path, base: Position) -> Result<File, Error> {
    let path = path(folder, base);
    let mut file = File::open(&path).map_err(Error::io(&path))?;
    let mut found = [0; 16];
    match file.read_exact(&mut found) {
        Ok(()) if found == header(base) => Ok(file),
        Ok(()) => Err(Error::Foreign { path }),
        Err(_) => Err(Error::Damaged {
            path,
            offset: 0,
            what: "header cut short",
        }),
    }
}

pub(crate) fn checksum(length: u32, payload: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    for part in payload {
        hasher.update(part);
    }
    hasher.finalize()
}

/// What was read at a place in a segment.
pub(crate) enum Read1 {
    Payload(Vec<u8>),
    /// Nothing more: the file ends exactly here.
    End,
    /// The bytes here are no whole frame; what is wrong with them.
    Broken(&'static str),
}

/// Reads one frame.
pub(crate) fn read_frame(file: &mut impl Read, path: &Path) -> Result<Read1, Error> {
    let mut head = FrameHeader::default();
    match read_full(file, &mut head).map_err(Error::io(path))? {
        0 => return Ok(Read1::End),
        n if n < head.len() => return Ok(Read1::Broken("frame header cut short")),
        _ => {}
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let (length, crc) = (
        u32::from_le_bytes([l0, l1, l2, l3]),
        u32::from_le_bytes([c0, c1, c2, c3]),
    );
    if u64::from(length) > MAX_FRAME_BYTES {
        return Ok(Read1::Broken("length over the limit"));
    }
    let mut payload = Vec::with_capacity(length as usize);
    let read = file
        .take(u64::from(length))
        .read_to_end(&mut payload)
        .map_err(Error::io(path))?;
    if read < length as usize {
        return Ok(Read1::Broken("payload cut short"));
    }
    if checksum(length, &[&payload]) != crc {
        return Ok(Read1::Broken("checksum differs"));
    }
    Ok(Read1::Payload(payload))
}

fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Length in bytes of the whole frames at the start of a segment, and what follows them if it is not the end.
pub(crate) fn scan(folder: &Path, base: Position) -> Result<(u64, Option<&'static str>), Error> {
    let path = path(folder, base);
    let mut file = BufReader::with_capacity(1 << 20, open(folder, base)?);
    let mut length = 0;
    loop {
        match read_frame(&mut file, &path)? {
            Read1::Payload(payload) => length += FRAME_HEADER_BYTES + payload.len() as u64,
            Read1::End => return Ok((length, None)),
            Read1::Broken(what) => return Ok((length, Some(what))),
        }
    }
}

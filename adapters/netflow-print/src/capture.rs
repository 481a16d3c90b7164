//! The frames of a capture file, in pcap or pcapng form.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Room for the largest block at first; it grows up to [`BUFFER_LIMIT`].
const BUFFER_BYTES: usize = 1 << 18;

/// The largest block that is read: a frame of 256 KiB, the snap length that tools use for "all", with room to spare.
const BUFFER_LIMIT: usize = 1 << 24;

/// One captured frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'f> {
    /// When it was captured, in ms since 1970.
    pub time_ms: i64,
    /// The link type's number (`LINKTYPE_…`).
    pub link: i32,
    /// The frame, as far as it was captured.
    pub bytes: &'f [u8],
}

/// How the reading of a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the end of the last frame.
    Complete,
    /// Within a frame: whoever wrote the file was stopped, or it still writes.
    CutShort,
}

/// What a pcapng interface says of its frames.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: Linktype,
    units_per_second: u64,
    offset_s: i64,
    snap_length: u32,
}

/// Calls `each` with every frame of a file; `-` is the standard input.
///
/// # Errors
///
/// If the file cannot be read, is neither pcap nor pcapng, holds a block that is malformed or larger than 16 MiB, or if
/// `each` fails.
pub fn read(path: &Path, mut each: impl FnMut(Frame<'_>) -> Result<()>) -> Result<End> {
    let input: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    read_from(input, &mut each).with_context(|| format!("cannot read {}", path.display()))
}

/// Calls `each` with every frame of an open capture.
///
/// # Errors
///
/// As for [`read`].
pub fn read_from(input: impl Read + Send, each: &mut impl FnMut(Frame<'_>) -> Result<()>) -> Result<End> {
    // `create_reader` wants the whole first header in one read, which a pipe need not give.
    let mut input = input;
    let mut head = Vec::new();
    input.by_ref().take(BUFFER_BYTES as u64).read_to_end(&mut head)?;
    let mut reader = match create_reader(BUFFER_BYTES, std::io::Cursor::new(head).chain(input)) {
        Ok(reader) => reader,
        Err(PcapError::Eof) => bail!("the file is empty"),
        Err(PcapError::ReadError) => bail!("reading failed"),
        Err(_) => bail!("neither a pcap nor a pcapng file"),
    };
    let mut capacity = BUFFER_BYTES;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut legacy = Interface {
        link: Linktype::ETHERNET,
        units_per_second: 1_000_000,
        offset_s: 0,
        snap_length: 0,
    };
    loop {
        match reader.next() {
            Ok((length, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        // The upper bits tell of checksums at the end of frames.
                        legacy.link = Linktype(header.network.0 & 0x0FFF_FFFF);
                        if header.is_nanosecond_precision() {
                            legacy.units_per_second = 1_000_000_000;
                        }
                    }
                    PcapBlockOwned::Legacy(block) => {
                        let time_ms = milliseconds(u64::from(block.ts_usec), legacy)
                            .saturating_add(i64::from(block.ts_sec).saturating_mul(1000));
                        let captured = usize::try_from(block.caplen).unwrap_or(usize::MAX);
                        let bytes = block.data.get(..captured).unwrap_or(block.data);
                        each(Frame {
                            time_ms,
                            link: legacy.link.0,
                            bytes,
                        })?;
                    }
                    PcapBlockOwned::NG(block) => {
                        if let Some(frame) = pcapng_frame(&block, &mut interfaces) {
                            each(frame)?;
                        }
                    }
                }
                reader.consume(length);
            }
            Err(PcapError::Eof) => return Ok(End::Complete),
            Err(PcapError::UnexpectedEof) => return Ok(End::CutShort),
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() {
                    return Ok(End::CutShort);
                }
                match reader.refill() {
                    Ok(()) => {}
                    Err(PcapError::BufferTooSmall) => capacity = grow(&mut *reader, capacity)?,
                    Err(_) => bail!("reading failed"),
                }
            }
            Err(PcapError::BufferTooSmall) => capacity = grow(&mut *reader, capacity)?,
            Err(PcapError::ReadError) => bail!("reading failed"),
            Err(_) => bail!("malformed block at byte {}", reader.consumed()),
        }
    }
}

fn grow(reader: &mut dyn pcap_parser::traits::PcapReaderIterator, capacity: usize) -> Result<usize> {
    let capacity = capacity.saturating_mul(2);
    if capacity > BUFFER_LIMIT || !reader.grow(capacity) {
        bail!(
            "block at byte {} is larger than {BUFFER_LIMIT} bytes",
            reader.consumed()
        );
    }
    if reader.refill().is_err() {
        bail!("reading failed");
    }
    Ok(capacity)
}

/// The frame of a pcapng block, if it is one that holds a frame.
fn pcapng_frame<'b>(block: &'b Block<'_>, interfaces: &mut Vec<Interface>) -> Option<Frame<'b>> {
    match block {
        // Interfaces are numbered within a section.
        Block::SectionHeader(_) => interfaces.clear(),
        Block::InterfaceDescription(description) => interfaces.push(Interface {
            link: description.linktype,
            units_per_second: units_per_second(description.if_tsresol),
            offset_s: description.if_tsoffset,
            snap_length: description.snaplen,
        }),
        Block::EnhancedPacket(packet) => {
            let interface = *interfaces.get(usize::try_from(packet.if_id).ok()?)?;
            let units = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
            let captured = usize::try_from(packet.caplen).ok()?;
            let bytes = packet.data.get(..captured).unwrap_or(packet.data);
            return Some(Frame {
                time_ms: milliseconds(units, interface),
                link: interface.link.0,
                bytes,
            });
        }
        Block::SimplePacket(packet) => {
            // It has no time, and its padding is told from the original and the snap length alone.
            let interface = *interfaces.first()?;
            let snap = if interface.snap_length == 0 {
                u32::MAX
            } else {
                interface.snap_length
            };
            let captured = usize::try_from(packet.origlen.min(snap)).ok()?;
            let bytes = packet.data.get(..captured).unwrap_or(packet.data);
            return Some(Frame {
                time_ms: 0,
                link: interface.link.0,
                bytes,
            });
        }
        _ => {}
    }
    None
}

/// The resolution of an interface's timestamps: a power of ten, or of two if the highest bit is set.
fn units_per_second(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7F);
    let units = if resolution & 0x80 == 0 {
        10_u64.checked_pow(exponent)
    } else {
        1_u64.checked_shl(exponent)
    };
    units.unwrap_or(1_000_000)
}

fn milliseconds(units: u64, interface: Interface) -> i64 {
    let per_second = u128::from(interface.units_per_second);
    let ms = i64::try_from(u128::from(units) * 1000 / per_second).unwrap_or(i64::MAX);
    ms.saturating_add(interface.offset_s.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(file: &[u8]) -> (Vec<(i64, i32, Vec<u8>)>, End) {
        let mut frames = Vec::new();
        let end = read_from(file, &mut |frame: Frame<'_>| {
            frames.push((frame.time_ms, frame.link, frame.bytes.to_vec()));
            Ok(())
        });
        (frames, end.unwrap())
    }

    /// A pcap file of one frame of three bytes, captured at 1,700,000,000.25 s.
    fn pcap(magic: u32, fraction: u32) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(magic.to_le_bytes());
        file.extend([2, 0, 4, 0]); // version 2.4
        file.extend([0; 8]); // time zone, accuracy
        file.extend(65_535_u32.to_le_bytes());
        file.extend(101_u32.to_le_bytes()); // raw IP
        file.extend(1_700_000_000_u32.to_le_bytes());
        file.extend(fraction.to_le_bytes());
        file.extend([3, 0, 0, 0, 3, 0, 0, 0]);
        file.extend([7, 8, 9]);
        file
    }

    #[test]
    fn pcap_in_either_resolution_is_read() {
        let frame = (1_700_000_000_250, 101, vec![7, 8, 9]);
        assert_eq!(
            frames(&pcap(0xA1B2_C3D4, 250_000)),
            (vec![frame.clone()], End::Complete)
        );
        assert_eq!(frames(&pcap(0xA1B2_3C4D, 250_000_000)), (vec![frame], End::Complete));
    }

    #[test]
    fn file_cut_short_gives_the_frames_before_the_cut() {
        let mut file = pcap(0xA1B2_C3D4, 250_000);
        let record = file[24..].to_vec();
        file.extend(&record);
        for cut in 43 + 1..file.len() {
            let (frames, end) = frames(&file[..cut]);
            assert_eq!((frames.len(), end), (1, End::CutShort), "cut at {cut}");
        }
    }

    #[test]
    fn pcapng_times_follow_the_resolution_of_their_interface() {
        fn block(kind: u32, body: &[u8]) -> Vec<u8> {
            let length = u32::try_from(body.len() + 12).unwrap();
            let mut block = Vec::new();
            block.extend(kind.to_le_bytes());
            block.extend(length.to_le_bytes());
            block.extend(body);
            block.extend(length.to_le_bytes());
            block
        }
        let mut file = block(
            0x0A0D_0D0A,
            &[
                0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
            ],
        );
        // Link type raw IP, any snap length, timestamps in 1/1024 s.
        file.extend(block(
            1,
            &[101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0x8A, 0, 0, 0, 0, 0, 0, 0],
        ));
        let units = 1_700_000_000_u64 * 1024 + 512;
        let mut packet = Vec::new();
        packet.extend(0_u32.to_le_bytes());
        packet.extend(u32::try_from(units >> 32).unwrap().to_le_bytes());
        packet.extend(u32::try_from(units & 0xFFFF_FFFF).unwrap().to_le_bytes());
        packet.extend([3, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9, 0]);
        file.extend(block(6, &packet));
        assert_eq!(
            frames(&file),
            (vec![(1_700_000_000_500, 101, vec![7, 8, 9])], End::Complete)
        );
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let refusal = |file: &[u8]| read_from(file, &mut |_: Frame<'_>| Ok(())).unwrap_err().to_string();
        assert_eq!(refusal(b""), "the file is empty");
        assert_eq!(
            refusal(b"these are not the bytes of a capture"),
            "neither a pcap nor a pcapng file"
        );
    }
}

//! The frames of a capture file, in pcap or pcapng form.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Room for the largest block at first; it grows up to [`BUFFER_LIMIT`].
const BUFFER_BYTES: usize = 1 << 18;

/// The largest block that is read: a frame of 256 KiB, the snap length that tools use for "all", with room to spare.
const BUFFER_LIMIT: usize = 1 << 24;

/// How a file that gzip has compressed begins (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// How files begin that are not captures in a form that is read, but may well be given for one.
const NOT_READ: [(&[u8], &str); 6] = [
    (&[0x28, 0xB5, 0x2F, 0xFD], "compressed with zstd"),
    (&[0x04, 0x22, 0x4D, 0x18], "compressed with lz4"),
    (&[0xFD, b'7', b'z', b'X', b'Z', 0], "compressed with xz"),
    (b"BZh", "compressed with bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"snoop\0\0\0", "in snoop's format"),
];

/// The type of a pcapng Packet Block, obsolete since 2009 and found in older captures.
const PACKET_BLOCK: u32 = 2;

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

/// What holds for the blocks of a pcapng section.
#[derive(Debug, Default)]
struct Section {
    big_endian: bool,
    /// Numbered within the section.
    interfaces: Vec<Interface>,
}

/// Calls `each` with every frame of a file; `-` is the standard input.
///
/// # Errors
///
/// If the file cannot be read, is neither pcap nor pcapng, also within gzip, holds a block that is malformed or larger than 16 MiB, or if
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
    let (head, input) = peek(input)?;
    if head.starts_with(&GZIP) {
        let (head, input) = peek(UntilCut(MultiGzDecoder::new(Cursor::new(head).chain(input))))?;
        return read_plain(head, input, each);
    }
    read_plain(head, input, each)
}

/// Compressed input that ends where it is cut short, as plain input does.
struct UntilCut<R>(R);

impl<R: Read> Read for UntilCut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }
}

/// The first bytes of the input, and the rest.
fn peek<R: Read>(mut input: R) -> Result<(Vec<u8>, R)> {
    let mut head = Vec::new();
    input.by_ref().take(BUFFER_BYTES as u64).read_to_end(&mut head)?;
    Ok((head, input))
}

fn read_plain(head: Vec<u8>, input: impl Read + Send, each: &mut impl FnMut(Frame<'_>) -> Result<()>) -> Result<End> {
    if let Some((_, name)) = NOT_READ.iter().find(|(magic, _)| head.starts_with(magic)) {
        bail!("the file is {name}, which is not read: convert it to pcap");
    }
    let mut reader = match create_reader(BUFFER_BYTES, Cursor::new(head).chain(input)) {
        Ok(reader) => reader,
        Err(PcapError::Eof) => bail!("the file is empty"),
        Err(PcapError::ReadError) => bail!("reading failed"),
        Err(_) => bail!("neither a pcap nor a pcapng file"),
    };
    let mut capacity = BUFFER_BYTES;
    let mut section = Section::default();
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
                        if let Some(frame) = pcapng_frame(&block, &mut section) {
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
fn pcapng_frame<'b>(block: &'b Block<'_>, section: &mut Section) -> Option<Frame<'b>> {
    match block {
        Block::SectionHeader(header) => {
            section.big_endian = header.big_endian();
            section.interfaces.clear();
        }
        Block::InterfaceDescription(description) => section.interfaces.push(Interface {
            link: description.linktype,
            units_per_second: units_per_second(description.if_tsresol),
            offset_s: description.if_tsoffset,
            snap_length: description.snaplen,
        }),
        Block::EnhancedPacket(packet) => {
            let interface = *section.interfaces.get(usize::try_from(packet.if_id).ok()?)?;
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
            let interface = *section.interfaces.first()?;
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
        Block::Unknown(block) if block.block_type == PACKET_BLOCK => {
            return packet_block(block.data, section);
        }
        _ => {}
    }
    None
}

/// The frame of an obsolete Packet Block: a number of drops stands beside that of the interface, else it is as its
/// successor.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+---------------+---------------+
/// |           interface           |             drops             |
/// +---------------+---------------+---------------+---------------+
/// |            time in the interface's units, high half           |
/// +---------------+---------------+---------------+---------------+
/// |                           low half                            |
/// +---------------+---------------+---------------+---------------+
/// |                       bytes captured                          |
/// +---------------+---------------+---------------+---------------+
/// |                       bytes of the frame                      |
/// +---------------+---------------+---------------+---------------+
/// ```
fn packet_block<'b>(body: &'b [u8], section: &Section) -> Option<Frame<'b>> {
    let number = |at: usize| {
        let bytes = *body.get(at..)?.first_chunk()?;
        Some(if section.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let first = *body.first_chunk()?;
    let interface = if section.big_endian {
        u16::from_be_bytes(first)
    } else {
        u16::from_le_bytes(first)
    };
    let interface = *section.interfaces.get(usize::from(interface))?;
    let units = (u64::from(number(4)?) << 32) | u64::from(number(8)?);
    let captured = usize::try_from(number(12)?).ok()?;
    let bytes = body.get(20..)?;
    Some(Frame {
        time_ms: milliseconds(units, interface),
        link: interface.link.0,
        bytes: bytes.get(..captured).unwrap_or(bytes),
    })
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

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 12).unwrap();
        let mut block = Vec::new();
        block.extend(kind.to_le_bytes());
        block.extend(length.to_le_bytes());
        block.extend(body);
        block.extend(length.to_le_bytes());
        block
    }

    /// The head of a pcapng file: a section and an interface of raw IP with any snap length and such options.
    fn pcapng(options: &[u8]) -> Vec<u8> {
        let section = [
            0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
        ];
        let interface = [&[101, 0, 0, 0, 0, 0, 0, 0][..], options].concat();
        [block(0x0A0D_0D0A, &section), block(1, &interface)].concat()
    }

    #[test]
    fn pcapng_times_follow_the_resolution_of_their_interface() {
        // Timestamps in 1/1024 s.
        let mut file = pcapng(&[9, 0, 1, 0, 0x8A, 0, 0, 0, 0, 0, 0, 0]);
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
    fn obsolete_and_simple_packet_blocks_are_read() {
        let mut file = pcapng(&[]);
        let micros = 1_700_000_000_250_000_u64;
        let mut packet = vec![0, 0, 9, 0]; // interface 0, 9 drops
        packet.extend(u32::try_from(micros >> 32).unwrap().to_le_bytes());
        packet.extend(u32::try_from(micros & 0xFFFF_FFFF).unwrap().to_le_bytes());
        packet.extend([3, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9, 0]);
        file.extend(block(2, &packet));
        file.extend(block(3, &[2, 0, 0, 0, 5, 6, 0, 0]));
        let wanted = vec![(1_700_000_000_250, 101, vec![7, 8, 9]), (0, 101, vec![5, 6])];
        assert_eq!(frames(&file), (wanted, End::Complete));
    }

    #[test]
    fn captures_that_gzip_has_compressed_are_read_up_to_a_cut() {
        let mut file = pcap(0xA1B2_C3D4, 250_000);
        let record = file[24..].to_vec();
        for _ in 0..1000 {
            file.extend(&record);
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut encoder, &file).unwrap();
        let compressed = encoder.finish().unwrap();
        assert_eq!(frames(&compressed), frames(&file));
        let (found, _) = frames(&compressed[..compressed.len() / 2]);
        assert!((1..1000).contains(&found.len()), "{}", found.len());
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let refusal = |file: &[u8]| read_from(file, &mut |_: Frame<'_>| Ok(())).unwrap_err().to_string();
        assert_eq!(refusal(b""), "the file is empty");
        assert_eq!(
            refusal(b"these are not the bytes of a capture"),
            "neither a pcap nor a pcapng file"
        );
        assert_eq!(
            refusal(&[0x28, 0xB5, 0x2F, 0xFD, 0x24, 0, 1, 0, 0]),
            "the file is compressed with zstd, which is not read: convert it to pcap"
        );
    }
}

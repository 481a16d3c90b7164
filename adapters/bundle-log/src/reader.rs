use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::segment::{self, FRAME_HEADER_BYTES, HEADER_BYTES, Read1};
use crate::{Error, Position, Tail};

/// A frame as it was appended.
#[derive(Debug)]
pub struct Frame {
    /// Where the frame starts.
    pub position: Position,
    /// Where the next frame starts.
    pub next: Position,
    /// The bytes of the frame.
    pub payload: Vec<u8>,
}

/// Reads frames in the order of the log, from any frame's position on.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    tail: Tail,
    position: Position,
    open: Option<OpenSegment>,
}

#[derive(Debug)]
struct OpenSegment {
    base: Position,
    file: BufReader<File>,
}

impl LogReader {
    /// A reader of the log in `folder` that starts at `position` and never reads past `tail`.
    #[must_use]
    pub fn new(folder: &Path, tail: Tail, position: Position) -> Self {
        Self {
            folder: folder.to_owned(),
            tail,
            position,
            open: None,
        }
    }

    /// A reader that starts at the oldest frame kept.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn from_oldest(folder: &Path, tail: Tail) -> Result<Self, Error> {
        let oldest = segment::list(folder)?.first().copied().unwrap_or_default();
        Ok(Self::new(folder, tail, oldest))
    }

    /// Where the next frame will be read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The end of the log.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The next frame, or `None` at the end of what has been written so far.
    ///
    /// # Errors
    /// [`Error::Trimmed`] if the position is no longer kept. [`Error::Damaged`] for bytes that are no frame: the reader
    /// then stands at the next segment, so a further call goes on behind the damage.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if self.position >= self.tail.position() {
                return Ok(None);
            }
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open_segment()?,
            };
            let path = segment::path(&self.folder, open.base);
            match segment::read_frame(&mut open.file, &path)? {
                Read1::Payload(payload) => {
                    let position = self.position;
                    self.position = position.advance(FRAME_HEADER_BYTES + payload.len() as u64);
                    self.open = Some(open);
                    return Ok(Some(Frame {
                        position,
                        next: self.position,
                        payload,
                    }));
                }
                Read1::End if self.following(open.base)? == Some(self.position) => {}
                Read1::End => return Err(self.skip_damage(open.base, path, "segment ends early")),
                Read1::Broken(what) => return Err(self.skip_damage(open.base, path, what)),
            }
        }
    }

    /// The base of the segment after the one at `base`.
    fn following(&self, base: Position) -> Result<Option<Position>, Error> {
        Ok(segment::list(&self.folder)?.into_iter().find(|&other| other > base))
    }

    fn skip_damage(&mut self, base: Position, path: PathBuf, what: &'static str) -> Error {
        let offset = HEADER_BYTES + self.position.since(base);
        match self.following(base) {
            Ok(next) => {
                self.position = next.unwrap_or_else(|| self.tail.position());
                Error::Damaged { path, offset, what }
            }
            Err(error) => error,
        }
    }

    fn open_segment(&self) -> Result<OpenSegment, Error> {
        let bases = segment::list(&self.folder)?;
        let after = bases.partition_point(|&base| base <= self.position);
        let Some(&base) = after.checked_sub(1).and_then(|index| bases.get(index)) else {
            let oldest = bases.first().copied().unwrap_or_else(|| self.tail.position());
            return Err(Error::Trimmed {
                wanted: self.position,
                oldest,
            });
        };
        let path = segment::path(&self.folder, base);
        let mut file = segment::open(&self.folder, base)?;
        file.seek(SeekFrom::Start(HEADER_BYTES + self.position.since(base)))
            .map_err(Error::io(&path))?;
        Ok(OpenSegment {
            base,
            file: BufReader::with_capacity(64 << 10, file),
        })
    }
}

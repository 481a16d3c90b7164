//! A worker's walk along the log.

use std::path::Path;
use std::sync::Arc;

use bundle_log::record::{Record, bundle_offset};
use bundle_log::{Frame, LogReader, Position, Tail};
use flow_store::bundle::{Bundle, Metadata};

use crate::watermarks::Watermarks;

/// What an earlier run knew, and up to where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resume {
    /// The stream's time then: the walk stands still there until it is past `read_to`.
    pub(crate) time_ms: i64,
    /// The watermarks at `read_to`.
    pub(crate) watermarks: Watermarks,
    /// Up to where the log had been read.
    pub(crate) read_to: Position,
}

/// Reads the log frame by frame and keeps the stream's time. Every worker walks along the whole log, so that each knows
/// the time, but unpacks its own share of the bundles only.
#[derive(Debug)]
pub(crate) struct Walk {
    reader: LogReader,
    watermarks: Watermarks,
    resume: Option<Resume>,
}

/// A bundle that was met, still packed.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) metadata: Metadata,
    frame: Frame,
}

impl Packed {
    pub(crate) fn position(&self) -> Position {
        self.frame.position
    }

    /// Where the next frame starts.
    pub(crate) fn next(&self) -> Position {
        self.frame.next
    }

    /// Unpacks the flows.
    pub(crate) fn unpack(self) -> Result<Bundle, flow_store::Error> {
        let bytes = arrow_buffer::Buffer::from_vec(self.frame.payload);
        Bundle::decode(bytes.slice(bundle_offset()))
    }
}

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Step {
    /// A bundle with flows.
    Bundle(Box<Packed>),
    /// Something that only moves the time.
    Moved,
    /// A frame or stretch of the log that cannot be read; the walk goes on behind it.
    Damaged(String),
    /// The end of what was written so far.
    End,
}

impl Walk {
    /// A walk from the oldest frame kept, that goes on from what an earlier run knew.
    pub(crate) fn new(folder: &Path, tail: Tail, resume: Resume) -> Result<Self, bundle_log::Error> {
        let reader = LogReader::from_oldest(folder, tail)?;
        Ok(Self {
            reader,
            watermarks: Watermarks::default(),
            resume: Some(resume),
        })
    }

    /// The stream's time at this place of the log.
    pub(crate) fn time_ms(&self) -> i64 {
        match &self.resume {
            Some(resume) => resume.time_ms,
            None => self.watermarks.time_ms(),
        }
    }

    pub(crate) fn watermarks(&self) -> &Watermarks {
        self.resume
            .as_ref()
            .map_or(&self.watermarks, |resume| &resume.watermarks)
    }

    pub(crate) fn position(&self) -> Position {
        self.reader.position()
    }

    /// Where in the log the watermarks hold: further on, as long as the walk repeats an earlier run.
    pub(crate) fn read_to(&self) -> Position {
        let resumed = self.resume.as_ref().map(|resume| resume.read_to);
        resumed.unwrap_or_default().max(self.position())
    }

    pub(crate) fn tail(&self) -> &Tail {
        self.reader.tail()
    }

    /// Reads one frame.
    pub(crate) fn step(&mut self) -> Result<Step, bundle_log::Error> {
        if let Some(resume) = self.resume.take_if(|resume| self.reader.position() >= resume.read_to) {
            self.watermarks = resume.watermarks;
        }
        let frame = match self.reader.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Step::End),
            Err(error @ bundle_log::Error::Damaged { .. }) => return Ok(Step::Damaged(error.to_string())),
            Err(error) => return Err(error),
        };
        match Record::read(&frame.payload) {
            Ok(Record::Heartbeat { watermark_ms }) => {
                self.watermarks.heartbeat(watermark_ms);
                Ok(Step::Moved)
            }
            Ok(Record::Session { start_ms, probes }) => {
                self.watermarks.session(start_ms, &probes);
                Ok(Step::Moved)
            }
            Ok(Record::Bundle(bytes)) => match Metadata::decode(bytes) {
                Ok(metadata) => {
                    let probe = Arc::clone(&metadata.header.probe);
                    self.watermarks.bundle(&probe, metadata.header.watermark_ms);
                    if metadata.rows == 0 {
                        return Ok(Step::Moved);
                    }
                    Ok(Step::Bundle(Box::new(Packed { metadata, frame })))
                }
                Err(error) => Ok(Step::Damaged(format!("at log position {}: {error}", frame.position))),
            },
            Err(error) => Ok(Step::Damaged(format!("at log position {}: {error}", frame.position))),
        }
    }
}

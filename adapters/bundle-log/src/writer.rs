use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::segment::{self, FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, MAX_FRAME_BYTES};
use crate::{Error, Position, Tail};

/// When appended frames are forced to the disk, that is, what a power cut may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Left to the operating system: a power cut may cost about half a minute. The death of the process costs nothing.
    Never,
    /// At this interval, in the background: a power cut may cost what came in the last interval.
    Every(Duration),
    /// Before each append returns: a power cut costs no appended frame.
    Always,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Length in bytes at which a segment is closed and the next begun.
    pub segment_bytes: u64,
    /// Most bytes that the log may take on disk; past it, appends are refused.
    pub limit_bytes: u64,
    /// What a power cut may cost.
    pub sync: Sync,
}

impl Default for Options {
    /// Segments of 256 MiB, 8 GiB in all (about 70 million flows uncompressed), synced every second.
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            limit_bytes: 8 << 30,
            sync: Sync::Every(Duration::from_secs(1)),
        }
    }
}

/// How full a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub bytes: u64,
    /// The limit of [`Options`].
    pub limit: u64,
}

/// The one writer of a log.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    options: Options,
    tail: Tail,
    segments: Arc<Segments>,
    current: Option<Current>,
    syncer: Option<Syncer>,
}

#[derive(Debug)]
struct Current {
    base: Position,
    path: PathBuf,
    file: File,
}

/// The segments on disk, shared with the trimmers.
#[derive(Debug, Default)]
struct Segments {
    bases: Mutex<VecDeque<Position>>,
    bytes: AtomicU64,
}

impl LogWriter {
    /// Opens the log in `folder`, which is made if it is missing. A frame cut short by a crash is removed from the end.
    ///
    /// The caller makes sure that there is one writer only.
    ///
    /// # Errors
    /// If the folder or a segment cannot be read or written, or holds foreign files that end in `.seg`.
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut bases = segment::list(folder)?;
        let tail = Tail::default();
        let mut current = None;
        while let Some(&base) = bases.last() {
            let path = segment::path(folder, base);
            if fs::metadata(&path).map_err(Error::io(&path))?.len() < HEADER_BYTES {
                // A crash between making the file and writing its header; it never held a frame.
                fs::remove_file(&path).map_err(Error::io(&path))?;
                bases.pop();
                tail.publish(tail.position().max(base));
                continue;
            }
            let (length, broken) = segment::scan(folder, base)?;
            let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
            if let Some(what) = broken {
                tracing::warn!(segment = %path.display(), offset = HEADER_BYTES + length, what, "end of the log cut off after a crash");
                file.set_len(HEADER_BYTES + length).map_err(Error::io(&path))?;
            }
            tail.publish(base.advance(length));
            current = Some(Current { base, path, file });
            break;
        }
        let mut bytes = 0;
        for &base in &bases {
            let path = segment::path(folder, base);
            bytes += fs::metadata(&path).map_err(Error::io(&path))?.len();
        }
        let segments = Segments {
            bases: Mutex::new(bases.into()),
            bytes: AtomicU64::new(bytes),
        };
        let syncer = match options.sync {
            Sync::Every(interval) => Some(Syncer::start(interval).map_err(Error::io(folder))?),
            Sync::Never | Sync::Always => None,
        };
        Ok(Self {
            folder: folder.to_owned(),
            options,
            tail,
            segments: Arc::new(segments),
            current,
            syncer,
        })
    }

    /// Begins the log no earlier than at `position`. Used when the log was lost but others remember positions in it.
    pub fn start_at_least(&mut self, position: Position) {
        if self.tail.position() < position {
            self.current = None;
            self.tail.publish(position);
        }
    }

    /// The folder of the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The end of the log, for readers in this process.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// How full the log is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.segments.bytes.load(Ordering::Relaxed),
            limit: self.options.limit_bytes,
        }
    }

    /// A handle that deletes old segments from another thread.
    #[must_use]
    pub fn trimmer(&self) -> Trimmer {
        Trimmer {
            folder: self.folder.clone(),
            segments: Arc::clone(&self.segments),
            limit: self.options.limit_bytes,
        }
    }

    /// Appends one frame, given in parts, and returns its position. When this returns, the frame survives the death of the process.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::NoSpace`] if there is no room: nothing was appended, and a later call may succeed.
    pub fn append(&mut self, payload: &[&[u8]]) -> Result<Position, Error> {
        let length: u64 = payload.iter().map(|part| part.len() as u64).sum();
        let too_long = || Error::TooLong {
            length,
            limit: MAX_FRAME_BYTES,
        };
        if length > MAX_FRAME_BYTES {
            return Err(too_long());
        }
        let frame = FRAME_HEADER_BYTES + length;
        let Usage { bytes: used, limit } = self.usage();
        if used + frame + HEADER_BYTES > limit {
            return Err(Error::Full {
                used,
                limit,
                wanted: frame,
            });
        }
        let position = self.tail.position();
        let sync = self.options.sync;
        let current = self.segment_for(position)?;

        let length = u32::try_from(length).map_err(|_| too_long())?;
        let mut head = FrameHeader::default();
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&segment::checksum(length, payload).to_le_bytes());
        let mut slices = Vec::with_capacity(payload.len() + 1);
        slices.push(IoSlice::new(&head));
        slices.extend(payload.iter().map(|part| IoSlice::new(part)));
        let written = write_all_vectored(&mut current.file, &mut slices).and_then(|()| match sync {
            Sync::Always => current.file.sync_data(),
            Sync::Never | Sync::Every(_) => Ok(()),
        });
        if let Err(error) = written {
            // Leave no half frame behind: what follows would be unreachable. If even this fails, go on in a new
            // segment, where opening finds the frames before the damage and reading skips it.
            let keep = HEADER_BYTES + position.since(current.base);
            let error = Error::io(&current.path)(error);
            if current.file.set_len(keep).is_err() {
                self.current = None;
                self.tail.publish(position.advance(frame));
            }
            return Err(error);
        }
        self.segments.bytes.fetch_add(frame, Ordering::Relaxed);
        if let (Some(syncer), Some(current)) = (&self.syncer, &self.current) {
            syncer.written(current);
        }
        self.tail.publish(position.advance(frame));
        Ok(position)
    }

    /// Forces everything appended so far to the disk.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn sync(&self) -> Result<(), Error> {
        self.current.as_ref().map_or(Ok(()), |current| {
            current.file.sync_data().map_err(Error::io(&current.path))
        })
    }

    fn segment_for(&mut self, position: Position) -> Result<&mut Current, Error> {
        let full = self
            .current
            .as_ref()
            .is_none_or(|current| position.since(current.base) >= self.options.segment_bytes);
        if full {
            if !matches!(self.options.sync, Sync::Never) {
                self.sync()?;
            }
            let path = segment::path(&self.folder, position);
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(Error::io(&path))?;
            file.set_len(0)
                .and_then(|()| file.write_all(&segment::header(position)))
                .map_err(Error::io(&path))?;
            if !matches!(self.options.sync, Sync::Never) {
                File::open(&self.folder)
                    .and_then(|folder| folder.sync_all())
                    .map_err(Error::io(&self.folder))?;
            }
            self.segments.bytes.fetch_add(HEADER_BYTES, Ordering::Relaxed);
            let mut bases = self.segments.bases.lock().unwrap_or_else(PoisonError::into_inner);
            if bases.back() != Some(&position) {
                bases.push_back(position);
            }
            drop(bases);
            return Ok(self.current.insert(Current {
                base: position,
                path,
                file,
            }));
        }
        let folder = &self.folder;
        self.current
            .as_mut()
            .ok_or_else(|| Error::Foreign { path: folder.clone() })
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        drop(self.syncer.take());
        if !matches!(self.options.sync, Sync::Never)
            && let Err(error) = self.sync()
        {
            tracing::error!(%error, "log not synced at its end");
        }
        self.tail.close();
    }
}

fn write_all_vectored(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> std::io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Deletes segments that are no longer needed.
#[derive(Clone, Debug)]
pub struct Trimmer {
    folder: PathBuf,
    segments: Arc<Segments>,
    limit: u64,
}

impl Trimmer {
    /// Deletes every segment that ends at or before `position`; the last one is always kept.
    ///
    /// # Errors
    /// If a file cannot be deleted; the ones before it are gone.
    pub fn trim(&self, position: Position) -> Result<(), Error> {
        let mut bases = self.segments.bases.lock().unwrap_or_else(PoisonError::into_inner);
        while let (Some(&oldest), Some(&next)) = (bases.front(), bases.get(1)) {
            if next > position {
                break;
            }
            let path = segment::path(&self.folder, oldest);
            let length = fs::metadata(&path).map_err(Error::io(&path))?.len();
            fs::remove_file(&path).map_err(Error::io(&path))?;
            self.segments.bytes.fetch_sub(length, Ordering::Relaxed);
            bases.pop_front();
        }
        Ok(())
    }

    /// How full the log is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.segments.bytes.load(Ordering::Relaxed),
            limit: self.limit,
        }
    }
}

/// The thread that syncs at an interval.
#[derive(Debug)]
struct Syncer {
    shared: Arc<(Mutex<ToSync>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct ToSync {
    segment: Option<(Position, File)>,
    stop: bool,
}

impl Syncer {
    fn start(interval: Duration) -> std::io::Result<Self> {
        let shared = Arc::new((Mutex::new(ToSync::default()), Condvar::new()));
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log-sync".into()).spawn(move || {
            loop {
                let guard = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
                let (mut state, _) = seen
                    .1
                    .wait_timeout_while(guard, interval, |state| !state.stop)
                    .unwrap_or_else(PoisonError::into_inner);
                let (segment, stop) = (state.segment.take(), state.stop);
                drop(state);
                if let Some((_, file)) = segment
                    && let Err(error) = file.sync_data()
                {
                    tracing::error!(%error, "log not synced");
                }
                if stop {
                    return;
                }
            }
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Notes that a segment has unsynced frames. A segment that is full was synced when the next was begun.
    fn written(&self, current: &Current) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.segment.as_ref().is_none_or(|(base, _)| *base != current.base) {
            match current.file.try_clone() {
                Ok(file) => state.segment = Some((current.base, file)),
                Err(error) => tracing::error!(%error, "log will not be synced this time"),
            }
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

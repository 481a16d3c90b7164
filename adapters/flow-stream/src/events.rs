//! The durable file of events: one JSON object a line.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::EventsEnd;

/// One row of a delivery.
#[derive(Debug, Serialize)]
struct Event<'e> {
    statement: &'e str,
    /// The stream's time, ms since 1970.
    time: i64,
    /// The same for the same event in every run over the same log: `DELIVERY-ROW`.
    id: String,
    /// `old` for a row that left a window, where the statement selects those.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    row: &'e Map<String, Value>,
}

/// What is read back of a line to know that it was written.
#[derive(Deserialize)]
struct Written {
    statement: String,
    id: String,
}

/// How event files are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Length in bytes at which a file is closed and the next begun.
    pub(crate) file_bytes: u64,
    /// Most bytes of all files; the oldest go first.
    pub(crate) total_bytes: u64,
}

/// Events that wait in memory while the disk is full. Past them the processor ends, and the next run finds them again from
/// the checkpoint and the log.
const MAX_UNWRITTEN: usize = 64 << 20;

/// Whether something failed for want of room on the disk, which may come.
pub(crate) fn is_for_want_of_room(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Appends events, each once: what a run before wrote after its last checkpoint is not written again.
#[derive(Debug)]
pub(crate) struct EventFile {
    folder: PathBuf,
    keep: Keep,
    number: u64,
    file: File,
    bytes: u64,
    unwritten: Vec<u8>,
    /// Whether there was no room the last time.
    is_full: bool,
    /// The last delivery of each statement that an earlier run wrote past the checkpoint, and how many of its rows.
    known: HashMap<String, (u64, u64)>,
    /// Where that run's checkpoint ended. As long as not all that it wrote has come again, a further checkpoint must end there too:
    /// else a run after this one would not know of what is still to come again.
    known_from: EventsEnd,
}

impl EventFile {
    /// Opens the files in `folder`. `end` is where the events of the restored state end; without one, all that is
    /// there belongs to other runs and is kept.
    pub(crate) fn open(folder: &Path, keep: Keep, end: Option<EventsEnd>) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let numbers = list(folder)?;
        let number = numbers.last().copied().unwrap_or(0);
        let path = path(folder, number);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        let bytes = cut_last_line(&mut file).with_context(|| path.display().to_string())?;
        let mut known = HashMap::new();
        if let Some(end) = end {
            for &past in numbers.iter().filter(|&&past| past >= end.file) {
                let from = if past == end.file { end.bytes } else { 0 };
                read_known(&self::path(folder, past), from, &mut known)?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            keep,
            number,
            file,
            bytes,
            unwritten: Vec::new(),
            is_full: false,
            known,
            known_from: end.unwrap_or_default(),
        })
    }

    /// Adds the rows of one delivery. They are on their way to the disk after [`flush`](Self::flush).
    pub(crate) fn add(&mut self, delivery: Delivery<'_>) -> Result<()> {
        let known = self.known.get(delivery.statement).copied();
        for (row, (kind, columns)) in (0u64..).zip(delivery.rows) {
            if known.is_some_and(|known| (delivery.number, row) <= known) {
                continue;
            }
            let event = Event {
                statement: delivery.statement,
                time: delivery.time_ms,
                id: format!("{}-{row}", delivery.number),
                kind: *kind,
                row: columns,
            };
            serde_json::to_writer(&mut self.unwritten, &event)?;
            self.unwritten.push(b'\n');
        }
        if known.is_some_and(|(number, _)| delivery.number >= number) {
            self.known.remove(delivery.statement);
        }
        if self.unwritten.len() >= 1 << 20 {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was added; it then survives the death of the process. On a full disk it waits in memory.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match self.write() {
            Err(error) if is_for_want_of_room(&error) && self.unwritten.len() < MAX_UNWRITTEN => {
                if !self.is_full {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "events wait in memory until there is room"
                    );
                }
                self.is_full = true;
                Ok(())
            }
            result => {
                self.is_full = false;
                result
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.bytes >= self.keep.file_bytes {
            self.begin_next()?;
        }
        if let Err(error) = self.file.write_all(&self.unwritten) {
            // A part of a line must not stay: the whole of it is written again later.
            drop(self.file.set_len(self.bytes));
            return Err(error).with_context(|| path(&self.folder, self.number).display().to_string());
        }
        self.bytes += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// Forces what was added to the disk, and tells from where a run that goes on here must look for events that it will find
    /// again: the end, mostly. Nothing if there is no room.
    pub(crate) fn sync(&mut self) -> Result<Option<EventsEnd>> {
        self.flush()?;
        if !self.unwritten.is_empty() {
            return Ok(None);
        }
        self.file
            .sync_data()
            .with_context(|| path(&self.folder, self.number).display().to_string())?;
        if !self.known.is_empty() {
            return Ok(Some(self.known_from));
        }
        Ok(Some(EventsEnd {
            file: self.number,
            bytes: self.bytes,
        }))
    }

    fn begin_next(&mut self) -> Result<()> {
        self.file.sync_data()?;
        let next = path(&self.folder, self.number + 1);
        self.file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&next)
            .with_context(|| next.display().to_string())?;
        self.number += 1;
        self.bytes = 0;
        let mut total = 0;
        for number in list(&self.folder)?.into_iter().rev() {
            let path = path(&self.folder, number);
            total += fs::metadata(&path)?.len();
            if total > self.keep.total_bytes && number != self.number {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }
}

/// A delivery, as far as the event file needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'d> {
    pub(crate) statement: &'d str,
    /// Counts the statement's deliveries.
    pub(crate) number: u64,
    pub(crate) time_ms: i64,
    pub(crate) rows: &'d [(Option<&'static str>, Map<String, Value>)],
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("events-{number:08}.jsonl"))
}

fn list(folder: &Path) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix("events-")?.strip_suffix(".jsonl")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a line that a crash cut short; returns the length that is left.
fn cut_last_line(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut reader = BufReader::new(&mut *file);
    let back = length.saturating_sub(1 << 20);
    reader.seek(SeekFrom::Start(back))?;
    let (mut end, mut at, mut line) = (back, back, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        at += read as u64;
        if line.last() == Some(&b'\n') {
            end = at;
        }
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

fn read_known(path: &Path, from: u64, known: &mut HashMap<String, (u64, u64)>) -> Result<()> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    file.seek(SeekFrom::Start(from))?;
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let Ok(written) = serde_json::from_slice::<Written>(&line) else {
            continue;
        };
        let id = written
            .id
            .split_once('-')
            .and_then(|(number, row)| Some((number.parse().ok()?, row.parse().ok()?)));
        if let Some(id) = id {
            let last = known.entry(written.statement).or_insert(id);
            *last = id.max(*last);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEEP: Keep = Keep {
        file_bytes: 400,
        total_bytes: 4000,
    };

    fn add(events: &mut EventFile, number: u64, rows: u64) {
        let rows: Vec<_> = (0..rows)
            .map(|row| (None, json!({"n": number * 10 + row}).as_object().unwrap().clone()))
            .collect();
        events
            .add(Delivery {
                statement: "s",
                number,
                time_ms: 7,
                rows: &rows,
            })
            .unwrap();
        events.flush().unwrap();
    }

    fn text(folder: &Path) -> String {
        list(folder)
            .unwrap()
            .into_iter()
            .map(|number| fs::read_to_string(path(folder, number)).unwrap())
            .collect()
    }

    #[test]
    fn events_of_a_repeated_run_are_written_once_whatever_byte_the_first_was_cut_at() {
        let whole = tempfile::tempdir().unwrap();
        let mut events = EventFile::open(whole.path(), KEEP, None).unwrap();
        add(&mut events, 1, 2);
        let end = events.sync().unwrap().unwrap();
        add(&mut events, 2, 3);
        add(&mut events, 3, 1);
        let wanted = text(whole.path());
        for cut in usize::try_from(end.bytes).unwrap()..=wanted.len() {
            let folder = tempfile::tempdir().unwrap();
            fs::write(path(folder.path(), 0), &wanted[..cut]).unwrap();
            let mut events = EventFile::open(folder.path(), KEEP, Some(end)).unwrap();
            add(&mut events, 2, 3);
            // A checkpoint here, while the first run may have written what is still to come, and another kill.
            let between = events.sync().unwrap();
            let mut events = EventFile::open(folder.path(), KEEP, between).unwrap();
            add(&mut events, 3, 1);
            assert_eq!(text(folder.path()), wanted, "cut at {cut}");
        }
    }

    #[test]
    fn old_files_go_when_there_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::open(folder.path(), KEEP, None).unwrap();
        for number in 0..200 {
            add(&mut events, number, 2);
        }
        let text = text(folder.path());
        assert!(text.len() < 5000 && text.contains("\"id\":\"199-1\"") && !text.contains("\"id\":\"0-0\""));
    }
}

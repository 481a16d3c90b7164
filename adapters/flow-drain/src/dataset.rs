//! The dataset's folder: one process at a time, files published whole, a manifest that only grows by whole lines.
//!
//! The order of steps is what makes a crash harmless:
//!
//! 1. a file is written under a hidden name that does not end in `.parquet`, and flushed to the disk;
//! 2. it is renamed to its final name, and its folder flushed;
//! 3. the manifest's line is appended and flushed: this is the commit.
//!
//! A start removes what a crash before step 3 left: hidden files, and files that the manifest does not name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flow_store::parquet::manifest::{Commit, Manifest};
use flow_store::parquet::partition::Hour;
use nix::fcntl::{Flock, FlockArg};

use crate::blocks::Blocks;
use crate::error::Error;

/// Name of the manifest in the dataset.
const MANIFEST: &str = "_manifest.jsonl";
/// Name of the manifest while it is being replaced.
const MANIFEST_NEXT: &str = "_manifest.next";
/// Held locked while the dataset is open.
const LOCK: &str = ".lock";
/// Given up when the disk is so full that not even the line that makes room can be written.
const RESERVE: &str = ".reserve";
/// Size of the reserve.
const RESERVE_BYTES: usize = 256 << 10;
/// Prefix of files that are being written; readers skip hidden files.
const HIDDEN: &str = ".";
/// Suffix of files that are being written.
const UNFINISHED: &str = ".unfinished";
/// The manifest is rewritten when it has this many lines more than it names files.
const SPARE_LINES: usize = 1024;

/// What opening a dataset found to clean up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Files removed since no commit names them.
    pub removed: Vec<PathBuf>,
    /// Files that a commit names and that are gone or of another length: someone else's doing, told but not repaired.
    pub missing: Vec<PathBuf>,
    /// Bytes of an unfinished line cut from the manifest.
    pub cut: u64,
}

/// A point of the way to the disk at which a test can let the process fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    MakeFolder,
    CreateFile,
    WriteFile,
    SyncFile,
    RenameFile,
    SyncFolder,
    AppendManifest,
    SyncManifest,
    RemoveFile,
    WriteNextManifest,
    RenameManifest,
}

/// An open dataset.
#[derive(Debug)]
pub(crate) struct Dataset {
    root: PathBuf,
    manifest: Manifest,
    file: File,
    /// Length of the manifest's whole lines; what lies beyond is of a failed append.
    len: u64,
    _lock: Flock<File>,
    #[cfg(test)]
    pub(crate) fail: Option<Failure>,
}

/// Lets one step of the way to the disk fail, as a full disk or a crash would.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// How many steps still succeed.
    pub(crate) after: usize,
    /// Whether all later steps fail too.
    pub(crate) for_ever: bool,
}

impl Dataset {
    /// Opens the dataset in `root`, making it if there is none, and cleans up after a crash.
    pub(crate) fn open(root: &Path) -> Result<(Self, Recovery), Error> {
        fs::create_dir_all(root).map_err(Error::io("make", root))?;
        let lock_path = root.join(LOCK);
        let lock = File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
        let lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(Error::InUse {
                    path: root.to_path_buf(),
                });
            }
            Err((_, errno)) => return Err(Error::io("lock", &lock_path)(errno.into())),
        };

        let mut recovery = Recovery::default();
        let path = root.join(MANIFEST);
        let mut text = Vec::new();
        let is_new = match File::open(&path) {
            Ok(mut file) => file
                .read_to_end(&mut text)
                .map(|_| false)
                .map_err(Error::io("read", &path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let present = Self::data_files(root)?;
        if is_new && let Some(example) = present.iter().find(|path| is_parquet(path)) {
            return Err(Error::NoManifest {
                path: root.to_path_buf(),
                example: example.clone(),
            });
        }
        let read = Manifest::read(&text)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::io("open", &path))?;
        let len = read.len as u64;
        recovery.cut = text.len() as u64 - len;
        let mut dataset = Self {
            root: root.to_path_buf(),
            manifest: read.manifest,
            file,
            len,
            _lock: lock,
            #[cfg(test)]
            fail: None,
        };
        if is_new {
            // From here on a missing manifest means that someone removed it, never that nothing was committed yet.
            dataset.sync_folder(root)?;
        }

        for path in present {
            let relative = relative(root, &path);
            if relative
                .as_deref()
                .is_none_or(|relative| dataset.manifest.file(relative).is_none())
            {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                recovery.removed.push(path);
            }
        }
        for file in dataset.manifest.files() {
            let path = root.join(&file.path);
            if fs::metadata(&path).map(|found| found.len()).ok() != Some(file.bytes) {
                recovery.missing.push(path);
            }
        }
        dataset.keep_reserve();
        Ok((dataset, recovery))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Publishes a whole file under `path` within the dataset. A file of that name is replaced: it is of an earlier
    /// try, as no commit names it.
    pub(crate) fn publish(&mut self, path: &str, bytes: &Blocks) -> Result<(), Error> {
        let target = self.root.join(path);
        let (Some(folder), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) else {
            return Err(Error::io("write", &target)(io::ErrorKind::InvalidFilename.into()));
        };
        self.step(Step::MakeFolder).map_err(Error::io("make", folder))?;
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
            let root = self.root.clone();
            for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&root)) {
                self.sync_folder(above)?;
            }
        }
        let hidden = folder.join(format!("{HIDDEN}{name}{UNFINISHED}"));
        self.step(Step::CreateFile).map_err(Error::io("create", &hidden))?;
        let mut file = File::create(&hidden).map_err(Error::io("create", &hidden))?;
        let written = self
            .step(Step::WriteFile)
            .and_then(|()| bytes.write_to(&mut file))
            .map_err(Error::io("write", &hidden))
            .and_then(|()| {
                self.step(Step::SyncFile)
                    .and_then(|()| file.sync_all())
                    .map_err(Error::io("sync", &hidden))
            });
        if let Err(error) = written {
            // A part of the file only takes room that is short already.
            drop(file);
            drop(fs::remove_file(&hidden));
            return Err(error);
        }
        self.step(Step::RenameFile)
            .and_then(|()| fs::rename(&hidden, &target))
            .map_err(Error::io("rename to", &target))?;
        self.sync_folder(folder)
    }

    /// Appends a commit to the manifest. When this returns without an error, the commit is on the disk.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Result<(), Error> {
        let line = commit.to_line()?;
        let path = self.root.join(MANIFEST);
        let appended = self.step(Step::AppendManifest).and_then(|()| {
            // What a failed append left is written over, and cut off beyond.
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            self.file.write_all(&line)
        });
        let synced = appended
            .and_then(|()| self.step(Step::SyncManifest))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = synced {
            // The line must not stand there without counting here.
            drop(self.file.set_len(self.len));
            return Err(Error::io("append to", &path)(error));
        }
        self.len += line.len() as u64;
        self.manifest.apply(commit);
        Ok(())
    }

    /// As [`commit`](Self::commit), for a commit that makes room: on a full disk it uses the room of the reserve.
    pub(crate) fn commit_with_reserve(&mut self, commit: &Commit) -> Result<(), Error> {
        match self.commit(commit) {
            Err(Error::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                let reserve = self.root.join(RESERVE);
                fs::remove_file(&reserve).map_err(Error::io("remove", &reserve))?;
                self.commit(commit)
            }
            outcome => outcome,
        }
    }

    /// Removes a file that no commit names any more, and its folders if they are empty.
    pub(crate) fn remove(&mut self, path: &str) -> Result<(), Error> {
        let target = self.root.join(path);
        match self.step(Step::RemoveFile).and_then(|()| fs::remove_file(&target)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &target)(error)),
            _ => {}
        }
        for folder in target.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Replaces a manifest that has grown long by one line that says the same.
    pub(crate) fn shorten_manifest(&mut self) -> Result<(), Error> {
        if self.manifest.lines() < SPARE_LINES + self.manifest.files().count() {
            return Ok(());
        }
        let line = self.manifest.snapshot().to_line()?;
        let next = self.root.join(MANIFEST_NEXT);
        let path = self.root.join(MANIFEST);
        self.step(Step::WriteNextManifest).map_err(Error::io("write", &next))?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&next);
        let mut file = file.map_err(Error::io("create", &next))?;
        file.write_all(&line)
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", &next))?;
        self.step(Step::RenameManifest)
            .and_then(|()| fs::rename(&next, &path))
            .map_err(Error::io("rename to", &path))?;
        self.file = file;
        self.len = line.len() as u64;
        self.manifest = Manifest::read(&line)?.manifest;
        let root = self.root.clone();
        self.sync_folder(&root)
    }

    /// Makes the reserve if it is not there; without room for it, it is made some other time.
    pub(crate) fn keep_reserve(&self) {
        let path = self.root.join(RESERVE);
        if fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE_BYTES as u64) {
            return;
        }
        if fs::write(&path, vec![0; RESERVE_BYTES]).is_err() {
            drop(fs::remove_file(&path));
        }
    }

    /// Bytes that an unprivileged user can still write to the disk.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        let found = nix::sys::statvfs::statvfs(&self.root).map_err(io::Error::from);
        let found = found.map_err(Error::io("ask for the free space of", &self.root))?;
        Ok(found.blocks_available().saturating_mul(found.fragment_size()))
    }

    fn sync_folder(&mut self, folder: &Path) -> Result<(), Error> {
        self.step(Step::SyncFolder)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(Error::io("sync", folder))
    }

    /// The files of ours below the folders of hours, committed or not. What else lies in the dataset is left alone.
    fn data_files(root: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for date in folders(root, "date=")? {
            for hour in folders(&date, "hour=")? {
                let is_ours = relative(root, &hour).is_some_and(|path| Hour::from_path(&path).is_some());
                for entry in if is_ours { entries(&hour)? } else { Vec::new() } {
                    if is_parquet(&entry) || is_unfinished(&entry) {
                        files.push(entry);
                    }
                }
            }
        }
        Ok(files)
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        clippy::needless_pass_by_ref_mut,
        reason = "as in a test"
    )]
    fn step(&mut self, _: Step) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&mut self, _: Step) -> io::Result<()> {
        match &mut self.fail {
            None => Ok(()),
            Some(failure) if failure.after > 0 => {
                failure.after -= 1;
                Ok(())
            }
            Some(failure) => {
                if !failure.for_ever {
                    self.fail = None;
                }
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(Error::io("list", folder))?;
    paths.sort();
    Ok(paths)
}

fn folders(above: &Path, prefix: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = entries(above)?;
    found.retain(|path| name(path).starts_with(prefix) && path.is_dir());
    Ok(found)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

fn is_unfinished(path: &Path) -> bool {
    name(path).starts_with(HIDDEN) && name(path).ends_with(UNFINISHED)
}

/// The path within the dataset as the manifest writes it.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.strip_prefix(root).ok()?.iter().map(|part| part.to_str()).collect();
    parts.map(|parts| parts.join("/"))
}

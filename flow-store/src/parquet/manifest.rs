//! The manifest: the list of the dataset's files and of the bundles that they hold. A line in it *is* the commit.
//!
//! # Format
//!
//! A text file of JSON lines, appended to only. Each line is one commit; a line counts once its line feed is on the disk.
//!
//! ```json
//! {"version":1,"number":7,"add":[{"path":"date=2026-11-23/hour=07/1.parquet","rows":90,"bytes":4096,"first_ms":1,"last_ms":2}],"remove":[],"bundles":[{"probe":"edge-1","first":1,"last":12}]}
//! ```
//!
//! * `number`: of the commit, rising, never used twice, so that a file named after it is never another file;
//! * `add`: files that hold flows from now on, by their path within the dataset; `remove`: files that no longer count;
//! * `bundles`: the bundles whose flows the added files hold, wholly, as ranges of sequence numbers with both ends included;
//! * a last line without its line feed was cut off by a crash: it never counted, and is cut away before the next is appended.
//!
//! When the file has grown much longer than what it says, it is replaced, by an atomic rename, with one line that says the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::parquet::partition::Hour;

/// The version of the manifest's format.
pub const MANIFEST_VERSION: u32 = 1;

/// A committed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path within the dataset, parts joined with `/`.
    pub path: String,
    /// Flows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Lowest `time`.
    pub first_ms: i64,
    /// Highest `time`.
    pub last_ms: i64,
}

/// Bundles of one probe, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRange {
    /// The probe's name.
    pub probe: String,
    /// Lowest sequence number.
    pub first: u64,
    /// Highest sequence number.
    pub last: u64,
}

/// One line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    version: u32,
    /// Number of the commit, higher than all before it.
    pub number: u64,
    /// Files that hold flows from now on.
    pub add: Vec<File>,
    /// Paths of files that no longer count.
    pub remove: Vec<String>,
    /// Bundles that the added files hold.
    pub bundles: Vec<BundleRange>,
}

impl Commit {
    /// A commit in the current format.
    #[must_use]
    pub fn new(number: u64, add: Vec<File>, remove: Vec<String>, bundles: Vec<BundleRange>) -> Self {
        Self {
            version: MANIFEST_VERSION,
            number,
            add,
            remove,
            bundles,
        }
    }

    /// The commit's line, with its line feed.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`] if it cannot be put into JSON.
    pub fn to_line(&self) -> Result<Vec<u8>, Error> {
        let mut line = serde_json::to_vec(self).map_err(|error| Error::Manifest {
            line: 0,
            what: error.to_string(),
        })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A set of sequence numbers, kept as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// First number of a range → its last; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl Sequences {
    /// Whether the number is in the set.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        self.ranges
            .range(..=sequence)
            .next_back()
            .is_some_and(|(_, &last)| sequence <= last)
    }

    /// Adds a range, both ends included.
    pub fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first.min(last), first.max(last));
        if let Some((&before, &end)) = self.ranges.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = before;
            last = last.max(end);
        }
        while let Some((&next, &end)) = self.ranges.range(first..=last.saturating_add(1)).next() {
            self.ranges.remove(&next);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// The ranges in order, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(&first, &last)| (first, last))
    }
}

/// What all commits together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    files: BTreeMap<String, File>,
    bundles: BTreeMap<String, Sequences>,
    lines: usize,
    number: u64,
}

/// A manifest as read, and how much of the text counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What the whole lines say.
    pub manifest: Manifest,
    /// Length of the whole lines; what lies beyond was cut off by a crash.
    pub len: usize,
}

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`] with the number of the line that is damaged, [`Error::Version`] if a line is of a newer format.
    pub fn read(text: &[u8]) -> Result<Read, Error> {
        let mut manifest = Self::default();
        let mut len = 0;
        for (at, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let Some(json) = line.strip_suffix(b"\n") else { break };
            let damaged = |what: String| Error::Manifest { line: at + 1, what };
            let found: serde_json::Value = serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
            let version = found.get("version").and_then(serde_json::Value::as_u64);
            let version = version.ok_or_else(|| damaged("no version".to_owned()))?;
            if version > u64::from(MANIFEST_VERSION) {
                let found = u32::try_from(version).unwrap_or(u32::MAX);
                return Err(Error::Version {
                    what: "manifest",
                    found,
                    supported: MANIFEST_VERSION,
                });
            }
            let commit: Commit = serde_json::from_value(found).map_err(|error| damaged(error.to_string()))?;
            if let Some(file) = commit
                .add
                .iter()
                .find(|file| Hour::from_path(&file.path).is_none() || file.path.contains(".."))
            {
                return Err(damaged(format!(
                    "{:?} is not the path of a file of the dataset",
                    file.path
                )));
            }
            manifest.apply(&commit);
            len += line.len();
        }
        Ok(Read { manifest, len })
    }

    /// Takes a commit into account.
    pub fn apply(&mut self, commit: &Commit) {
        for path in &commit.remove {
            self.files.remove(path);
        }
        for file in &commit.add {
            self.files.insert(file.path.clone(), file.clone());
        }
        for range in &commit.bundles {
            match self.bundles.get_mut(&range.probe) {
                Some(sequences) => sequences.insert(range.first, range.last),
                None => {
                    let mut sequences = Sequences::default();
                    sequences.insert(range.first, range.last);
                    self.bundles.insert(range.probe.clone(), sequences);
                }
            }
        }
        self.lines += 1;
        self.number = self.number.max(commit.number);
    }

    /// One commit that says all that this manifest says.
    #[must_use]
    pub fn snapshot(&self) -> Commit {
        let bundles = self.bundles.iter().flat_map(|(probe, sequences)| {
            sequences.ranges().map(|(first, last)| BundleRange {
                probe: probe.clone(),
                first,
                last,
            })
        });
        Commit::new(
            self.number,
            self.files.values().cloned().collect(),
            Vec::new(),
            bundles.collect(),
        )
    }

    /// The files that count, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    /// The file of that path, if it counts.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Whether a bundle's flows are committed.
    #[must_use]
    pub fn holds(&self, probe: &str, sequence: u64) -> bool {
        self.bundles
            .get(probe)
            .is_some_and(|sequences| sequences.contains(sequence))
    }

    /// The committed bundles of each probe.
    pub fn bundles(&self) -> impl Iterator<Item = (&str, &Sequences)> {
        self.bundles
            .iter()
            .map(|(probe, sequences)| (probe.as_str(), sequences))
    }

    /// The number of the last commit; 0 before the first.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many commits were taken into account: lines in the file.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn file(path: &str) -> File {
        File {
            path: path.to_owned(),
            rows: 3,
            bytes: 400,
            first_ms: 1,
            last_ms: 2,
        }
    }

    fn range(probe: &str, first: u64, last: u64) -> BundleRange {
        BundleRange {
            probe: probe.to_owned(),
            first,
            last,
        }
    }

    fn two_commits() -> Vec<u8> {
        let a = Commit::new(
            1,
            vec![file("date=1970-01-01/hour=00/a.parquet")],
            vec![],
            vec![range("p", 1, 3)],
        );
        let b = Commit::new(
            2,
            vec![file("date=1970-01-01/hour=00/b.parquet")],
            vec!["date=1970-01-01/hour=00/a.parquet".to_owned()],
            vec![range("p", 4, 4), range("q", 9, 9)],
        );
        [a.to_line().unwrap(), b.to_line().unwrap()].concat()
    }

    #[test]
    fn the_example_of_the_documentation_is_a_line_of_the_format() {
        let line = br#"{"version":1,"number":7,"add":[{"path":"date=2026-11-23/hour=07/1.parquet","rows":90,"bytes":4096,"first_ms":1,"last_ms":2}],"remove":[],"bundles":[{"probe":"edge-1","first":1,"last":12}]}"#;
        let read = Manifest::read(&[line.as_slice(), b"\n"].concat()).unwrap();
        assert_eq!(
            read.manifest.snapshot().to_line().unwrap(),
            [line.as_slice(), b"\n"].concat()
        );
    }

    #[test]
    fn commits_add_up() {
        let read = Manifest::read(&two_commits()).unwrap();
        let manifest = read.manifest;
        assert_eq!(
            manifest.files().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            ["date=1970-01-01/hour=00/b.parquet"]
        );
        assert!((1..=4).all(|sequence| manifest.holds("p", sequence)) && manifest.holds("q", 9));
        assert!(!manifest.holds("p", 0) && !manifest.holds("p", 5) && !manifest.holds("r", 1));
        assert_eq!(manifest.lines(), 2);
    }

    #[test]
    fn a_line_cut_off_at_any_byte_never_counted() {
        let text = two_commits();
        let first = text.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for len in first..text.len() {
            let read = Manifest::read(&text[..len]).unwrap();
            assert_eq!((read.len, read.manifest.lines()), (first, 1));
        }
    }

    #[test]
    fn damage_before_the_end_is_told_with_its_line() {
        let mut text = two_commits();
        text.extend_from_slice(b"{\"version\":1,\"number\":1}\n");
        let error = Manifest::read(&text).unwrap_err();
        assert_eq!(error.to_string(), "manifest: line 3: missing field `add`");
        let error = Manifest::read(b"{\"version\":2,\"new\":[]}\n").unwrap_err();
        assert!(matches!(error, Error::Version { found: 2, .. }));
        let outside = Commit::new(1, vec![file("date=1970-01-01/hour=00/../../../etc/x")], vec![], vec![]);
        assert!(Manifest::read(&outside.to_line().unwrap()).is_err());
    }

    #[test]
    fn a_snapshot_says_the_same() {
        let manifest = Manifest::read(&two_commits()).unwrap().manifest;
        let again = Manifest::read(&manifest.snapshot().to_line().unwrap())
            .unwrap()
            .manifest;
        assert_eq!(again.snapshot(), manifest.snapshot());
    }

    proptest! {
        #[test]
        fn sequences_are_a_set(ranges in prop::collection::vec((0..40u64, 0..6u64), 0..20)) {
            let mut sequences = Sequences::default();
            let mut oracle = BTreeSet::new();
            for (first, more) in ranges {
                sequences.insert(first, first + more);
                oracle.extend(first..=first + more);
            }
            prop_assert!((0..60).all(|sequence| sequences.contains(sequence) == oracle.contains(&sequence)));
            let found: Vec<_> = sequences.ranges().collect();
            prop_assert!(found.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[{}\"a:,0\\[\\]\n]{0,60}") {
            let _refused_or_read = Manifest::read(text.as_bytes()).is_ok();
        }
    }

    #[test]
    fn the_highest_sequence_number_can_be_held() {
        let mut sequences = Sequences::default();
        sequences.insert(u64::MAX, u64::MAX);
        sequences.insert(0, u64::MAX - 1);
        assert_eq!(sequences.ranges().collect::<Vec<_>>(), [(0, u64::MAX)]);
    }
}

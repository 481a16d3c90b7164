//! How far each probe's stream has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The watermark of each probe that takes part; the lowest of them is the stream's time.
///
/// Only records of the log change it, so every walk along the same log sees the same times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watermarks {
    probes: BTreeMap<Arc<str>, i64>,
    /// The stream's time never goes back, also when a probe joins late.
    time_ms: i64,
    /// The stream's first time: when the statements begin.
    start_ms: i64,
}

impl Watermarks {
    /// The stream's time: no probe that takes part will send a flow of an earlier time.
    pub(crate) fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// The first time of the stream, 0 before there is one.
    pub(crate) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// A bundle of `probe` was read: its later bundles hold nothing earlier.
    pub(crate) fn bundle(&mut self, probe: &Arc<str>, watermark_ms: i64) {
        match self.probes.get_mut(probe) {
            Some(known) => *known = watermark_ms.max(*known),
            None => drop(self.probes.insert(Arc::clone(probe), watermark_ms)),
        }
        self.settle();
    }

    /// The collector's clock was read: it holds for all its probes.
    pub(crate) fn heartbeat(&mut self, watermark_ms: i64) {
        for known in self.probes.values_mut() {
            *known = watermark_ms.max(*known);
        }
        self.settle();
    }

    /// A collector began to write: only its probes take part from here on.
    pub(crate) fn session(&mut self, start_ms: i64, probes: &[&str]) {
        self.probes = probes.iter().map(|&probe| (Arc::from(probe), start_ms)).collect();
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(&lowest) = self.probes.values().min() {
            self.time_ms = self.time_ms.max(lowest);
            if self.start_ms == 0 {
                self.start_ms = self.time_ms;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_probe_sets_the_time() {
        let mut watermarks = Watermarks::default();
        watermarks.session(100, &["a", "b"]);
        watermarks.bundle(&"a".into(), 900);
        assert_eq!(watermarks.time_ms(), 100);
        watermarks.bundle(&"b".into(), 300);
        assert_eq!(watermarks.time_ms(), 300);
        watermarks.heartbeat(500);
        assert_eq!(watermarks.time_ms(), 500);
    }

    #[test]
    fn a_probe_that_is_gone_holds_nobody_back() {
        let mut watermarks = Watermarks::default();
        watermarks.session(100, &["a", "b"]);
        watermarks.session(200, &["b"]);
        watermarks.bundle(&"b".into(), 300);
        assert_eq!(watermarks.time_ms(), 300);
    }

    #[test]
    fn time_never_goes_back() {
        let mut watermarks = Watermarks::default();
        watermarks.session(100, &["a"]);
        watermarks.bundle(&"a".into(), 900);
        watermarks.session(50, &["a", "b"]);
        assert_eq!(watermarks.time_ms(), 900);
    }
}

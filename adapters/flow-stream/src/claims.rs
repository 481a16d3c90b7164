//! Who unpacks which bundle.

use std::sync::atomic::{AtomicU64, Ordering};

use bundle_log::Position;

/// Shares the bundles of the log among the workers, each of which walks along all of it: a bundle belongs to the worker that
/// comes to it first. So a worker that is busy with statements or with the drain unpacks less than one that is not.
/// What comes out does not depend on it, for the flows are put into one order afterwards.
#[derive(Debug)]
pub(crate) struct Claims {
    /// Where the bundles begin that nobody has come to.
    taken_to: AtomicU64,
    /// Where each worker reads.
    walked_to: Vec<AtomicU64>,
}

impl Claims {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            taken_to: AtomicU64::new(0),
            walked_to: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Takes the bundle from `position` to `next`. False if another worker has it.
    pub(crate) fn take(&self, position: Position, next: Position) -> bool {
        self.taken_to.fetch_max(next.0, Ordering::Relaxed) <= position.0
    }

    /// Worker `index` goes on reading at `position`.
    pub(crate) fn walked(&self, index: usize, position: Position) {
        if let Some(walked_to) = self.walked_to.get(index) {
            walked_to.store(position.0, Ordering::Relaxed);
        }
    }

    /// How far a worker at `position` is ahead of the one that is last, in bytes.
    pub(crate) fn bytes_ahead(&self, position: Position) -> u64 {
        let walked_to = self.walked_to.iter().map(|walked_to| walked_to.load(Ordering::Relaxed));
        position.0.saturating_sub(walked_to.min().unwrap_or(position.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bundle_is_taken_once() {
        let claims = Claims::new(2);
        let bundles: Vec<_> = (0..1000)
            .map(|at| (Position(at * 10), Position(at * 10 + 10)))
            .collect();
        let taken: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| bundles.iter().filter(|(from, to)| claims.take(*from, *to)).count()))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, bundles.len());
    }

    #[test]
    fn ahead_is_counted_from_the_slowest() {
        let claims = Claims::new(2);
        claims.walked(0, Position(70));
        claims.walked(1, Position(20));
        assert_eq!(
            (claims.bytes_ahead(Position(70)), claims.bytes_ahead(Position(20))),
            (50, 0)
        );
    }
}

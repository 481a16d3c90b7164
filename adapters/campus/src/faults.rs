use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How likely it is that a datagram of flows meets with an accident, each from 0 to 1. Datagrams of templates are
/// spared: without them what a collector should know of the others would be uncertain.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// It never leaves.
    pub loss: f64,
    /// It leaves twice.
    pub duplicate: f64,
    /// It leaves behind the one after it.
    pub reorder: f64,
}

/// What happens to one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    Lost,
    Doubled,
    Late,
}

/// Draws fates.
#[derive(Debug)]
pub(crate) struct Accidents {
    faults: Faults,
    random: ChaCha8Rng,
}

impl Accidents {
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(crate) fn next(&mut self) -> Fate {
        let Faults {
            loss,
            duplicate,
            reorder,
        } = self.faults;
        if loss + duplicate + reorder == 0.0 {
            return Fate::Sent;
        }
        let drawn: f64 = self.random.random();
        if drawn < loss {
            Fate::Lost
        } else if drawn < loss + duplicate {
            Fate::Doubled
        } else if drawn < loss + duplicate + reorder {
            Fate::Late
        } else {
            Fate::Sent
        }
    }
}

//! The stream's clock: never going back, whatever the host's clock does.

/// Past this difference between the host's clock and the time that has really gone by, the host's clock was set.
pub(crate) const JUMP_MS: i64 = 1_000;

/// Turns readings of the host's clocks into stamps that never go back.
///
/// Stamps follow the wall clock. When it is set back, stamps go on at half the pace of real time until the wall clock
/// has caught up, so that windows keep moving; when it is set forward, they jump with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamClock {
    last_ms: i64,
    wall_ms: i64,
    monotonic_ms: i64,
}

/// What a reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The stream's time in ms since 1970.
    pub(crate) time_ms: i64,
    /// How far the host's clock was set since the last reading, if it was.
    pub(crate) jump_ms: Option<i64>,
}

impl StreamClock {
    /// A clock whose first stamp is not before `at_least_ms`, the last stamp known from an earlier run.
    #[must_use]
    pub(crate) fn new(wall_ms: i64, monotonic_ms: i64, at_least_ms: i64) -> Self {
        Self {
            last_ms: wall_ms.max(at_least_ms),
            wall_ms,
            monotonic_ms,
        }
    }

    /// The last stamp.
    pub(crate) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// The stamp for now, given ms since 1970 and ms of a clock that is never set.
    pub(crate) fn stamp(&mut self, wall_ms: i64, monotonic_ms: i64) -> Stamp {
        let passed = monotonic_ms.saturating_sub(self.monotonic_ms).max(0);
        let jump = wall_ms.saturating_sub(self.wall_ms).saturating_sub(passed);
        if wall_ms >= self.last_ms {
            self.last_ms = wall_ms;
            (self.wall_ms, self.monotonic_ms) = (wall_ms, monotonic_ms);
        } else if passed >= 2 || jump.abs() >= JUMP_MS {
            self.last_ms = self.last_ms.saturating_add(passed / 2);
            // Keep the odd millisecond, or short intervals would never add up.
            (self.wall_ms, self.monotonic_ms) = (wall_ms - passed % 2, monotonic_ms - passed % 2);
        }
        Stamp {
            time_ms: self.last_ms,
            jump_ms: (jump.abs() >= JUMP_MS).then_some(jump),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_wall_clock() {
        let mut clock = StreamClock::new(1_000_000, 0, 0);
        assert_eq!(
            clock.stamp(1_000_250, 250),
            Stamp {
                time_ms: 1_000_250,
                jump_ms: None
            }
        );
        assert_eq!(
            clock.stamp(1_000_250, 250),
            Stamp {
                time_ms: 1_000_250,
                jump_ms: None
            }
        );
    }

    #[test]
    fn goes_on_at_half_pace_when_the_wall_clock_is_set_back() {
        let mut clock = StreamClock::new(1_000_000, 0, 0);
        assert_eq!(
            clock.stamp(990_000, 0),
            Stamp {
                time_ms: 1_000_000,
                jump_ms: Some(-10_000)
            }
        );
        let mut last = 0;
        for passed in 1..=19_999 {
            let stamp = clock.stamp(990_000 + passed, passed);
            assert_eq!(stamp.jump_ms, None);
            assert!(stamp.time_ms >= last);
            last = stamp.time_ms;
        }
        assert_eq!(last, 1_009_999);
        assert_eq!(clock.stamp(990_000 + 30_000, 30_000).time_ms, 1_020_000);
    }

    #[test]
    fn jumps_forward_with_the_wall_clock_and_says_so() {
        let mut clock = StreamClock::new(1_000_000, 0, 0);
        assert_eq!(
            clock.stamp(4_600_100, 100),
            Stamp {
                time_ms: 4_600_100,
                jump_ms: Some(3_600_000)
            }
        );
    }

    #[test]
    fn starts_no_earlier_than_the_last_run_ended() {
        let mut clock = StreamClock::new(1_000_000, 0, 1_005_000);
        assert_eq!(clock.stamp(1_000_000, 0).time_ms, 1_005_000);
        assert_eq!(clock.stamp(1_000_100, 100).time_ms, 1_005_050);
        assert_eq!(clock.stamp(1_020_000, 20_000).time_ms, 1_020_000);
    }
}

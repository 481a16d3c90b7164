//! HyperLogLog: how many distinct values there were, within about one per cent, in four kilobytes.

use std::hash::BuildHasher;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// Number of bits of the hash that choose a register.
const INDEX_BITS: u32 = 12;

/// Registers of the longest runs of zeros seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Registers(Box<[u8]>);

impl Default for Registers {
    fn default() -> Self {
        Self(vec![0; 1 << INDEX_BITS].into_boxed_slice())
    }
}

impl Registers {
    /// Notes a value.
    pub(crate) fn add(&mut self, value: &Value) {
        // The hash must be the same in every process: the registers are part of a checkpoint.
        let hash = foldhash::quality::FixedState::with_seed(0x9e37_79b9_7f4a_7c15).hash_one(value);
        let index = usize::try_from(hash >> (64 - INDEX_BITS)).unwrap_or(0);
        let rest = hash << INDEX_BITS;
        let run = u8::try_from(rest.leading_zeros().min(64 - INDEX_BITS) + 1).unwrap_or(u8::MAX);
        if let Some(register) = self.0.get_mut(index) {
            *register = (*register).max(run);
        }
    }

    /// The estimate.
    pub(crate) fn estimate(&self) -> i64 {
        let count = self.0.len() as f64;
        let sum: f64 = self.0.iter().map(|register| 0.5_f64.powi(i32::from(*register))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
        let zeros = self.0.iter().filter(|register| **register == 0).count();
        let estimate = if raw <= 2.5 * count && zeros > 0 {
            count * (count / zeros as f64).ln()
        } else {
            raw
        };
        #[expect(clippy::cast_possible_truncation, reason = "the conversion saturates")]
        let estimate = estimate.round() as i64;
        estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_within_three_per_cent() {
        for wanted in [10_i64, 1_000, 100_000] {
            let mut registers = Registers::default();
            for _ in 0..2 {
                for value in 0..wanted {
                    registers.add(&Value::Long(value));
                }
            }
            let error = (registers.estimate() - wanted).abs() as f64 / wanted as f64;
            assert!(error < 0.03, "{wanted}: {}", registers.estimate());
        }
    }
}

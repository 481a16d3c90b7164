//! Writes invented flows of a campus as CSV for `flow-cep bench` and `flow-cep replay`.
//!
//! `campus_events FLOWS FLOWS_PER_SECOND SEED > events.csv`. Hosts are drawn with heavy tails: a few talk most of the time, and about
//! two in five pairs of addresses are seen once. The same arguments give the same file.

use std::io::{BufWriter, Write as _};

use anyhow::{Context as _, Result};

/// First flow: 2014-05-13 16:53:20 UTC, as in the cases.
const FIRST_MS: f64 = 1_400_000_000_000.0;

/// Ports of services, the most used first.
const SERVICES: [u16; 12] = [443, 80, 53, 25, 22, 123, 6667, 8080, 993, 3389, 445, 5060];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// From 0 up to but without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 1 to `most`, each order of magnitude equally likely.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is from 1 to `most`"
    )]
    fn heavy(&mut self, most: f64) -> u64 {
        most.powf(self.unit()) as u64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A campus host, the more likely the lower its rank.
fn inside(random: &mut Random) -> String {
    let host = random.heavy(20_000.0).wrapping_mul(40_503) % 65_536;
    format!("147.32.{}.{}", host / 256, host % 256)
}

fn outside(random: &mut Random) -> String {
    let rank = random.heavy(300_000.0);
    let host = rank.wrapping_mul(2_654_435_761) & 0xffff_ffff;
    format!(
        "{}.{}.{}.{}",
        1 + (host >> 24) % 146,
        (host >> 16) & 255,
        (host >> 8) & 255,
        host & 255
    )
}

#[expect(clippy::cast_possible_truncation, reason = "times in milliseconds and small indexes")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || {
        arguments
            .next()
            .context("usage: campus_events FLOWS FLOWS_PER_SECOND SEED")
    };
    let flows: u64 = argument()?.parse()?;
    let rate: f64 = argument()?.parse()?;
    let mut random = Random(argument()?.parse()?);
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(
        out,
        "ts,srcIp,srcPort,dstIp,dstPort,bytes,packets,proto,tcpFlags,firstMs,lastMs,probe,srcInternal,dstInternal"
    )?;
    let mut clock = FIRST_MS;
    for _ in 0..flows {
        clock -= (1.0 - random.unit()).ln() * 1000.0 / rate;
        let ts = clock as i64;
        let kind = random.unit();
        let (src, dst, from_inside, to_inside) = if kind < 0.47 {
            (inside(&mut random), outside(&mut random), true, false)
        } else if kind < 0.9 {
            (outside(&mut random), inside(&mut random), false, true)
        } else {
            (inside(&mut random), inside(&mut random), true, true)
        };
        let tcp = random.unit() < 0.6;
        let service = if random.unit() < 0.8 {
            SERVICES[(random.heavy(12.9) as usize - 1) % SERVICES.len()]
        } else {
            1024 + random.below(64_000) as u16
        };
        let client = 1024 + random.below(64_000) as u16;
        let (src_port, dst_port) = if from_inside {
            (client, service)
        } else {
            (service, client)
        };
        let packets = random.heavy(2_000.0);
        let bytes = packets * (40 + random.below(1_400));
        let duration_ms = if packets == 1 { 0 } else { random.heavy(60_000.0) as i64 };
        let last = ts - random.below(20) as i64;
        let (proto, flags) = if tcp {
            (6, if packets <= 3 { 2 } else { 27 })
        } else {
            (17, 0)
        };
        writeln!(
            out,
            "{ts},{src},{src_port},{dst},{dst_port},{bytes},{packets},{proto},{flags},{},{last},{},{from_inside},{to_inside}",
            last - duration_ms,
            if random.below(4) == 0 { "north" } else { "south" },
        )?;
    }
    out.flush()?;
    Ok(())
}

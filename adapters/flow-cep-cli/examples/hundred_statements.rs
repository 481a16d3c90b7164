//! Writes a hundred statements of the catalogue's shapes for `flow-cep bench`.
//!
//! `hundred_statements snapshot|first > hundred.epl`. Filters, keys, windows and thresholds vary: five filters, four keys, three
//! spans and, for each of them, thresholds of several heights. With `snapshot` each statement gives what exceeds its threshold
//! every ten seconds, with `first` as soon as it does and again after five minutes, as the rules of the catalogue do. The events
//! are those of `campus_events`.

use std::io::{BufWriter, Write as _};

use anyhow::{Context as _, Result, bail};

const FILTERS: [&str; 5] = [
    "",
    "(proto = 6)",
    "(proto = 6, packets <= 3)",
    "(srcInternal = true, dstInternal = false)",
    "(proto = 17, dstPort in (53, 123, 5060))",
];

const KEYS: [&str; 4] = ["srcIp", "dstIp", "srcIp, dstIp", "srcIp, dstPort"];

/// Spans in seconds.
const SPANS: [u32; 5] = [60, 60, 60, 30, 20];

fn main() -> Result<()> {
    let output = match std::env::args().nth(1).as_deref() {
        Some("snapshot") => "output snapshot every 10 sec",
        Some("first") => "output first every 5 min",
        _ => bail!("usage: hundred_statements snapshot|first"),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    for number in 0..100 {
        let filter = FILTERS[number % 5];
        let key = KEYS[number / 5 % 4];
        let span = SPANS[number / 20];
        let height = 1 + number / 20;
        let (value, threshold) = match number % 3 {
            0 => ("count(*)", 2_000 * height),
            1 => ("sum(bytes)", 500_000_000 * height),
            _ if key.contains("dstIp") => ("count(distinct dstPort)", 800 * height),
            _ => ("count(distinct dstIp)", 800 * height),
        };
        writeln!(
            out,
            "@name('s{number:02}')\nselect {key}, {value} as value, count(*) as flows from Flow{filter}#time({span} sec) \
             group by {key} having {value} >= {threshold} {output};"
        )
        .context("cannot write")?;
    }
    out.flush()?;
    Ok(())
}

//! The run: opens the sockets, keeps the pace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::exporter::{Clock, Exporter, Pace};
use crate::faults::Accidents;
use crate::network::Campus;
use crate::outlet::Outlet;
use crate::settings::{MAX_EXPORTERS, Rate, Settings};
use crate::summary::Summary;
use crate::traffic::Traffic;

/// Pause between two turns: short where much is due, so that a burst is a fraction of a receive buffer.
const SHORT_PAUSE: Duration = Duration::from_millis(1);
const LONG_PAUSE: Duration = Duration::from_millis(10);
/// From this rate on pauses are short.
const HIGH_RATE: f64 = 100_000.0;
/// Most that is made up for after the machine kept the sender waiting: beyond it the run takes longer instead of
/// sending in a burst what no real network would.
const MAX_CATCH_UP: Duration = Duration::from_millis(50);
/// On what the share of scanners and the like is based if there is no rate.
const NOMINAL_RATE: f64 = 1_000_000.0;
/// Hours last as long as they do unless a day is set.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sends until the duration is over or `stop` is set, and says what was sent.
///
/// With a rate and a duration the flows are the same in every run of the same settings.
///
/// # Errors
///
/// If settings make no sense, a socket cannot be opened, or the kernel refuses to send for a reason that does not pass.
pub fn run(settings: &Settings, stop: &AtomicBool) -> anyhow::Result<Summary> {
    anyhow::ensure!(
        (1..=MAX_EXPORTERS).contains(&settings.exporters),
        "{} exporters: there can be 1 to {MAX_EXPORTERS}",
        settings.exporters
    );
    let (rate, is_paced) = match settings.rate {
        Rate::FlowsPerSecond(rate) => (rate, true),
        Rate::Unlimited => (NOMINAL_RATE, false),
    };
    anyhow::ensure!(
        rate.is_finite() && rate > 0.0,
        "a rate of {rate} flows a second: it has to be above 0"
    );
    let mut exporters = open(settings, rate)?;

    let end_ms = settings
        .duration
        .map_or(f64::INFINITY, |duration| duration.as_secs_f64() * 1000.0);
    let pause = if rate < HIGH_RATE { LONG_PAUSE } else { SHORT_PAUSE };
    let start = Instant::now();
    let clock = || Clock {
        unix_ms: i64::try_from(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
            .unwrap_or(i64::MAX),
        elapsed_ms: millis(start.elapsed()),
    };
    // How far the schedule is, and when that was.
    let (mut scheduled, mut at) = (Duration::ZERO, start);
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        scheduled += (now - at).min(MAX_CATCH_UP);
        at = now;
        let scheduled_ms = scheduled.as_secs_f64() * 1000.0;
        if !is_paced {
            if start.elapsed().as_secs_f64() * 1000.0 >= end_ms {
                break;
            }
            let clock = clock();
            for exporter in &mut exporters {
                exporter.send_due(f64::INFINITY, clock)?;
            }
            continue;
        }
        let until_ms = scheduled_ms.min(end_ms);
        let mut has_more = true;
        while has_more && !stop.load(Ordering::Relaxed) {
            has_more = false;
            let clock = clock();
            for exporter in &mut exporters {
                has_more |= exporter.send_due(until_ms, clock)?;
            }
        }
        if exporters.iter().all(|exporter| exporter.is_done(end_ms)) {
            break;
        }
        std::thread::sleep(pause);
    }
    let clock = clock();
    let seconds = start.elapsed().as_secs_f64();
    let exporters = exporters
        .into_iter()
        .map(|exporter| exporter.finish(clock))
        .collect::<Result<_, _>>()?;
    Ok(Summary::new(exporters, seconds))
}

fn open(settings: &Settings, rate: f64) -> anyhow::Result<Vec<Exporter>> {
    let campus = Campus::new(settings.seed);
    let count = settings.exporters;
    let flows_per_second = rate / count as f64;
    let pace = Pace {
        flows_per_second,
        day_ms: settings.day.unwrap_or(DAY).as_secs_f64() * 1000.0,
        is_daily: settings.day.is_some(),
    };
    let pool_flows = settings.pool_flows.div_ceil(count);
    // A pool is a minute of the campus, whatever the rate at which it is sent.
    let drawn_rate = if pool_flows > 0 {
        pool_flows as f64 / 60.0
    } else {
        flows_per_second
    };
    let mut exporters = Vec::with_capacity(count);
    for (index, profile) in settings.profiles().into_iter().enumerate() {
        let outlet = Outlet::new(profile.address, settings.to, settings.segmentation_offload)?;
        let traffic = Traffic::new(&campus, index, count, settings.seed, drawn_rate, &profile);
        let accidents = Accidents::new(settings.faults, settings.seed.wrapping_add(index as u64 + 1));
        let mut exporter = Exporter::new(profile, outlet, accidents, traffic, pace)?;
        if pool_flows > 0 {
            exporter.fill_pool(pool_flows);
        }
        exporters.push(exporter);
    }
    Ok(exporters)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

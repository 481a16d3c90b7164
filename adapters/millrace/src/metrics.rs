//! The text of `/metrics`, in the format of Prometheus.

use std::fmt::{self, Write};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bundle_log::Trimmer;
use flow_collect::{ExporterCounts, ExporterKey, Probes, unit_name};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Where the numbers come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) collected: std::sync::Arc<flow_collect::Counters>,
    pub(crate) streamed: std::sync::Arc<flow_stream::Counters>,
    pub(crate) log: Trimmer,
    pub(crate) probes: Probes,
    pub(crate) reloads: AtomicU64,
    pub(crate) failed_reloads: AtomicU64,
}

/// One family of metrics under way.
struct Family<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn family<'t>(text: &'t mut String, name: &'static str, kind: &str, help: &str) -> Family<'t> {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    Family { text, name }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn seconds(counter: &AtomicU64) -> f64 {
    Duration::from_nanos(read(counter)).as_secs_f64()
}

impl Sources {
    /// All metrics.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.collector(&mut text);
        self.exporters(&mut text);
        self.stream(&mut text);
        text
    }

    fn collector(&self, text: &mut String) {
        let counters = &*self.collected;
        for (name, help, counter) in [
            (
                "flow_collector_datagrams_total",
                "Datagrams received.",
                &counters.datagrams,
            ),
            (
                "flow_collector_datagram_bytes_total",
                "Bytes of datagrams received, without IP and UDP headers.",
                &counters.datagram_bytes,
            ),
            (
                "flow_collector_kernel_dropped_datagrams_total",
                "Datagrams that the kernel dropped for want of room in a receive buffer.",
                &counters.kernel_drops,
            ),
            (
                "flow_collector_refused_datagrams_total",
                "Datagrams of exporters that are not allowed.",
                &counters.not_allowed,
            ),
            (
                "flow_collector_malformed_total",
                "Datagrams and parts of them that could not be decoded.",
                &counters.malformed,
            ),
            (
                "flow_collector_duplicate_datagrams_total",
                "Datagrams that the network doubled; they are dropped.",
                &counters.duplicates,
            ),
            (
                "flow_collector_sets_without_template_total",
                "Sets that came before their template.",
                &counters.sets_without_template,
            ),
            (
                "flow_collector_options_records_total",
                "Options records decoded.",
                &counters.options_records,
            ),
            ("flow_collector_flows_total", "Flows decoded.", &counters.flows),
            (
                "flow_collector_dropped_flows_total",
                "Flows dropped as the log had no room.",
                &counters.dropped_flows,
            ),
            ("flow_log_flows_total", "Flows logged.", &counters.logged_flows),
            ("flow_log_bundles_total", "Bundles logged.", &counters.logged_bundles),
            (
                "flow_log_bytes_total",
                "Bytes of bundles logged.",
                &counters.logged_bytes,
            ),
        ] {
            family(text, name, "counter", help).sample(&[], read(counter));
        }
        let mut other = family(
            text,
            "flow_collector_foreign_datagrams_total",
            "counter",
            "Datagrams that are not NetFlow, by what they look like.",
        );
        for (looks_like, count) in counters.not_netflow() {
            other.sample(&[("looks_like", looks_like)], count);
        }
        let usage = self.log.usage();
        family(text, "flow_log_size_bytes", "gauge", "Bytes of the log on disk.").sample(&[], usage.bytes);
        family(text, "flow_log_limit_bytes", "gauge", "Bytes that the log may take.").sample(&[], usage.limit);
    }

    fn exporters(&self, text: &mut String) {
        let exporters = self.collected.exporters();
        let mut write = |name, kind, help, value: &dyn Fn(&ExporterCounts) -> Option<f64>| {
            let mut family = family(text, name, kind, help);
            for (key, counts) in &exporters {
                if let Some(value) = value(counts) {
                    let labels = self.labels(key);
                    let mut labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    if name == "flow_exporter_lost_total" {
                        labels.push(("unit", counts.lost_unit.map_or("", unit_name)));
                    }
                    family.sample(&labels, value);
                }
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "Prometheus has only floating point numbers")]
        let number = |count: u64| Some(count as f64);
        write(
            "flow_exporter_datagrams_total",
            "counter",
            "Datagrams of an exporter.",
            &|counts| number(counts.datagrams),
        );
        write(
            "flow_exporter_flows_total",
            "counter",
            "Flows of an exporter.",
            &|counts| number(counts.flows),
        );
        write(
            "flow_exporter_bytes_total",
            "counter",
            "Octets of an exporter's flows, scaled by the sampling rate.",
            &|counts| number(counts.bytes),
        );
        write(
            "flow_exporter_packets_total",
            "counter",
            "Packets of an exporter's flows, scaled by the sampling rate.",
            &|counts| number(counts.packets),
        );
        write(
            "flow_exporter_lost_total",
            "counter",
            "What is missing by an exporter's sequence numbers, in the unit that they count.",
            &|counts| counts.lost_unit.and_then(|_| number(counts.lost)),
        );
        write(
            "flow_exporter_restarts_total",
            "counter",
            "Restarts of an exporter.",
            &|counts| number(counts.restarts),
        );
        write(
            "flow_exporter_templates",
            "gauge",
            "Templates known of an exporter.",
            &|counts| number(counts.templates as u64),
        );
        write(
            "flow_exporter_last_seen_timestamp_seconds",
            "gauge",
            "When an exporter was last heard.",
            &|counts| number(u64::try_from(counts.last_seen_ms).unwrap_or(0)).map(|ms| ms / 1000.0),
        );
    }

    fn labels(&self, key: &ExporterKey) -> [(&'static str, String); 4] {
        let probe = self.probes.name(key.probe).to_owned();
        [
            ("probe", probe),
            ("exporter", key.address.to_string()),
            ("domain", key.domain.to_string()),
            ("version", key.version.to_string()),
        ]
    }

    fn stream(&self, text: &mut String) {
        let counters = &*self.streamed;
        for (name, help, counter) in [
            (
                "flow_stream_flows_total",
                "Flows read from the log and resolved.",
                &counters.read_flows,
            ),
            (
                "flow_stream_statement_flows_total",
                "Flows that the statements have had.",
                &counters.statement_flows,
            ),
            (
                "flow_stream_late_flows_total",
                "Flows too late for the statements; they are stored.",
                &counters.late_flows,
            ),
            (
                "flow_stream_damaged_total",
                "Bundles and parts of the log that could not be read.",
                &counters.damaged,
            ),
            (
                "flow_stream_events_total",
                "Rows that statements delivered.",
                &counters.events,
            ),
        ] {
            family(text, name, "counter", help).sample(&[], read(counter));
        }
        let mut stages = family(
            text,
            "flow_stream_stage_seconds_total",
            "counter",
            "Time spent in a stage, over all workers.",
        );
        for (stage, counter) in [
            ("read", &counters.read_ns),
            ("resolve", &counters.resolve_ns),
            ("statements", &counters.statement_ns),
            ("drain", &counters.drain_ns),
        ] {
            stages.sample(&[("stage", stage)], seconds(counter));
        }
        let mut deliveries = family(
            text,
            "flow_statement_deliveries_total",
            "counter",
            "Deliveries of a statement.",
        );
        let counts = counters.deliveries();
        for (name, count, _) in &counts {
            deliveries.sample(&[("statement", name)], count);
        }
        let mut rows = family(
            text,
            "flow_statement_rows_total",
            "counter",
            "Rows that a statement delivered.",
        );
        for (name, _, count) in &counts {
            rows.sample(&[("statement", name)], count);
        }
        let mut refusals = family(
            text,
            "flow_statement_refusals_total",
            "counter",
            "Times that a statement left something out because a limit was reached.",
        );
        for (name, limit, count) in &counters.refusals() {
            refusals.sample(&[("statement", name), ("limit", limit)], count);
        }
        let time_ms = counters.time_ms.load(Ordering::Relaxed);
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 are exact in a double"
        )]
        let time = time_ms as f64 / 1000.0;
        family(
            text,
            "flow_stream_time_timestamp_seconds",
            "gauge",
            "The stream's time.",
        )
        .sample(&[], time);
        family(
            text,
            "flow_stream_held_bundles",
            "gauge",
            "Bundles that wait for other probes.",
        )
        .sample(&[], read(&counters.held_bundles));
        let drain = *counters.drain.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, help, count) in [
            ("flow_store_flows_total", "Flows committed to the dataset.", drain.rows),
            (
                "flow_store_bytes_total",
                "Bytes of Parquet files committed.",
                drain.bytes,
            ),
            ("flow_store_files_total", "Parquet files committed.", drain.files),
            ("flow_store_commits_total", "Commits.", drain.commits),
            (
                "flow_store_errors_total",
                "Commits that failed and were tried again.",
                drain.errors,
            ),
            (
                "flow_store_dropped_hours_total",
                "Hours dropped for age, size or free space.",
                drain.dropped_hours,
            ),
            (
                "flow_subnets_reloads_total",
                "Subnet lists put in force.",
                read(&self.reloads),
            ),
            (
                "flow_subnets_failed_reloads_total",
                "Subnet lists refused.",
                read(&self.failed_reloads),
            ),
        ] {
            family(text, name, "counter", help).sample(&[], count);
        }
        if let Some(bytes) = resident_bytes() {
            family(text, "process_resident_memory_bytes", "gauge", "Memory in use.").sample(&[], bytes);
        }
        if let Some(used) = processor_time() {
            family(
                text,
                "process_cpu_seconds_total",
                "counter",
                "Processor time taken, also in the kernel.",
            )
            .sample(&[], used.as_secs_f64());
        }
    }
}

/// The resident memory of this process, by the kernel.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

/// The processor time that this process has taken.
fn processor_time() -> Option<Duration> {
    let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = (used.user_time() + used.system_time()).num_microseconds();
    u64::try_from(microseconds).ok().map(Duration::from_micros)
}

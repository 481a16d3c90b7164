//! Counts of what an exporter sent, per observation domain.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::json::Json;

/// What is counted of one exporter and observation domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) datagrams: u64,
    pub(crate) records: u64,
    pub(crate) options_records: u64,
    pub(crate) templates: u64,
    pub(crate) withdrawals: u64,
    /// Sets whose template has not come, by template id.
    pub(crate) waiting: BTreeMap<u16, Waiting>,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) gaps: u64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
    pub(crate) restarts: u64,
    /// What `missing` counts.
    pub(crate) unit: Option<&'static str>,
    /// How the exporter's sequence numbers depart from the specification.
    pub(crate) quirk: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) sets: u64,
    pub(crate) bytes: u64,
    /// At least so many: v9's header tells how many records a message has, IPFIX's does not, so a set counts as one.
    pub(crate) records: u64,
}

/// Who sent: exporter, version and observation domain; the last two are not known of a datagram without a good header.
pub(crate) type Sender = (SocketAddr, Option<u16>, Option<u32>);

/// All counts.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    senders: BTreeMap<Sender, Counts>,
}

impl Summary {
    pub(crate) fn of(&mut self, sender: Sender) -> &mut Counts {
        self.senders.entry(sender).or_default()
    }

    /// One line for each sender.
    pub(crate) fn write(
        &self,
        json: &mut Json,
        mut line: impl FnMut(&Json) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        for ((exporter, version, domain), counts) in &self.senders {
            json.clear();
            json.begin_object()
                .key("kind")
                .string("summary")
                .key("exporter")
                .plain(exporter);
            optional(json.key("version"), *version);
            optional(json.key("domain"), *domain);
            json.key("datagrams").number(counts.datagrams);
            json.key("records").number(counts.records);
            json.key("options_records").number(counts.options_records);
            json.key("templates").number(counts.templates);
            json.key("withdrawals").number(counts.withdrawals);
            let waiting = counts.waiting.values();
            json.key("records_without_template")
                .number(waiting.clone().map(|of_id| of_id.records).sum::<u64>());
            json.key("sets_without_template")
                .number(waiting.clone().map(|of_id| of_id.sets).sum::<u64>());
            json.key("bytes_without_template")
                .number(waiting.map(|of_id| of_id.bytes).sum::<u64>());
            json.key("errors").begin_object();
            for (kind, count) in &counts.errors {
                json.key(kind).number(*count);
            }
            json.end_object();
            json.key("gaps")
                .number(counts.gaps)
                .key("missing")
                .number(counts.missing);
            if let Some(unit) = counts.unit.filter(|_| counts.missing > 0) {
                json.key("missing_unit").string(unit);
            }
            json.key("duplicates")
                .number(counts.duplicates)
                .key("restarts")
                .number(counts.restarts);
            if let Some(quirk) = counts.quirk {
                json.key("quirk").string(quirk);
            }
            json.end_object();
            line(json)?;
        }
        Ok(())
    }
}

fn optional(json: &mut Json, value: Option<impl Into<i128>>) {
    match value {
        Some(value) => json.number(value),
        None => json.null(),
    };
}

//! Options with their defaults, checked.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use bundle_log::Sync;
use flow_collect::{Probe, Probes};
use flow_enrich::{Resolver, SubnetTable};
use flow_report::Access;
use flow_store::bundle::Compression;
use ipnet::IpNet;

use crate::options::Options;
use crate::statements::Statements;
use crate::values::{Bytes, Span};

/// Everything that a run needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) http: SocketAddr,
    pub(crate) access: Access,
    pub(crate) data: PathBuf,
    pub(crate) subnets: Option<SubnetFile>,
    pub(crate) resolver: Resolver,
    pub(crate) statements: Statements,
    pub(crate) workers: usize,
    pub(crate) probes: Probes,
    pub(crate) receive_buffer: usize,
    pub(crate) bundle_flows: usize,
    pub(crate) bundle_age: Duration,
    pub(crate) log: bundle_log::Options,
    pub(crate) compression: Compression,
    pub(crate) drain: flow_drain::Options,
    pub(crate) retention: flow_drain::Retention,
    pub(crate) event_bytes: u64,
    pub(crate) checkpoint: Duration,
}

impl Settings {
    /// Checks the options and reads the files they name.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let http = options.http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        if !http.ip().is_loopback() && options.http_token.is_none() {
            bail!(
                "the page would be open to anybody who reaches {http}: set http_token, or let http listen on 127.0.0.1"
            );
        }
        if let Some(token) = &options.http_token
            && (token.len() < 8
                || !token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)))
        {
            bail!("http_token must have at least 8 letters, digits or any of -_.~");
        }
        let workers = options.workers.unwrap_or(2);
        if !(1..=64).contains(&workers) {
            bail!("workers is {workers}: choose from 1 to 64");
        }
        let bundle_flows = options.bundle_flows.unwrap_or(flow_collect::BUNDLE_FLOWS);
        if !(1..=flow_store::bundle::MAX_ROWS / 2).contains(&bundle_flows) {
            bail!(
                "bundle_flows is {bundle_flows}: choose from 1 to {}",
                flow_store::bundle::MAX_ROWS / 2
            );
        }
        let (subnets, resolver) = match options.subnets {
            Some(path) => {
                let mut file = SubnetFile { path, stamp: None };
                // The stamp first: a change while the file is read is then seen as one.
                file.has_changed();
                let resolver = file.read(1)?;
                (Some(file), resolver)
            }
            None => (None, Resolver::new(SubnetTable::default(), 1)),
        };
        let keep = |span: Option<Span>| span.map(Span::as_ms);
        let bytes = |bytes: Option<Bytes>, default: u64| bytes.map_or(default, |bytes| bytes.0);
        Ok(Self {
            listen: if options.listen.is_empty() {
                vec![SocketAddr::from(([127, 0, 0, 1], 2055))]
            } else {
                options.listen
            },
            http,
            access: Access {
                token: options.http_token,
                hosts: options.http_hosts,
            },
            data: options.data.unwrap_or_else(|| PathBuf::from("millrace-data")),
            subnets,
            resolver,
            statements: Statements::read(options.statements.as_deref())?,
            workers,
            probes: probes(&options.probe, &options.allow)?,
            receive_buffer: usize::try_from(bytes(options.receive_buffer, 16 << 20))?,
            bundle_flows,
            bundle_age: options.bundle_age.map_or(Duration::from_millis(250), |span| span.0),
            log: bundle_log::Options {
                limit_bytes: bytes(options.log_limit, 8 << 30),
                sync: sync(options.log_sync.as_deref().unwrap_or("1s"))?,
                ..bundle_log::Options::default()
            },
            compression: match options.log_compression.as_deref() {
                None | Some("none") => Compression::None,
                Some("lz4") => Compression::Lz4,
                Some("zstd") => Compression::Zstd(1),
                Some(other) => bail!("log_compression is {other:?}: choose none, lz4 or zstd"),
            },
            drain: flow_drain::Options {
                max_rows: options.file_flows.unwrap_or(2 << 20).max(1),
                max_age_ms: keep(options.file_age).unwrap_or(60_000),
                ..flow_drain::Options::default()
            },
            retention: flow_drain::Retention {
                max_age_ms: keep(options.keep_age),
                max_bytes: options.keep_bytes.map(|bytes| bytes.0),
                min_free_bytes: bytes(options.keep_free, 1 << 30),
            },
            event_bytes: bytes(options.event_bytes, 1 << 30),
            checkpoint: options.checkpoint.map_or(Duration::from_secs(5), |span| span.0),
        })
    }
}

/// A subnet list that may change.
#[derive(Debug)]
pub(crate) struct SubnetFile {
    pub(crate) path: PathBuf,
    /// What changes when the file is written: its time and length.
    stamp: Option<(SystemTime, u64)>,
}

impl SubnetFile {
    /// Whether the file was written since this was asked last. A file that is gone has not changed.
    pub(crate) fn has_changed(&mut self) -> bool {
        let Ok(metadata) = std::fs::metadata(&self.path) else {
            return false;
        };
        let stamp = metadata.modified().ok().map(|time| (time, metadata.len()));
        let has_changed = stamp != self.stamp;
        self.stamp = stamp;
        has_changed
    }

    /// Reads and compiles the list.
    pub(crate) fn read(&self, generation: u64) -> anyhow::Result<Resolver> {
        let context = || format!("subnets {}", self.path.display());
        let text = std::fs::read(&self.path).with_context(context)?;
        Ok(Resolver::new(
            SubnetTable::from_csv(&text).with_context(context)?,
            generation,
        ))
    }
}

fn sync(text: &str) -> anyhow::Result<Sync> {
    Ok(match text {
        "never" => Sync::Never,
        "always" => Sync::Always,
        time => match time.parse::<Span>() {
            Ok(span) => Sync::Every(span.0),
            Err(_) => bail!("log_sync is {text:?}: choose never, always or a time such as 1s"),
        },
    })
}

/// Reads `NAME[@AREA]=PREFIX[,PREFIX…]`.
fn probes(texts: &[String], allowed: &[String]) -> anyhow::Result<Probes> {
    let mut probes = Vec::new();
    let mut names = HashSet::new();
    for text in texts {
        let (name, prefixes) = text.split_once('=').with_context(|| {
            format!("probe {text:?}: write NAME@AREA=ADDRESS,… with the addresses of its exporters")
        })?;
        let (name, area) = name.split_once('@').unwrap_or((name, ""));
        if name.is_empty() || name.contains(|letter: char| letter.is_control() || letter == '/') {
            bail!("probe {text:?}: the name is empty, or has a slash or a control character");
        }
        if !names.insert(name.to_owned()) {
            bail!("probe {name:?} is there twice: put all its prefixes behind one name");
        }
        let exporters = prefixes
            .split(',')
            .map(|prefix| self::prefix(prefix).with_context(|| format!("probe {name:?}")))
            .collect::<anyhow::Result<_>>()?;
        probes.push(Probe {
            name: Arc::from(name),
            area: Arc::from(area),
            exporters,
        });
    }
    let allowed = allowed
        .iter()
        .map(|prefix| self::prefix(prefix).context("allow"))
        .collect::<anyhow::Result<_>>()?;
    Ok(Probes::new(probes, allowed))
}

fn prefix(text: &str) -> anyhow::Result<IpNet> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .with_context(|| format!("{text:?} is no address or prefix: write for instance 192.0.2.1 or 2001:db8::/32"))
}

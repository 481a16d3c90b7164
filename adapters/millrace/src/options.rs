//! Flags, environment and configuration file: one list of options for all three.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Command};
use serde::Deserialize;

use crate::values::{Bytes, Span};

/// Every option may be given as a flag, in the environment (`MILLRACE_…`) or in the configuration file (with `_` for
/// `-`); what is given first in this order counts.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Address and port to receive NetFlow and IPFIX on; may be repeated [default: 127.0.0.1:2055]
    #[arg(long, env = "MILLRACE_LISTEN", value_name = "ADDR:PORT", value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
    /// Address and port of the live page [default: 127.0.0.1:8080]
    #[arg(long, env = "MILLRACE_HTTP", value_name = "ADDR:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// Token that the page asks for; needed when it listens beyond loopback
    #[arg(long, env = "MILLRACE_HTTP_TOKEN", value_name = "TEXT", hide_env_values = true)]
    pub(crate) http_token: Option<String>,
    /// Names under which browsers may ask for the page, besides addresses; may be repeated
    #[arg(long, env = "MILLRACE_HTTP_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub(crate) http_hosts: Vec<String>,
    /// Folder for all that is kept [default: millrace-data]
    #[arg(long, env = "MILLRACE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Subnet list (CSV); without one every address is unknown
    #[arg(long, env = "MILLRACE_SUBNETS", value_name = "FILE")]
    pub(crate) subnets: Option<PathBuf>,
    /// Folder of statements (*.epl) [default: the eight that are built in]
    #[arg(long, env = "MILLRACE_STATEMENTS", value_name = "DIR")]
    pub(crate) statements: Option<PathBuf>,
    /// Threads that resolve, run statements and store [default: 2]
    #[arg(long, env = "MILLRACE_WORKERS", value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Exporters to listen to, as addresses or prefixes; may be repeated [default: any]
    #[arg(long, env = "MILLRACE_ALLOW", value_name = "PREFIX", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// A probe and the exporters that belong to it, as NAME@AREA=PREFIX,PREFIX…; the area may be left out; may be repeated
    #[arg(long, env = "MILLRACE_PROBE", value_name = "PROBE", value_delimiter = ';')]
    pub(crate) probe: Vec<String>,
    /// Receive buffer to ask the kernel for, for each socket [default: 16MiB]
    #[arg(long, env = "MILLRACE_RECEIVE_BUFFER", value_name = "BYTES")]
    pub(crate) receive_buffer: Option<Bytes>,
    /// Flows at which a bundle is sealed [default: 8192]
    #[arg(long, env = "MILLRACE_BUNDLE_FLOWS", value_name = "N")]
    pub(crate) bundle_flows: Option<usize>,
    /// Age at which a bundle is sealed [default: 250ms]
    #[arg(long, env = "MILLRACE_BUNDLE_AGE", value_name = "TIME")]
    pub(crate) bundle_age: Option<Span>,
    /// Most bytes of the log; past them the newest flows are dropped and counted [default: 8GiB]
    #[arg(long, env = "MILLRACE_LOG_LIMIT", value_name = "BYTES")]
    pub(crate) log_limit: Option<Bytes>,
    /// When the log is forced to the disk: never, always, or a time [default: 1s]
    #[arg(long, env = "MILLRACE_LOG_SYNC", value_name = "WHEN")]
    pub(crate) log_sync: Option<String>,
    /// How bundles are compressed in the log: none, lz4 or zstd [default: none]
    #[arg(long, env = "MILLRACE_LOG_COMPRESSION", value_name = "NAME")]
    pub(crate) log_compression: Option<String>,
    /// Flows at which Parquet files are closed [default: 2097152]
    #[arg(long, env = "MILLRACE_FILE_FLOWS", value_name = "N")]
    pub(crate) file_flows: Option<u64>,
    /// Age at which Parquet files are closed [default: 1m]
    #[arg(long, env = "MILLRACE_FILE_AGE", value_name = "TIME")]
    pub(crate) file_age: Option<Span>,
    /// Age past which hours of flows are dropped [default: never]
    #[arg(long, env = "MILLRACE_KEEP_AGE", value_name = "TIME")]
    pub(crate) keep_age: Option<Span>,
    /// Size of the dataset past which the oldest hours are dropped [default: never]
    #[arg(long, env = "MILLRACE_KEEP_BYTES", value_name = "BYTES")]
    pub(crate) keep_bytes: Option<Bytes>,
    /// Free space to keep on the disk by dropping the oldest hours [default: 1GiB]
    #[arg(long, env = "MILLRACE_KEEP_FREE", value_name = "BYTES")]
    pub(crate) keep_free: Option<Bytes>,
    /// Most bytes of all event files [default: 1GiB]
    #[arg(long, env = "MILLRACE_EVENT_BYTES", value_name = "BYTES")]
    pub(crate) event_bytes: Option<Bytes>,
    /// How often the statements' windows are checkpointed [default: 5s]
    #[arg(long, env = "MILLRACE_CHECKPOINT", value_name = "TIME")]
    pub(crate) checkpoint: Option<Span>,
    /// Form of the log messages on standard error: text or json [default: text]
    #[arg(long, env = "MILLRACE_MESSAGES", value_name = "FORM")]
    pub(crate) messages: Option<String>,
}

impl Options {
    /// Fills what is not given here from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        fn list<T>(ours: Vec<T>, theirs: Vec<T>) -> Vec<T> {
            if ours.is_empty() { theirs } else { ours }
        }
        Self {
            listen: list(self.listen, other.listen),
            http: self.http.or(other.http),
            http_token: self.http_token.or(other.http_token),
            http_hosts: list(self.http_hosts, other.http_hosts),
            data: self.data.or(other.data),
            subnets: self.subnets.or(other.subnets),
            statements: self.statements.or(other.statements),
            workers: self.workers.or(other.workers),
            allow: list(self.allow, other.allow),
            probe: list(self.probe, other.probe),
            receive_buffer: self.receive_buffer.or(other.receive_buffer),
            bundle_flows: self.bundle_flows.or(other.bundle_flows),
            bundle_age: self.bundle_age.or(other.bundle_age),
            log_limit: self.log_limit.or(other.log_limit),
            log_sync: self.log_sync.or(other.log_sync),
            log_compression: self.log_compression.or(other.log_compression),
            file_flows: self.file_flows.or(other.file_flows),
            file_age: self.file_age.or(other.file_age),
            keep_age: self.keep_age.or(other.keep_age),
            keep_bytes: self.keep_bytes.or(other.keep_bytes),
            keep_free: self.keep_free.or(other.keep_free),
            event_bytes: self.event_bytes.or(other.event_bytes),
            checkpoint: self.checkpoint.or(other.checkpoint),
            messages: self.messages.or(other.messages),
        }
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// If it cannot be read, or has a key or value that is not known; the message tells line, column and a near key.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("configuration {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("configuration {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        match toml::from_str(text) {
            Ok(options) => Ok(options),
            Err(error) => {
                let message = error.to_string();
                let unknown = message
                    .split_once("unknown field `")
                    .and_then(|(_, rest)| rest.split_once('`'));
                match unknown.and_then(|(key, _)| nearest(key)) {
                    Some(near) => bail!("{}\ndid you mean `{near}`?", message.trim_end()),
                    None => bail!("{}", message.trim_end()),
                }
            }
        }
    }
}

/// The known key that is most like `key`, if any is.
fn nearest(key: &str) -> Option<String> {
    let known = Options::augment_args(Command::new("millrace"));
    let keys = known
        .get_arguments()
        .map(|argument| argument.get_id().as_str().to_owned());
    keys.map(|known| (strsim::jaro_winkler(&known, &key.replace('-', "_")), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_place_in_file_and_environment() {
        let command = Options::augment_args(Command::new("millrace"));
        for argument in command.get_arguments() {
            let key = argument.get_id().as_str();
            assert_eq!(argument.get_long().unwrap().replace('-', "_"), key);
            assert_eq!(
                argument.get_env().unwrap().to_str().unwrap(),
                format!("MILLRACE_{}", key.to_uppercase())
            );
            let error = Options::parse(&format!("{key} = {{}}")).unwrap_err().to_string();
            assert!(!error.contains("unknown field"), "{key}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place_and_a_suggestion() {
        let error = Options::parse("listen = [\"127.0.0.1:2055\"]\nsubnet = \"subnets.csv\"\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2, column 1") && error.contains("did you mean `subnets`?"),
            "{error}"
        );
        let error = Options::parse("keep-free = \"1GiB\"").unwrap_err().to_string();
        assert!(error.contains("did you mean `keep_free`?"), "{error}");
    }

    #[test]
    fn a_wrong_value_tells_how_to_write_it() {
        let error = Options::parse("bundle_age = \"quarter\"").unwrap_err().to_string();
        assert!(error.contains("250ms"), "{error}");
    }

    #[test]
    fn what_is_given_as_a_flag_counts_before_the_file() {
        let flags = Options {
            workers: Some(3),
            ..Options::default()
        };
        let file = Options::parse("workers = 1\nlog_limit = \"1GiB\"\nlisten = [\"[::1]:2055\"]").unwrap();
        let both = flags.or(file);
        assert_eq!((both.workers, both.log_limit), (Some(3), Some(Bytes(1 << 30))));
        assert_eq!(both.listen, ["[::1]:2055".parse().unwrap()]);
    }
}

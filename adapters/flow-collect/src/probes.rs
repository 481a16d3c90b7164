//! Which exporter belongs to which probe.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// The probe of exporters that no other names.
pub const DEFAULT_PROBE: &str = "default";

/// A place where traffic is watched and exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub name: Arc<str>,
    /// The area that it covers.
    pub area: Arc<str>,
    /// The addresses of its exporters.
    pub exporters: Vec<IpNet>,
}

/// The probes, and who may export at all.
#[derive(Clone, Debug)]
pub struct Probes {
    probes: Vec<Probe>,
    /// The probe of exporters that no other names.
    default: ProbeId,
    allowed: Vec<IpNet>,
}

/// The place of a probe in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(crate) usize);

impl Probes {
    /// The probes of a configuration. Exporters that none of them names belong to a probe `default`. If `allowed` has
    /// prefixes, other exporters are not listened to.
    #[must_use]
    pub fn new(mut probes: Vec<Probe>, allowed: Vec<IpNet>) -> Self {
        let default = probes
            .iter()
            .position(|probe| &*probe.name == DEFAULT_PROBE)
            .unwrap_or_else(|| {
                probes.push(Probe {
                    name: Arc::from(DEFAULT_PROBE),
                    area: Arc::from(""),
                    exporters: Vec::new(),
                });
                probes.len() - 1
            });
        Self {
            probes,
            default: ProbeId(default),
            allowed,
        }
    }

    /// The probe of an exporter: the one that names it by the longest prefix. `None` if it is not listened to.
    #[must_use]
    pub fn of(&self, exporter: IpAddr) -> Option<ProbeId> {
        if !self.allowed.is_empty() && !self.allowed.iter().any(|prefix| prefix.contains(&exporter)) {
            return None;
        }
        let named = self.probes.iter().enumerate().flat_map(|(index, probe)| {
            probe
                .exporters
                .iter()
                .filter(|prefix| prefix.contains(&exporter))
                .map(move |prefix| (prefix.prefix_len(), index))
        });
        let longest = named.max_by_key(|(length, _)| *length).map(|(_, index)| ProbeId(index));
        Some(longest.unwrap_or(self.default))
    }

    /// The name of a probe.
    #[must_use]
    pub fn name(&self, id: ProbeId) -> &str {
        self.probes.get(id.0).map_or(DEFAULT_PROBE, |probe| &*probe.name)
    }

    /// The probes, each with its place.
    pub fn ids(&self) -> impl Iterator<Item = (ProbeId, &Probe)> {
        self.probes
            .iter()
            .enumerate()
            .map(|(index, probe)| (ProbeId(index), probe))
    }

    /// The probes in their order.
    #[must_use]
    pub fn list(&self) -> &[Probe] {
        &self.probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(name: &str, prefixes: &[&str]) -> Probe {
        let exporters = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Probe {
            name: name.into(),
            area: "".into(),
            exporters,
        }
    }

    #[test]
    fn the_longest_prefix_names_the_probe() {
        let probes = Probes::new(
            vec![
                probe("all", &["10.0.0.0/8"]),
                probe("one", &["10.1.2.3/32", "2001:db8::/32"]),
            ],
            Vec::new(),
        );
        let name = |address: &str| {
            probes.list()[probes.of(address.parse().unwrap()).unwrap().0]
                .name
                .to_string()
        };
        assert_eq!(name("10.1.2.4"), "all");
        assert_eq!(name("10.1.2.3"), "one");
        assert_eq!(name("2001:db8::5"), "one");
        assert_eq!(name("192.0.2.1"), "default");
    }

    #[test]
    fn others_are_not_listened_to_once_some_are_allowed() {
        let probes = Probes::new(Vec::new(), vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(probes.of("10.9.9.9".parse().unwrap()).is_some());
        assert!(probes.of("192.0.2.1".parse().unwrap()).is_none());
        assert!(probes.of("::1".parse().unwrap()).is_none());
    }
}

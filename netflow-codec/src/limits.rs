//! What a decoder may hold.

/// Limits on the state that datagrams can make a decoder keep. What a limit refuses is counted and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Streams: pairs of exporter and observation domain. A stream that was idle for
    /// [`stream_idle_ms`](Self::stream_idle_ms) makes room for a new one; else the new one is refused, so that forged
    /// senders cannot drive out true ones.
    pub streams: usize,
    /// How long a stream must have been silent to make room for another.
    pub stream_idle_ms: i64,
    /// Templates of one stream. Routers use tens.
    pub templates_per_stream: usize,
    /// Fields of one template. The largest seen have under 200.
    pub fields_per_template: usize,
    /// Bytes of all templates together.
    pub template_bytes: usize,
    /// How long a template is valid without a refresh (RFC 7011 §8.4 lets the collector choose).
    pub template_lifetime_ms: i64,
    /// Bytes of one stream's sets that wait for their template; when more come, the oldest go.
    pub held_bytes_per_stream: usize,
    /// Bytes of all sets that wait for their template.
    pub held_bytes: usize,
    /// How long a set waits for its template.
    pub held_ms: i64,
}

impl Limits {
    /// Limits for a collector of some thousand exporters: at most about 200 MB of state, typically under one.
    pub const COLLECTOR: Self = Self {
        streams: 65_536,
        stream_idle_ms: 60 * 60 * 1000,
        templates_per_stream: 4096,
        fields_per_template: 1024,
        template_bytes: 64 << 20,
        template_lifetime_ms: 24 * 60 * 60 * 1000,
        held_bytes_per_stream: 1 << 20,
        held_bytes: 16 << 20,
        held_ms: 30 * 60 * 1000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::COLLECTOR
    }
}

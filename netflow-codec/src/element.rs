//! Information elements: what a field means.

use core::fmt;

/// Names an information element: an enterprise number and a number within it (RFC 7011 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElementId {
    /// The private enterprise number; 0 for elements that IANA registers.
    pub enterprise: u32,
    /// The element's number within the enterprise.
    pub id: u16,
}

impl ElementId {
    /// The enterprise number under which RFC 5103 registers reverse elements.
    pub const REVERSE_ENTERPRISE: u32 = 29305;

    /// The number space of v9 scope types (RFC 3954 §6.1), which are not information elements. IANA has reserved this
    /// enterprise number, so it cannot clash with one on the wire.
    pub const V9_SCOPE_ENTERPRISE: u32 = u32::MAX;

    /// An element of the IANA registry.
    #[must_use]
    pub const fn iana(id: u16) -> Self {
        Self { enterprise: 0, id }
    }

    /// An element of an enterprise.
    #[must_use]
    pub const fn vendor(enterprise: u32, id: u16) -> Self {
        Self { enterprise, id }
    }

    /// The reverse of an IANA element (RFC 5103 §6.1).
    #[must_use]
    pub const fn reverse(id: u16) -> Self {
        Self { enterprise: Self::REVERSE_ENTERPRISE, id }
    }

    /// A v9 scope type: 1 system, 2 interface, 3 line card, 4 cache, 5 template.
    #[must_use]
    pub const fn v9_scope(kind: u16) -> Self {
        Self { enterprise: Self::V9_SCOPE_ENTERPRISE, id: kind }
    }
}

impl fmt::Debug for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.enterprise, self.id)
    }
}

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.enterprise, self.id)
    }
}

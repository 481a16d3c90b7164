//! Information elements: what a field means.
//!
//! [`lookup`] knows the elements of the IANA registry and those of the vendors that matter, from a list that is kept
//! beside this file (`element/elements.tsv`) with its sources and date. A [`Registry`] adds a user's own.
//!
//! | Number space | On the wire | Here |
//! |---|---|---|
//! | IANA | enterprise bit clear | enterprise 0, 1–32767 |
//! | v9 private numbers (Cisco ASA, Palo Alto, nProbe …) | v9 field types above 32767, which carry no enterprise | enterprise 0, 32768–65535; named as Cisco's element of 32768 less where the list has no other |
//! | vendors | enterprise bit set, then the enterprise number | that enterprise |
//! | reverse (RFC 5103) | enterprise 29305 | enterprise 29305, named `reverse` + the forward element |
//! | v9 scopes | scope field types of v9 options templates | [`ElementId::V9_SCOPE_ENTERPRISE`] |

mod table;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Names an information element: an enterprise number and a number within it (RFC 7011 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
        Self {
            enterprise: Self::REVERSE_ENTERPRISE,
            id,
        }
    }

    /// A v9 scope type: 1 system, 2 interface, 3 line card, 4 cache, 5 template.
    #[must_use]
    pub const fn v9_scope(kind: u16) -> Self {
        Self {
            enterprise: Self::V9_SCOPE_ENTERPRISE,
            id: kind,
        }
    }

    /// The element whose reverse this is, if it is one: IANA's by RFC 5103 §6.1, YAF's (CERT) by bit 14 of the number,
    /// which RFC 5103 §6.2 suggests to enterprises.
    #[must_use]
    pub const fn forward(self) -> Option<Self> {
        match self.enterprise {
            Self::REVERSE_ENTERPRISE => Some(Self::iana(self.id)),
            CERT_ENTERPRISE if self.id & CERT_REVERSE_BIT != 0 => {
                Some(Self::vendor(CERT_ENTERPRISE, self.id & !CERT_REVERSE_BIT))
            }
            _ => None,
        }
    }
}

/// YAF's enterprise (CERT Coordination Center), and the bit with which it marks its own reverse elements.
const CERT_ENTERPRISE: u32 = 6871;
const CERT_REVERSE_BIT: u16 = 0x4000;

const CISCO_ENTERPRISE: u32 = 9;
/// The first of the v9 numbers that IANA's registry does not share.
const V9_PRIVATE: u16 = 0x8000;

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

/// An element's abstract data type (RFC 7012 §3.1). How many octets a value takes is said by the template, as
/// integers and floats may be sent reduced (RFC 7011 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Octets without further meaning.
    OctetArray,
    /// An unsigned integer of at most one octet.
    Unsigned8,
    /// An unsigned integer of at most two octets.
    Unsigned16,
    /// An unsigned integer of at most four octets.
    Unsigned32,
    /// An unsigned integer of at most eight octets.
    Unsigned64,
    /// An unsigned integer of at most 32 octets (RFC 9740 §6): wide sets of flags.
    Unsigned256,
    /// A signed integer of at most one octet.
    Signed8,
    /// A signed integer of at most two octets.
    Signed16,
    /// A signed integer of at most four octets.
    Signed32,
    /// A signed integer of at most eight octets.
    Signed64,
    /// An IEEE float of four octets.
    Float32,
    /// An IEEE float of eight octets, or reduced to four.
    Float64,
    /// 1 is true, 2 is false (RFC 7011 §6.1.5).
    Boolean,
    /// Six octets.
    MacAddress,
    /// UTF-8 text.
    String,
    /// Seconds since 1970, in four octets.
    DateTimeSeconds,
    /// Milliseconds since 1970, in eight octets.
    DateTimeMilliseconds,
    /// An NTP timestamp whose lowest eleven bits say nothing.
    DateTimeMicroseconds,
    /// An NTP timestamp.
    DateTimeNanoseconds,
    /// Four octets.
    Ipv4Address,
    /// Sixteen octets.
    Ipv6Address,
    /// Several values of one element (RFC 6313 §4.5.1).
    BasicList,
    /// Several records of one template (RFC 6313 §4.5.2).
    SubTemplateList,
    /// Records of several templates (RFC 6313 §4.5.3).
    SubTemplateMultiList,
}

impl DataType {
    /// Every type, in the order of the registry's numbers (RFC 5610 §3.1, continued by IANA).
    pub const ALL: [Self; 24] = [
        Self::OctetArray,
        Self::Unsigned8,
        Self::Unsigned16,
        Self::Unsigned32,
        Self::Unsigned64,
        Self::Signed8,
        Self::Signed16,
        Self::Signed32,
        Self::Signed64,
        Self::Float32,
        Self::Float64,
        Self::Boolean,
        Self::MacAddress,
        Self::String,
        Self::DateTimeSeconds,
        Self::DateTimeMilliseconds,
        Self::DateTimeMicroseconds,
        Self::DateTimeNanoseconds,
        Self::Ipv4Address,
        Self::Ipv6Address,
        Self::BasicList,
        Self::SubTemplateList,
        Self::SubTemplateMultiList,
        Self::Unsigned256,
    ];

    /// The type's name in the registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OctetArray => "octetArray",
            Self::Unsigned8 => "unsigned8",
            Self::Unsigned16 => "unsigned16",
            Self::Unsigned32 => "unsigned32",
            Self::Unsigned64 => "unsigned64",
            Self::Unsigned256 => "unsigned256",
            Self::Signed8 => "signed8",
            Self::Signed16 => "signed16",
            Self::Signed32 => "signed32",
            Self::Signed64 => "signed64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
            Self::MacAddress => "macAddress",
            Self::String => "string",
            Self::DateTimeSeconds => "dateTimeSeconds",
            Self::DateTimeMilliseconds => "dateTimeMilliseconds",
            Self::DateTimeMicroseconds => "dateTimeMicroseconds",
            Self::DateTimeNanoseconds => "dateTimeNanoseconds",
            Self::Ipv4Address => "ipv4Address",
            Self::Ipv6Address => "ipv6Address",
            Self::BasicList => "basicList",
            Self::SubTemplateList => "subTemplateList",
            Self::SubTemplateMultiList => "subTemplateMultiList",
        }
    }

    /// The type of a name in the registry.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|data_type| data_type.name() == name)
    }

    /// The type that an `informationElementDataType` (element 339) names in an options record (RFC 5610 §3.1).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What kind of quantity an element's value is (RFC 7012 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Semantics {
    /// Nothing special.
    Default,
    /// A measured quantity.
    Quantity,
    /// Counts since the flow began.
    TotalCounter,
    /// Counts since the last report.
    DeltaCounter,
    /// Tells things apart; arithmetic on it means nothing.
    Identifier,
    /// A set of bits.
    Flags,
    /// A list of values.
    List,
    /// A counter of a MIB object.
    SnmpCounter,
    /// A gauge of a MIB object.
    SnmpGauge,
}

impl Semantics {
    /// Every kind, in the order of the registry's numbers (RFC 5610 §3.2, continued by IANA).
    pub const ALL: [Self; 9] = [
        Self::Default,
        Self::Quantity,
        Self::TotalCounter,
        Self::DeltaCounter,
        Self::Identifier,
        Self::Flags,
        Self::List,
        Self::SnmpCounter,
        Self::SnmpGauge,
    ];

    /// The kind's name in the registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Quantity => "quantity",
            Self::TotalCounter => "totalCounter",
            Self::DeltaCounter => "deltaCounter",
            Self::Identifier => "identifier",
            Self::Flags => "flags",
            Self::List => "list",
            Self::SnmpCounter => "snmpCounter",
            Self::SnmpGauge => "snmpGauge",
        }
    }

    /// The kind of a name in the registry.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|semantics| semantics.name() == name)
    }

    /// The kind that an `informationElementSemantics` (element 344) names in an options record (RFC 5610 §3.2).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// An information element: a name and what its values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its number.
    pub id: ElementId,
    /// Its name in IANA's registry or in its vendor's manual; unlike any other of the same enterprise.
    pub name: Cow<'static, str>,
    /// The type of its values.
    pub data_type: DataType,
    /// What kind of quantity they are.
    pub semantics: Semantics,
    /// The unit they are counted in, such as `octets`; none if the registry states none.
    pub unit: Option<Cow<'static, str>>,
}

impl Element {
    /// One row of the generated table.
    const fn fixed(
        id: ElementId,
        name: &'static str,
        data_type: DataType,
        semantics: Semantics,
        unit: Option<&'static str>,
    ) -> Self {
        let unit = match unit {
            Some(unit) => Some(Cow::Borrowed(unit)),
            None => None,
        };
        Self {
            id,
            name: Cow::Borrowed(name),
            data_type,
            semantics,
            unit,
        }
    }
}

/// The known element of an id, in constant time. Reverse elements have no row of their own: see [`name`] and
/// [`ElementId::forward`].
#[must_use]
pub fn lookup(id: ElementId) -> Option<&'static Element> {
    let mut slot = table::hash(id);
    // The table is never full, so the walk ends; a test holds it below a few steps.
    loop {
        let row = *table::SLOTS.get(slot)?;
        let element = table::ELEMENTS.get(usize::from(row))?;
        if element.id == id {
            return Some(element);
        }
        slot = slot.wrapping_add(1) & table::SLOTS.len().wrapping_sub(1);
    }
}

/// Every known element, in the order of enterprise and number.
#[must_use]
pub fn all() -> &'static [Element] {
    &table::ELEMENTS
}

/// The known element of a name, among those of an enterprise (0 for IANA's). Takes a walk over the list: not for use
/// at each record.
#[must_use]
pub fn by_name(enterprise: u32, name: &str) -> Option<&'static Element> {
    table::ELEMENTS
        .iter()
        .find(|element| element.id.enterprise == enterprise && element.name == name)
}

/// The type of the values of a known element; for a reverse element that of its forward one.
#[must_use]
pub fn data_type(id: ElementId) -> Option<DataType> {
    let known = lookup(id).or_else(|| lookup(id.forward()?)).or_else(|| of_cisco(id));
    known.map(|element| element.data_type)
}

/// The name of a known element: `reverseOctetDeltaCount` for a reverse one, `scopeInterface` for a v9 scope.
#[must_use]
pub fn name(id: ElementId) -> Option<Cow<'static, str>> {
    if id.enterprise == ElementId::V9_SCOPE_ENTERPRISE {
        return scope_name(id.id).map(Cow::Borrowed);
    }
    if let Some(element) = lookup(id) {
        return Some(element.name.clone());
    }
    if let Some(element) = of_cisco(id) {
        return Some(element.name.clone());
    }
    let forward = lookup(id.forward()?)?;
    Some(Cow::Owned(reverse_name(&forward.name)))
}

/// Cisco's element of a v9 number above 32767 that has no row of its own: v9 has no enterprises, so Cisco's exporters send
/// those of theirs with the high bit set.
fn of_cisco(id: ElementId) -> Option<&'static Element> {
    let number = id.id.checked_sub(V9_PRIVATE).filter(|_| id.enterprise == 0)?;
    lookup(ElementId::vendor(CISCO_ENTERPRISE, number))
}

/// A v9 scope type's name (RFC 3954 §6.1).
const fn scope_name(kind: u16) -> Option<&'static str> {
    match kind {
        1 => Some("scopeSystem"),
        2 => Some("scopeInterface"),
        3 => Some("scopeLineCard"),
        4 => Some("scopeCache"),
        5 => Some("scopeTemplate"),
        _ => None,
    }
}

/// The name of an element's reverse: its own with the first letter raised, after `reverse` (RFC 5103 §6.1).
fn reverse_name(forward: &str) -> String {
    let mut letters = forward.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("reverse{}{}", first.to_ascii_uppercase(), letters.as_str())
    })
}

/// The known elements and a user's own, which win where both have one.
///
/// ```
/// use netflow_codec::element::{DataType, Element, ElementId, Registry, Semantics};
///
/// let mut registry = Registry::new();
/// let id = ElementId::vendor(64512, 7);
/// registry.register(Element {
///     id,
///     name: "roomNumber".into(),
///     data_type: DataType::Unsigned16,
///     semantics: Semantics::Identifier,
///     unit: None,
/// });
/// assert_eq!(registry.name(id).as_deref(), Some("roomNumber"));
/// assert_eq!(registry.name(ElementId::iana(1)).as_deref(), Some("octetDeltaCount"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    own: BTreeMap<ElementId, Element>,
}

impl Registry {
    /// The known elements and nothing else.
    #[must_use]
    pub const fn new() -> Self {
        Self { own: BTreeMap::new() }
    }

    /// Adds an element; gives back the user's own one that it replaces.
    pub fn register(&mut self, element: Element) -> Option<Element> {
        self.own.insert(element.id, element)
    }

    /// The element of an id.
    #[must_use]
    pub fn lookup(&self, id: ElementId) -> Option<&Element> {
        self.own.get(&id).or_else(|| lookup(id))
    }

    /// The type of the values of an element; for a reverse element that of its forward one.
    #[must_use]
    pub fn data_type(&self, id: ElementId) -> Option<DataType> {
        let known = self.lookup(id).or_else(|| self.lookup(id.forward()?));
        known.map(|element| element.data_type)
    }

    /// The name of an element, see [`name`].
    #[must_use]
    pub fn name(&self, id: ElementId) -> Option<Cow<'_, str>> {
        if let Some(element) = self.own.get(&id) {
            return Some(Cow::Borrowed(&*element.name));
        }
        name(id).or_else(|| Some(Cow::Owned(reverse_name(&self.own.get(&id.forward()?)?.name))))
    }
}

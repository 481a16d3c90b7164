//! What columns a caller wants.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use arrow_schema::{DataType, TimeUnit};

use crate::element::ElementId;

/// The type of an integer column. Values that do not fit become the largest that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integer {
    /// `UInt8`.
    U8,
    /// `UInt16`.
    U16,
    /// `UInt32`.
    U32,
    /// `UInt64`.
    U64,
    /// `Int64`.
    I64,
}

/// How fields become the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// An unsigned integer of any width on the wire.
    Unsigned(Integer),
    /// A counter, as `Int64`. If one of the column's [reverse elements](Column::reversed) counts anything, the record is
    /// a second flow in the other direction.
    Counter,
    /// As [`Counter`](Self::Counter), multiplied by the record's sampling rate where that is above 1.
    ScaledCounter,
    /// An address, as `FixedSizeBinary(16)`, IPv4 as `::ffff:a.b.c.d`. Of several elements that a record has, the first
    /// that is not zero counts: some exporters fill in both an IPv4 and an IPv6 address.
    Address,
    /// A moment, as `Timestamp(Millisecond, "UTC")`, from elements of any unit; `flowDurationMilliseconds` and
    /// `flowDurationMicroseconds` in the list mean the flow's other end less (plus) its duration. If the record tells
    /// none, the time of the export.
    Start,
    /// The same for the end of a flow.
    End,
    /// A source port, as `UInt16`; 0 where the exporter puts an ICMP type there.
    SourcePort,
    /// A destination port, as `UInt16`; for ICMP type × 256 + code, also where the exporter has them apart, in elements of
    /// their own or in the places of both ports; see [`Record::icmp`](crate::Record::icmp).
    DestinationPort,
    /// The record's sampling rate, as `UInt32`: 1 unsampled, 0 not known. Needs no elements.
    SamplingRate,
}

impl ColumnKind {
    /// The Arrow type of the column.
    #[must_use]
    pub fn data_type(self) -> DataType {
        match self {
            Self::Unsigned(Integer::U8) => DataType::UInt8,
            Self::Unsigned(Integer::U16) | Self::SourcePort | Self::DestinationPort => DataType::UInt16,
            Self::Unsigned(Integer::U32) | Self::SamplingRate => DataType::UInt32,
            Self::Unsigned(Integer::U64) => DataType::UInt64,
            Self::Unsigned(Integer::I64) | Self::Counter | Self::ScaledCounter => DataType::Int64,
            Self::Address => DataType::FixedSizeBinary(16),
            Self::Start | Self::End => DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::from("UTC"))),
        }
    }

    pub(crate) fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::ScaledCounter)
    }
}

/// One column that the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
    pub(crate) nullable: bool,
    pub(crate) elements: Vec<ElementId>,
    pub(crate) reverse: Vec<ElementId>,
}

impl Column {
    /// A column filled from the first of the elements that a template has; zero where it has none.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: ColumnKind, elements: impl IntoIterator<Item = ElementId>) -> Self {
        Self {
            name: name.into(),
            kind,
            nullable: false,
            elements: elements.into_iter().collect(),
            reverse: Vec::new(),
        }
    }

    /// The column is null, not zero, where a template has none of its elements.
    #[must_use]
    pub fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// The elements that fill the column in a flow of the other direction (RFC 5103, or a responder's counters). Where
    /// nothing is said, or the template has none of them, a flow's other direction has the same value, and a counter 0.
    #[must_use]
    pub fn reversed(self, elements: impl IntoIterator<Item = ElementId>) -> Self {
        Self {
            reverse: elements.into_iter().collect(),
            ..self
        }
    }

    /// The column's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How fields become its values.
    #[must_use]
    pub fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// Whether it can be null.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }
}

/// The columns that a caller wants, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPlan {
    columns: Vec<Column>,
}

impl ColumnPlan {
    /// A plan of columns.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns }
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The Arrow schema of what [`Columns::finish`](super::Columns::finish) gives.
    #[must_use]
    pub fn schema(&self) -> arrow_schema::Schema {
        arrow_schema::Schema::new(
            self.columns
                .iter()
                .map(|column| arrow_schema::Field::new(&column.name, column.kind.data_type(), column.nullable))
                .collect::<Vec<_>>(),
        )
    }
}

//! Values of the language: what a column holds, an expression yields and a row carries.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One value.
///
/// Equality, order and hash are total and serve keys of groups, sets and sorts: null is equal to null and sorts first, the
/// numeric types compare with one another by value, doubles by `total_cmp` with `-0.0` equal to `0.0`. What `=` and `<` mean
/// in a statement (null makes the result null) is the business of [`crate::expr`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// `boolean`.
    Bool(bool),
    /// `int`, 32 bits.
    Int(i32),
    /// `long`, 64 bits; also times in milliseconds.
    Long(i64),
    /// `double`.
    Double(f64),
    /// `string`.
    Text(Arc<str>),
    /// An IP address, IPv4 as `::ffff:a.b.c.d`.
    Address([u8; 16]),
    /// Several values, as `window(x)` yields them.
    List(Arc<[Self]>),
    /// A whole row, as `select a` of a pattern's tag yields it.
    Row(Arc<[Self]>),
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Type {
    /// The type of the literal `null`.
    Null,
    /// `boolean`.
    Bool,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `double`.
    Double,
    /// `string`.
    Text,
    /// An IP address.
    Address,
    /// Several values of one type.
    List(Box<Self>),
    /// A whole row: the names and types of its columns.
    Row(Vec<(String, Self)>),
}

impl Type {
    /// Whether values of this type take part in arithmetic.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Int | Self::Long | Self::Double)
    }

    /// Whether values of this type are whole numbers.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Int | Self::Long)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::Long => f.write_str("long"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::Address => f.write_str("address"),
            Self::List(of) => write!(f, "{of}[]"),
            Self::Row(columns) => {
                f.write_str("row(")?;
                for (at, (name, of)) in columns.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{name} {of}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }

    /// The type, [`Type::Null`] for null; the columns of a row have no names here.
    #[must_use]
    pub fn value_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Long(_) => Type::Long,
            Self::Double(_) => Type::Double,
            Self::Text(_) => Type::Text,
            Self::Address(_) => Type::Address,
            Self::List(of) => Type::List(Box::new(of.first().map_or(Type::Null, Self::value_type))),
            Self::Row(of) => Type::Row(of.iter().map(|value| (String::new(), value.value_type())).collect()),
        }
    }

    /// Whether this is null.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this is `true`; null is not.
    #[must_use]
    pub const fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The truth value, `None` for null (and for what is no boolean).
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number in 64 bits.
    #[must_use]
    pub const fn as_long(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value as i64),
            Self::Long(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as a double.
    #[must_use]
    pub const fn as_double(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Long(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// The text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Long(_) | Self::Double(_) => 2,
            Self::Text(_) => 3,
            Self::Address(_) => 4,
            Self::List(_) => 5,
            Self::Row(_) => 6,
        }
    }
}

/// Reads an address as text into the 16 bytes of [`Value::Address`].
#[must_use]
pub fn parse_address(text: &str) -> Option<[u8; 16]> {
    let address: IpAddr = text.parse().ok()?;
    Some(match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// The address in its usual text, IPv4 when it is a mapped one.
#[must_use]
pub fn address_of(octets: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(octets);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // Most equal texts are one text that rows share.
            (Self::Text(a), Self::Text(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares a long with a double exactly, without rounding the long.
fn compare_long_double(long: i64, double: f64) -> Ordering {
    if double.is_nan() {
        return if double.is_sign_negative() {
            Ordering::Greater
        } else {
            Ordering::Less
        };
    }
    // 2^63 as a double; every long is below it and at or above its negative.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if double >= LIMIT {
        return Ordering::Less;
    }
    if double < -LIMIT {
        return Ordering::Greater;
    }
    let whole = double.trunc();
    #[expect(clippy::cast_possible_truncation, reason = "the double lies within the range of i64")]
    let as_long = whole as i64;
    long.cmp(&as_long)
        .then_with(|| 0.0_f64.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal))
}

/// `-0.0` becomes `0.0`, every other double stays.
fn positive_zero(double: f64) -> f64 {
    if double == 0.0 { 0.0 } else { double }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Long(a), Self::Long(b)) => a.cmp(b),
            (Self::Int(a), Self::Long(b)) => i64::from(*a).cmp(b),
            (Self::Long(a), Self::Int(b)) => a.cmp(&i64::from(*b)),
            (Self::Double(a), Self::Double(b)) => positive_zero(*a).total_cmp(&positive_zero(*b)),
            (Self::Int(a), Self::Double(b)) => compare_long_double(i64::from(*a), *b),
            (Self::Long(a), Self::Double(b)) => compare_long_double(*a, *b),
            (Self::Double(a), Self::Int(b)) => compare_long_double(i64::from(*b), *a).reverse(),
            (Self::Double(a), Self::Long(b)) => compare_long_double(*b, *a).reverse(),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Address(a), Self::Address(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) | (Self::Row(a), Self::Row(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// Compares two lists of values by the first that differ; null is lowest, and first unless its place is descending.
pub(crate) fn compare_by(descending: impl Iterator<Item = bool>, left: &[Value], right: &[Value]) -> Ordering {
    descending
        .zip(left.iter().zip(right))
        .map(|(descending, (left, right))| if descending { right.cmp(left) } else { left.cmp(right) })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => i64::from(*value).hash(state),
            Self::Long(value) => value.hash(state),
            Self::Double(value) => {
                // A double that is equal to a long must hash as that long.
                let value = positive_zero(*value);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the comparison below tells whether the cast was exact"
                )]
                let long = value as i64;
                if compare_long_double(long, value) == Ordering::Equal {
                    long.hash(state);
                } else {
                    value.to_bits().hash(state);
                }
            }
            Self::Text(value) => value.hash(state),
            Self::Address(value) => value.hash(state),
            Self::List(value) | Self::Row(value) => value.hash(state),
        }
    }
}

impl fmt::Display for Value {
    /// The value as `||` and JSON show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Long(value) => write!(f, "{value}"),
            Self::Double(value) if value.is_finite() && value.fract() == 0.0 && value.abs() < 1e15 => {
                write!(f, "{value:.1}")
            }
            Self::Double(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Address(value) => write!(f, "{}", address_of(*value)),
            Self::List(values) | Self::Row(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn numbers_of_different_types_are_equal_and_hash_alike() {
        let state = foldhash::fast::FixedState::default();
        for (a, b) in [
            (Value::Int(7), Value::Long(7)),
            (Value::Long(7), Value::Double(7.0)),
            (Value::Int(0), Value::Double(-0.0)),
        ] {
            assert_eq!(a, b);
            assert_eq!(state.hash_one(&a), state.hash_one(&b));
        }
        assert!(Value::Long(i64::MAX) < Value::Double(9_223_372_036_854_775_808.0));
        assert!(Value::Double(2.5) > Value::Int(2));
        assert!(Value::Double(-2.5) < Value::Int(-2));
        assert!(Value::Null < Value::Bool(false));
    }

    #[test]
    fn addresses_order_by_number_and_print_as_usual() {
        let low = Value::Address(parse_address("9.255.0.1").unwrap());
        let high = Value::Address(parse_address("10.0.0.1").unwrap());
        assert!(low < high);
        assert_eq!(high.to_string(), "10.0.0.1");
        assert_eq!(parse_address("10.0.0"), None);
    }
}

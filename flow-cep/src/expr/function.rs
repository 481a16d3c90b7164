//! The functions of one row, most of them extensions for flows.

use std::net::{IpAddr, Ipv6Addr};

use super::{Function, Network};
use crate::value::{Type, Value, address_of};

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// Any number; the arguments are brought to their common type.
    Number,
    /// Numbers or texts of one common type.
    Comparable,
    /// A whole number, as `long`.
    Long,
    /// A number, as `double`.
    Double,
    /// An address, or a text that is one.
    Address,
    /// A text.
    Text,
}

/// How a function is called.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The function.
    pub function: Function,
    /// Its name in statements, lower case.
    pub name: &'static str,
    /// Its parameters; the last may be repeated if `variadic`.
    pub parameters: &'static [Parameter],
    /// How many of the parameters must be given.
    pub required: usize,
    /// Whether the last parameter may be given any number of times.
    pub variadic: bool,
}

const fn fixed(function: Function, name: &'static str, parameters: &'static [Parameter]) -> Signature {
    Signature {
        function,
        name,
        parameters,
        required: parameters.len(),
        variadic: false,
    }
}

/// Every function of one row.
pub const FUNCTIONS: &[Signature] = &[
    Signature {
        function: Function::Min,
        name: "min",
        parameters: &[Parameter::Comparable],
        required: 2,
        variadic: true,
    },
    Signature {
        function: Function::Max,
        name: "max",
        parameters: &[Parameter::Comparable],
        required: 2,
        variadic: true,
    },
    fixed(Function::Abs, "abs", &[Parameter::Number]),
    fixed(Function::Floor, "floor", &[Parameter::Double]),
    fixed(Function::Round, "round", &[Parameter::Double]),
    Signature {
        function: Function::Prefix,
        name: "prefix",
        parameters: &[Parameter::Address, Parameter::Long, Parameter::Long],
        required: 2,
        variadic: false,
    },
    fixed(Function::IsIpv4, "is_ipv4", &[Parameter::Address]),
    fixed(Function::IsPrivate, "is_private", &[Parameter::Address]),
    fixed(Function::IsMulticast, "is_multicast", &[Parameter::Address]),
    Signature {
        function: Function::PortName,
        name: "port_name",
        parameters: &[Parameter::Long, Parameter::Long],
        required: 1,
        variadic: false,
    },
    fixed(Function::ProtoName, "proto_name", &[Parameter::Long]),
    fixed(Function::FlagsSet, "flags_set", &[Parameter::Long, Parameter::Text]),
    fixed(Function::FlagsOnly, "flags_only", &[Parameter::Long, Parameter::Text]),
    fixed(Function::FlagsText, "flags_text", &[Parameter::Long]),
    fixed(Function::RateBps, "rate_bps", &[Parameter::Double, Parameter::Double]),
    fixed(Function::Length, "length", &[Parameter::Text]),
    fixed(Function::Lower, "lower", &[Parameter::Text]),
    fixed(Function::Upper, "upper", &[Parameter::Text]),
];

impl Function {
    /// The type of the result, given the common type of the arguments.
    #[must_use]
    pub fn result_type(self, common: &Type) -> Type {
        match self {
            Self::Min | Self::Max | Self::Abs => common.clone(),
            Self::Floor | Self::RateBps => Type::Double,
            Self::Round => Type::Long,
            Self::Prefix => Type::Address,
            Self::IsIpv4 | Self::IsPrivate | Self::IsMulticast | Self::FlagsSet | Self::FlagsOnly => Type::Bool,
            Self::PortName | Self::ProtoName | Self::FlagsText | Self::Lower | Self::Upper => Type::Text,
            Self::Length => Type::Int,
        }
    }

    /// Computes the function; null if any argument is null, or where the arguments make no sense.
    #[must_use]
    pub fn apply(self, arguments: &[Value]) -> Value {
        if arguments.iter().any(Value::is_null) {
            return Value::Null;
        }
        self.compute(arguments).unwrap_or(Value::Null)
    }

    fn compute(self, arguments: &[Value]) -> Option<Value> {
        let first = arguments.first()?;
        let second = arguments.get(1);
        Some(match self {
            Self::Min => arguments.iter().min()?.clone(),
            Self::Max => arguments.iter().max()?.clone(),
            Self::Abs => match first {
                Value::Int(value) => Value::Int(value.wrapping_abs()),
                Value::Long(value) => Value::Long(value.wrapping_abs()),
                Value::Double(value) => Value::Double(value.abs()),
                _ => return None,
            },
            Self::Floor => Value::Double(first.as_double()?.floor()),
            Self::Round => {
                // Java's Math.round: half up, saturating.
                let rounded = (first.as_double()? + 0.5).floor();
                #[expect(clippy::cast_possible_truncation, reason = "saturation is what is wanted")]
                let rounded = rounded as i64;
                Value::Long(rounded)
            }
            Self::Prefix => {
                let Value::Address(address) = first else { return None };
                let v4 = is_ipv4(*address);
                let bits = if v4 {
                    second?.as_long()?
                } else {
                    arguments.get(2).or(second)?.as_long()?
                };
                let bits = u8::try_from(bits).ok()?.min(if v4 { 32 } else { 128 });
                let length = if v4 { 96 + bits } else { bits };
                Value::Address(Network::new(*address, length).first.to_be_bytes())
            }
            Self::IsIpv4 => Value::Bool(is_ipv4(address(first)?)),
            Self::IsPrivate => Value::Bool(is_private(address_of(address(first)?))),
            Self::IsMulticast => Value::Bool(match address_of(address(first)?) {
                IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
                IpAddr::V6(v6) => v6.is_multicast(),
            }),
            Self::PortName => Value::text(port_name(first.as_long()?, second.and_then(Value::as_long))?),
            Self::ProtoName => Value::text(proto_name(first.as_long()?)?),
            Self::FlagsSet => {
                let wanted = flags_of(second?.as_text()?)?;
                Value::Bool(first.as_long()? & wanted == wanted)
            }
            Self::FlagsOnly => Value::Bool(first.as_long()? & ALL_FLAGS == flags_of(second?.as_text()?)?),
            Self::FlagsText => {
                let flags = first.as_long()?;
                // nfdump's order, a dot for each flag not set.
                let text: String = "UAPRSF"
                    .chars()
                    .map(|letter| {
                        if flags & flag_bit(letter).unwrap_or(0) != 0 {
                            letter
                        } else {
                            '.'
                        }
                    })
                    .collect();
                Value::text(&text)
            }
            Self::RateBps => {
                let ms = second?.as_double()?;
                if ms <= 0.0 {
                    return None;
                }
                Value::Double(first.as_double()? * 8000.0 / ms)
            }
            Self::Length => Value::Int(i32::try_from(first.as_text()?.chars().count()).ok()?),
            Self::Lower => Value::text(&first.as_text()?.to_lowercase()),
            Self::Upper => Value::text(&first.as_text()?.to_uppercase()),
        })
    }
}

fn address(value: &Value) -> Option<[u8; 16]> {
    match value {
        Value::Address(address) => Some(*address),
        _ => None,
    }
}

fn is_ipv4(address: [u8; 16]) -> bool {
    Ipv6Addr::from(address).to_ipv4_mapped().is_some()
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

/// FIN, SYN, RST, PSH, ACK, URG.
const ALL_FLAGS: i64 = 0x3f;

/// RFC 9293 §3.1: the control bits, here by their first letters.
fn flag_bit(letter: char) -> Option<i64> {
    Some(match letter.to_ascii_uppercase() {
        'F' => 0x01,
        'S' => 0x02,
        'R' => 0x04,
        'P' => 0x08,
        'A' => 0x10,
        'U' => 0x20,
        _ => return None,
    })
}

/// The bits of a text like `SA`; none if a letter is no flag.
pub(crate) fn flags_of(text: &str) -> Option<i64> {
    text.chars().try_fold(0, |bits, letter| Some(bits | flag_bit(letter)?))
}

/// The protocols that show up on a campus, by IANA's number.
fn proto_name(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        46 => "rsvp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmp6",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        115 => "l2tp",
        132 => "sctp",
        136 => "udplite",
        137 => "mpls",
        _ => return None,
    })
}

/// The services that statements speak of, by IANA's number; a few run on one transport only.
fn port_name(port: i64, proto: Option<i64>) -> Option<&'static str> {
    const TCP: i64 = 6;
    const UDP: i64 = 17;
    let name = match port {
        20 => "ftp-data",
        21 => "ftp",
        22 => "ssh",
        23 => "telnet",
        25 => "smtp",
        53 => "domain",
        67 => "bootps",
        68 => "bootpc",
        69 => "tftp",
        80 => "http",
        88 => "kerberos",
        110 => "pop3",
        111 => "sunrpc",
        119 => "nntp",
        123 => "ntp",
        135 => "epmap",
        137 => "netbios-ns",
        138 => "netbios-dgm",
        139 => "netbios-ssn",
        143 => "imap",
        161 => "snmp",
        162 => "snmptrap",
        179 => "bgp",
        194 => "irc",
        389 => "ldap",
        443 => "https",
        445 => "microsoft-ds",
        465 => "submissions",
        514 if proto == Some(TCP) => "shell",
        514 => "syslog",
        515 => "printer",
        546 => "dhcpv6-client",
        547 => "dhcpv6-server",
        587 => "submission",
        631 => "ipp",
        636 => "ldaps",
        853 => "domain-s",
        873 => "rsync",
        993 => "imaps",
        995 => "pop3s",
        1080 => "socks",
        1194 => "openvpn",
        1433 => "ms-sql-s",
        1521 => "oracle",
        1723 => "pptp",
        1900 => "ssdp",
        2049 => "nfs",
        2055 if proto == Some(UDP) => "netflow",
        3128 => "squid",
        3306 => "mysql",
        3389 => "ms-wbt-server",
        4739 => "ipfix",
        5060 => "sip",
        5061 => "sips",
        5222 => "xmpp-client",
        5353 => "mdns",
        5355 => "llmnr",
        5432 => "postgresql",
        5672 => "amqp",
        5900 => "rfb",
        6379 => "redis",
        6514 => "syslog-tls",
        6660..=6669 | 6697 => "irc",
        8080 => "http-alt",
        8443 => "https-alt",
        9092 => "kafka",
        9200 => "elasticsearch",
        11211 => "memcache",
        27017 => "mongodb",
        51820 => "wireguard",
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse_address;

    fn ip(text: &str) -> Value {
        Value::Address(parse_address(text).unwrap())
    }

    #[test]
    fn prefix_counts_bits_of_the_address_own_family() {
        assert_eq!(
            Function::Prefix.apply(&[ip("10.1.2.3"), Value::Int(24)]),
            ip("10.1.2.0")
        );
        assert_eq!(
            Function::Prefix.apply(&[ip("2001:db8:1:2::3"), Value::Int(24), Value::Int(48)]),
            ip("2001:db8:1::")
        );
        assert_eq!(Function::Prefix.apply(&[ip("10.1.2.3"), Value::Int(-1)]), Value::Null);
        assert_eq!(Function::Prefix.apply(&[ip("10.1.2.3"), Value::Int(0)]), ip("0.0.0.0"));
    }

    #[test]
    fn flags_are_tested_by_letter() {
        let syn_ack = Value::Int(0x12);
        assert_eq!(
            Function::FlagsSet.apply(&[syn_ack.clone(), Value::text("S")]),
            Value::Bool(true)
        );
        assert_eq!(
            Function::FlagsOnly.apply(&[syn_ack.clone(), Value::text("S")]),
            Value::Bool(false)
        );
        assert_eq!(
            Function::FlagsText.apply(std::slice::from_ref(&syn_ack)),
            Value::text(".A..S.")
        );
        assert_eq!(Function::FlagsSet.apply(&[syn_ack, Value::text("X")]), Value::Null);
    }

    #[test]
    fn a_rate_over_no_time_is_null() {
        assert_eq!(
            Function::RateBps.apply(&[Value::Double(1000.0), Value::Double(0.0)]),
            Value::Null
        );
        assert_eq!(
            Function::RateBps.apply(&[Value::Double(1000.0), Value::Double(2000.0)]),
            Value::Double(4000.0)
        );
    }
}

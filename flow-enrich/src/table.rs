//! Reads the subnet list.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use csv_core::ReadFieldResult;
use ipnet::IpNet;

use crate::error::Error;
use crate::subnet::Subnet;

/// Most subnets in a list. At worst, each an IPv6 prefix that ends in a byte of its own and parts from the others in
/// another, a subnet needs two tables of 1 KiB: such a list compiles to less than 600 MiB. A campus of 17,000 takes one.
pub const MAX_SUBNETS: usize = 1 << 18;
/// Longest text of one field. Names are repeated on pages and in columns; what is longer is a mistake in the quotes.
pub const MAX_FIELD_BYTES: usize = 255;
/// Most mistakes told one by one.
pub const MAX_PROBLEMS: usize = 20;
/// Largest VLAN id: IEEE 802.1Q keeps 4095 for itself.
const MAX_VLAN: u16 = 4094;

/// The column that says which addresses are meant.
pub const PREFIX_COLUMN: &str = "prefix";
/// The columns that a list can have. `prefix` and `name` must be there.
pub const SUBNET_COLUMNS: [&str; 6] = [PREFIX_COLUMN, "name", "router", "interface", "vlan", "internal"];

/// A list of subnets, each prefix once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetTable {
    subnets: Vec<Subnet>,
}

impl SubnetTable {
    /// Reads a list in CSV (RFC 4180, UTF-8, one subnet a line).
    ///
    /// The first line that is neither empty nor a comment names the columns, in any order: `prefix` and `name`, and
    /// where wanted `router`, `interface`, `vlan` and `internal`. A line that starts with `#` is a comment. Blanks
    /// around a field do not count; a field with a comma in it stands in double quotes and ends on its line. An empty
    /// router, interface or VLAN means none. A subnet is internal unless the list says `false`.
    ///
    /// # Errors
    ///
    /// [`Error::Table`] with every mistake found, up to [`MAX_PROBLEMS`] in full: text that is not UTF-8, a quote left
    /// open, a missing, unknown or repeated column, too few or too many fields, a prefix that is none, has bits set
    /// beyond its length or stands there twice, a VLAN or a truth value that is none, a name that is missing or too
    /// long, more than [`MAX_SUBNETS`] subnets.
    pub fn from_csv(text: &[u8]) -> Result<Self, Error> {
        let mut list = ListReader {
            csv: csv_core::Reader::new(),
            columns: None,
            subnets: Vec::new(),
            line_of_prefix: HashMap::new(),
            problems: Vec::new(),
            unreported: 0,
        };
        // Editors on Windows put a byte order mark in front.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for (line, text) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            if list.subnets.len() >= MAX_SUBNETS {
                list.report(line, 1, ProblemKind::TooManySubnets);
                break;
            }
            let had_header = list.columns.is_some();
            list.read_line(line, text.strip_suffix(b"\r").unwrap_or(text));
            // With a wrong header every line would be wrong in its wake.
            if !had_header && !list.problems.is_empty() {
                break;
            }
        }
        if list.columns.is_none() && list.problems.is_empty() {
            list.report(1, 1, ProblemKind::NoHeader);
        }
        if list.problems.is_empty() {
            Ok(Self { subnets: list.subnets })
        } else {
            Err(Error::Table {
                problems: list.problems,
                unreported: list.unreported,
            })
        }
    }

    /// The subnets, in the order of the list.
    #[must_use]
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    pub(crate) fn into_subnets(self) -> Vec<Subnet> {
        self.subnets
    }
}

/// One mistake in a subnet list. Displays as `LINE:COLUMN: TEXT`, to be put behind the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1, with which the field in question starts.
    pub column: usize,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.kind)
    }
}

/// What can be wrong in a subnet list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// No line names the columns.
    #[error("no header: start with a line such as `prefix,name,router,interface,vlan,internal`")]
    NoHeader,
    /// The header lacks a column that must be there.
    #[error("the header has no column `{column}`: add it (the columns are {})", SUBNET_COLUMNS.join(", "))]
    ColumnMissing {
        /// The column.
        column: &'static str,
    },
    /// The header names a column that means nothing here.
    #[error("unknown column `{found}`{}", suggestion(.found))]
    ColumnUnknown {
        /// What stands there.
        found: String,
    },
    /// The header names a column twice.
    #[error("column `{column}` is there twice: remove one")]
    ColumnRepeated {
        /// The column.
        column: &'static str,
    },
    /// A line has another number of fields than the header.
    #[error("{found} fields where the header has {wanted}: add or remove a comma, or quote a field that holds one")]
    FieldCount {
        /// As the header has them.
        wanted: usize,
        /// As the line has them.
        found: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("not UTF-8: save the file as UTF-8")]
    NotUtf8,
    /// A quoted field that goes on beyond its line.
    #[error("the quote opened here is not closed on this line: close it, or double a quote that is part of the text")]
    QuoteOpen,
    /// A field longer than [`MAX_FIELD_BYTES`].
    #[error("a field of more than {MAX_FIELD_BYTES} bytes: shorten it")]
    FieldTooLong,
    /// A field that must not be empty is.
    #[error("no {column}: every subnet needs one")]
    FieldEmpty {
        /// The field's column.
        column: &'static str,
    },
    /// Not an address with a length.
    #[error("`{found}` is no prefix: write one as `10.1.2.0/24` or `2001:db8:1::/48`")]
    PrefixInvalid {
        /// What stands there.
        found: String,
    },
    /// An address without a length.
    #[error("`{address}` has no length: write `{address}/{}` for this one host", if .address.is_ipv4() { 32 } else { 128 })]
    PrefixWithoutLength {
        /// The address.
        address: IpAddr,
    },
    /// Bits set beyond the prefix's length.
    #[error("`{found}` has bits set beyond its length: write `{}`, or `{}` for the one host", .found.trunc(), host(.found))]
    HostBits {
        /// What stands there.
        found: IpNet,
    },
    /// An IPv4 prefix in IPv6 clothing.
    #[error("`{found}` is an IPv4 prefix inside IPv6: write it as IPv4")]
    PrefixMapped {
        /// What stands there.
        found: IpNet,
    },
    /// A prefix that stands there twice.
    #[error("`{prefix}` is there already in line {first_line}: remove one of the two")]
    PrefixRepeated {
        /// The prefix.
        prefix: IpNet,
        /// Where it stands first.
        first_line: usize,
    },
    /// Not a VLAN id.
    #[error("`{found}` is no VLAN: write a number from 0 to {MAX_VLAN}, or nothing")]
    VlanInvalid {
        /// What stands there.
        found: String,
    },
    /// Neither true nor false.
    #[error("`{found}` is neither `true` nor `false`")]
    InternalInvalid {
        /// What stands there.
        found: String,
    },
    /// More subnets than [`MAX_SUBNETS`].
    #[error("more than {MAX_SUBNETS} subnets: join neighbours to shorter prefixes")]
    TooManySubnets,
}

fn suggestion(found: &str) -> String {
    let lower = found.to_lowercase();
    let nearest = SUBNET_COLUMNS
        .iter()
        .min_by_key(|column| strsim::damerau_levenshtein(column, &lower));
    match nearest {
        Some(nearest) if strsim::damerau_levenshtein(nearest, &lower) <= 2 => format!(": did you mean `{nearest}`?"),
        _ => format!(": the columns are {}", SUBNET_COLUMNS.join(", ")),
    }
}

fn host(net: &IpNet) -> String {
    format!("{}/{}", net.addr(), net.max_prefix_len())
}

/// A field of a line, without quotes.
struct Field {
    text: String,
    /// From 1, in characters.
    column: usize,
}

/// A list in the making.
struct ListReader {
    csv: csv_core::Reader,
    /// Once the header is read: which of [`SUBNET_COLUMNS`] each field is.
    columns: Option<Vec<usize>>,
    subnets: Vec<Subnet>,
    line_of_prefix: HashMap<IpNet, usize>,
    problems: Vec<Problem>,
    unreported: usize,
}

impl ListReader {
    fn report(&mut self, line: usize, column: usize, kind: ProblemKind) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, column, kind });
        } else {
            self.unreported += 1;
        }
    }

    fn read_line(&mut self, line: usize, bytes: &[u8]) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let column = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).chars().count() + 1;
                return self.report(line, column, ProblemKind::NotUtf8);
            }
        };
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            return;
        }
        let fields = match split(&mut self.csv, text) {
            Ok(fields) => fields,
            Err((column, kind)) => return self.report(line, column, kind),
        };
        match self.columns.take() {
            None => self.read_header(line, &fields),
            Some(columns) => {
                if fields.len() == columns.len() {
                    self.read_subnet(line, &columns, &fields);
                } else {
                    let kind = ProblemKind::FieldCount {
                        wanted: columns.len(),
                        found: fields.len(),
                    };
                    self.report(line, 1, kind);
                }
                self.columns = Some(columns);
            }
        }
    }

    fn read_header(&mut self, line: usize, fields: &[Field]) {
        let mut columns = Vec::new();
        for field in fields {
            let Some(which) = SUBNET_COLUMNS
                .iter()
                .position(|name| field.text.eq_ignore_ascii_case(name))
            else {
                self.report(
                    line,
                    field.column,
                    ProblemKind::ColumnUnknown {
                        found: field.text.clone(),
                    },
                );
                continue;
            };
            if columns.contains(&which) {
                self.report(
                    line,
                    field.column,
                    ProblemKind::ColumnRepeated {
                        column: SUBNET_COLUMNS[which],
                    },
                );
            }
            columns.push(which);
        }
        for (which, column) in SUBNET_COLUMNS.into_iter().enumerate().take(2) {
            if !columns.contains(&which) {
                self.report(line, 1, ProblemKind::ColumnMissing { column });
            }
        }
        self.columns = Some(columns);
    }

    fn read_subnet(&mut self, line: usize, columns: &[usize], fields: &[Field]) {
        let mut subnet = Subnet {
            prefix: IpNet::default(),
            name: String::new(),
            router: None,
            interface: None,
            vlan: None,
            internal: true,
        };
        let problems_before = self.problems.len() + self.unreported;
        for (&which, field) in columns.iter().zip(fields) {
            let text = field.text.as_str();
            let given = || (!text.is_empty()).then(|| text.to_owned());
            let read = match SUBNET_COLUMNS[which] {
                PREFIX_COLUMN => read_prefix(text).map(|prefix| subnet.prefix = prefix),
                "name" if text.is_empty() => Err(ProblemKind::FieldEmpty { column: "name" }),
                "name" => {
                    text.clone_into(&mut subnet.name);
                    Ok(())
                }
                "router" => {
                    subnet.router = given();
                    Ok(())
                }
                "interface" => {
                    subnet.interface = given();
                    Ok(())
                }
                "vlan" => read_vlan(text).map(|vlan| subnet.vlan = vlan),
                _ => read_internal(text).map(|internal| subnet.internal = internal),
            };
            if let Err(kind) = read {
                self.report(line, field.column, kind);
            } else if which == 0 {
                let prefix = subnet.prefix;
                let first_line = *self.line_of_prefix.entry(prefix).or_insert(line);
                if first_line != line {
                    self.report(line, field.column, ProblemKind::PrefixRepeated { prefix, first_line });
                }
            }
        }
        if self.problems.len() + self.unreported == problems_before {
            self.subnets.push(subnet);
        }
    }
}

/// Splits one line at its commas.
fn split(reader: &mut csv_core::Reader, line: &str) -> Result<Vec<Field>, (usize, ProblemKind)> {
    // A line before this may have ended inside its quotes.
    reader.reset();
    let mut fields = Vec::with_capacity(SUBNET_COLUMNS.len());
    let mut rest = line;
    let mut output = [0; MAX_FIELD_BYTES];
    loop {
        rest = rest.trim_start();
        let column = line[..line.len() - rest.len()].chars().count() + 1;
        let (mut result, read, mut written) = reader.read_field(rest.as_bytes(), &mut output);
        if result == ReadFieldResult::InputEmpty {
            // The line's end ends the field, unless that is still inside its quotes.
            let (at_end, _, more) = reader.read_field(b"\n", &mut output[written..]);
            if at_end == ReadFieldResult::InputEmpty {
                return Err((column, ProblemKind::QuoteOpen));
            }
            result = at_end;
            written += more;
        }
        if result == ReadFieldResult::OutputFull {
            return Err((column, ProblemKind::FieldTooLong));
        }
        // Fields end at ASCII characters, so neither slice cuts a character in two.
        let text = String::from_utf8_lossy(&output[..written]).trim_end().to_owned();
        fields.push(Field { text, column });
        if result != (ReadFieldResult::Field { record_end: false }) {
            return Ok(fields);
        }
        rest = &rest[read..];
    }
}

fn read_prefix(text: &str) -> Result<IpNet, ProblemKind> {
    if text.is_empty() {
        return Err(ProblemKind::FieldEmpty { column: PREFIX_COLUMN });
    }
    let Ok(prefix) = text.parse::<IpNet>() else {
        return Err(match text.parse() {
            Ok(address) => ProblemKind::PrefixWithoutLength { address },
            Err(_) => ProblemKind::PrefixInvalid { found: text.to_owned() },
        });
    };
    if prefix.trunc() != prefix {
        return Err(ProblemKind::HostBits { found: prefix });
    }
    match prefix {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            Err(ProblemKind::PrefixMapped { found: prefix })
        }
        _ => Ok(prefix),
    }
}

fn read_vlan(text: &str) -> Result<Option<u16>, ProblemKind> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(vlan) if vlan <= MAX_VLAN => Ok(Some(vlan)),
        _ => Err(ProblemKind::VlanInvalid { found: text.to_owned() }),
    }
}

fn read_internal(text: &str) -> Result<bool, ProblemKind> {
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(ProblemKind::InternalInvalid { found: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match SubnetTable::from_csv(text.as_bytes()) {
            Ok(table) => panic!("read as {table:?}"),
            Err(error) => error.to_string().lines().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn columns_come_in_any_order_and_comments_do_not_count() {
        let text = "\u{feff}# our subnets\n\
            \n\
            VLAN, prefix ,name,internal,router\r\n\
            12,10.1.0.0/16,\"offices, \"\"old\"\" wing\",,gw-1\r\n\
            # the world\n\
            ,0.0.0.0/0,outside,no,\n";
        let table = SubnetTable::from_csv(text.as_bytes()).unwrap();
        let expected = [
            Subnet {
                prefix: "10.1.0.0/16".parse().unwrap(),
                name: "offices, \"old\" wing".to_owned(),
                router: Some("gw-1".to_owned()),
                interface: None,
                vlan: Some(12),
                internal: true,
            },
            Subnet {
                prefix: "0.0.0.0/0".parse().unwrap(),
                name: "outside".to_owned(),
                router: None,
                interface: None,
                vlan: None,
                internal: false,
            },
        ];
        assert_eq!(table.subnets(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SubnetTable::from_csv(&bytes);
            let _ = SubnetTable::from_csv(&[b"prefix,name,vlan\n", &bytes[..]].concat());
        }

        #[test]
        fn any_text_that_looks_like_a_list_is_read_or_refused_by_line(
            lines in prop::collection::vec("[0-9a-f:./,\"# é\\\\-]{0,40}", 0..30),
        ) {
            let text = format!("prefix,name,vlan\n{}", lines.join("\n"));
            match SubnetTable::from_csv(text.as_bytes()) {
                Ok(table) => prop_assert!(table.subnets().len() <= lines.len()),
                Err(Error::Table { problems, .. }) => {
                    for problem in problems {
                        let line = text.lines().nth(problem.line - 1).unwrap();
                        prop_assert!(problem.column <= line.chars().count() + 1, "{problem} in {line:?}");
                    }
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn every_problem_is_told_with_line_column_and_remedy() {
        let text = "prefix,name,vlan,internal\n\
            10.0.0.1/8,a,1,true\n\
            10.0.0.1,b,1,true\n\
            10.0.0.0/33,c,1,true\n\
            10.0.0.0/8,,4095,maybe\n\
            10.0.0.0/8,é,one\n\
            10.2.0.0/16,\"é\",vlan 7,true\n\
            10.2.0.0/16,e,,\n\
            ::ffff:10.0.0.0/104,f,,\n\
            10.3.0.0/16,\"g,,\n\
            ,h,,\n";
        assert_eq!(
            problems(text),
            [
                "2:1: `10.0.0.1/8` has bits set beyond its length: write `10.0.0.0/8`, or `10.0.0.1/32` for the one host",
                "3:1: `10.0.0.1` has no length: write `10.0.0.1/32` for this one host",
                "4:1: `10.0.0.0/33` is no prefix: write one as `10.1.2.0/24` or `2001:db8:1::/48`",
                "5:12: no name: every subnet needs one",
                "5:13: `4095` is no VLAN: write a number from 0 to 4094, or nothing",
                "5:18: `maybe` is neither `true` nor `false`",
                "6:1: 3 fields where the header has 4: add or remove a comma, or quote a field that holds one",
                "7:17: `vlan 7` is no VLAN: write a number from 0 to 4094, or nothing",
                "8:1: `10.2.0.0/16` is there already in line 7: remove one of the two",
                "9:1: `::ffff:10.0.0.0/104` is an IPv4 prefix inside IPv6: write it as IPv4",
                "10:13: the quote opened here is not closed on this line: close it, or double a quote that is part of the text",
                "11:1: no prefix: every subnet needs one",
            ]
        );
    }

    #[test]
    fn a_wrong_header_is_told_with_a_suggestion() {
        assert_eq!(
            problems("prefx,name,name,colour\n10.0.0.0/8,a,b,c\n"),
            [
                "1:1: unknown column `prefx`: did you mean `prefix`?",
                "1:12: column `name` is there twice: remove one",
                "1:17: unknown column `colour`: the columns are prefix, name, router, interface, vlan, internal",
                "1:1: the header has no column `prefix`: add it (the columns are prefix, name, router, interface, vlan, internal)",
            ]
        );
        assert_eq!(
            problems("# nothing\n"),
            ["1:1: no header: start with a line such as `prefix,name,router,interface,vlan,internal`"]
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_placed() {
        let error = SubnetTable::from_csv(b"prefix,name\n10.0.0.0/8,caf\xe9\n").unwrap_err();
        assert_eq!(error.to_string(), "2:15: not UTF-8: save the file as UTF-8");
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let text = format!("prefix,name\n{}", "x,y\n".repeat(MAX_PROBLEMS + 5));
        assert_eq!(problems(&text).last().unwrap(), "and 5 more");
    }

    #[test]
    fn a_field_may_be_as_long_as_the_limit_and_no_longer() {
        let list = |length: usize| format!("prefix,name\n10.0.0.0/8,{}\n", "n".repeat(length));
        assert!(SubnetTable::from_csv(list(MAX_FIELD_BYTES - 1).as_bytes()).is_ok());
        assert_eq!(
            problems(&list(MAX_FIELD_BYTES + 1)),
            ["2:12: a field of more than 255 bytes: shorten it"]
        );
    }

    #[test]
    fn a_prefix_may_be_repeated_no_matter_how_it_is_written() {
        assert_eq!(
            problems("prefix,name\n2001:db8:0::/48,a\n2001:DB8::/48,b\n"),
            ["3:1: `2001:db8::/48` is there already in line 2: remove one of the two"]
        );
    }
}

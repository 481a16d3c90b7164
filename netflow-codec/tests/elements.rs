//! The element table in Rust is what the list of elements says, and look-ups find it.
//!
//! `UPDATE_ELEMENTS=1 cargo test -p netflow-codec --test elements` rewrites `src/element/table.rs` after the list has
//! changed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use netflow_codec::element::{self, DataType, ElementId, Semantics};

const LIST: &str = include_str!("../src/element/elements.tsv");
const TABLE: &str = include_str!("../src/element/table.rs");

/// A power of two at least twice the number of elements, so that few of them share a slot.
const SLOTS: usize = 4096;

struct Row<'a> {
    id: ElementId,
    name: &'a str,
    data_type: DataType,
    semantics: Semantics,
    unit: Option<&'a str>,
}

fn rows() -> Vec<Row<'static>> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#')).skip(1);
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.split('\t').collect();
        let [enterprise, id, name, data_type, semantics, unit, _source] = cells[..] else {
            panic!("not seven cells: {line}");
        };
        Row {
            id: ElementId {
                enterprise: enterprise.parse().unwrap(),
                id: id.parse().unwrap(),
            },
            name,
            data_type: DataType::from_name(data_type).unwrap_or_else(|| panic!("type in {line}")),
            semantics: Semantics::from_name(semantics).unwrap_or_else(|| panic!("semantics in {line}")),
            unit: (unit != "-").then_some(unit),
        }
    });
    rows.collect()
}

/// The same as `hash` in the generated file.
fn hash(id: ElementId) -> usize {
    let key = (u64::from(id.enterprise) << 16) | u64::from(id.id);
    usize::try_from(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.trailing_zeros())).unwrap()
}

fn generated() -> String {
    let rows = rows();
    let mut slots = vec![None; SLOTS];
    for (index, row) in rows.iter().enumerate() {
        let mut slot = hash(row.id);
        while slots[slot].is_some() {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = Some(index);
    }
    let mut text = String::from(
        "//! Generated from `elements.tsv` by the test `elements`: do not edit.\n\n\
         use super::{DataType as T, Element, ElementId, Semantics as S};\n\n\
         /// Where the walk for an id starts in `SLOTS`: the upper bits of a multiplicative hash.\n\
         pub(super) const fn hash(id: ElementId) -> usize {\n\
         \x20   let key = ((id.enterprise as u64) << 16) | id.id as u64;\n",
    );
    writeln!(
        text,
        "    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> {}) as usize",
        64 - SLOTS.trailing_zeros()
    )
    .unwrap();
    text.push_str("}\n\n");
    writeln!(
        text,
        "/// Rows of `ELEMENTS`, open addressed; {} is an empty slot.",
        u16::MAX
    )
    .unwrap();
    writeln!(text, "#[rustfmt::skip]\npub(super) static SLOTS: [u16; {SLOTS}] = [").unwrap();
    for line in slots.chunks(16) {
        let cells: Vec<_> = line
            .iter()
            .map(|slot| slot.unwrap_or(usize::from(u16::MAX)).to_string())
            .collect();
        writeln!(text, "    {},", cells.join(", ")).unwrap();
    }
    text.push_str("];\n\nconst fn e(enterprise: u32, id: u16, name: &'static str, kind: T, semantics: S, ");
    text.push_str("unit: Option<&'static str>) -> Element {\n");
    text.push_str("    Element::fixed(ElementId { enterprise, id }, name, kind, semantics, unit)\n}\n\n");
    text.push_str("/// The elements, in the order of enterprise and number.\n#[rustfmt::skip]\n");
    writeln!(text, "pub(super) static ELEMENTS: [Element; {}] = [", rows.len()).unwrap();
    for row in &rows {
        let Row {
            id,
            name,
            data_type,
            semantics,
            unit,
        } = row;
        let (enterprise, id) = (id.enterprise, id.id);
        writeln!(
            text,
            "    e({enterprise}, {id}, {name:?}, T::{data_type:?}, S::{semantics:?}, {unit:?}),"
        )
        .unwrap();
    }
    text.push_str("];\n");
    text
}

#[test]
fn generated_table_is_what_the_list_says() {
    let text = generated();
    if std::env::var_os("UPDATE_ELEMENTS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/element/table.rs"), &text).unwrap();
    } else {
        // Formatting may differ, words may not.
        let squeeze = |text: &str| text.split_whitespace().collect::<String>().replace(",)", ")");
        assert!(
            squeeze(&text) == squeeze(TABLE),
            "table.rs is not up to date: run with UPDATE_ELEMENTS=1"
        );
    }
}

#[test]
fn every_element_of_the_list_is_found() {
    for row in rows() {
        let element = element::lookup(row.id).unwrap_or_else(|| panic!("{} is missing", row.id));
        assert_eq!(element.name, row.name);
        assert_eq!((element.data_type, element.semantics), (row.data_type, row.semantics));
        assert_eq!(element.unit.as_deref(), row.unit);
        assert_eq!(
            element::by_name(row.id.enterprise, row.name).map(|found| found.id),
            Some(row.id)
        );
    }
}

#[test]
fn nothing_is_found_where_the_list_is_silent() {
    let known: BTreeSet<_> = rows().iter().map(|row| row.id).collect();
    for enterprise in [0, 9, 2636, 6871, 35632, 4_294_967_294] {
        for id in (0..=u16::MAX).map(|id| ElementId { enterprise, id }) {
            assert_eq!(element::lookup(id).is_some(), known.contains(&id), "{id}");
        }
    }
}

#[test]
fn looking_up_takes_few_steps() {
    let mut taken = vec![false; SLOTS];
    let mut longest = 0;
    for row in rows() {
        let start = hash(row.id);
        let steps = (0..SLOTS).find(|step| !taken[(start + step) % SLOTS]).unwrap();
        taken[(start + steps) % SLOTS] = true;
        longest = longest.max(steps);
    }
    assert!(longest <= 16, "{longest} steps");
}

#[test]
fn names_are_unlike_within_an_enterprise() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert!(
            seen.insert((row.id.enterprise, row.name)),
            "{} twice in {}",
            row.name,
            row.id.enterprise
        );
    }
}

#[test]
fn private_numbers_of_v9_are_named_as_ciscos_elements_unless_they_have_a_name() {
    // 45004 less 32768 is 9:12236; 57590 is nProbe's; 33002 the ASA's.
    let name = |number| element::name(ElementId::iana(number));
    assert_eq!(
        name(45_004).as_deref(),
        element::name(ElementId::vendor(9, 12_236)).as_deref()
    );
    assert_eq!(name(45_004).as_deref(), Some("connectionClientIPv4Address"));
    assert_eq!(element::data_type(ElementId::iana(45_004)), Some(DataType::Ipv4Address));
    assert_eq!(name(57_590).as_deref(), Some("L7_PROTO"));
    assert_eq!(name(33_002).as_deref(), Some("NF_F_FW_EXT_EVENT"));
    assert_eq!(name(65_535), None);
}

#[test]
fn reverse_elements_are_named_after_their_forward_ones() {
    assert_eq!(
        element::name(ElementId::reverse(1)).as_deref(),
        Some("reverseOctetDeltaCount")
    );
    assert_eq!(element::data_type(ElementId::reverse(1)), Some(DataType::Unsigned64));
    // CERT sets bit 14 in its own numbers: 16398 is the reverse of initialTCPFlags, 14.
    assert_eq!(
        element::name(ElementId::vendor(6871, 16398)).as_deref(),
        Some("reverseInitialTCPFlags")
    );
    assert_eq!(element::name(ElementId::reverse(60000)), None);
}

#[test]
fn numbers_that_v9_knows_have_their_iana_names() {
    for (id, name) in [
        (1, "octetDeltaCount"),
        (21, "flowEndSysUpTime"),
        (34, "samplingInterval"),
        (95, "applicationId"),
    ] {
        assert_eq!(element::name(ElementId::iana(id)).as_deref(), Some(name));
    }
    assert_eq!(element::name(ElementId::iana(56701)).as_deref(), Some("panAppId"));
    assert_eq!(element::name(ElementId::v9_scope(2)).as_deref(), Some("scopeInterface"));
}

#[test]
fn types_have_the_numbers_of_rfc_5610() {
    assert_eq!(DataType::from_number(0), Some(DataType::OctetArray));
    assert_eq!(DataType::from_number(19), Some(DataType::Ipv6Address));
    assert_eq!(DataType::from_number(22), Some(DataType::SubTemplateMultiList));
    assert_eq!(DataType::from_number(24), None);
    assert_eq!(Semantics::from_number(3), Some(Semantics::DeltaCounter));
    assert_eq!(Semantics::from_number(9), None);
}

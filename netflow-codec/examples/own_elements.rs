//! Registers elements of one's own, and prints records with their names.
//!
//!     cargo run -p netflow-codec --example own_elements

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use netflow_codec::element::{DataType, Element, Registry, Semantics};
use netflow_codec::encode::MessageWriter;
use netflow_codec::{
    Decoder, DomainId, ElementId, FieldSpec, Header, Limits, Set, Template, TemplateId, TemplateKind, Version, record,
};

/// An enterprise number for documentation (RFC 5612).
const ENTERPRISE: u32 = 32473;
const ROOM: ElementId = ElementId::vendor(ENTERPRISE, 1);
const FLOOR: ElementId = ElementId::vendor(ENTERPRISE, 2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = Registry::new();
    for (id, name, data_type) in [
        (ROOM, "roomName", DataType::String),
        (FLOOR, "floorNumber", DataType::Unsigned16),
    ] {
        registry.register(Element {
            id,
            name: name.into(),
            data_type,
            semantics: Semantics::Identifier,
            unit: None,
        });
    }

    let datagram = exported()?;
    let mut decoder = Decoder::new(Limits::default());
    let message = decoder.decode(&datagram, "192.0.2.1:4739".parse()?, 0)?;
    for set in &message {
        let Ok(Set::Data(set)) = set else { continue };
        for flow in set.records() {
            for (field, bytes) in flow.fields() {
                let name = registry.name(field.element).unwrap_or_default();
                match registry.data_type(field.element) {
                    Some(DataType::String) => println!("{name}: {}", record::text(bytes).unwrap_or_default()),
                    _ => println!("{name}: {}", record::unsigned(bytes).unwrap_or_default()),
                }
            }
        }
    }
    Ok(())
}

/// What an exporter with these elements would send.
fn exported() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let fields = vec![
        FieldSpec::variable(ROOM),
        FieldSpec::fixed(FLOOR, 2),
        FieldSpec::fixed(ElementId::iana(1), 4),
    ];
    let template = Template::new(TemplateId(256), TemplateKind::Data, fields)?;
    let header = Header::new(Version::Ipfix, DomainId(1), 0, 1_700_000_000_000);
    let mut datagram = Vec::new();
    let mut message = MessageWriter::new(&mut datagram, &header);
    message.templates([&template])?;
    let mut set = message.data_set(&template)?;
    set.record_of([&b"library"[..], &[0, 3], &[0, 0, 5, 220]])?;
    set.finish()?;
    message.finish()?;
    Ok(datagram)
}

//! Keeps what a decoder knows over a restart, so that the first datagram after it is understood.
//!
//!     cargo run -p netflow-codec --features serde --example template_persistence

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use netflow_codec::encode::MessageWriter;
use netflow_codec::{
    Decoder, DomainId, ElementId, FieldSpec, Header, Limits, Set, StreamSnapshot, Template, TemplateId, TemplateKind,
    Version,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = "192.0.2.1:4739".parse()?;
    let fields = vec![
        FieldSpec::fixed(ElementId::iana(8), 4),
        FieldSpec::fixed(ElementId::iana(1), 8),
    ];
    let template = Template::new(TemplateId(256), TemplateKind::Data, fields)?;

    let mut before = Decoder::new(Limits::default());
    before.decode(&message(0, &template, Content::Template)?, exporter, 0)?;
    let kept = serde_json::to_string(&before.snapshot().collect::<Vec<_>>())?;
    println!("kept: {kept}");

    // The collector stops here, and starts again.
    let mut after = Decoder::new(Limits::default());
    for stream in serde_json::from_str::<Vec<StreamSnapshot>>(&kept)? {
        after.restore(stream)?;
    }
    for set in &after.decode(&message(0, &template, Content::Flow)?, exporter, 60_000)? {
        match set? {
            Set::Data(set) => println!("understood at once: {} flow", set.len()),
            Set::Unknown(set) => println!("template {} is not known", set.template),
            _ => {}
        }
    }
    Ok(())
}

enum Content {
    Template,
    Flow,
}

fn message(sequence: u32, template: &Template, content: Content) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let header = Header::new(Version::Ipfix, DomainId(1), sequence, 1_700_000_000_000);
    let mut datagram = Vec::new();
    let mut message = MessageWriter::new(&mut datagram, &header);
    match content {
        Content::Template => message.templates([template])?,
        Content::Flow => {
            let mut set = message.data_set(template)?;
            set.record(&[192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 5, 220])?;
            set.finish()?;
        }
    }
    message.finish()?;
    Ok(datagram)
}

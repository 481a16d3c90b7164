//! Targets beyond the codec.

use arrow_buffer::Buffer;

/// Parses statements; what parses is shown and parsed again to the same.
pub fn statements(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = flow_cep::parse_each(text);
    if let Ok(module) = flow_cep::parse(text) {
        let shown = module.to_string();
        let again = flow_cep::parse(&shown).expect("what is shown parses");
        assert_eq!(again.to_string(), shown);
    }
}

/// Reads a list of subnets and looks addresses up in it; every error can be shown.
pub fn subnets(input: &[u8]) {
    match flow_enrich::SubnetTable::from_csv(input) {
        Ok(table) => {
            let resolver = flow_enrich::Resolver::new(table, 1);
            for key in input.windows(16).take(64) {
                let key: &[u8; 16] = key.try_into().expect("a window of 16");
                if let Some(id) = resolver.lookup(key) {
                    let _ = resolver.subnet(id);
                }
            }
        }
        Err(error) => drop(error.to_string()),
    }
}

/// Reads a bundle, all of it and its metadata alone.
pub fn bundle(input: &[u8]) {
    let _ = flow_store::bundle::Metadata::decode(input);
    let _ = flow_store::bundle::Bundle::decode(Buffer::from_slice_ref(input));
}

/// Reads a frame of the log.
pub fn log_record(input: &[u8]) {
    let _ = bundle_log::record::Record::read(input);
}

/// Reads a manifest.
pub fn manifest(input: &[u8]) {
    let _ = flow_store::parquet::manifest::Manifest::read(input);
}

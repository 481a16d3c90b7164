//! Whole columns, as a stream processor resolves them.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not be")]

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt16Type};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch};
use flow_enrich::{AddressColumns, Enrichment, Error, Resolver, SubnetTable, key_of};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

const SOURCE: AddressColumns<'static> = AddressColumns {
    address: "src_addr",
    internal: "src_internal",
    subnet: "src_subnet",
    router: "src_router",
    interface: "src_interface",
    vlan: "src_vlan",
};
const DESTINATION: AddressColumns<'static> = AddressColumns {
    address: "dst_addr",
    internal: "dst_internal",
    subnet: "dst_subnet",
    router: "dst_router",
    interface: "dst_interface",
    vlan: "dst_vlan",
};

const LIST: &str = "prefix,name,router,interface,vlan,internal\n\
    0.0.0.0/0,outside,,,,false\n\
    10.0.0.0/8,campus,core,,,\n\
    10.1.0.0/16,dormitories,gw-west,ge-0/1,110,\n\
    10.1.7.0/24,dormitory 7,gw-west,ge-0/1,117,\n\
    2001:db8:1:7::/64,dormitory 7,gw-west,ge-0/1,117,\n";

fn addresses(texts: &[Option<&str>]) -> ArrayRef {
    let keys = texts.iter().map(|text| text.map(|text| key_of(text.parse().unwrap())));
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(keys, 16).unwrap())
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(column).unwrap().as_dictionary::<Int32Type>();
    let array = array.downcast_dict::<arrow_array::StringArray>().unwrap();
    array.into_iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn both_addresses_of_a_batch_get_their_columns() {
    let resolver = Resolver::new(SubnetTable::from_csv(LIST.as_bytes()).unwrap(), 7);
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "src_addr",
            addresses(&[Some("10.1.7.9"), Some("10.2.0.1"), Some("2001:db8:1:7::9"), None]),
            true,
        ),
        (
            "dst_addr",
            addresses(&[
                Some("8.8.8.8"),
                Some("10.1.8.1"),
                Some("2001:db8:1:8::"),
                Some("10.1.7.0"),
            ]),
            true,
        ),
    ])
    .unwrap();
    let enrichment = Enrichment::new(&batch.schema(), &[SOURCE, DESTINATION]).unwrap();
    let resolved = enrichment.resolve(&resolver, &batch).unwrap();
    assert_eq!(resolved.schema_ref(), enrichment.schema());

    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        texts(&resolved, "src_subnet"),
        [some("dormitory 7"), some("campus"), some("dormitory 7"), None]
    );
    assert_eq!(
        texts(&resolved, "dst_subnet"),
        [some("outside"), some("dormitories"), None, some("dormitory 7")]
    );
    assert_eq!(
        texts(&resolved, "src_router"),
        [some("gw-west"), some("core"), some("gw-west"), None]
    );
    assert_eq!(
        texts(&resolved, "dst_interface"),
        [None, some("ge-0/1"), None, some("ge-0/1")]
    );
    let internal: Vec<_> = resolved
        .column_by_name("dst_internal")
        .unwrap()
        .as_boolean()
        .iter()
        .collect();
    assert_eq!(internal, [Some(false), Some(true), Some(false), Some(true)]);
    let vlan: Vec<_> = resolved
        .column_by_name("src_vlan")
        .unwrap()
        .as_primitive::<UInt16Type>()
        .iter()
        .collect();
    assert_eq!(vlan, [Some(117), None, Some(117), None]);
    assert_eq!(resolver.generation(), 7);
}

#[test]
fn a_slice_and_a_whole_resolve_alike() {
    let resolver = Resolver::new(SubnetTable::from_csv(LIST.as_bytes()).unwrap(), 0);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let keys: Vec<[u8; 16]> = (0..1000)
        .map(|_| key_of(std::net::Ipv4Addr::new(10, random.random_range(0..3), random.random_range(6..9), 1).into()))
        .collect();
    let column = FixedSizeBinaryArray::try_from_iter(keys.iter()).unwrap();
    let whole = resolver.resolve_column(&column).unwrap();
    for (row, key) in keys.iter().enumerate() {
        let wanted = resolver.lookup(key).map(|id| resolver.subnet(id));
        let found = whole.subnet.downcast_dict::<arrow_array::StringArray>().unwrap();
        assert_eq!(
            found
                .is_valid(row)
                .then(|| found.into_iter().nth(row).flatten())
                .flatten(),
            wanted.map(|s| &*s.name)
        );
        assert_eq!(whole.internal.value(row), wanted.is_some_and(|subnet| subnet.internal));
        assert_eq!(
            whole.vlan.is_valid(row).then(|| whole.vlan.value(row)),
            wanted.and_then(|subnet| subnet.vlan)
        );
    }
    for (offset, length) in [(0, 0), (1, 63), (63, 65), (64, 64), (999, 1), (130, 800)] {
        let part = resolver.resolve_column(&column.slice(offset, length)).unwrap();
        assert_eq!(part.subnet, whole.subnet.slice(offset, length));
        assert_eq!(part.router, whole.router.slice(offset, length));
        assert_eq!(part.interface, whole.interface.slice(offset, length));
        assert_eq!(part.internal, whole.internal.slice(offset, length));
        assert_eq!(part.vlan, whole.vlan.slice(offset, length));
    }
}

#[test]
fn a_schema_that_does_not_fit_is_refused() {
    let batch = RecordBatch::try_from_iter([("src_addr", addresses(&[Some("10.0.0.1")]))]).unwrap();
    let plan = |columns: &[AddressColumns<'_>]| Enrichment::new(&batch.schema(), columns).unwrap_err().to_string();
    assert_eq!(plan(&[DESTINATION]), "no column `dst_addr` to resolve");
    assert_eq!(plan(&[SOURCE, SOURCE]), "column `src_internal` is there already");
    let enrichment = Enrichment::new(&batch.schema(), &[SOURCE]).unwrap();
    let resolver = Resolver::new(SubnetTable::default(), 0);
    let resolved = enrichment.resolve(&resolver, &batch).unwrap();
    assert_eq!(texts(&resolved, "src_subnet"), [None]);
    assert!(matches!(
        enrichment.resolve(&resolver, &resolved),
        Err(Error::SchemaChanged)
    ));
}

#[test]
fn a_campus_of_many_subnets_is_read_and_compiled() {
    let mut list = String::from("prefix,name,router,interface,vlan,internal\n");
    for number in 0..17_000_u32 {
        let (a, b) = (number / 256, number % 256);
        if number % 4 == 3 {
            writeln!(
                list,
                "2001:db8:{a:x}:{b:x}::/64,net {number},gw-{a},ge-0/{b},{},true",
                number % 4000
            )
            .unwrap();
        } else {
            writeln!(
                list,
                "10.{a}.{b}.0/24,net {number},gw-{a},ge-0/{b},{},true",
                number % 4000
            )
            .unwrap();
        }
    }
    let resolver = Resolver::new(SubnetTable::from_csv(list.as_bytes()).unwrap(), 0);
    assert_eq!(resolver.subnets().len(), 17_000);
    for (id, subnet) in resolver.subnets().iter().enumerate() {
        let last = key_of(subnet.prefix.broadcast());
        assert_eq!(resolver.lookup(&last).map(|id| id.index()), Some(id));
    }
    // 256 KiB for the first 16 bits of IPv4, 1 KiB a table, 20 bytes a subnet.
    assert!(resolver.memory_bytes() < 1 << 20, "{} bytes", resolver.memory_bytes());
}

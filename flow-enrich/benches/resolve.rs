//! Look-ups over 17,000 subnets, with addresses drawn as traffic draws them, beside `treebitmap` in the same run.
//!
//! `cargo bench -p flow-enrich --bench resolve`; throughput is in elements (look-ups, or flows of two addresses) per
//! second of CPU time, so that what else the machine does counts for less.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop on what cannot happen")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow_enrich::{AddressColumns, Enrichment, Resolver, SubnetTable, key_of};
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SUBNETS: u32 = 17_000;
const LOOKUPS: usize = 1 << 16;
const ROWS: usize = 8192;

/// CPU time of this thread.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Subnets from /22 to /28 side by side inside a few large blocks, under a default for each block.
fn list() -> String {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut list = String::from("prefix,name,router,interface,vlan,internal\n10.0.0.0/8,campus,core,,,\n");
    let mut next = Ipv4Addr::new(10, 0, 0, 0).to_bits();
    for number in 0..SUBNETS {
        let (router, interface, vlan) = (number / 60, number % 60, number % 4000);
        if number % 5 == 4 {
            let (site, net) = (number / 500, number % 500);
            writeln!(
                list,
                "2001:db8:{site:x}:{net:x}::/64,net {number},gw-{router},ge-0/{interface},{vlan},"
            )
            .unwrap();
        } else {
            let length = random.random_range(22..=28_u32);
            let size = 1_u32 << (32 - length);
            next = next.next_multiple_of(size);
            let network = Ipv4Addr::from_bits(next);
            writeln!(
                list,
                "{network}/{length},net {number},gw-{router},ge-0/{interface},{vlan},"
            )
            .unwrap();
            next += size;
        }
    }
    list
}

/// A rank below `count`, the first ones far more often (Zipf with exponent 1).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank below count"
)]
fn zipf(random: &mut ChaCha8Rng, count: usize) -> usize {
    ((count as f64).powf(random.random::<f64>()) as usize - 1).min(count - 1)
}

/// A host of ours: subnets by Zipf in an order of their own, hosts within by Zipf too.
fn inside(random: &mut ChaCha8Rng, prefixes: &[IpNet]) -> [u8; 16] {
    let prefix = prefixes[zipf(random, prefixes.len()) * 7919 % prefixes.len()];
    match prefix {
        IpNet::V4(prefix) => {
            let host = zipf(random, 1 << (32 - prefix.prefix_len()));
            key_of(IpAddr::V4(Ipv4Addr::from_bits(
                prefix.network().to_bits() + u32::try_from(host).unwrap(),
            )))
        }
        IpNet::V6(prefix) => {
            let host = u128::from(random.random::<u64>());
            key_of(IpAddr::V6(Ipv6Addr::from_bits(prefix.network().to_bits() + host)))
        }
    }
}

/// A host of the Internet: a hundred thousand of them, by Zipf.
fn outside(random: &mut ChaCha8Rng, is_v4: bool) -> [u8; 16] {
    let rank = zipf(random, 100_000) as u64;
    let scattered = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if is_v4 {
        let [a, b, c, d, ..] = scattered.to_be_bytes();
        key_of(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    } else {
        key_of(IpAddr::V6(Ipv6Addr::from_bits(
            (0x2a00 << 112) | u128::from(scattered) << 32,
        )))
    }
}

fn addresses(prefixes: &[IpNet], is_v4: bool, count: usize) -> Vec<[u8; 16]> {
    let prefixes: Vec<IpNet> = prefixes
        .iter()
        .filter(|p| p.addr().is_ipv4() == is_v4)
        .copied()
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(2);
    (0..count)
        .map(|_| {
            if random.random_bool(0.6) {
                inside(&mut random, &prefixes)
            } else {
                outside(&mut random, is_v4)
            }
        })
        .collect()
}

fn benches(criterion: &mut Criterion<CpuTime>) {
    let text = list();
    let table = SubnetTable::from_csv(text.as_bytes()).unwrap();
    let prefixes: Vec<IpNet> = table.subnets().iter().map(|subnet| subnet.prefix).collect();
    let resolver = Resolver::new(table, 0);
    let (mut tree4, mut tree6) = (treebitmap::IpLookupTable::new(), treebitmap::IpLookupTable::new());
    for (number, prefix) in (0_u32..).zip(&prefixes) {
        match prefix {
            IpNet::V4(prefix) => tree4.insert(prefix.network(), u32::from(prefix.prefix_len()), number),
            IpNet::V6(prefix) => tree6.insert(prefix.network(), u32::from(prefix.prefix_len()), number),
        };
    }

    let mut group = criterion.benchmark_group(format!("lookup of {SUBNETS}, {} KiB", resolver.memory_bytes() >> 10));
    group.throughput(Throughput::Elements(LOOKUPS as u64));
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let keys = addresses(&prefixes, is_v4, LOOKUPS);
        group.bench_function(format!("{family}/ours"), |bencher| {
            bencher.iter(|| {
                keys.iter()
                    .filter(|key| resolver.lookup(black_box(key)).is_some())
                    .count()
            });
        });
        group.bench_function(format!("{family}/treebitmap"), |bencher| {
            bencher.iter(|| {
                let found = |key: &&[u8; 16]| {
                    let address = Ipv6Addr::from(**black_box(key));
                    match address.to_ipv4_mapped() {
                        Some(address) => tree4.longest_match(address).is_some(),
                        None => tree6.longest_match(address).is_some(),
                    }
                };
                keys.iter().filter(found).count()
            });
        });
    }
    group.finish();

    let column = |seed: usize| -> ArrayRef {
        let keys = addresses(&prefixes, true, ROWS * 3);
        Arc::new(FixedSizeBinaryArray::try_from_iter(keys[seed * ROWS..(seed + 1) * ROWS].iter()).unwrap())
    };
    let batch = RecordBatch::try_from_iter([("src_addr", column(1)), ("dst_addr", column(2))]).unwrap();
    let side = |address, internal, subnet, router, interface, vlan| AddressColumns {
        address,
        internal,
        subnet,
        router,
        interface,
        vlan,
    };
    let sides = [
        side("src_addr", "si", "ss", "sr", "sf", "sv"),
        side("dst_addr", "di", "ds", "dr", "df", "dv"),
    ];
    let enrichment = Enrichment::new(&batch.schema(), &sides).unwrap();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("both addresses, ten columns", |bencher| {
        bencher.iter(|| enrichment.resolve(&resolver, black_box(&batch)).unwrap());
    });
    group.finish();

    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.bench_function(format!("{SUBNETS} subnets from CSV"), |bencher| {
        bencher.iter(|| Resolver::new(SubnetTable::from_csv(black_box(text.as_bytes())).unwrap(), 0));
    });
    group.finish();
}

criterion_group!(name = all; config = Criterion::default().with_measurement(CpuTime); targets = benches);
criterion_main!(all);

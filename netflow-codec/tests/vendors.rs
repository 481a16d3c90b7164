//! What vendors' manuals say that their exporters send, and what those exporters are known to do besides.
//!
//! The layouts are from the manuals named at each test; the values are made up.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use netflow_codec::element::{self, ElementId};
use netflow_codec::{Decoder, Error, Limits, Record, Set};

/// Length of a field of variable length in a template.
const VARIABLE: u16 = 65535;

/// A field of a template: enterprise (0 for none), number, length.
type Field = (u32, u16, u16);

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Text filled up with zeros.
    fn text(self, text: &str, length: usize) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(length, 0);
        self.bytes(&bytes)
    }

    /// Text of variable length in the short form (RFC 7011 §7).
    fn short(self, text: &str) -> Self {
        self.u8(u8::try_from(text.len()).unwrap()).bytes(text.as_bytes())
    }

    /// The same in the long form, which is allowed for short texts too.
    fn long(self, text: &str) -> Self {
        self.u8(255)
            .u16(u16::try_from(text.len()).unwrap())
            .bytes(text.as_bytes())
    }
}

fn set(id: u16, body: &[u8]) -> Vec<u8> {
    Bytes::default()
        .u16(id)
        .u16(u16::try_from(body.len() + 4).unwrap())
        .bytes(body)
        .0
}

fn specs(fields: &[Field]) -> Vec<u8> {
    let specs = fields.iter().fold(Bytes::default(), |bytes, (enterprise, id, length)| {
        if *enterprise == 0 {
            bytes.u16(*id).u16(*length)
        } else {
            bytes.u16(*id | 0x8000).u16(*length).u32(*enterprise)
        }
    });
    specs.0
}

fn template(id: u16, fields: &[Field]) -> Vec<u8> {
    Bytes::default()
        .u16(id)
        .u16(u16::try_from(fields.len()).unwrap())
        .bytes(&specs(fields))
        .0
}

fn v9(domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(sets.len()).unwrap();
    let header = Bytes::default()
        .u16(9)
        .u16(count)
        .u32(100_000)
        .u32(1_700_000_000)
        .u32(1)
        .u32(domain);
    header.bytes(&sets.concat()).0
}

fn ipfix(domain: u32, sets: &[Vec<u8>]) -> Vec<u8> {
    let sets = sets.concat();
    let length = u16::try_from(16 + sets.len()).unwrap();
    Bytes::default()
        .u16(10)
        .u16(length)
        .u32(1_700_000_000)
        .u32(0)
        .u32(domain)
        .bytes(&sets)
        .0
}

fn exporter() -> SocketAddr {
    "192.0.2.1:2055".parse().unwrap()
}

/// A record taken out of its message.
#[derive(Debug, PartialEq)]
struct Taken {
    options: bool,
    fields: Vec<(String, Vec<u8>)>,
}

impl Taken {
    fn of(record: &Record<'_>, options: bool) -> Self {
        let name = |id: ElementId| element::name(id).map_or_else(|| id.to_string(), String::from);
        let fields = record
            .fields()
            .map(|(field, bytes)| (name(field.element), bytes.to_vec()))
            .collect();
        Self { options, fields }
    }

    fn bytes(&self, name: &str) -> &[u8] {
        let field = self.fields.iter().find(|field| field.0 == name);
        &field.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }

    fn number(&self, name: &str) -> u64 {
        netflow_codec::record::unsigned(self.bytes(name)).unwrap()
    }

    fn text(&self, name: &str) -> &str {
        netflow_codec::record::text(self.bytes(name)).unwrap()
    }

    fn address(&self, name: &str) -> String {
        netflow_codec::record::address(self.bytes(name)).unwrap().to_string()
    }
}

/// All records of some datagrams of one exporter, and all errors.
fn take(datagrams: &[Vec<u8>]) -> (Vec<Taken>, Vec<Error>) {
    let mut decoder = Decoder::new(Limits::default());
    let (mut taken, mut errors) = (Vec::new(), Vec::new());
    for datagram in datagrams {
        let message = match decoder.decode(datagram, exporter(), 0) {
            Ok(message) => message,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for set in &message {
            match set {
                Ok(Set::Data(set)) => taken.extend(set.records().map(|record| Taken::of(&record, false))),
                Ok(Set::Options(set)) => taken.extend(set.records().map(|record| Taken::of(&record, true))),
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
    }
    (taken, errors)
}

/// The same where nothing may be wrong.
fn records(datagrams: &[Vec<u8>]) -> Vec<Taken> {
    let (taken, errors) = take(datagrams);
    assert_eq!(errors, []);
    taken
}

/// Cisco Secure Firewall ASA NetFlow Implementation Guide: events of v9, fields above 32767, no bytes or packets.
#[test]
fn asa_security_events_come_out() {
    let created: &[Field] = &[
        (0, 148, 4),
        (0, 8, 4),
        (0, 7, 2),
        (0, 10, 2),
        (0, 12, 4),
        (0, 11, 2),
        (0, 14, 2),
        (0, 4, 1),
        (0, 176, 1),
        (0, 177, 1),
        (0, 225, 4),
        (0, 226, 4),
        (0, 227, 2),
        (0, 228, 2),
        (0, 233, 1),
        (0, 33002, 2),
        (0, 323, 8),
        (0, 152, 8),
        (0, 33000, 12),
        (0, 33001, 12),
        (0, 40000, 20),
    ];
    // v9 has no enterprise bit: numbers above 32767 are plain types.
    let layout = created.iter().fold(Bytes::default().u16(265).u16(21), |bytes, field| {
        bytes.u16(field.1).u16(field.2)
    });
    let event = Bytes::default()
        .u32(7_001)
        .bytes(&[192, 0, 2, 10])
        .u16(51_000)
        .u16(3)
        .bytes(&[198, 51, 100, 7])
        .u16(443)
        .u16(4)
        .u8(6)
        .u8(0)
        .u8(0)
        .bytes(&[203, 0, 113, 9])
        .bytes(&[198, 51, 100, 7])
        .u16(40_123)
        .u16(443)
        .u8(1)
        .u16(0)
        .u64(1_700_000_000_123)
        .u64(1_700_000_000_100)
        .bytes(&[0x11; 12])
        .bytes(&[0; 12])
        .text("alice", 20);
    let event = event.0;
    let taken = records(&[v9(0, &[set(0, &layout.0), set(265, &event)])]);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].number("flowId"), 7_001);
    assert_eq!(taken[0].address("postNATSourceIPv4Address"), "203.0.113.9");
    assert_eq!(taken[0].number("firewallEvent"), 1);
    assert_eq!(taken[0].number("NF_F_FW_EXT_EVENT"), 0);
    assert_eq!(taken[0].number("observationTimeMilliseconds"), 1_700_000_000_123);
    assert_eq!(taken[0].bytes("NF_F_INGRESS_ACL_ID"), [0x11; 12]);
    assert_eq!(taken[0].text("NF_F_USERNAME"), "alice");
}

/// Cisco IOS NetFlow/NBAR: options of v9 with scope System; names filled up with zeros.
#[test]
fn nbar_application_table_comes_out() {
    // Options template: scope length 4, options length 12.
    let layout = Bytes::default()
        .u16(256)
        .u16(4)
        .u16(12)
        .u16(1)
        .u16(4)
        .u16(95)
        .u16(4)
        .u16(96)
        .u16(24)
        .u16(94)
        .u16(55);
    let row = |id: u32, name: &str, text: &str| {
        Bytes::default()
            .bytes(&[10, 0, 0, 1])
            .u32(id)
            .text(name, 24)
            .text(text, 55)
            .0
    };
    let rows = [
        row(0x0300_0050, "http", "World Wide Web traffic"),
        row(0x0D00_01C5, "ssl", ""),
    ]
    .concat();
    let taken = records(&[v9(0, &[set(1, &[layout.0, vec![0, 0]].concat()), set(256, &rows)])]);
    assert_eq!(taken.len(), 2);
    assert!(taken[0].options);
    assert_eq!(taken[0].bytes("scopeSystem"), [10, 0, 0, 1]);
    assert_eq!(taken[0].bytes("applicationId"), [3, 0, 0, 0x50]);
    assert_eq!(taken[0].text("applicationName"), "http");
    assert_eq!(taken[0].text("applicationDescription"), "World Wide Web traffic");
    assert_eq!(taken[1].text("applicationName"), "ssl");
}

/// Juniper, "Understanding inline active flow monitoring": IPFIX, template 256, options template 512 of the exporter.
#[test]
fn juniper_inline_ipfix_comes_out() {
    let layout = template(
        256,
        &[
            (0, 8, 4),
            (0, 12, 4),
            (0, 5, 1),
            (0, 4, 1),
            (0, 7, 2),
            (0, 11, 2),
            (0, 32, 2),
            (0, 10, 4),
            (0, 58, 2),
            (0, 9, 1),
            (0, 13, 1),
            (0, 16, 4),
            (0, 17, 4),
            (0, 15, 4),
            (0, 6, 1),
            (0, 14, 4),
            (0, 52, 1),
            (0, 53, 1),
            (0, 152, 8),
            (0, 153, 8),
            (0, 136, 1),
            (0, 1, 8),
            (0, 2, 8),
            (0, 243, 2),
            (0, 245, 2),
        ],
    );
    let flow = Bytes::default()
        .bytes(&[192, 0, 2, 1, 192, 0, 2, 2])
        .u8(0)
        .u8(17)
        .u16(53)
        .u16(33_000)
        .u16(0)
        .u32(531)
        .u16(0)
        .u8(24)
        .u8(32)
        .u32(64_500)
        .u32(4_200_000_001)
        .bytes(&[192, 0, 2, 254])
        .u8(0)
        .u32(533)
        .u8(60)
        .u8(60)
        .u64(1_700_000_000_000)
        .u64(1_700_000_001_000)
        .u8(2)
        .u64(1_000_000_000_000)
        .u64(3)
        .u16(0)
        .u16(0);
    // One scope field: the exporting process.
    let fields: &[Field] = &[
        (0, 144, 4),
        (0, 160, 8),
        (0, 130, 4),
        (0, 131, 16),
        (0, 34, 4),
        (0, 36, 2),
        (0, 37, 2),
        (0, 214, 1),
        (0, 215, 1),
    ];
    let options = Bytes::default().u16(512).u16(9).u16(1).bytes(&specs(fields));
    let system = Bytes::default()
        .u32(2)
        .u64(1_690_000_000_000)
        .bytes(&[10, 0, 0, 9])
        .bytes(&[0; 16])
        .u32(1000)
        .u16(60)
        .u16(15)
        .u8(10)
        .u8(17);
    let taken = records(&[ipfix(
        524_288,
        &[
            set(2, &layout),
            set(3, &options.0),
            set(256, &flow.0),
            set(512, &system.0),
        ],
    )]);
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].number("octetDeltaCount"), 1_000_000_000_000);
    assert_eq!(taken[0].number("bgpDestinationAsNumber"), 4_200_000_001);
    assert_eq!((taken[1].options, taken[1].number("samplingInterval")), (true, 1000));
    assert_eq!(taken[1].number("systemInitTimeMilliseconds"), 1_690_000_000_000);
}

/// PAN-OS Administrator's Guide, "NetFlow Templates": v9, App-ID and User-ID as types above 32767.
#[test]
fn palo_alto_app_and_user_come_out() {
    let fields = [
        (1, 8),
        (2, 8),
        (4, 1),
        (5, 1),
        (6, 1),
        (7, 2),
        (8, 4),
        (10, 4),
        (11, 2),
        (12, 4),
        (14, 4),
        (21, 4),
        (22, 4),
    ];
    let own = [(32, 2), (61, 1), (148, 4), (233, 1), (346, 4), (56701, 32), (56702, 64)];
    let layout = fields
        .iter()
        .chain(&own)
        .fold(Bytes::default().u16(257).u16(20), |bytes, (id, length): &(u16, u16)| {
            bytes.u16(*id).u16(*length)
        });
    let flow = Bytes::default()
        .u64(5_000)
        .u64(9)
        .u8(6)
        .u8(0)
        .u8(0x1B)
        .u16(51_515)
        .bytes(&[10, 1, 2, 3])
        .u32(11)
        .u16(443)
        .bytes(&[192, 0, 2, 80])
        .u32(12)
        .u32(99_000)
        .u32(90_000)
        .u16(0)
        .u8(0)
        .u32(88)
        .u8(2)
        .u32(25_461)
        .text("ssl", 32)
        .text("corp\\bob", 64);
    let flows = [flow.0.clone(), flow.0].concat();
    let taken = records(&[v9(1, &[set(0, &layout.0), set(257, &flows)])]);
    assert_eq!(taken.len(), 2);
    assert_eq!(
        (taken[1].text("panAppId"), taken[1].text("panUserId")),
        ("ssl", "corp\\bob")
    );
    assert_eq!(taken[1].number("privateEnterpriseNumber"), 25_461);
}

/// FortiOS Administration Guide, "NetFlow templates": v9 with an options template of 9-byte application ids, and flows
/// with counters of eight bytes.
#[test]
fn fortigate_flows_and_applications_come_out() {
    let options = Bytes::default()
        .u16(257)
        .u16(4)
        .u16(16)
        .u16(1)
        .u16(2)
        .u16(95)
        .u16(9)
        .u16(96)
        .u16(64)
        .u16(94)
        .u16(64);
    let options = options.u16(372).u16(32).u16(0);
    let application = Bytes::default()
        .u16(0)
        .u8(20)
        .u64(16_195)
        .text("HTTPS", 64)
        .text("", 64)
        .text("Web.Client", 32);
    let layout = template(
        258,
        &[
            (0, 1, 8),
            (0, 23, 8),
            (0, 2, 4),
            (0, 24, 4),
            (0, 22, 4),
            (0, 21, 4),
            (0, 7, 2),
            (0, 11, 2),
            (0, 10, 4),
            (0, 14, 4),
            (0, 4, 1),
            (0, 95, 9),
            (0, 65, 2),
            (0, 89, 1),
            (0, 136, 1),
            (0, 8, 4),
            (0, 12, 4),
        ],
    );
    let flow = Bytes::default()
        .u64(4_000)
        .u64(90_000)
        .u32(10)
        .u32(80)
        .u32(1_000)
        .u32(2_000)
        .u16(40_000)
        .u16(443)
        .u32(1)
        .u32(2)
        .u8(6)
        .u8(20)
        .u64(16_195)
        .u16(0)
        .u8(64)
        .u8(3)
        .bytes(&[10, 0, 0, 5])
        .bytes(&[198, 51, 100, 9]);
    let taken = records(&[
        v9(3, &[set(1, &options.0), set(0, &layout)]),
        v9(3, &[set(257, &application.0), set(258, &[flow.0, vec![0; 3]].concat())]),
    ]);
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].text("applicationCategoryName"), "Web.Client");
    assert_eq!(taken[1].bytes("applicationId"), taken[0].bytes("applicationId"));
    assert_eq!(taken[1].number("postOctetDeltaCount"), 90_000);
}

/// VMware, "NetFlow on a vSphere distributed switch": IPFIX with the tenant's addresses under enterprise 6876.
#[test]
fn vmware_tenant_fields_come_out() {
    let layout = template(
        266,
        &[
            (0, 8, 4),
            (0, 12, 4),
            (0, 1, 8),
            (0, 2, 8),
            (0, 351, 8),
            (6876, 880, 1),
            (6876, 881, 4),
            (6876, 882, 4),
            (6876, 886, 2),
            (6876, 887, 2),
            (6876, 888, 2),
            (6876, 898, VARIABLE),
        ],
    );
    let flow = Bytes::default()
        .bytes(&[10, 0, 0, 1, 10, 0, 0, 2])
        .u64(1)
        .u64(2)
        .u64(5_001)
        .u8(6)
        .bytes(&[172, 16, 0, 1, 172, 16, 0, 2])
        .u16(1_234)
        .u16(80)
        .u16(1)
        .short("vm-17");
    let taken = records(&[ipfix(0, &[set(2, &layout), set(266, &flow.0)])]);
    assert_eq!(taken[0].address("tenantSourceIPv4"), "172.16.0.1");
    assert_eq!(taken[0].number("tenantDestPort"), 80);
    assert_eq!(taken[0].text("virtualObsID"), "vm-17");
}

/// Barracuda NextGen Firewall audit log as IPFIX: enterprise 10704, texts of variable length, also empty ones.
#[test]
fn barracuda_texts_of_any_length_come_out() {
    let layout = template(
        256,
        &[
            (10704, 1, 4),
            (10704, 2, 1),
            (10704, 3, 1),
            (10704, 4, VARIABLE),
            (10704, 5, VARIABLE),
            (10704, 7, VARIABLE),
            (10704, 8, 4),
            (10704, 12, 4),
            (0, 1, 8),
        ],
    );
    let head = || Bytes::default().u32(1_700_000_000).u8(1).u8(0);
    let first = head()
        .short("LAN-2-INTERNET")
        .short("")
        .long("Normal Operation")
        .bytes(&[192, 0, 2, 7])
        .u32(1)
        .u64(77);
    let second = head()
        .long("")
        .short("HTTPS")
        .short("x")
        .bytes(&[192, 0, 2, 8])
        .u32(2)
        .u64(78);
    let taken = records(&[ipfix(1, &[set(2, &layout), set(256, &[first.0, second.0].concat())])]);
    assert_eq!(taken.len(), 2);
    assert_eq!(
        (taken[0].text("fwRule"), taken[0].text("serviceName")),
        ("LAN-2-INTERNET", "")
    );
    assert_eq!(taken[0].text("reasonText"), "Normal Operation");
    assert_eq!((taken[1].text("fwRule"), taken[1].text("serviceName")), ("", "HTTPS"));
    assert_eq!(taken[1].address("bindIPv4Address"), "192.0.2.8");
    assert_eq!(taken[1].number("octetDeltaCount"), 78);
}

/// YAF manual: biflows with reverse elements (RFC 5103) and a subTemplateMultiList at the end of the record.
#[test]
fn yaf_biflows_with_lists_come_out() {
    let layout = template(
        0xB800,
        &[
            (0, 152, 8),
            (0, 153, 8),
            (0, 85, 8),
            (29305, 85, 8),
            (0, 86, 8),
            (29305, 86, 8),
            (0, 4, 1),
            (6871, 14, 1),
            (6871, 14 | 0x4000, 1),
            (6871, 33, 2),
            (0, 293, VARIABLE),
        ],
    );
    let flow = |list: &[u8]| {
        let fixed = Bytes::default()
            .u64(1_700_000_000_000)
            .u64(1_700_000_000_250)
            .u64(1_500)
            .u64(40_000)
            .u64(7)
            .u64(31)
            .u8(6)
            .u8(0x02)
            .u8(0x12)
            .u16(443);
        fixed.u8(u8::try_from(list.len()).unwrap()).bytes(list).0
    };
    // Semantic "undefined", then one entry of template 0xC003 of five bytes.
    let list = [0xFF, 0xC0, 0x03, 0, 5, 7];
    let taken = records(&[ipfix(
        0,
        &[set(2, &layout), set(0xB800, &[flow(&list), flow(&[])].concat())],
    )]);
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].number("reverseOctetTotalCount"), 40_000);
    assert_eq!(taken[0].number("reverseInitialTCPFlags"), 0x12);
    assert_eq!(taken[0].number("silkAppLabel"), 443);
    assert_eq!(taken[0].bytes("subTemplateMultiList"), list);
    assert_eq!(taken[1].bytes("subTemplateMultiList"), []);
}

/// nProbe User's Guide: v9 numbers from 57472 on, and the same as enterprise 35632 in IPFIX, with texts of variable
/// length.
#[test]
fn nprobe_fields_have_the_same_names_in_v9_and_ipfix() {
    let plain = Bytes::default()
        .u16(258)
        .u16(3)
        .u16(8)
        .u16(4)
        .u16(57590)
        .u16(2)
        .u16(57591)
        .u16(16);
    let flow = Bytes::default().bytes(&[10, 0, 0, 1]).u16(91).text("TLS", 16);
    let old = records(&[v9(0, &[set(0, &plain.0), set(258, &flow.0)])]);
    let layout = template(258, &[(0, 8, 4), (35632, 118, 2), (35632, 119, VARIABLE)]);
    let flow = Bytes::default().bytes(&[10, 0, 0, 1]).u16(91).short("TLS");
    let new = records(&[ipfix(0, &[set(2, &layout), set(258, &flow.0)])]);
    for taken in [&old[0], &new[0]] {
        assert_eq!((taken.number("L7_PROTO"), taken.text("L7_PROTO_NAME")), (91, "TLS"));
    }
}

/// Citrix AppFlow: long URLs need the three-byte form of a length.
#[test]
fn netscaler_urls_of_any_length_come_out() {
    let layout = template(
        270,
        &[
            (5951, 129, 4),
            (5951, 130, VARIABLE),
            (5951, 141, VARIABLE),
            (5951, 142, VARIABLE),
            (0, 1, 8),
        ],
    );
    let url = "/".repeat(900);
    let flow = Bytes::default()
        .u32(1)
        .long(&url)
        .short("GET")
        .short("www.example.com")
        .u64(1_234);
    let taken = records(&[ipfix(0, &[set(2, &layout), set(270, &flow.0)])]);
    assert_eq!(taken[0].text("netscalerHttpReqUrl"), url);
    assert_eq!(taken[0].text("netscalerHttpReqHost"), "www.example.com");
    assert_eq!(taken[0].number("octetDeltaCount"), 1_234);
}

/// MikroTik RouterOS, "Traffic Flow": v9 and IPFIX with MAC addresses and NAT; its padding is not always zero.
#[test]
fn padding_may_be_of_any_length_and_content() {
    let layout = template(
        256,
        &[
            (0, 8, 4),
            (0, 12, 4),
            (0, 56, 6),
            (0, 80, 6),
            (0, 225, 4),
            (0, 227, 2),
            (0, 1, 4),
        ],
    );
    let flow = Bytes::default()
        .bytes(&[10, 0, 0, 1, 10, 0, 0, 2])
        .bytes(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2])
        .bytes(&[203, 0, 113, 1])
        .u16(1_024)
        .u32(99);
    for padding in [0, 1, 3, 4, 7, 29] {
        let body = [flow.0.clone(), vec![0xAB; padding]].concat();
        for (datagram, version) in [
            (v9(0, &[set(0, &layout), set(256, &body)]), 9),
            (ipfix(0, &[set(2, &layout), set(256, &body)]), 10),
        ] {
            let taken = records(&[datagram]);
            assert_eq!(taken.len(), 1, "version {version}, {padding} bytes of padding");
            assert_eq!(taken[0].number("octetDeltaCount"), 99);
        }
    }
}

#[test]
fn a_set_that_goes_on_behind_the_length_of_its_message_comes_out() {
    let templates = set(2, &template(256, &[(0, 1, 4)]));
    let mut message = ipfix(1, &[templates, set(256, &[0, 0, 0, 9])]);
    // As many as the header, the set of templates and a part of the next take.
    message[3] = 16 + 12 + 6;
    let (taken, errors) = take(&[message]);
    assert_eq!(
        (taken.len(), taken[0].number("octetDeltaCount"), errors),
        (1, 9, vec![])
    );
}

/// Huawei NetStream and others fill the datagram up with zeros behind the last set.
#[test]
fn zeros_behind_the_last_set_are_no_set() {
    let layout = template(1024, &[(0, 8, 4), (0, 1, 4)]);
    let flow = Bytes::default().bytes(&[10, 0, 0, 1]).u32(5).0;
    for zeros in [1, 2, 3, 4, 5, 8, 64] {
        let tail = vec![0; zeros];
        let taken = records(&[v9(0, &[set(0, &layout), set(1024, &flow), tail.clone()])]);
        assert_eq!(taken.len(), 1, "v9 and {zeros} zeros");
        // Within the length that the message states, and behind it.
        let taken = records(&[ipfix(0, &[set(2, &layout), set(1024, &flow), tail.clone()])]);
        assert_eq!(taken.len(), 1, "IPFIX and {zeros} zeros");
        let taken = records(&[[ipfix(0, &[set(2, &layout), set(1024, &flow)]), tail].concat()]);
        assert_eq!(taken.len(), 1, "IPFIX, {zeros} zeros behind");
    }
}

/// Template sets are filled up as well: zeros behind a template are no template.
#[test]
fn zeros_behind_a_template_are_no_template() {
    for zeros in [1, 2, 4, 6, 8] {
        let layout = [template(256, &[(0, 8, 4), (0, 1, 4)]), vec![0; zeros]].concat();
        let flow = Bytes::default().bytes(&[10, 0, 0, 1]).u32(5).0;
        assert_eq!(
            records(&[v9(0, &[set(0, &layout), set(256, &flow)])]).len(),
            1,
            "v9 and {zeros} zeros"
        );
        assert_eq!(
            records(&[ipfix(0, &[set(2, &layout), set(256, &flow)])]).len(),
            1,
            "IPFIX and {zeros} zeros"
        );
    }
}

/// Options records whose scope takes no bytes: Cisco's Nexus sends scope System with length 0.
#[test]
fn fields_of_no_bytes_are_fields() {
    let layout = Bytes::default()
        .u16(260)
        .u16(4)
        .u16(8)
        .u16(1)
        .u16(0)
        .u16(34)
        .u16(4)
        .u16(35)
        .u16(1)
        .u16(0);
    let taken = records(&[v9(0, &[set(1, &layout.0), set(260, &[0, 0, 3, 0xE8, 2])])]);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].bytes("scopeSystem"), []);
    assert_eq!(
        (
            taken[0].number("samplingInterval"),
            taken[0].number("samplingAlgorithm")
        ),
        (1000, 2)
    );
}

/// Several templates in one set, data of each, and one that is not known in between: the rest comes out.
#[test]
fn one_unknown_template_costs_only_its_set() {
    let layouts = [template(256, &[(0, 1, 4)]), template(257, &[(0, 2, 8)])].concat();
    let sets = [
        set(2, &layouts),
        set(256, &[0, 0, 0, 1]),
        set(300, &[1; 12]),
        set(257, &[0, 0, 0, 0, 0, 0, 0, 2]),
    ];
    let taken = records(&[ipfix(0, &sets)]);
    assert_eq!(taken.len(), 2);
    assert_eq!(
        (taken[0].number("octetDeltaCount"), taken[1].number("packetDeltaCount")),
        (1, 2)
    );
}

/// The same template id means something else in another domain and from another exporter.
#[test]
fn template_ids_are_apart_by_domain() {
    let short = ipfix(1, &[set(2, &template(256, &[(0, 1, 2)]))]);
    let long = ipfix(2, &[set(2, &template(256, &[(0, 2, 4)]))]);
    let taken = records(&[
        short,
        long,
        ipfix(1, &[set(256, &[0, 7])]),
        ipfix(2, &[set(256, &[0, 0, 0, 8])]),
    ]);
    assert_eq!(
        (taken[0].number("octetDeltaCount"), taken[1].number("packetDeltaCount")),
        (7, 8)
    );
}

/// A template may change within a datagram: data before it has the old layout.
#[test]
fn a_template_may_change_within_a_datagram() {
    let sets = [
        set(2, &template(256, &[(0, 1, 2)])),
        set(256, &[0, 1]),
        set(2, &template(256, &[(0, 2, 4)])),
        set(256, &[0, 0, 0, 2]),
    ];
    let taken = records(&[ipfix(0, &sets)]);
    assert_eq!(
        (taken[0].number("octetDeltaCount"), taken[1].number("packetDeltaCount")),
        (1, 2)
    );
}

/// Withdrawal (RFC 7011 §8.1), then data: they wait, and come out when the template is back.
#[test]
fn data_after_a_withdrawal_wait_for_the_template() {
    let layout = set(2, &template(256, &[(0, 1, 2)]));
    let withdrawal = set(2, &template(256, &[]));
    let data = ipfix(0, &[set(256, &[0, 1])]);
    let (taken, errors) = take(&[
        ipfix(0, std::slice::from_ref(&layout)),
        ipfix(0, &[withdrawal]),
        data,
        ipfix(0, &[layout]),
    ]);
    assert_eq!((taken.len(), errors), (1, vec![]));
}

/// A v9 template without fields, then data of its id: no records, no endless loop.
#[test]
fn a_template_without_fields_yields_nothing() {
    let (taken, _) = take(&[v9(0, &[set(0, &template(256, &[])), set(256, &[1; 64])])]);
    assert_eq!(taken, []);
    let (taken, errors) = take(&[v9(0, &[set(0, &template(256, &[(0, 1, 0)])), set(256, &[1; 64])])]);
    assert_eq!((taken, errors.len()), (vec![], 1));
}

/// Integers and floats of reduced size (RFC 7011 §6.2), and three-byte ones.
#[test]
fn reduced_sizes_keep_their_values() {
    let layout = template(256, &[(0, 1, 1), (0, 1, 3), (0, 1, 5), (0, 321, 4), (0, 434, 4)]);
    let flow = Bytes::default()
        .u8(200)
        .bytes(&[1, 0, 0])
        .bytes(&[1, 0, 0, 0, 0])
        .bytes(&1.5_f32.to_be_bytes());
    let flow = flow.bytes(&(-2_i32).to_be_bytes());
    let taken = records(&[ipfix(0, &[set(2, &layout), set(256, &flow.0)])]);
    let counters: Vec<_> = taken[0].fields[..3]
        .iter()
        .map(|field| netflow_codec::record::unsigned(&field.1))
        .collect();
    assert_eq!(counters, [Some(200), Some(65_536), Some(1 << 32)]);
    assert_eq!(netflow_codec::record::float(&taken[0].fields[3].1), Some(1.5));
    assert_eq!(netflow_codec::record::signed(&taken[0].fields[4].1), Some(-2));
}

/// A datagram that was cut off: the whole records of the last set come out, and the cut is told.
#[test]
fn a_cut_set_keeps_its_whole_records() {
    let layout = set(2, &template(256, &[(0, 1, 4)]));
    let whole = ipfix(0, &[layout, set(256, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])]);
    for cut in 1..4 {
        let (taken, errors) = take(&[whole[..whole.len() - cut].to_vec()]);
        assert_eq!(taken.len(), 2, "{cut} bytes missing");
        assert!(!errors.is_empty());
    }
}

/// v5: more records promised than there are.
#[test]
fn v5_with_a_wrong_count_keeps_its_records() {
    let header = Bytes::default()
        .u16(5)
        .u16(30)
        .u32(1_000)
        .u32(1_700_000_000)
        .u32(0)
        .u32(0)
        .u32(0);
    let flow = [10, 0, 0, 1, 10, 0, 0, 2]
        .iter()
        .copied()
        .chain([0; 40])
        .collect::<Vec<u8>>();
    let (taken, errors) = take(&[header.bytes(&flow).bytes(&flow).0]);
    assert_eq!((taken.len(), errors.len()), (2, 1));
}

/// Some exporters send data before the template in one datagram.
#[test]
fn data_before_its_template_in_one_datagram_come_out() {
    let taken = records(&[v9(0, &[set(256, &[0, 0, 0, 1]), set(0, &template(256, &[(0, 1, 4)]))])]);
    assert_eq!(taken.len(), 1);
}

/// An options template of IPFIX whose scope count is 0 breaks RFC 7011 §3.4.2.2, but its records are readable.
#[test]
fn options_without_scope_come_out() {
    let layout = Bytes::default().u16(256).u16(2).u16(0).u16(34).u16(4).u16(35).u16(1);
    let (taken, _) = take(&[ipfix(0, &[set(3, &layout.0), set(256, &[0, 0, 0, 10, 1])])]);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].number("samplingInterval"), 10);
}

/// Templates and options templates in sets with the ids of the other version: heads by the set's id, fields by the
/// message's version.
#[test]
fn template_sets_of_the_other_version_come_out() {
    let ports: &[Field] = &[(0, 7, 2), (0, 11, 2)];
    let with_vendor: &[Field] = &[(0, 7, 2), (6876, 886, 2)];
    let data = |id| set(id, &[0, 53, 0x30, 0x39]);
    let taken = records(&[v9(1, &[set(2, &template(256, ports)), data(256)])]);
    assert_eq!(taken[0].number("destinationTransportPort"), 0x3039);
    let taken = records(&[ipfix(1, &[set(0, &template(256, with_vendor)), data(256)])]);
    assert_eq!(taken[0].number("tenantSourcePort"), 0x3039);

    // Scope of one field and one field, lengths in bytes: as v9 has it, in IPFIX with an enterprise's field.
    let lengths = Bytes::default().u16(257).u16(4).u16(8).bytes(&specs(with_vendor)).0;
    let taken = records(&[ipfix(1, &[set(1, &lengths), data(257)])]);
    assert_eq!((taken[0].options, taken[0].number("tenantSourcePort")), (true, 0x3039));
    // The scope's length cuts a definition in two.
    let lengths = Bytes::default().u16(257).u16(6).u16(6).bytes(&specs(with_vendor)).0;
    let (taken, errors) = take(&[ipfix(1, &[set(1, &lengths)])]);
    assert!(
        taken.is_empty() && matches!(errors[..], [Error::Template { .. }]),
        "{errors:?}"
    );
    // Two fields, one of them scope, as IPFIX has it, in v9.
    let counts = Bytes::default()
        .u16(258)
        .u16(2)
        .u16(1)
        .bytes(&specs(&[(0, 1, 2), (0, 11, 2)]))
        .0;
    let taken = records(&[v9(1, &[set(3, &counts), data(258)])]);
    assert_eq!((taken[0].options, taken[0].number("scopeSystem")), (true, 53));
}

#[test]
fn icmp_types_come_out_wherever_they_are() {
    let told = |fields: &[Field], values: &[u8]| {
        let mut decoder = Decoder::new(Limits::default());
        let datagram = v9(1, &[set(0, &template(256, fields)), set(256, values)]);
        let message = decoder.decode(&datagram, exporter(), 0).unwrap();
        let mut told = None;
        for set in &message {
            if let Ok(Set::Data(set)) = set {
                told = set.records().next().unwrap().icmp();
            }
        }
        told.map(|icmp| (icmp.kind, icmp.code))
    };
    let ports: &[Field] = &[(0, 4, 1), (0, 7, 2), (0, 11, 2)];
    assert_eq!(told(ports, &[1, 0, 0, 3, 13]), Some((3, 13)));
    assert_eq!(told(ports, &[1, 0, 3, 0, 13]), Some((3, 13)), "fprobe");
    assert_eq!(told(ports, &[1, 0, 0, 0, 0]), Some((0, 0)));
    assert_eq!(told(ports, &[1, 0x12, 0x34, 0, 0]), None, "an identifier");
    assert_eq!(told(ports, &[58, 0, 0, 128, 0]), Some((128, 0)));
    assert_eq!(told(ports, &[58, 0, 0, 0, 0]), None, "ICMPv6 has no type 0");
    assert_eq!(told(ports, &[6, 0, 0, 3, 13]), None, "TCP");
    let together: &[Field] = &[(0, 4, 1), (0, 7, 2), (0, 11, 2), (0, 32, 2)];
    assert_eq!(told(together, &[1, 0, 0, 0, 0, 3, 13]), Some((3, 13)));
    assert_eq!(
        told(together, &[1, 0, 0, 3, 13, 0, 0]),
        Some((3, 13)),
        "filled in as a port alone"
    );
    assert_eq!(
        told(together, &[58, 0, 0, 0, 0, 135, 0]),
        Some((135, 0)),
        "ICMPv6 in the element of ICMP"
    );
    let apart: &[Field] = &[(0, 4, 1), (0, 7, 2), (0, 11, 2), (0, 176, 1), (0, 177, 1)];
    assert_eq!(
        told(apart, &[1, 0, 9, 0, 0, 0, 0]),
        Some((0, 0)),
        "an identifier beside an echo reply"
    );
    assert_eq!(told(apart, &[1, 0, 9, 0, 0, 11, 1]), Some((11, 1)));
}

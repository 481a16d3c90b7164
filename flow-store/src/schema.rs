//! The columns of a flow: their names, their Arrow types, their order. The only place where they are spelled.
//!
//! Three schemas build on one another, each a prefix of the next:
//!
//! | Schema | Where | What it adds |
//! |---|---|---|
//! | [`flow_schema`] | bundles, the log | what the exporter said, plus the probe's name and area |
//! | [`enriched_schema`] | statements, batch jobs | the subnet, router, interface and VLAN at both ends |
//! | [`stored_schema`] | Parquet | the flow's place: bundle sequence and row |

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The version of the schemas of this module. It is written into bundles, Parquet files and the manifest; a reader
/// refuses a newer one rather than guess.
pub const SCHEMA_VERSION: u32 = 1;

/// The stream's clock: when the collector received (or could at last decode) the datagram.
pub const TIME: &str = "time";
/// First packet of the flow, by the exporter.
pub const FLOW_START: &str = "flow_start";
/// Last packet of the flow, by the exporter.
pub const FLOW_END: &str = "flow_end";
/// Source address, 16 bytes, IPv4 as `::ffff:a.b.c.d`.
pub const SRC_ADDR: &str = "src_addr";
/// Destination address, 16 bytes, IPv4 as `::ffff:a.b.c.d`.
pub const DST_ADDR: &str = "dst_addr";
/// Source port, 0 if the protocol has none.
pub const SRC_PORT: &str = "src_port";
/// Destination port; ICMP type × 256 + code; 0 if the protocol has none.
pub const DST_PORT: &str = "dst_port";
/// IP protocol number.
pub const PROTO: &str = "proto";
/// IPv4 type of service or IPv6 traffic class.
pub const TOS: &str = "tos";
/// All TCP flags seen, or-ed together.
pub const TCP_FLAGS: &str = "tcp_flags";
/// Octets, multiplied by the sampling rate where that is above 1.
pub const BYTES: &str = "bytes";
/// Packets, multiplied by the sampling rate where that is above 1.
pub const PACKETS: &str = "packets";
/// 1 unsampled, N one packet in N, 0 not stated.
pub const SAMPLING_RATE: &str = "sampling_rate";
/// SNMP index of the ingress interface.
pub const IN_IF: &str = "in_if";
/// SNMP index of the egress interface.
pub const OUT_IF: &str = "out_if";
/// Autonomous system of the source.
pub const SRC_AS: &str = "src_as";
/// Autonomous system of the destination.
pub const DST_AS: &str = "dst_as";
/// Address of the next hop, 16 bytes.
pub const NEXT_HOP: &str = "next_hop";
/// Address of the exporter, 16 bytes.
pub const EXPORTER: &str = "exporter";
/// Observation domain within the exporter.
pub const DOMAIN: &str = "domain";
/// Name of the probe.
pub const PROBE: &str = "probe";
/// Coverage area of the probe.
pub const AREA: &str = "area";
/// Whether the source lies in a subnet of ours.
pub const SRC_INTERNAL: &str = "src_internal";
/// Name of the source's subnet.
pub const SRC_SUBNET: &str = "src_subnet";
/// Router of the source's subnet.
pub const SRC_ROUTER: &str = "src_router";
/// Router interface of the source's subnet.
pub const SRC_INTERFACE: &str = "src_interface";
/// VLAN of the source's subnet.
pub const SRC_VLAN: &str = "src_vlan";
/// Whether the destination lies in a subnet of ours.
pub const DST_INTERNAL: &str = "dst_internal";
/// Name of the destination's subnet.
pub const DST_SUBNET: &str = "dst_subnet";
/// Router of the destination's subnet.
pub const DST_ROUTER: &str = "dst_router";
/// Router interface of the destination's subnet.
pub const DST_INTERFACE: &str = "dst_interface";
/// VLAN of the destination's subnet.
pub const DST_VLAN: &str = "dst_vlan";
/// Sequence number of the bundle that brought the flow.
pub const BUNDLE: &str = "bundle";
/// Row of the flow within its bundle.
pub const ROW: &str = "row";

/// Length of an address in a flow.
pub const ADDRESS_LEN: i32 = 16;

/// The type of every address column.
pub const ADDRESS: DataType = DataType::FixedSizeBinary(ADDRESS_LEN);

/// The type of every time column: milliseconds since the epoch, UTC.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.clone()))
}

/// The type of every text column: 32-bit dictionary keys, which any Arrow reader takes.
#[must_use]
pub fn text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

static UTC: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("UTC"));

/// A flow as decoded: what the exporter said, with the probe's name and area.
#[must_use]
pub fn flow_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(flow_fields())));
    Arc::clone(&SCHEMA)
}

/// A flow with its two ends resolved to subnets.
#[must_use]
pub fn enriched_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = flow_fields();
        fields.extend(end_fields([
            SRC_INTERNAL,
            SRC_SUBNET,
            SRC_ROUTER,
            SRC_INTERFACE,
            SRC_VLAN,
        ]));
        fields.extend(end_fields([
            DST_INTERNAL,
            DST_SUBNET,
            DST_ROUTER,
            DST_INTERFACE,
            DST_VLAN,
        ]));
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// An enriched flow with its place, as it stands in the Parquet files.
///
/// The sequence number is a signed 64-bit integer there, since Spark reads unsigned ones as decimals.
#[must_use]
pub fn stored_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields: Vec<Field> = enriched_schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields.push(Field::new(BUNDLE, DataType::Int64, false));
        fields.push(Field::new(ROW, DataType::Int32, false));
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

fn flow_fields() -> Vec<Field> {
    vec![
        Field::new(TIME, timestamp(), false),
        Field::new(FLOW_START, timestamp(), false),
        Field::new(FLOW_END, timestamp(), false),
        Field::new(SRC_ADDR, ADDRESS, false),
        Field::new(DST_ADDR, ADDRESS, false),
        Field::new(SRC_PORT, DataType::UInt16, false),
        Field::new(DST_PORT, DataType::UInt16, false),
        Field::new(PROTO, DataType::UInt8, false),
        Field::new(TOS, DataType::UInt8, false),
        Field::new(TCP_FLAGS, DataType::UInt16, false),
        Field::new(BYTES, DataType::Int64, false),
        Field::new(PACKETS, DataType::Int64, false),
        Field::new(SAMPLING_RATE, DataType::UInt32, false),
        Field::new(IN_IF, DataType::UInt32, true),
        Field::new(OUT_IF, DataType::UInt32, true),
        Field::new(SRC_AS, DataType::UInt32, true),
        Field::new(DST_AS, DataType::UInt32, true),
        Field::new(NEXT_HOP, ADDRESS, true),
        Field::new(EXPORTER, ADDRESS, false),
        Field::new(DOMAIN, DataType::UInt32, false),
        Field::new(PROBE, text(), false),
        Field::new(AREA, text(), false),
    ]
}

/// What the resolver tells of one end of a flow.
fn end_fields([internal, subnet, router, interface, vlan]: [&str; 5]) -> [Field; 5] {
    [
        Field::new(internal, DataType::Boolean, false),
        Field::new(subnet, text(), true),
        Field::new(router, text(), true),
        Field::new(interface, text(), true),
        Field::new(vlan, DataType::UInt16, true),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_schema_is_a_prefix_of_the_next() {
        let (flow, enriched, stored) = (flow_schema(), enriched_schema(), stored_schema());
        assert_eq!(flow.fields()[..], enriched.fields()[..flow.fields().len()]);
        assert_eq!(enriched.fields()[..], stored.fields()[..enriched.fields().len()]);
        assert_eq!(
            (flow.fields().len(), enriched.fields().len(), stored.fields().len()),
            (22, 32, 34)
        );
    }

    #[test]
    fn no_stored_column_is_an_unsigned_64_bit_integer() {
        assert!(
            stored_schema()
                .fields()
                .iter()
                .all(|field| *field.data_type() != DataType::UInt64)
        );
    }
}

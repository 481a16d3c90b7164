//! netflow-codec.

use std::net::SocketAddr;
use std::sync::Arc;

use netflow_codec::columns::{Column, ColumnKind, ColumnPlan, Columns, Integer};
use netflow_codec::{DataSet, Decoder, ElementId, Limits, Set, V5Flow, Version};

use crate::Contender;
use crate::input::Input;

fn exporter() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 40000))
}

fn decoder(input: &Input) -> Decoder {
    let mut decoder = Decoder::new(Limits::default());
    if !input.templates.is_empty() {
        decoder
            .decode(&input.templates, exporter(), 0)
            .expect("the templates decode");
    }
    decoder
}

/// The columns of a flow as the exporter sent it.
fn plan() -> ColumnPlan {
    let iana = ElementId::iana;
    let unsigned = ColumnKind::Unsigned;
    ColumnPlan::new(vec![
        Column::new(
            "flow_start",
            ColumnKind::Start,
            [152, 150, 154, 156, 22, 158, 161].map(iana),
        ),
        Column::new(
            "flow_end",
            ColumnKind::End,
            [153, 151, 155, 157, 21, 159, 161].map(iana),
        ),
        Column::new("src_addr", ColumnKind::Address, [8, 27].map(iana)).reversed([12, 28].map(iana)),
        Column::new("dst_addr", ColumnKind::Address, [12, 28].map(iana)).reversed([8, 27].map(iana)),
        Column::new("src_port", ColumnKind::SourcePort, [iana(7)]).reversed([iana(11)]),
        Column::new("dst_port", ColumnKind::DestinationPort, [iana(11)]).reversed([iana(7)]),
        Column::new("proto", unsigned(Integer::U8), [iana(4)]),
        Column::new("tos", unsigned(Integer::U8), [iana(5)]),
        Column::new("tcp_flags", unsigned(Integer::U16), [iana(6)]),
        Column::new("bytes", ColumnKind::ScaledCounter, [1, 85, 231].map(iana))
            .reversed([ElementId::reverse(1), iana(232)]),
        Column::new("packets", ColumnKind::ScaledCounter, [2, 86, 298].map(iana))
            .reversed([ElementId::reverse(2), iana(299)]),
        Column::new("sampling_rate", ColumnKind::SamplingRate, []),
        Column::new("in_if", unsigned(Integer::U32), [iana(10)]).nullable(),
        Column::new("out_if", unsigned(Integer::U32), [iana(14)]).nullable(),
        Column::new("src_as", unsigned(Integer::U32), [iana(16)]).nullable(),
        Column::new("dst_as", unsigned(Integer::U32), [iana(17)]).nullable(),
        Column::new("next_hop", ColumnKind::Address, [15, 62].map(iana)).nullable(),
    ])
}

/// Rows of a batch: as a collector would seal it.
const BATCH: usize = 8192;

/// Decodes all datagrams of an input, and hands the sets of flows on to a reader, which gives their number back.
fn over_sets<F>(input: &Input, mut read: F) -> impl FnMut(&Input) -> u64 + use<F>
where
    F: FnMut(&DataSet<'_>) -> usize,
{
    let mut decoding = decoder(input);
    move |input| {
        let mut records = 0;
        for datagram in &input.datagrams {
            let message = decoding.decode(datagram, exporter(), 0).expect("it decodes");
            for set in &message {
                if let Ok(Set::Data(set)) = set {
                    records += read(&set) as u64;
                }
            }
        }
        records
    }
}

pub(crate) fn contenders(input: &Input) -> Vec<Contender> {
    let no_field = over_sets(input, |set| set.len());
    let by_column = over_sets(input, |set| {
        let mut sum = 0_u64;
        for number in 0..set.template().fields().len() {
            if let Some(values) = set.unsigned_values(number) {
                sum = values.fold(sum, u64::wrapping_add);
            }
        }
        std::hint::black_box(sum);
        set.len()
    });
    let by_record = over_sets(input, |set| {
        let mut sum = 0_u64;
        for record in set.records() {
            for (_, bytes) in record.fields() {
                sum = sum.wrapping_add(netflow_codec::record::unsigned(bytes).unwrap_or(0));
            }
        }
        std::hint::black_box(sum);
        set.len()
    });
    let v5_flows = over_sets(input, |set| {
        let flows = set.v5_flows().into_iter().flatten();
        std::hint::black_box(flows.fold(0, |sum, flow| every_field(&flow).wrapping_add(sum)));
        set.len()
    });

    let mut decoding = decoder(input);
    let mut columns = Columns::new(Arc::new(plan()), BATCH + 30);
    let mut time: Vec<i64> = Vec::with_capacity(BATCH + 30);
    let mut exporters: Vec<[u8; 16]> = Vec::with_capacity(BATCH + 30);
    let mut domains: Vec<u32> = Vec::with_capacity(BATCH + 30);
    let to_columns = move |input: &Input| {
        let mut records = 0;
        for datagram in &input.datagrams {
            let message = decoding.decode(datagram, exporter(), 0).expect("it decodes");
            for set in &message {
                if let Ok(Set::Data(set)) = set {
                    records += columns.append(&set) as u64;
                    time.resize(columns.len(), 1);
                    exporters.resize(columns.len(), [7; 16]);
                    domains.resize(columns.len(), message.domain().0);
                }
            }
            if columns.len() >= BATCH {
                std::hint::black_box((columns.finish(), &time, &exporters, &domains));
                time.clear();
                exporters.clear();
                domains.clear();
            }
        }
        records
    };

    let mut contenders = vec![
        Contender::new("netflow-codec: decode, no field", no_field),
        Contender::new("netflow-codec: every field, a column at a time", by_column),
        Contender::new("netflow-codec: every field, record by record", by_record),
        Contender::new("netflow-codec: to all columns of a flow", to_columns),
    ];
    if input.version == Version::V5 {
        contenders.push(Contender::new(
            "netflow-codec: every field, flow by flow of v5",
            v5_flows,
        ));
    }
    contenders
}

/// The sum of all fields, as for the others.
fn every_field(flow: &V5Flow<'_>) -> u64 {
    let words = [
        flow.source_address().to_bits(),
        flow.destination_address().to_bits(),
        flow.next_hop().to_bits(),
        flow.packets(),
        flow.octets(),
        flow.first_uptime_ms(),
        flow.last_uptime_ms(),
    ];
    let halves = [
        flow.ingress_interface(),
        flow.egress_interface(),
        flow.source_port(),
        flow.destination_port(),
        flow.source_as(),
        flow.destination_as(),
    ];
    let bytes = [
        flow.tcp_flags(),
        flow.protocol(),
        flow.type_of_service(),
        flow.source_prefix_length(),
        flow.destination_prefix_length(),
    ];
    words.map(u64::from).iter().sum::<u64>()
        + halves.map(u64::from).iter().sum::<u64>()
        + bytes.map(u64::from).iter().sum::<u64>()
}

"""Reads a dataset with DuckDB and with pyarrow, as their users would, and prints what each finds as a line of JSON."""

import json
import sys

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as ds

folder, macros = sys.argv[1:]

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
db.execute(open(macros).read())
columns = """
    count(*) AS rows, sum(bytes)::BIGINT AS bytes, sum(packets)::BIGINT AS packets,
    sum(src_port)::BIGINT AS src_port, sum(dst_port)::BIGINT AS dst_port, sum(proto)::BIGINT AS proto,
    sum(tcp_flags)::BIGINT AS tcp_flags, count(in_if) AS in_if_set, coalesce(sum(in_if), 0)::BIGINT AS in_if,
    sum(epoch_ms(time))::BIGINT AS time, sum(epoch_ms(flow_start))::BIGINT AS flow_start,
    count_if(src_internal) AS src_internal, count(src_subnet) AS src_subnet_set,
    count_if(src_subnet = 'building-lan-7') AS src_subnet, coalesce(sum(dst_vlan), 0)::BIGINT AS dst_vlan,
    count_if(probe = 'edge-1' AND area = 'north campus') AS probe, sum(bundle)::BIGINT AS bundle, sum("row")::BIGINT AS "row",
    count(next_hop) AS next_hop_set, count(DISTINCT hour) AS hours,
    count_if(address_text(exporter) = '127.0.0.1') AS exporter,
    count_if(src_addr BETWEEN address('10.0.0.0') AND address('10.255.255.255')) AS inside
"""
db.execute(f"SELECT {columns} FROM flows('{folder}')")
print(json.dumps(dict(zip([column[0] for column in db.description], db.fetchone()))))
committed = db.execute(f"SELECT sum(rows)::BIGINT, count(*) FROM committed('{folder}')").fetchone()

table = ds.dataset(folder, partitioning="hive").to_table()
total = lambda name: pc.sum(table[name]).as_py() or 0
set_ = lambda name: len(table) - table[name].null_count
text = lambda name: table[name].cast("string")
low, high = (bytes(10) + b"\xff\xff" + bytes(part) for part in ([10, 0, 0, 0], [10, 255, 255, 255]))
print(json.dumps({
    "rows": len(table),
    **{name: total(name) for name in
       ["bytes", "packets", "src_port", "dst_port", "proto", "tcp_flags", "in_if", "dst_vlan", "bundle", "row"]},
    "in_if_set": set_("in_if"), "src_subnet_set": set_("src_subnet"), "next_hop_set": set_("next_hop"),
    "time": pc.sum(table["time"].cast("int64")).as_py(),
    "flow_start": pc.sum(table["flow_start"].cast("int64")).as_py(),
    "src_internal": pc.sum(table["src_internal"]).as_py(),
    "src_subnet": pc.sum(pc.equal(text("src_subnet"), "building-lan-7")).as_py() or 0,
    "probe": pc.sum(pc.and_(pc.equal(text("probe"), "edge-1"), pc.equal(text("area"), "north campus"))).as_py(),
    "hours": len(pc.unique(table["hour"])),
    "exporter": sum(value == bytes(10) + b"\xff\xff\x7f\0\0\1" for value in table["exporter"].to_pylist()),
    "inside": sum(low <= value <= high for value in table["src_addr"].to_pylist()),
}))
print(json.dumps({"rows": committed[0], "files": committed[1]}))

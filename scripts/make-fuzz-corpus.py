#!/usr/bin/env python3
"""Makes the fuzz targets' seeds from the exports in netflow-codec/tests/data: one file of datagrams for each capture.

    scripts/make-fuzz-corpus.py

The form of the files is that of `Datagrams` in fuzz/src/codec.rs.
"""
import glob
import os
import struct

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
LIMIT = 6000  # bytes: small seeds are mutated faster


def payloads(path):
    data = open(path, "rb").read()
    at = 24
    while at < len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        frame = data[at + 16:at + 16 + captured]
        at += 16 + captured
        yield frame[14 + 20 + 8:]  # Ethernet, IPv4 without options, UDP


def main():
    for target in ("decode", "capture"):
        os.makedirs(os.path.join(ROOT, "fuzz/corpus", target), exist_ok=True)
    for path in sorted(glob.glob(os.path.join(ROOT, "netflow-codec/tests/data/*.pcap"))):
        name = os.path.basename(path)[:-len(".pcap")]
        seed = b""
        for payload in payloads(path):
            if len(seed) + len(payload) > LIMIT:
                break
            seed += bytes([4]) + struct.pack(">H", len(payload)) + payload
        open(os.path.join(ROOT, "fuzz/corpus/decode", name), "wb").write(seed)
        if os.path.getsize(path) <= LIMIT:
            open(os.path.join(ROOT, "fuzz/corpus/capture", name + ".pcap"), "wb").write(open(path, "rb").read())


if __name__ == "__main__":
    main()

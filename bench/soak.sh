#!/bin/bash
# The whole product for ten minutes: half a million flows a second over loopback through collector, log, resolver, the
# eight statements and the Parquet dataset, all on disk. What was sent must be stored to the flow, and memory must not grow.
#
#   bench/soak.sh
#
# Environment: RATE (500000 flows a second), MINUTES (10), VERSION (v5), EXPORTERS (4), POOL (1000000), WORKERS (2),
# STATEMENTS (empty: the built-in eight; or a folder), STORE (target; a folder on a disk, 12 GB free), PORT (29055), HTTP
# (127.0.0.1:28080), OUT (each sample as CSV). Wants the Python that scripts/install-test-parts.sh installs.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet -p campus -p flow-collect -p millrace
store=$(mktemp -d "${STORE:-target}/soak.XXXXXX")
trap 'rm -rf "$store"' EXIT
target/release/campus --write-subnets "$store/campus.csv"
bench/subnets.py "$store/campus.csv" 17000 >"$store/subnets.csv"

"${MILLRACE_VENV:-$HOME/.local/share/millrace/venv}/bin/python" - "$store" "${PORT:-29055}" "${HTTP:-127.0.0.1:28080}" "${RATE:-500000}" "${MINUTES:-10}" "${VERSION:-v5}" \
  "${EXPORTERS:-4}" "${POOL:-1000000}" "${WORKERS:-2}" "${STATEMENTS:-}" "${OUT:-}" <<'PYTHON'
import glob, json, os, signal, subprocess, sys, time, urllib.request
import pyarrow.parquet

store, port, http, rate, minutes, version, exporters, pool, workers, statements, out = sys.argv[1:]

def metrics():
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, value in lines}

def cpu_seconds():
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def total(now, name):
    return sum(value for key, value in now.items() if key.split("{")[0] == name)

with open(f"{store}/millrace.log", "w") as log:
    process = subprocess.Popen(
        ["target/release/millrace", "run", "--listen", f"127.0.0.1:{port}", "--http", http, "--data", f"{store}/data",
         "--subnets", f"{store}/subnets.csv", "--workers", workers,
         *(["--statements", statements] if statements else [])], stdout=log, stderr=log)
while True:
    time.sleep(0.1)
    if process.poll() is not None:
        sys.exit(f"millrace has ended:\n{open(f'{store}/millrace.log').read()}")
    try:
        metrics()
        break
    except OSError:
        pass
generator = subprocess.Popen(
    ["target/release/campus", "--to", f"127.0.0.1:{port}", "--rate", rate, "--for", f"{float(minutes) * 60:.0f}s",
     "--version", version, "--exporters", exporters, "--pool", pool], stdout=subprocess.PIPE)

table = open(out, "w") if out else None
if table:
    print("second,memory_bytes,cpu_seconds,log_bytes,received_flows,stored_flows", file=table)
start, samples = time.monotonic(), []
while generator.poll() is None:
    time.sleep(5)
    now = metrics()
    samples.append((time.monotonic() - start, total(now, "process_resident_memory_bytes"),
                    cpu_seconds(), total(now, "flow_log_size_bytes"),
                    total(now, "flow_collector_flows_total"), total(now, "flow_store_flows_total")))
    if table:
        print(*(f"{value:.0f}" for value in samples[-1]), sep=",", file=table, flush=True)
sent = json.loads(generator.stdout.read())
# Until what waits in the socket is read and what is in the log is worked off.
received, before = 0, -1
while received != before or total(now, "flow_stream_flows_total") < received:
    time.sleep(1)
    now = metrics()
    received, before = total(now, "flow_collector_flows_total"), received
process.send_signal(signal.SIGTERM)
process.wait()

files = glob.glob(f"{store}/data/**/*.parquet", recursive=True)
stored = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
size = sum(os.path.getsize(file) for file in files)
flows = sent["flows"]
print(f"sent {flows} flows in {sent['seconds']:.1f} s: {flows / sent['seconds']:.0f} a second")
print(f"stored {stored}, lost {flows - stored}; {total(now, 'flow_collector_kernel_dropped_datagrams_total'):.0f} datagrams"
      f" dropped by the kernel, {total(now, 'flow_exporter_lost_total'):.0f} flows reported as lost,"
      f" {total(now, 'flow_stream_late_flows_total'):.0f} too late for the statements")
print(f"{len(files)} files, {size / max(stored, 1):.1f} B a flow; log at most {max(s[3] for s in samples) / 2**20:.0f} MiB")
print(f"CPU {samples[-1][2]:.1f} s: {samples[-1][2] / samples[-1][4] * 1e6:.3f} s a million flows")
print("resident memory in MiB, the most of each minute:")
for minute in range(int(samples[-1][0] // 60) + 1):
    peak = [s[1] for s in samples if s[0] // 60 == minute]
    if peak:
        print(f"  {minute + 1:3}  {max(peak) / 2**20:8.0f}")
PYTHON

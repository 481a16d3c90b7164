#!/bin/bash
# The load test of the stream: a log is filled with tens of millions of flows while nothing processes it, then `millrace
# run` is started on it, and what is measured is how fast it works the backlog off: 17,000 subnets, the eight
# built-in statements and the Parquet dataset.
#
#   bench/stream.sh
#
# Environment: FILL_SECONDS (15), RATE of the generator in flows a second (max), VERSION (v5), EXPORTERS (4), POOL
# (1000000), WORKERS (2), STATEMENTS (empty: the built-in eight; or a folder), STORE (/dev/shm; a folder on a disk to have
# the disk in it), PORT (29055), HTTP (127.0.0.1:28080), PROFILE (empty; a file for what `perf record` sees).
#
# A flow's time is when it was received, so the faster the log is filled the more flows each window of the statements
# holds: at 4 million flows a second a window of a minute holds all of the log.
set -euo pipefail
cd "$(dirname "$0")/.."

fill_seconds=${FILL_SECONDS:-15}
port=${PORT:-29055}
cargo build --release --quiet -p campus -p flow-collect -p millrace

store=$(mktemp -d "${STORE:-/dev/shm}/stream.XXXXXX")
collector=
trap '[ -z "$collector" ] || kill "$collector" 2>/dev/null || true; rm -rf "$store"' EXIT

# The campus's own networks, and halves of them, halved again, until there are 17,000.
target/release/campus --write-subnets "$store/campus.csv"
bench/subnets.py "$store/campus.csv" 17000 >"$store/subnets.csv"

target/release/flow-collect --listen "127.0.0.1:$port" --data "$store/data" --log-limit $((64 << 30)) \
  >"$store/collected.json" 2>"$store/collector.log" &
collector=$!
for _ in $(seq 100); do grep -q receiving "$store/collector.log" && break; sleep 0.1; done
target/release/campus --to "127.0.0.1:$port" --rate "${RATE:-max}" --for "${fill_seconds}s" --version "${VERSION:-v5}" \
  --exporters "${EXPORTERS:-4}" --pool "${POOL:-1000000}" >"$store/sent.json"
sleep 1
kill -TERM "$collector"
wait "$collector"
collector=

python3 - "$store" "$port" "${HTTP:-127.0.0.1:28080}" "${WORKERS:-2}" "${STATEMENTS:-}" "${PROFILE:-}" <<'PYTHON'
import json, resource, signal, subprocess, sys, time, urllib.request

store, port, http, workers, statements, profile = sys.argv[1:]
filled = json.load(open(f"{store}/collected.json"))
flows = filled["logged_flows"]
print(f"log: {flows} flows, {filled['logged_bytes'] / flows:.1f} B a flow, {filled['logged_bundles']} bundles,"
      f" {filled['kernel_drops']} datagrams dropped while it was filled", flush=True)

command = ["target/release/millrace", "run", "--listen", f"127.0.0.1:{port}", "--http", http,
           "--data", f"{store}/data", "--subnets", f"{store}/subnets.csv", "--workers", workers,
           "--log-limit", "64GiB", *(["--statements", statements] if statements else [])]
start = time.monotonic()
with open(f"{store}/millrace.log", "w") as log:
    process = subprocess.Popen(command, stdout=log, stderr=log)
recorder = profile and subprocess.Popen(["perf", "record", "-q", "-g", "-F", "499", "-o", profile, "-p", str(process.pid)])

def metrics():
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, value in lines}

now, peak = {}, 0
# With three workers or more the statements run in parts, and count a flow in each that needs it: then all have been read, and none is held.
def is_stated(now):
    had = now.get("flow_stream_statement_flows_total", 0) + now.get("flow_stream_late_flows_total", 0)
    return had >= flows and now["flow_stream_flows_total"] >= flows and now["flow_stream_held_bundles"] == 0

while not is_stated(now):
    if process.poll() is not None:
        sys.exit(f"millrace has ended:\n{open(f'{store}/millrace.log').read()}")
    time.sleep(0.1)
    try:
        now = metrics()
    except OSError:
        continue
    peak = max(peak, now.get("process_resident_memory_bytes", 0))
caught_up = time.monotonic() - start
if recorder:
    recorder.send_signal(signal.SIGINT)
    recorder.wait()
process.send_signal(signal.SIGTERM)
process.wait()
stored = time.monotonic() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime

print(f"statements done after {caught_up:.2f} s: {flows / caught_up / 1e6:.3f} million flows/s")
print(f"dataset closed after  {stored:.2f} s: {flows / stored / 1e6:.3f} million flows/s")
print(f"CPU {cpu:.2f} s ({used.ru_stime:.2f} in the kernel): {cpu / flows * 1e6:.4f} s a million flows; memory {peak / 2**30:.2f} GiB")
print("time in stages, summed over workers:")
for name, value in sorted(now.items()):
    if name.startswith("flow_stream_stage_seconds_total"):
        print(f"  {name.split(chr(34))[1]:12} {value:8.2f} s {value / flows * 1e6:8.4f} s a million flows")
for name in ["flow_stream_late_flows_total", "flow_stream_damaged_total", "flow_stream_events_total"]:
    print(f"{name} {now.get(name, 0):.0f}")
refused = {name: value for name, value in now.items() if name.startswith("flow_statement_refusals_total") and value}
print("refused for want of room:", refused or "nothing")
PYTHON

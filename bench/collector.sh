#!/bin/bash
# The collector beside nfcapd: same generator, same rates, both writing uncompressed to memory-backed storage, neither
# asking for a sync.
#
#   bench/collector.sh [RATE…]        flows a second, or max; the default climbs from 1 to 8 million
#
# Environment: SECONDS_EACH (10), VERSION (v5), EXPORTERS (4), POOL (1000000), OFFLOAD (empty; 1 for segmentation
# offload), CONTENDERS ("nfcapd millrace"), MILLRACE (the command, with {port} and {dir}; by default flow-collect, which
# decodes to the full schema and logs bundles), STORE (/dev/shm), OUT (results as CSV). A run of 10 s at 5.3 million flows
# a second takes 6 GB of memory.
#
# Kernel drops are what the kernel counted at the contender's socket (/proc/net/udp), the same for all. What is stored is
# what the contender says when it ends, and what is lost is the rest of what was sent. CPU time is the contender's own,
# with its threads, until a second after it has read the last datagram.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-10}
version=${VERSION:-v5}
exporters=${EXPORTERS:-4}
pool=${POOL:-1000000}
offload=${OFFLOAD:+--segmentation-offload}
contenders=${CONTENDERS:-nfcapd millrace}
port=${PORT:-29055}
# As much as both can get: 16 MiB, or what the system allows. Past that nfcapd cannot go.
allowed=$(cat /proc/sys/net/core/rmem_max)
buffer=$((allowed < 16777216 ? allowed : 16777216))
nfcapd_command="nfcapd -p {port} -b 127.0.0.1 -w {dir} -t 3600 -B $buffer"
millrace_command=${MILLRACE:-"target/release/flow-collect --listen 127.0.0.1:{port} --data {dir} --receive-buffer $buffer --log-limit 68719476736"}
rates=("$@")
[ ${#rates[@]} -gt 0 ] || rates=(1000000 2000000 2500000 3000000 4000000 5300000 6000000 8000000)

cargo build --release --quiet -p campus -p flow-collect

store=$(mktemp -d "${STORE:-/dev/shm}/collector.XXXXXX")
contender=
trap '[ -z "$contender" ] || kill "$contender" 2>/dev/null || true; rm -rf "$store"' EXIT

# The receive queue, the drops and the existence of the socket on our port.
socket() { awk -v port="$(printf ':%04X' "$port")" '$2 ~ port "$" { print $5, $13; found = 1 } END { exit !found }' /proc/net/udp; }

# CPU seconds of a process that still runs.
cpu() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / tick }' "/proc/$1/stat"; }

printf 'receive buffers of %s bytes, %s, %s exporters, pool of %s, %s s each%s, both uncompressed to %s, neither syncs\n' \
  "$buffer" "$version" "$exporters" "$pool" "$seconds" "${offload:+, segmentation offload}" \
  "$(dirname "$store")"
printf '%-10s %10s %10s %10s %10s %9s %8s %13s\n' contender wanted/s sent/s sent stored 'k-drops' lost% CPU-s/Mflow
[ -z "${OUT:-}" ] || echo contender,wanted,sent_per_second,sent,stored,kernel_drops,lost_share,cpu_seconds_per_million >"$OUT"
for rate in "${rates[@]}"; do
  for name in $contenders; do
    dir=$store/$name
    rm -rf "$dir" && mkdir "$dir"
    template=${name}_command
    command=${!template}
    command=${command//\{port\}/$port}
    # Words are meant to split: the commands have no blanks inside arguments.
    ${command//\{dir\}/$dir} >"$store/$name.log" 2>&1 &
    contender=$!
    for _ in $(seq 100); do socket >/dev/null && break; sleep 0.1; done
    socket >/dev/null || { echo "$name does not listen on $port:" >&2; cat "$store/$name.log" >&2; exit 1; }
    target/release/campus --to "127.0.0.1:$port" --rate "$rate" --for "${seconds}s" --version "$version" \
      --exporters "$exporters" --pool "$pool" $offload >"$store/sent.json"
    # Until what waits in the socket is read.
    for _ in $(seq 100); do read -r queues _ < <(socket); [ "${queues#*:}" = 00000000 ] && break; sleep 0.1; done
    read -r _ drops < <(socket)
    sleep 1
    used=$(cpu "$contender")
    kill -TERM "$contender"
    wait "$contender" || true
    contender=
    python3 - "$name" "$rate" "$store/sent.json" "$store/$name.log" "$drops" "$used" "${OUT:-}" <<'PYTHON'
import json, re, sys
name, wanted, sent, said, drops, used, out = sys.argv[1:]
sent, said = json.load(open(sent)), open(said).read()
# flow-collect ends with JSON, nfcapd with a line of totals for each exporter.
found = re.search(r'"logged_flows": (\d+)', said)
stored = int(found[1]) if found else sum(map(int, re.findall(r"Flows: (\d+)", said)))
flows = sent["flows"]
lost = 1 - stored / flows
cells = [name, wanted, f"{flows / sent['seconds']:.0f}", flows, stored, drops, f"{100 * lost:.3f}",
         f"{float(used) / max(stored, 1) * 1e6:.4f}"]
print("%-10s %10s %10s %10s %10s %9s %8s %13s" % tuple(cells))
if out:
    with open(out, "a") as file:
        print(*cells[:6], lost, cells[7], sep=",", file=file)
PYTHON
    rm -rf "$dir"
  done
done

#!/bin/bash
# The collector beside nfcapd: same generator, same rates, both writing uncompressed to memory-backed storage.
#
#   bench/collector.sh [RATE…]        flows a second; the default climbs from 1 to 8 million
#
# Environment: SECONDS_EACH (10), VERSION (v5), EXPORTERS (4), POOL (1000000), OFFLOAD (empty; 1 for segmentation
# offload), CONTENDERS ("nfcapd millrace"), MILLRACE (the command, with {port} and {dir}; by default
# the whole of it, statements and Parquet included), OUT (results as CSV).
#
# What was lost is what the kernel counted as dropped at the contender's socket (/proc/net/udp), the same for all; CPU
# time is the contender's own, with its threads, until it has ended.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-10}
version=${VERSION:-v5}
exporters=${EXPORTERS:-4}
pool=${POOL:-1000000}
offload=${OFFLOAD:+--segmentation-offload}
contenders=${CONTENDERS:-nfcapd millrace}
port=${PORT:-29055}
nfcapd_command='nfcapd -p {port} -b 127.0.0.1 -w {dir} -t 3600 -B 16777216'
millrace_command=${MILLRACE:-'target/release/millrace run --listen 127.0.0.1:{port} --http 127.0.0.1:0 --log-sync never --data {dir}'}
rates=("$@")
[ ${#rates[@]} -gt 0 ] || rates=(1000000 2000000 2500000 3000000 4000000 5300000 6000000 8000000)

cargo build --release --quiet -p campus
case " $contenders " in *" millrace "*) cargo build --release --quiet -p millrace ;; esac

store=$(mktemp -d /dev/shm/collector.XXXXXX)
contender=
trap '[ -z "$contender" ] || kill "$contender" 2>/dev/null || true; rm -rf "$store"' EXIT

# The receive queue, the drops and the existence of the socket on our port.
socket() { awk -v port="$(printf ':%04X' "$port")" '$2 ~ port "$" { print $5, $13; found = 1 } END { exit !found }' /proc/net/udp; }

# CPU seconds of a process that still runs.
cpu() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / tick }' "/proc/$1/stat"; }

field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

printf 'rmem_max %s, %s, %s exporters, pool of %s, %s s each%s\n' "$(cat /proc/sys/net/core/rmem_max)" "$version" \
  "$exporters" "$pool" "$seconds" "${offload:+, segmentation offload}"
row='%-10s %12s %12s %12s %8s %14s\n'
printf "$row" contender wanted/s sent/s flows lost% CPU-s/Mflow
[ -z "${OUT:-}" ] || echo contender,wanted,sent_per_second,flows,lost_share,cpu_seconds_per_million >"$OUT"
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
    flows=$(field "$store/sent.json" flows)
    datagrams=$(field "$store/sent.json" datagrams)
    took=$(field "$store/sent.json" seconds)
    python3 - "$name" "$rate" "$flows" "$datagrams" "$took" "$drops" "$used" "${OUT:-}" <<'PYTHON'
import sys
name, wanted, flows, datagrams, took, drops, used, out = sys.argv[1:]
flows, lost = int(flows), int(drops) / int(datagrams)
stored = flows * (1 - lost)
cells = [name, wanted, f"{flows / float(took):.0f}", flows, f"{100 * lost:.3f}", f"{float(used) / stored * 1e6:.4f}"]
print("%-10s %12s %12s %12s %8s %14s" % tuple(cells))
if out:
    with open(out, "a") as file:
        print(name, wanted, cells[2], flows, lost, cells[5], sep=",", file=file)
PYTHON
    rm -rf "$dir"
  done
done

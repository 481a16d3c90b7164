#!/bin/bash
# Holds the directions of dependency that docs/ARCHITECTURE.md draws: the libraries know no runtime, no socket, no clock
# and no adapter, and each other only as drawn. Then the licences of all packages.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

# What `cargo tree` of a crate (without its tests) must not list.
forbid() {
  local crate=$1 features=$2; shift 2
  local tree; tree=$(cargo tree --locked --edges normal --prefix none --package "$crate" $features | awk '{print $1}' | sort -u)
  for name in "$@"; do
    if grep -qx "$name" <<<"$tree"; then
      echo "$crate must not depend on $name" >&2; failed=1
    fi
  done
}

runtimes=(tokio mio async-std smol axum hyper socket2 nix timely)
adapters=(bundle-log campus flow-cep-cli flow-collect flow-drain flow-report flow-stream millrace netflow-print)
forbid netflow-codec --all-features "${runtimes[@]}" "${adapters[@]}" flow-enrich flow-cep flow-store parquet
forbid netflow-codec --no-default-features arrow-array serde std
forbid flow-enrich "" "${runtimes[@]}" "${adapters[@]}" netflow-codec flow-cep flow-store
forbid flow-cep "" "${runtimes[@]}" "${adapters[@]}" netflow-codec flow-enrich flow-store
forbid flow-store "" "${runtimes[@]}" "${adapters[@]}" flow-enrich flow-cep
# Adapters do not import one another; flow-stream and flow-collect share the log and the drain, which are libraries.
for adapter in flow-collect flow-report flow-drain bundle-log campus; do
  others=(); for other in flow-collect flow-stream flow-report millrace campus; do [ $other = $adapter ] || others+=($other); done
  forbid "$adapter" "" "${others[@]}"
done
forbid flow-stream "" flow-collect flow-report campus millrace

# Clocks, sleeps and sockets in the sources of the libraries (their tests and benches may use them).
if grep -nE 'Instant::now|SystemTime::now|thread::sleep|UdpSocket|TcpStream|TcpListener' \
    -r netflow-codec/src flow-enrich/src flow-cep/src flow-store/src | grep -v '//[/!]'; then
  echo "a library reads a clock, sleeps or opens a socket" >&2; failed=1
fi
scripts/check-licences.py || failed=1
exit $failed

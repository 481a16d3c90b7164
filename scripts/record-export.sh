#!/bin/bash
# Records what a real exporter sends, as a pcap. As root.
#
#   scripts/record-export.sh EXPORTER VERSION INPUT.pcap OUT.pcap      (exporters and versions: scripts/exporters.sh)
set -euo pipefail
[ $# = 4 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
port=$((30000 + $$ % 10000))
# In immediate mode the ring has slots of the snap length: with the default one, bursts of a dozen datagrams are lost.
tcpdump -q -n -i lo -U -s 9000 -B 16384 --immediate-mode -w "$4" "udp dst port $port" > /dev/null 2>&1 &
dump=$!
# A listener, so that the kernel does not answer that the port is closed; it throws all away.
python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
s.bind(('127.0.0.1', $port))
while True: s.recv(65535)" &
sink=$!
trap 'kill $dump $sink 2> /dev/null || true' EXIT
sleep 1
"$(dirname "$0")/exporters.sh" "$1" "$2" "$3" "127.0.0.1:$port"
sleep 1

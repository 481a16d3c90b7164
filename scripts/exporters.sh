#!/bin/bash
# Lets a real exporter watch a replayed capture and export to a collector. As root.
#
#   scripts/exporters.sh fprobe    1|5|7   PCAP HOST:PORT
#   scripts/exporters.sh softflowd 1|5|9|10 PCAP HOST:PORT
#   scripts/exporters.sh pmacctd   5|9|10  PCAP HOST:PORT
#   scripts/exporters.sh ovs       5|10    PCAP HOST:PORT
#   scripts/exporters.sh nfreplay  5|9     PCAP HOST:PORT     (softflowd → nfcapd → nfreplay)
#   . scripts/exporters.sh                                     gives the functions export_fprobe, export_softflowd, …
#
# The capture is replayed with tcpreplay in a network namespace of its own, whose veth pair ends in the namespace of
# the caller: there the exporter watches it, and from there it sends to HOST:PORT. The interface has no address and
# nothing is forwarded. All is taken down at the end. Environment:
#   REPLAY_ARGS       for tcpreplay (default: as fast as captured)
#   SETTLE_S          seconds to wait for the last export (default per exporter)
#   FPROBE_FILTER, FPROBE_LINK_BYTES   default `ip` and none; for MPLS `mpls && ip` and 18, VLAN `vlan && ip` and 18
#   OBSERVATION_DOMAIN  for ovs IPFIX (default 77)
set -euo pipefail

EXPORTERS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

_link_up() { # NAMESPACE-SUFFIX: a veth pair mr-in$1 (ours) — mr-out$1 (in namespace mr-src$1)
  local name=$1
  ip netns add "mr-src$name"
  ip link add "mr-in$name" type veth peer name "mr-out$name" netns "mr-src$name"
  ip netns exec "mr-src$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
  sysctl -qw "net.ipv6.conf.mr-in$name.disable_ipv6=1" "net.ipv4.conf.mr-in$name.forwarding=0"
  local side
  for side in "mr-in$name" "ip netns exec mr-src$name mr-out$name"; do
    local prefix=${side% *}; [ "$prefix" = "$side" ] && prefix=
    local link=${side##* }
    # Checksums and segments are to be on the wire as in the capture.
    $prefix ethtool -K "$link" tx off rx off tso off gso off gro off > /dev/null 2>&1 || true
    $prefix ip link set "$link" mtu 9000 arp off up
  done
}

_link_down() {
  ip link del "mr-in$1" 2> /dev/null || true
  ip netns del "mr-src$1" 2> /dev/null || true
}

_replay() { # NAMESPACE-SUFFIX PCAP
  # shellcheck disable=SC2086
  ip netns exec "mr-src$1" tcpreplay -q ${REPLAY_ARGS:-} -i "mr-out$1" "$2" > /dev/null 2>&1
}

# libpcap 1.10 holds back a part-filled block for ever if the read timeout is 0, as softflowd sets it.
_timeout_shim() { # OUT.so
  gcc -shared -fPIC -x c - -o "$1" -ldl << 'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pcap.h>
static int at_least(int ms) { return ms <= 0 ? 20 : ms; }
pcap_t *pcap_open_live(const char *device, int snap, int promisc, int ms, char *error) {
  pcap_t *(*real)(const char *, int, int, int, char *) = dlsym(RTLD_NEXT, "pcap_open_live");
  return real(device, snap, promisc, at_least(ms), error);
}
int pcap_set_timeout(pcap_t *handle, int ms) {
  int (*real)(pcap_t *, int) = dlsym(RTLD_NEXT, "pcap_set_timeout");
  return real(handle, at_least(ms));
}
C
}

export_fprobe() { # VERSION PCAP HOST:PORT
  local name=f$$ work; work=$(mktemp -d)
  _link_up "$name"
  # -q: the default queue of 100 loses flows silently. -l 2: in the foreground. Idle flows end after 2 s.
  fprobe -i "mr-in$name" -f "${FPROBE_FILTER:-ip}" ${FPROBE_LINK_BYTES:+-K $FPROBE_LINK_BYTES} \
    -n "$1" -q 10000 -d 2 -e 30 -s 1 -g 2 -l 2 "$3" > "$work/log" 2>&1 &
  local pid=$!
  sleep 1
  _replay "$name" "$2"
  sleep "${SETTLE_S:-11}" # what does not fill a datagram goes out about 5 s after the flows ended
  kill "$pid" 2> /dev/null || true; wait "$pid" 2> /dev/null || true
  _link_down "$name"; rm -rf "$work"
}

export_softflowd() { # VERSION PCAP HOST:PORT
  local name=s$$ work; work=$(mktemp -d)
  _link_up "$name"
  _timeout_shim "$work/timeout.so"
  LD_PRELOAD="$work/timeout.so" softflowd -i "mr-in$name" -d -v "$1" -n "$3" -p "$work/pid" -c "$work/ctl" \
    -t maxlife=8 -t expint=1 -m 200000 > "$work/log" 2>&1 &
  local pid=$!
  sleep 1
  _replay "$name" "$2"
  sleep "${SETTLE_S:-3}"
  softflowctl -c "$work/ctl" shutdown > /dev/null # SIGTERM would lose flows
  wait "$pid" 2> /dev/null || true
  _link_down "$name"; rm -rf "$work"
}

export_pmacctd() { # VERSION PCAP HOST:PORT
  local name=p$$ work; work=$(mktemp -d)
  _link_up "$name"
  cat > "$work/conf" << CONF
daemonize: false
pcap_interface: mr-in$name
aggregate: src_host, dst_host, src_port, dst_port, proto, tos, tcpflags
plugins: nfprobe
nfprobe_receiver: $3
nfprobe_version: $1
nfprobe_timeouts: tcp=2:tcp.rst=2:tcp.fin=2:udp=2:icmp=2:general=2:maxlife=60:expint=1
nfprobe_maxflows: 65536
CONF
  pmacctd -f "$work/conf" > "$work/log" 2>&1 &
  local pid=$!
  sleep 2
  _replay "$name" "$2"
  sleep "${SETTLE_S:-8}"
  kill -INT "$pid" 2> /dev/null || true; wait "$pid" 2> /dev/null || true
  _link_down "$name"; rm -rf "$work"
}

export_ovs() { # VERSION PCAP HOST:PORT
  local name=o$$ work; work=$(mktemp -d)
  local db="unix:$work/db.sock" bridge="mrbr$$"
  export OVS_RUNDIR=$work OVS_LOGDIR=$work OVS_DBDIR=$work
  _link_up "$name"
  ip link add "mr-sink$$" type veth peer name eth0 netns "mr-src$name"
  ip link set "mr-sink$$" up; ip -n "mr-src$name" link set eth0 up
  ovsdb-tool create "$work/conf.db" /usr/share/openvswitch/vswitch.ovsschema
  ovsdb-server "$work/conf.db" --remote="p$db" --pidfile="$work/db.pid" --log-file="$work/db.log" --detach --no-chdir 2> /dev/null
  ovs-vsctl --db="$db" --no-wait init
  ovs-vswitchd "$db" --pidfile="$work/switch.pid" --log-file="$work/switch.log" --detach --no-chdir 2> /dev/null
  # The datapath in user space: no kernel module.
  ovs-vsctl --db="$db" add-br "$bridge" -- set bridge "$bridge" datapath_type=netdev fail_mode=standalone \
    -- add-port "$bridge" "mr-in$name" -- add-port "$bridge" "mr-sink$$"
  if [ "$1" = 5 ]; then
    ovs-vsctl --db="$db" -- --id=@n create NetFlow "targets=\"$3\"" active_timeout=3 engine_id=1 engine_type=2 \
      add_id_to_interface=false -- set bridge "$bridge" netflow=@n > /dev/null
  else
    ovs-vsctl --db="$db" -- --id=@i create IPFIX "targets=\"$3\"" "obs_domain_id=${OBSERVATION_DOMAIN:-77}" \
      obs_point_id=9 sampling=1 cache_active_timeout=3 cache_max_flows=8192 -- set bridge "$bridge" ipfix=@i > /dev/null
  fi
  sleep 1
  _replay "$name" "$2"
  sleep "${SETTLE_S:-16}"
  ovs-vsctl --db="$db" clear bridge "$bridge" netflow -- clear bridge "$bridge" ipfix
  sleep 1
  kill "$(cat "$work/switch.pid")" "$(cat "$work/db.pid")" 2> /dev/null || true
  sleep 0.5
  ip link del "mr-sink$$" 2> /dev/null || true
  ip link del "$bridge" 2> /dev/null || true
  _link_down "$name"; rm -rf "$work"
}

export_nfreplay() { # VERSION PCAP HOST:PORT
  local work port; work=$(mktemp -d); port=$((20000 + $$ % 10000)); mkdir "$work/flows"
  nfcapd -p "$port" -b 127.0.0.1 -w "$work/flows" -t 3600 > "$work/log" 2>&1 &
  local pid=$!
  sleep 1
  # -a: flows have the times of the capture.
  softflowd -a -r "$2" -d -v 9 -m 200000 -n "127.0.0.1:$port" -p "$work/pid" -c none > /dev/null 2>&1
  sleep 1
  kill "$pid"; wait "$pid" 2> /dev/null || true
  nfreplay -r "$work/flows" -R "$work/flows" -H "${3%:*}" -p "${3##*:}" -v "$1" -d 100 > /dev/null 2>&1 \
    || nfreplay -r "$(ls "$work"/flows/nfcapd.2* | head -1)" -H "${3%:*}" -p "${3##*:}" -v "$1" -d 100 > /dev/null
  rm -rf "$work"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case ${1:-} in
  fprobe | softflowd | pmacctd | ovs | nfreplay)
    [ $# = 4 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
    "export_$1" "$2" "$(realpath "$3")" "$4"
    ;;
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
  esac
fi

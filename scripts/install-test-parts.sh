#!/bin/bash
# Installs the exporters, capture tools and readers that the tests against real parts use (Debian or Ubuntu, as root).
#
#   scripts/install-test-parts.sh [codec|all]
#
# codec: what `cargo test -p netflow-codec` compares with. all (the default): also what the end-to-end tests use.
# Python readers go to a virtual environment in ${MILLRACE_VENV:-$HOME/.local/share/millrace/venv}.
set -euo pipefail

codec=(fprobe softflowd pmacct openvswitch-switch nfdump tcpreplay tshark tcpdump iproute2 ethtool gcc libpcap-dev)
all=("${codec[@]}" chromium chromium-driver python3-venv)
venv=${MILLRACE_VENV:-$HOME/.local/share/millrace/venv}

export DEBIAN_FRONTEND=noninteractive
case ${1:-all} in
codec) packages=("${codec[@]}") ;;
all) packages=("${all[@]}") ;;
*) echo "usage: $0 [codec|all]" >&2; exit 2 ;;
esac
apt-get update -q
# No daemon is to start by itself: the scripts start what they need, in network namespaces of their own.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
apt-get install -q -y --no-install-recommends "${packages[@]}"
if [ "${1:-all}" = all ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q duckdb pyarrow selenium
  echo "Python with duckdb, pyarrow and selenium: $venv/bin/python"
fi

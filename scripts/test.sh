#!/bin/bash
# Installs what the tests need (as root, on Debian or Ubuntu), then runs all of them.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-test-parts.sh all
export MILLRACE_VENV=${MILLRACE_VENV:-$HOME/.local/share/millrace/venv}
cargo test --workspace --locked

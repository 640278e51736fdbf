#!/usr/bin/env bash
# Does js-libp2p join a node of ours? Installs it from the lock file, then runs the test. Needs Node >= 20 with npm on PATH.
set -euo pipefail
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --no-audit --no-fund --silent
cd ../../..
exec .venv/bin/python -m pytest -q -m interop tests/interop/test_js_libp2p.py "$@"

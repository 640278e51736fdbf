#!/bin/sh
# Do the committed artifacts match their sources, byte for byte? CI's contracts stage; needs node >= 20 and npm.
set -eu
cd "$(dirname "$0")/../../.."
for tool in node npm; do
    command -v "$tool" >/dev/null || {
        echo "contracts: $tool is missing; install Node.js 20 or newer (Debian: apt-get install nodejs npm)" >&2
        exit 1
    }
done
if grep -q '"resolved"' package-lock.json; then
    echo "contracts: package-lock.json names a registry; remove its \"resolved\" lines (integrity stays)" >&2
    exit 1
fi
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node protocols/contracts/toolchain/compile.mjs --check "$@"

#!/usr/bin/env bash
# Builds everything in build/ and runs the tests. Installs the few Debian packages it misses, where it can.
# Arguments go to `meson test`, e.g.: bash tests/run.sh --suite host
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
. tests/support/setup.sh
install_missing && configure && meson compile -C "$build" || exit
meson test -C "$build" --print-errorlogs "$@"

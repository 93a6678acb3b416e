#!/usr/bin/env bash
# Builds and runs the main example, examples/model_head: by default on the handwritten digits. Installs the few Debian
# packages it misses, where it can. Arguments go to the program, e.g.:
#   bash examples/run.sh --problem 1024x8192x8192 --precision fp32
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
. tests/support/setup.sh
install_missing && configure && meson compile -C "$build" model_head || exit
exec "$build/examples/model_head" "$@"

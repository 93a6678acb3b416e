# What tests/run.sh and examples/run.sh share; they source it with the repository's root as working directory.
# The build folder is build/, or $MASTHEAD_BUILD.

build=${MASTHEAD_BUILD:-build}

has_header() { printf '#include <%s>\n' "$1" | "${CXX:-g++}" -x c++ -E - >/dev/null 2>&1; }

# Fills `missing` with the Debian packages of what is not there.
find_missing() {
  missing=()
  command -v "${CXX:-g++}" >/dev/null || missing+=(g++)
  command -v python3 >/dev/null || missing+=(python3)
  command -v meson >/dev/null || missing+=(meson)
  command -v ninja >/dev/null || command -v ninja-build >/dev/null || missing+=(ninja-build)
  has_header doctest/doctest.h || missing+=(doctest-dev)
  has_header CLI/CLI.hpp || missing+=(libcli11-dev)
  has_header nlohmann/json.hpp || missing+=(nlohmann-json3-dev)
}

install_missing() {
  local as_root=()
  find_missing
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n) # nobody there to type a password
  fi
  if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }; then
    echo "masthead: installing ${missing[*]}"
    rm -f "$build/made_with" # configured without them
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends)
    "${install[@]}" "${missing[@]}" </dev/null || {
      "${as_root[@]}" apt-get update -q && "${install[@]}" "${missing[@]}" </dev/null
    }
    find_missing
    [ ${#missing[@]} -eq 0 ] && return
  fi
  echo "masthead: missing, by the names of Debian's packages: ${missing[*]}" >&2
  echo "masthead: install them (as root on Debian: apt-get install ${missing[*]}) and run this again" >&2
  return 1
}

# Meson remembers the compilers and headers it found: a build folder made with another Meson, with other options, or
# before nvcc came to the PATH or left it, is made afresh. Warnings are errors under CI, where the compilers are known.
configure() {
  local werror=false made_with
  [ -n "${CI:-}" ] && werror=true
  made_with="meson $(meson --version), nvcc $(command -v nvcc || echo none), werror $werror"
  [ -e "$build/made_with" ] && [ "$(cat "$build/made_with")" = "$made_with" ] && return
  if [ -e "$build/build.ninja" ]; then
    meson setup --wipe "$build" "-Dwerror=$werror" || return
  else
    meson setup "$build" "-Dwerror=$werror" || return
  fi
  echo "$made_with" >"$build/made_with"
}

#!/usr/bin/env bash
# Installs what the tests need, where it is missing, and runs all of them.
#
# Meant for a fresh Debian or Ubuntu machine with Rust on it: packages come from
# apt, as root or through sudo, and nothing is asked. Elsewhere it says what is
# missing. Stops at the first failure; the last lines say what was done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

passed=()
current=""
summary() {
  local status=$?
  echo
  local line
  for line in ${passed[@]+"${passed[@]}"}; do echo "passed  $line"; done
  if [ $status -eq 0 ]; then
    echo "all passed in $SECONDS s"
  else
    echo "FAILED  ${current:-preparation}"
  fi
}
trap summary EXIT

# step NAME COMMAND...
step() {
  current=$1
  shift
  local start=$SECONDS
  printf '\n==> %s\n' "$current"
  "$@"
  passed+=("$current ($((SECONDS - start)) s)")
}

# need PACKAGE CHECK...: notes the package unless the check succeeds.
missing=()
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

install_packages() {
  need gcc command -v cc
  # Its headers are no command.
  need libc6-dev test -e /usr/include/stdio.h
  need lua5.4 command -v lua5.4
  need lua-penlight lua5.4 -e 'require "pl"'
  need emacs-nox command -v emacs
  need elpa-dap-mode emacs --batch --eval "(progn (require 'package) (package-initialize) (require 'dap-mode))"
  need nodejs command -v node
  need npm command -v npm
  need prometheus command -v promtool
  need tmux command -v tmux
  need netcat-openbsd command -v nc.openbsd
  need netcat-traditional command -v nc.traditional
  need ncat command -v ncat
  need socat command -v socat
  need busybox command -v busybox
  if [ ${#missing[@]} -eq 0 ]; then
    echo "nothing is missing"
    return
  fi
  echo "missing: ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    echo "there is no apt-get here: install what these Debian packages hold, then run this again" >&2
    return 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      echo "to install them takes root, or sudo without a password; run: apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo -n)
  fi
  local apt=(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

find_rust() {
  # rustup's own place, in case the shell does not know it yet.
  export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  local tool
  for tool in cargo rustfmt cargo-clippy; do
    if ! command -v $tool >/dev/null; then
      echo "$tool is missing: install Rust as https://rustup.rs says, with rustfmt and clippy" >&2
      return 1
    fi
  done
  cargo --version
}

# The demo runs, and README.md shows what it prints.
demo() {
  local output block
  output=$(cargo run --locked --release --quiet --example debug_session)
  echo "$output"
  block=$(awk '/^<!-- demo -->$/ { demo = 1; next } demo && /^```/ { if (seen++) exit; next } demo && seen' README.md)
  if [ -z "$block" ]; then
    echo "README.md shows no output of the demo" >&2
    return 1
  fi
  case "$output" in
    *"$block"*) ;;
    *)
      echo "README.md does not show what the demo prints:" >&2
      diff <(echo "$block") <(echo "$output") >&2 || true
      return 1
      ;;
  esac
}

clients() {
  LLMSPELL="${CARGO_TARGET_DIR:-target}/release/llmspell" tests/clients/run.sh
}

step "packages" install_packages
step "Rust" find_rust
step "format" cargo fmt --check
step "lints" cargo clippy --locked --all-targets -- -D warnings
step "unit and integration tests" cargo test --locked
step "release build" cargo build --locked --release
step "tests with real clients" clients
step "demo" demo

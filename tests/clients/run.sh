#!/bin/sh
# Runs the acceptance tests with real clients against the binary in $LLMSPELL:
#   LLMSPELL=target/release/llmspell tests/clients/run.sh [node] [penlight] [emacs]
# Needs node, npm, lua5.4 and lua-penlight, and for Emacs emacs-nox and
# elpa-dap-mode (all Debian packages but the npm ones, which npm ci installs).
# Prints each runner's summary; fails if one failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${LLMSPELL:?set LLMSPELL to the binary to test}"
LLMSPELL=$(realpath "$LLMSPELL")
export LLMSPELL
[ -x "$LLMSPELL" ] || { echo "no executable at $LLMSPELL" >&2; exit 2; }
logs=$(mktemp -d)
failed=""

# runner NAME SUMMARY-PATTERN COMMAND...: the command's output goes to a log,
# which is shown in full only if it failed.
runner() {
  name=$1 pattern=$2
  shift 2
  if "$@" >"$logs/$name.log" 2>&1; then status=passed; else status="FAILED (exit $?)" failed="$failed $name"; fi
  [ "$status" = passed ] || cat "$logs/$name.log"
  summary=$(grep -E "$pattern" "$logs/$name.log" | sed 's/^ *//' | paste -sd ' ')
  if [ -z "$summary" ]; then
    summary="no summary"
    [ "$status" = passed ] && status=FAILED failed="$failed $name"
  fi
  echo "clients: $name $status: $summary"
}

mocha_in() {
  cd "$here/$1" && shift && "$here/node/node_modules/.bin/mocha" --exit --timeout 20000 "$@"
}

mocha_summary='^ *[0-9]+ (passing|failing|pending)'
if ! (cd "$here/node" && npm ci --silent --no-audit --no-fund) >"$logs/npm.log" 2>&1; then
  cat "$logs/npm.log"
  echo "clients: npm ci failed" >&2
  exit 1
fi
for part in ${*:-node penlight emacs}; do
  case $part in
    node) runner node "$mocha_summary" mocha_in node 'test/**/*.test.js' ;;
    penlight) runner penlight "$mocha_summary" mocha_in penlight '*.test.js' ;;
    emacs) runner emacs '^emacs: ' env HOME="$logs" emacs --batch -l "$here/emacs/llmspell-dap-test.el" ;;
    *) echo "unknown part: $part" >&2; exit 2 ;;
  esac
done
rm -rf "$logs"
[ -z "$failed" ] || { echo "clients: failed:$failed"; exit 1; }
echo "clients: all passed"

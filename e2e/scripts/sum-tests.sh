#!/usr/bin/env bash
# Adds up the `test result:` lines that cargo wrote to LOG, shows the test binaries that took longest and how each failed test
# ended, and prints `N passed, N failed`. Fails if a test failed, if none ran, or if cargo's exit STATUS says that something else
# went wrong: a crash or an error of the compiler counts as one failed test.
# usage: sum-tests.sh LOG STATUS
set -euo pipefail
awk -v status="$2" '
  { gsub(/\033\[[0-9;]*m/, "") }
  $1 == "Running" || $1 == "Doc-tests" {
    binary = $0
    sub(/^ *(Running )?(unittests )?/, "", binary)
    gsub(/[()]/, "", binary)
    sub(/[^ ]*\/deps\//, "", binary)
  }
  # How a failed test ended, without what it printed before and without its backtrace.
  /^---- .* stdout ----$/ { said[++shown] = "failed: " $2; lines = 0; next }
  /panicked at/ { lines = 6 }
  /^stack backtrace:/ || /^failures:/ || /^note: / { lines = 0 }
  lines-- > 0 && NF && shown <= 20 { said[shown] = said[shown] "\n    " substr($0, 1, 500) }
  /^test result: / {
    for (i = 2; i <= NF; i++) {
      if ($i == "passed;") passed += $(i - 1)
      if ($i == "failed;") failed += $(i - 1)
    }
    seconds = $NF
    seconds = substr(seconds, 1, length(seconds) - 1) + 0
    if (seconds >= 5) printf "%8.1f s  %s\n", seconds, binary | "sort -rn | head -n 10"
  }
  END {
    close("sort -rn | head -n 10")
    for (i = 1; i <= shown && i <= 20; i++) print said[i]
    if (status != 0 && failed == 0) failed = 1
    printf "%d passed, %d failed\n", passed, failed
    exit (failed > 0 || passed == 0)
  }
' "$1"

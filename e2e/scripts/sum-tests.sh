#!/usr/bin/env bash
# Adds up the `test result:` lines that cargo wrote to LOG, shows the test binaries that took longest, and prints
# `N passed, N failed`. Fails if a test failed, if none ran, or if cargo's exit STATUS says that something else went wrong: a crash
# or an error of the compiler counts as one failed test.
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
    if (status != 0 && failed == 0) failed = 1
    printf "%d passed, %d failed\n", passed, failed
    exit (failed > 0 || passed == 0)
  }
' "$1"

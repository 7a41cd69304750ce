#!/usr/bin/env bash
# Runs all tests, in two lanes, as most of their time is waiting: those of e2e/tests, which hurt the servers of their stack, inside the
# stack `test-e2e`, and all others inside the stack `test`. A stack is stopped again if it was started here. Everything must be
# compiled before: there is no network inside. The last line is `N passed, N failed`.
# usage: test.sh STACK IMAGES LOG; IMAGES is the folder of the image, and of a later version's below it
set -euo pipefail
stack=$1 images=$2 log=$3

started=()
stop() {
  for name in "${started[@]}"; do "$stack" down --name "$name" >/dev/null || true; done
}
trap stop EXIT
for name in test test-e2e; do
  if ! "$stack" status --name "$name" >/dev/null 2>&1; then
    started+=("$name")
    "$stack" up --name "$name"
  fi
  "$stack" load-image --name "$name" "$images/coupon-operator.tar"
  "$stack" load-image --name "$name" "$images/later/coupon-operator.tar"
done
COUPON_IMAGE=$(<"$images/reference")
COUPON_LATER_IMAGE=$(<"$images/later/reference")
export COUPON_IMAGE COUPON_LATER_IMAGE

# Tests wait for servers more than they compute: twice as many at a time as a small machine has cores.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}"

of_e2e=() of_crates=(--lib --bins)
for file in {*,*/*}/tests/{*,*/main}.rs; do
  [[ -f $file ]] || continue
  test=${file##*/tests/} test=${test%.rs} test=${test%/main}
  if [[ $file == e2e/tests/* ]]; then of_e2e+=(--test "$test"); else of_crates+=(--test "$test"); fi
done

# lane NAME STACK CARGO_TEST_ARGUMENTS...
lane() {
  local name=$1 inside=$2
  shift 2
  "$stack" exec --name "$inside" -- cargo test --workspace --offline --no-fail-fast "$@" 2>&1 | tee "$log.$name" | sed -u "s/^/[$name] /"
}
status=0
lane e2e test-e2e "${of_e2e[@]}" &
lane=$!
lane crates test "${of_crates[@]}" || status=$?
lane docs test --doc || status=$?
wait "$lane" || status=$?
cat "$log.e2e" "$log.crates" "$log.docs" >"$log"
echo "the log of the tests is $log"
"${BASH_SOURCE%/*}/sum-tests.sh" "$log" "$status"

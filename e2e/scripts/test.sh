#!/usr/bin/env bash
# Runs all tests inside the stack `test`, which it stops again if it started it. Everything must be compiled before: there
# is no network inside. The last line is `N passed, N failed`.
# usage: test.sh STACK IMAGES LOG; IMAGES is the folder of the image, and of a later version's below it
set -euo pipefail
stack=$1 images=$2 log=$3
name="test"

if ! "$stack" status --name "$name" >/dev/null 2>&1; then
  trap '"$stack" down --name "$name" >/dev/null' EXIT
  "$stack" up --name "$name"
fi
"$stack" load-image --name "$name" "$images/coupon-operator.tar"
"$stack" load-image --name "$name" "$images/later/coupon-operator.tar"
COUPON_IMAGE=$(<"$images/reference")
COUPON_LATER_IMAGE=$(<"$images/later/reference")
export COUPON_IMAGE COUPON_LATER_IMAGE

# Tests wait for servers more than they compute: twice as many at a time as a small machine has cores.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}"
status=0
"$stack" exec --name "$name" -- cargo test --workspace --offline --no-fail-fast 2>&1 | tee "$log" || status=$?
echo "the log of the tests is $log"
"${BASH_SOURCE%/*}/sum-tests.sh" "$log" "$status"

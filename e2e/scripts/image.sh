#!/usr/bin/env bash
# Writes FOLDER/coupon-operator.tar, the image of the given programs, and FOLDER/reference, its name. The tag follows from
# the programs, so that a changed program is a changed Deployment.
# With LATER=1 it is an image of a later version, for tests of upgrades: the same programs, and a file that says so.
# usage: image.sh STACK FOLDER PROGRAM...
set -euo pipefail
stack=$1 folder=$2
shift 2

mkdir -p "$folder"
reference=coupon-operator:dev-$(cat "$@" | sha256sum | head -c 12)${LATER:+-later}
archive=$folder/coupon-operator.tar
if [[ -f $archive && $(cat "$folder/reference" 2>/dev/null) == "$reference" ]]; then
  exit
fi
files=()
for program in "$@"; do
  files+=(--file "$program:/usr/local/bin/${program##*/}")
done
if [[ -n ${LATER:-} ]]; then
  echo later >"$folder/later-version"
  files+=(--file "$folder/later-version:/etc/coupon-operator/later-version")
fi
rm -f "$folder/reference"
"$stack" image --name-tag "$reference" --entrypoint coupon-operator --ca-certificates "${files[@]}" --out "$archive"
echo "$reference" >"$folder/reference"

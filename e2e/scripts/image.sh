#!/usr/bin/env bash
# Writes FOLDER/coupon-operator.tar, the image of the given programs, FOLDER/coupon-operator.cdx.json, what it is made of, and
# FOLDER/reference, its name. The tag follows from the programs, so that a changed program is a changed Deployment.
# With LATER=1 it is an image of a later version, for tests of upgrades: the same programs, and a file that says so.
# usage: image.sh STACK FOLDER PROGRAM...
set -euo pipefail
stack=$1 folder=$2
shift 2

mkdir -p "$folder"
reference=coupon-operator:dev-$(cat "$@" | sha256sum | head -c 12)${LATER:+-later}
archive=$folder/coupon-operator.tar
sbom=$folder/coupon-operator.cdx.json
if [[ -f $archive && -f $sbom && $(cat "$folder/reference" 2>/dev/null) == "$reference" ]]; then
  exit
fi
contents=(--entrypoint coupon-operator --ca-certificates --sbom "$sbom")
for program in "$@"; do
  name=${program##*/}
  contents+=(--file "$program:/usr/local/bin/$name" --package "${name#coupon-}")
done
if [[ -n ${LATER:-} ]]; then
  echo later >"$folder/later-version"
  contents+=(--file "$folder/later-version:/etc/coupon-operator/later-version")
fi
rm -f "$folder/reference"
"$stack" image --name-tag "$reference" "${contents[@]}" --out "$archive"
echo "$reference" >"$folder/reference"

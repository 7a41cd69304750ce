#!/usr/bin/env bash
# Builds the image of a release with Docker, and writes FOLDER/coupon-operator.cdx.json, what it is made of. Refuses whatever would make
# another image of the same sources: a build image that is named by its tag alone, or sources that are not committed.
# usage: release-image.sh NAME:VERSION BUILD_IMAGE@sha256:DIGEST FOLDER
set -euo pipefail
image=${1-} build_image=${2-} folder=${3-}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
  echo "no release: $*" >&2
  exit 1
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[[ -n $folder && $image == ?*:"$version" ]] ||
  fail "give IMAGE=REGISTRY/coupon-operator:$version, as $version is what Cargo.toml says, not IMAGE='$image'"
if ! [[ $build_image =~ ^[^@[:space:]]+@sha256:[0-9a-f]{64}$ ]]; then
  default=$(sed -n 's/^ARG BUILD_IMAGE=//p' Dockerfile)
  fail "BUILD_IMAGE='$build_image' may be another image tomorrow. Give BUILD_IMAGE=$default@sha256:..., with the digest that" \
    "\`docker buildx imagetools inspect $default --format '{{.Manifest.Digest}}'\` tells"
fi
[[ -z $(git status --porcelain) ]] || fail 'there are changes that are not committed'
command -v docker >/dev/null || fail 'there is no docker on this machine'

mkdir -p "$folder"
arguments=(--build-arg "BUILD_IMAGE=$build_image" --build-arg "VERSION=$version")
docker build "${arguments[@]}" --target sbom --output "type=local,dest=$folder" .
docker build "${arguments[@]}" --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$(git rev-parse HEAD)" \
  --label "coupon-operator.io/build-image=$build_image" --tag "$image" .
echo "$image is built from $build_image; what it is made of: $folder/coupon-operator.cdx.json"

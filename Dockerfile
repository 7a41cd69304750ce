# One image with every program of coupon-operator: `docker build -t coupon-operator:0.1.0 .` (BuildKit). A release is built by
# `make release-image`, which insists on the build image's digest (docs/RELEASING.md).
# The local stack does not use it: `make image` packs the same programs without Docker. What an image has beside its programs is decided
# once, for both, in e2e/stack/src/image.rs: their shared libraries, certificate authorities, users; no shell and no package manager.

# Where the programs are compiled, and whose libraries they take along. Nothing else of it is in the image.
ARG BUILD_IMAGE=rust:1.95.0-bookworm

FROM ${BUILD_IMAGE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        binutils ca-certificates cmake libssl-dev libzstd-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
# The toolchain of this image, without the components that rust-toolchain.toml asks for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /source
COPY . .
ARG VERSION=0.1.0
# The programs by themselves, as tests need features that they do not; then what packs them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked -p operator -p issuer -p consumer \
        --bin coupon-operator --bin coupon-issuer --bin coupon-consumer \
    && cargo build --locked -p stack --bin stack \
    && target/debug/stack image --name-tag "coupon-operator:$VERSION" --root /image --ca-certificates \
        --sbom /coupon-operator.cdx.json --package operator --package issuer --package consumer \
        --file target/release/coupon-operator:/usr/local/bin/coupon-operator \
        --file target/release/coupon-issuer:/usr/local/bin/coupon-issuer \
        --file target/release/coupon-consumer:/usr/local/bin/coupon-consumer

# `docker build --target sbom --output type=local,dest=FOLDER .` writes what the image is made of.
FROM scratch AS sbom
COPY --from=build /coupon-operator.cdx.json /

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
# Pods of issuers and consumers name their own command.
ENTRYPOINT ["coupon-operator"]
CMD ["run"]

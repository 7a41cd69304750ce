# One image with every program of coupon-operator: `docker build -t coupon-operator:0.1.0 .` (BuildKit).
# The local stack does not use it: `make image` packs the same programs without Docker.

FROM rust:1.95.0-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake libssl-dev libzstd-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
# The toolchain of this image, without the components that rust-toolchain.toml asks for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked -p operator -p issuer -p consumer \
        --bin coupon-operator --bin coupon-issuer --bin coupon-consumer \
    && mkdir /programs \
    && cd target/release \
    && cp coupon-operator coupon-issuer coupon-consumer /programs/ \
    && strip /programs/*

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 libstdc++6 libzstd1 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /programs/ /usr/local/bin/
USER 65532:65532
# Pods of issuers and consumers name their own command.
ENTRYPOINT ["coupon-operator"]
CMD ["run"]

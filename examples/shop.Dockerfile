# The shop as an image of one static binary. From the root of the repository:
#
#   docker build -f examples/shop.Dockerfile -t shop:v1 .
#
# The versions of its dependencies are those of the repository's Cargo.lock.

FROM rust:1.95-alpine AS build
WORKDIR /shop
COPY Cargo.lock ./
COPY examples/shop ./
ENV CARGO_PROFILE_RELEASE_LTO=thin \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    CARGO_PROFILE_RELEASE_PANIC=abort
# The target of this image is musl, linked statically.
RUN cargo build --release

FROM scratch
COPY --from=build /shop/target/release/shop /shop
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/shop"]

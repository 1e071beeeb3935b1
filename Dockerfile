# A static binary and a CA bundle, nothing else: no shell, no libc, no package manager.
#
#   docker build -t tidegate .
#   docker build -t tidegate --build-arg TARGET=aarch64-unknown-linux-gnu --platform linux/arm64 .

FROM rust:1.95-slim-bookworm AS build
ARG TARGET=x86_64-unknown-linux-gnu
WORKDIR /src
COPY . .
# Static glibc. --target is given even for the machine's own, so that the flag does not reach build scripts and proc macros.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tidegate --target "$TARGET" \
    && cp "target/$TARGET/release/tidegate" /tidegate

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /tidegate /tidegate
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/tidegate"]

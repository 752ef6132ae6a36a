# The binaries of symphony in an image: `symphony` (managers, the client) and `symphony-agent` (nodes).
#
#     docker build -t symphony .                         # with BuildKit; or `docker compose up`, see compose.yaml
#
# NOT RUN YET: this file was written where there is no Docker. That the packages are there by these names was looked up on
# Debian 12; why each is needed says `tests/xtask/src/setup/packages.rs`.
#
# The image is for managers and for nodes with the roles block and image. Machines and networks need QEMU, libvirtd, nftables
# and dnsmasq, root, /dev/kvm and namespaces of the server's own kernel: run those agents on the server itself.

# QEMU and libvirt come from the backports in both stages: the agent is linked with the libvirt that it finds.
FROM debian:bookworm-slim AS bookworm
RUN echo 'deb http://deb.debian.org/debian bookworm-backports main' > /etc/apt/sources.list.d/backports.list


FROM rust:1.95-bookworm AS build
COPY --from=bookworm /etc/apt/sources.list.d/backports.list /etc/apt/sources.list.d/backports.list
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        binutils libprotobuf-dev pkg-config protobuf-compiler \
    && apt-get install -y --no-install-recommends -t bookworm-backports libvirt-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /symphony
# By name, so that target/ stays outside. rust-toolchain.toml brings the target for components.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY .cargo .cargo
COPY wit wit
COPY sdk sdk
COPY plugins plugins
COPY host host
COPY agents agents
COPY tests tests
# First the components, which `symphony` has inside; then the binaries.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/symphony/target \
    cargo xtask plugins \
    && cargo build --release --locked -p symphony -p symphony-node \
    && install -D -t /out target/release/symphony target/release/symphony-agent


FROM bookworm
# qemu-utils: qemu-img for images and volumes, qemu-storage-daemon for volumes that other nodes use. libvirt0: the agent is
# linked with it. curl: the health checks of compose.yaml ask the control sockets with it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && apt-get install -y --no-install-recommends -t bookworm-backports libvirt0 qemu-utils \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/symphony /out/symphony-agent /usr/local/bin/
# A manager's API, and an agent's data port.
EXPOSE 15760 15761
# SIGTERM ends both cleanly.
STOPSIGNAL SIGTERM
ENTRYPOINT ["symphony"]
CMD ["--help"]

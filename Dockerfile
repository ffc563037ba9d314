# The published program on the smallest base that it runs on: no shell, no package manager, nobody but an unprivileged
# user. The base images can be given otherwise: from a mirror, or by a digest (`name:tag@sha256:…`) where somebody keeps it
# current. Here they have none: a digest that nobody renews would keep out the fixes that the tag gets.
ARG SDK_IMAGE=mcr.microsoft.com/dotnet/sdk:10.0
# As native code: --build-arg PUBLISH=publish-native --build-arg PROGRAM=k8sreq-native, with an SDK_IMAGE that has clang
# (sdk:10.0-aot).
ARG PROGRAM=k8sreq
ARG RUNTIME_IMAGE=mcr.microsoft.com/dotnet/runtime-deps:10.0-noble-chiseled

FROM ${SDK_IMAGE} AS build
ARG PUBLISH=publish
WORKDIR /source
COPY . .
RUN dotnet fsi build.fsx ${PUBLISH}

FROM ${RUNTIME_IMAGE}
ARG PROGRAM
LABEL org.opencontainers.image.title="k8sreq" \
    org.opencontainers.image.description="Duplicates HTTP requests, webhooks above all, to every Service that a RequestClone names for their host" \
    org.opencontainers.image.version="1.0.0" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="https://github.com/DoodleScheduling/k8sreq-duplicator-controller"
COPY --from=build /source/artifacts/${PROGRAM} /app
# Without it the runtime makes a socket and a pipe in /tmp, which a read-only file system does not have.
ENV DOTNET_EnableDiagnostics=0
USER 10000:10000
EXPOSE 8080 9556 9557
ENTRYPOINT ["/app/k8sreq"]

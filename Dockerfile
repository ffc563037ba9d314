# The published program on the smallest base that it runs on: no shell, no package manager, nobody but an unprivileged
# user. The base images can be given otherwise, for a mirror.
ARG SDK_IMAGE=mcr.microsoft.com/dotnet/sdk:10.0
ARG RUNTIME_IMAGE=mcr.microsoft.com/dotnet/runtime-deps:10.0-noble-chiseled

FROM ${SDK_IMAGE} AS build
WORKDIR /source
COPY . .
RUN dotnet fsi build.fsx publish

FROM ${RUNTIME_IMAGE}
COPY --from=build /source/artifacts/k8sreq /app
# Without it the runtime makes a socket and a pipe in /tmp, which a read-only file system does not have.
ENV DOTNET_EnableDiagnostics=0
USER 10000:10000
EXPOSE 8080 9556 9557
ENTRYPOINT ["/app/k8sreq"]

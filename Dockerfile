# tsregistry as an image, built by tsbuild itself. See README.md, "As an image".
#   tsbuild -t tsregistry .
# NODE is any image with Node 20.19 or newer, npm and apt.
ARG NODE=node:22-bookworm-slim

FROM ${NODE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
COPY scripts/ scripts/
COPY src/ src/
# Behind a private certificate authority: --secret id=ca,src=FILE
RUN --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -f /run/secrets/ca.pem ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca.pem; fi; \
    npm ci --no-audit --no-fund --no-update-notifier \
 && npm prune --omit=dev --ignore-scripts --no-audit --no-fund --no-update-notifier

FROM ${NODE}
LABEL org.opencontainers.image.title="tsregistry" \
      org.opencontainers.image.description="An OCI Distribution registry in TypeScript" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
WORKDIR /opt/tsbuild
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules/ node_modules/
COPY --from=build /src/build/ build/
COPY --from=build /src/dist/ dist/
RUN install -d -o 65532 -g 65532 /var/lib/registry
USER 65532:65532
VOLUME /var/lib/registry
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=3s CMD ["node", "-e", "fetch('http://127.0.0.1:5000/v2/').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/cli/tsregistry.js"]
CMD ["serve", "--addr", "0.0.0.0:5000", "--root", "/var/lib/registry"]

# Roomcast in one image; its argument is the role: docker run roomcast backend --help
# The builder is a Debian like the final image, so that both have the same libraries.

# The page's packages: a layer of their own, so that a change of code fetches none of them.
FROM node:20-bookworm-slim AS client
WORKDIR /client
COPY web/client/package.json web/client/package-lock.json web/client/.npmrc ./
# The copy of the lock file tells web/build.rs that these are the right ones.
RUN npm ci --no-audit --no-fund && cp package-lock.json node_modules/.roomcast-lock.json

FROM rust:1.95-bookworm AS build
WORKDIR /src
# web/build.rs bundles the page with Node.js.
COPY --from=client /usr/local/bin/node /usr/local/bin/
COPY --from=client /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
COPY . .
COPY --from=client /client/node_modules web/client/node_modules
# SQL was checked against .sqlx. Line tables would make the program four times as large.
ENV SQLX_OFFLINE=true CARGO_PROFILE_RELEASE_DEBUG=none CARGO_TERM_PROGRESS_WHEN=never
# touch: cargo goes by the time of files, and one that was changed during the last build would count as built.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    find . \( -path ./target -o -name node_modules \) -prune -o -type f -exec touch {} + \
    && cargo build --release --locked -p roomcast && install -D target/release/roomcast /out/roomcast

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin roomcast \
    && install -d -o roomcast /run/roomcast
COPY --from=build /out/roomcast /usr/local/bin/
COPY deploy/make-secrets.sh /usr/local/bin/make-secrets
USER roomcast
EXPOSE 8000
# A relay is ready when something came through Kafka and Connect, which takes them a while on a small machine.
HEALTHCHECK --interval=2s --timeout=5s --start-period=180s --retries=5 CMD ["roomcast", "health"]
ENTRYPOINT ["roomcast"]
CMD ["--help"]

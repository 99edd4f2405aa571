# A node of Freshet: built in one stage, run from another that holds the binary, the libraries it names and nothing else.
# docker build -t freshet . && docker run -v ./my.yaml:/etc/freshet/freshet.yaml:ro -p 127.0.0.1:7070:7070 freshet
# The root may be read-only; state is below /var/lib/freshet. Only the build needs the network. The classic builder will do.

FROM debian:12-slim AS build
WORKDIR /src
COPY ops/install ops/install
# Nothing here must outlive a power cut: without its syncs dpkg takes 15 s instead of 70.
RUN echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe-io && ops/install && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset release -DFRESHET_TESTS=OFF --log-level=WARNING >/dev/null && \
    cmake --build --preset release --target freshet -- --quiet && \
    strip --strip-debug build/release/freshet
# The packages of the libraries that the binary names, asked of the binary: a list kept by hand would fall behind.
RUN readelf -d build/release/freshet | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
    while read -r library; do dpkg -S "*/$library" || exit 1; done | cut -d: -f1 | sort -u >/packages

FROM debian:12-slim
COPY --from=build /packages /usr/local/share/freshet/packages
RUN apt-get -qq update && \
    DEBIAN_FRONTEND=noninteractive xargs apt-get -qq -y -o DPkg::Options::=--force-unsafe-io install --no-install-recommends \
        </usr/local/share/freshet/packages >/dev/null && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/freshet --shell /usr/sbin/nologin freshet && \
    install -d -o freshet -g freshet -m 0750 /var/lib/freshet
COPY --from=build /src/build/release/freshet /usr/local/bin/freshet
RUN freshet --version
USER 10001
VOLUME ["/var/lib/freshet"]
EXPOSE 7070 7071
# Ready, once it has caught up: a first start may have a week of Kafka to read, and starting is not failing.
HEALTHCHECK --interval=3s --timeout=3s --start-period=1h --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7071 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && \
         read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/local/bin/freshet"]
CMD ["run", "--config", "/etc/freshet/freshet.yaml"]

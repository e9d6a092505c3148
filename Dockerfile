# A static binary in an image without shell or libraries, run by a user without rights.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev gcc make
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --package collector \
 && mkdir -p /out/var/lib/collector && cp target/dist/collector /out/collector

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/collector /usr/bin/collector
# Alloy's image uses this number too, so volumes keep their owner when the image is swapped.
COPY --from=build --chown=473:473 /out/var/lib/collector /var/lib/collector
USER 473:473
VOLUME /var/lib/collector
EXPOSE 12345
ENTRYPOINT ["/usr/bin/collector"]
CMD ["run", "--server.http.listen-addr=0.0.0.0:12345", "--storage.path=/var/lib/collector", "/etc/collector/config.alloy"]

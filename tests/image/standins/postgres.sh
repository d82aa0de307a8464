#!/bin/sh
# What the published image does on its first start: makes the cluster behind a server on the socket only, then the real one.
set -eu
data=/var/lib/postgresql/18/docker
if [ ! -s "$data/PG_VERSION" ]; then
    install -d -o postgres -g postgres -m 0700 "$data"
    printf '%s' "$POSTGRES_PASSWORD" >/run/password
    chown postgres /run/password
    setpriv --reuid postgres --regid postgres --clear-groups initdb -D "$data" -U postgres -A scram-sha-256 \
        --pwfile=/run/password --locale-provider=builtin --builtin-locale=C.UTF-8 --encoding=UTF8 >/dev/null
    rm /run/password
    echo 'local all all trust' | cat - "$data/pg_hba.conf" >/run/hba
    echo 'host all all all scram-sha-256' >>/run/hba
    cat /run/hba >"$data/pg_hba.conf"
    setpriv --reuid postgres --regid postgres --clear-groups pg_ctl -D "$data" -w -o "-c listen_addresses=''" start >/dev/null
    # Where a database is set up by scripts it stays so long: whoever believes the socket comes too early.
    sleep 6
    setpriv --reuid postgres --regid postgres --clear-groups pg_ctl -D "$data" -w -m fast stop >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups "$@" -D "$data" -c listen_addresses='*'

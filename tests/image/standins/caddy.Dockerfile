# Stands in for caddy:2: Debian's Caddy with the capability, the folders and the command of the published image.
ARG SERVICES
FROM ${SERVICES}
RUN install -d /config/caddy /data/caddy /srv && setcap cap_net_bind_service=+ep /usr/bin/caddy
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
WORKDIR /srv
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]

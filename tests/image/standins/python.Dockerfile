# Stands in for python:3.11-slim-bookworm: Debian's Python of the same version in the same place, with pip beside it.
FROM scratch
ADD root.tar /
ADD ca-certificates.cr[t] /etc/ssl/certs/
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
RUN for name in python3.11 python3 python; do ln -s /usr/bin/python3.11 /usr/local/bin/$name; done \
    && rm /usr/lib/python3.11/EXTERNALLY-MANAGED \
    && wheels=/usr/share/python-wheels \
    && python "$(ls $wheels/pip-*.whl)/pip" install --quiet --no-index --find-links $wheels --root-user-action=ignore pip setuptools \
    && rm -r $wheels
CMD ["python3"]

#!/bin/sh
# Like the published image's server, which is built to talk to other containers without a password.
program=$1
shift
exec "$program" --protected-mode no "$@"

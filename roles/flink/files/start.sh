#!/bin/sh
# Starts a part of Flink: start.sh COMMAND ARGUMENT...
set -eu
# What a killed process left behind; the folder outlives it.
rm -rf /tmp/*
if [ -d /etc/analytics-db ]; then
  # The PostgreSQL driver's password file: host:port:database:user:password, with \ before \ and :.
  umask_before=$(umask)
  umask 077
  printf '*:*:*:%s:%s\n' "$(cat /etc/analytics-db/username)" "$(sed 's/[\\:]/\\&/g' /etc/analytics-db/password)" >/run/flink/pgpass
  umask "$umask_before"
fi
exec "$@"

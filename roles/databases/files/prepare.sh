#!/bin/sh
# Makes the data folder once, and brings roles and grants to the declared state at every start.
# Runs before the server proper, on a server that listens on a local socket only.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A cluster is complete or absent: what an interrupted start left is made again.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --auth=peer --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  mv "$PGDATA.new" "$PGDATA"
fi

# Neither a slow nor a failed statement is logged here: some of them carry passwords.
pg_ctl --pgdata="$PGDATA" --wait --timeout=120 start --options="-c listen_addresses='' \
  -c log_min_duration_statement=-1 -c log_min_error_statement=panic \
  -c config_file=/etc/bookstore/postgresql.conf -c hba_file=/etc/bookstore/pg_hba.conf"
status=0
psql --host=/run/postgresql --username=postgres --dbname=postgres --no-psqlrc --quiet --file=/etc/bookstore/roles.sql || status=$?
pg_ctl --pgdata="$PGDATA" --wait --mode=fast stop
exit "$status"

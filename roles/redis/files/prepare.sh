#!/bin/sh
# Writes the access list into memory, and makes sure that the server can load what a hard stop left of its log.
set -eu
umask 077
data=/data/appendonlydir
socket=/run/redis/prepare.sock

digest() { sha256sum <"/etc/redis-auth/$1" | cut -d ' ' -f 1; }

# Digests only. What an application may do ends where it would hurt the others: no FLUSHALL, KEYS, CONFIG, DEBUG, SHUTDOWN.
application=$(digest password) operator=$(digest operator) probe=$(digest probe) monitor=$(digest monitor)
cat >/run/redis/users.acl <<END
user default on #$application ~* &* +@all -@admin -@dangerous +info
user operator on #$operator ~* &* +@all
user probe on #$probe resetkeys resetchannels -@all +ping
user monitor on #$monitor resetkeys resetchannels -@all +info +slowlog|len +slowlog|get
END

# Starts a server that nobody else reaches, and ends it as soon as it has loaded its data. Fails when it cannot.
loads() {
  redis-server /etc/bookstore/redis.conf --port 0 --unixsocket "$socket" --aclfile '' --loglevel warning "$@" &
  server=$!
  until redis-cli -s "$socket" -e ping >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || return 1
  done
  redis-cli -s "$socket" shutdown
  wait "$server"
}

loads && exit
# Only the log may be to blame: a server that does not even start without one has another fault, and keeps its data.
loads --dir /run/redis --appendonly no
echo "the log cannot be loaded; cutting off what is damaged"
if echo y | redis-check-aof --fix "$data/appendonly.aof.manifest" && loads; then exit; fi
# Nothing lives longer than 30 minutes in here: an empty store is worse than a full one, but better than none.
echo "the log cannot be repaired; starting empty, the damaged log is kept in $data.damaged"
rm -rf "$data.damaged"
mv "$data" "$data.damaged"
loads

#!/bin/bash
# Ends when PostgreSQL answers, so that Keycloak, whose start costs seconds of both cores, does not start in vain.
# The mesh's proxy accepts every connection: only an answer to PostgreSQL's SSLRequest shows that the server is there.
set -u
deadline=$((SECONDS + ${3:-600}))
while ((SECONDS < deadline)); do
  answer=""
  if exec 3<>"/dev/tcp/$1/$2"; then
    printf '\x00\x00\x00\x08\x04\xd2\x16\x2f' >&3
    read -r -t 2 -n 1 answer <&3
    exec 3>&-
  fi 2>/dev/null
  [[ $answer == [NS] ]] && exit 0
  # A pause: nothing is ever written to this descriptor.
  read -r -t 0.5 <> <(:)
done
echo "PostgreSQL on $1:$2 did not answer" >&2
exit 1

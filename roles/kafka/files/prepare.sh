#!/bin/sh
# Formats the storage once. A folder is complete or absent: what an interrupted start left is made again.
set -eu

folder=/var/lib/kafka/log
if [ -s "$folder/meta.properties" ]; then exit 0; fi
if [ -n "$(ls -A "$folder" 2>/dev/null)" ]; then
  echo "BK-172: $folder holds files but no meta.properties; restore the volume kafka, or empty it to start anew" >&2
  exit 1
fi
rm -rf "$folder.new"
sed "s|^log.dirs=.*|log.dirs=$folder.new|" /etc/bookstore/server.properties >/tmp/format.properties
# Word splitting is meant: options of the virtual machine.
# shellcheck disable=SC2086
java $KAFKA_JAVA_OPTIONS kafka.tools.StorageTool format --cluster-id "$KAFKA_CLUSTER_ID" --config /tmp/format.properties
rm -rf "$folder"
mv "$folder.new" "$folder"

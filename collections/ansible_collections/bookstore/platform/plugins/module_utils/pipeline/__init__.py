"""The event pipeline, from the outbox over the captured tables, Debezium, Kafka and Flink to analytics."""

-- SPEC 7.2: stock and what of it can be sold.
-- Types are those of the target table: a record that does not fit them goes to quarantined_records, and stops no other one.
CREATE TABLE inventory_changes (
  book_id VARCHAR(36) NOT NULL,
  quantity INT NOT NULL,
  reserved INT NOT NULL,
  low_stock_threshold INT NOT NULL,
  updated_at TIMESTAMP_LTZ(6) NOT NULL,
  topic STRING NOT NULL METADATA VIRTUAL,
  kafka_partition INT NOT NULL METADATA FROM 'partition' VIRTUAL,
  kafka_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,
  recorded_at TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,
  record_key BYTES,
  reason STRING METADATA FROM 'value.reason' VIRTUAL,
  raw_value BYTES METADATA FROM 'value.raw' VIRTUAL,
  PRIMARY KEY (book_id) NOT ENFORCED
) WITH (
  'connector' = 'kafka',
  'topic' = 'cdc.inventory.public.inventory',
  'properties.bootstrap.servers' = '${kafka}',
  'properties.group.id' = 'flink-cdc-fact-inventory',
  'properties.auto.offset.reset' = 'earliest',
  'properties.connections.max.idle.ms' = '180000',
  'properties.request.timeout.ms' = '10000',
  'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '5 min',
  'key.format' = 'raw',
  'key.fields' = 'record_key',
  'value.fields-include' = 'EXCEPT_KEY',
  'value.format' = 'bookstore-cdc'
);

CREATE TABLE fact_inventory (
  book_id STRING,
  quantity INT,
  reserved INT,
  available INT,
  low_stock_threshold INT,
  updated_at TIMESTAMP(6),
  PRIMARY KEY (book_id) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&reWriteBatchedInserts=true&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-inventory',
  'table-name' = 'fact_inventory',
  'sink.buffer-flush.max-rows' = '1000',
  'sink.buffer-flush.interval' = '20 ms',
  'sink.max-retries' = '3'
);

CREATE TABLE quarantined_records (
  topic STRING,
  kafka_partition INT,
  kafka_offset BIGINT,
  record_key BYTES,
  reason STRING,
  raw_value BYTES,
  recorded_at TIMESTAMP(3),
  PRIMARY KEY (topic, kafka_partition, kafka_offset) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-inventory',
  'table-name' = 'quarantined_records',
  'sink.buffer-flush.max-rows' = '16',
  'sink.buffer-flush.interval' = '20 ms',
  'sink.max-retries' = '3'
);

CREATE TEMPORARY VIEW stock AS
SELECT *, CAST(quantity AS BIGINT) - reserved AS available
FROM inventory_changes;

EXECUTE STATEMENT SET BEGIN
INSERT INTO fact_inventory
SELECT
  book_id,
  quantity,
  reserved,
  TRY_CAST(available AS INT),
  low_stock_threshold,
  CAST(updated_at AS TIMESTAMP(6))
FROM stock
WHERE reason IS NULL AND available BETWEEN -2147483648 AND 2147483647;
INSERT INTO quarantined_records
SELECT
  topic,
  kafka_partition,
  kafka_offset,
  record_key,
  COALESCE(reason, 'column available: ' || CAST(available AS STRING) || ' does not fit INT'),
  raw_value,
  CAST(recorded_at AS TIMESTAMP(3))
FROM stock
WHERE reason IS NOT NULL OR NOT (available BETWEEN -2147483648 AND 2147483647);
END;

-- SPEC 7.2: orders; the day of an order is the one in UTC.
-- Types are those of the target table: a record that does not fit them goes to quarantined_records, and stops no other one.
CREATE TABLE orders_changes (
  id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  status VARCHAR(50) NOT NULL,
  total DECIMAL(12, 2) NOT NULL,
  currency VARCHAR(3) NOT NULL,
  created_at TIMESTAMP_LTZ(6) NOT NULL,
  updated_at TIMESTAMP_LTZ(6) NOT NULL,
  topic STRING NOT NULL METADATA VIRTUAL,
  kafka_partition INT NOT NULL METADATA FROM 'partition' VIRTUAL,
  kafka_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,
  recorded_at TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,
  record_key BYTES,
  reason STRING METADATA FROM 'value.reason' VIRTUAL,
  raw_value BYTES METADATA FROM 'value.raw' VIRTUAL,
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'kafka',
  'topic' = 'cdc.ecom.public.orders',
  'properties.bootstrap.servers' = '${kafka}',
  'properties.group.id' = 'flink-cdc-fact-orders',
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

CREATE TABLE fact_orders (
  order_id STRING,
  user_id STRING,
  status STRING,
  total DECIMAL(12, 2),
  currency STRING,
  order_date_key INT,
  created_at TIMESTAMP(6),
  updated_at TIMESTAMP(6),
  PRIMARY KEY (order_id) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&reWriteBatchedInserts=true&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-orders',
  'table-name' = 'fact_orders',
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
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-orders',
  'table-name' = 'quarantined_records',
  'sink.buffer-flush.max-rows' = '16',
  'sink.buffer-flush.interval' = '20 ms',
  'sink.max-retries' = '3'
);

EXECUTE STATEMENT SET BEGIN
INSERT INTO fact_orders
SELECT
  id,
  user_id,
  status,
  total,
  currency,
  TRY_CAST(DATE_FORMAT(CAST(created_at AS TIMESTAMP(6)), 'yyyyMMdd') AS INT),
  CAST(created_at AS TIMESTAMP(6)),
  CAST(updated_at AS TIMESTAMP(6))
FROM orders_changes
WHERE reason IS NULL;
INSERT INTO quarantined_records
SELECT
  topic,
  kafka_partition,
  kafka_offset,
  record_key,
  reason,
  raw_value,
  CAST(recorded_at AS TIMESTAMP(3))
FROM orders_changes
WHERE reason IS NOT NULL;
END;

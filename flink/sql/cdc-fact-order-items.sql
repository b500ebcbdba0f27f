-- SPEC 7.2: order lines and what each came to.
-- Types are those of the target table: a record that does not fit them goes to quarantined_records, and stops no other one.
CREATE TABLE order_items_changes (
  id VARCHAR(36) NOT NULL,
  order_id VARCHAR(36) NOT NULL,
  book_id VARCHAR(36) NOT NULL,
  quantity INT NOT NULL,
  price_at_purchase DECIMAL(10, 2) NOT NULL,
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
  'topic' = 'cdc.ecom.public.order_items',
  'properties.bootstrap.servers' = '${kafka}',
  'properties.group.id' = 'flink-cdc-fact-order-items',
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

CREATE TABLE fact_order_items (
  order_item_id STRING,
  order_id STRING,
  book_id STRING,
  quantity INT,
  price_at_purchase DECIMAL(10, 2),
  line_total DECIMAL(12, 2),
  PRIMARY KEY (order_item_id) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&reWriteBatchedInserts=true&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-order-items',
  'table-name' = 'fact_order_items',
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
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-order-items',
  'table-name' = 'quarantined_records',
  'sink.buffer-flush.max-rows' = '16',
  'sink.buffer-flush.interval' = '20 ms',
  'sink.max-retries' = '3'
);

CREATE TEMPORARY VIEW order_lines AS
SELECT *, quantity * price_at_purchase AS line_total
FROM order_items_changes;

EXECUTE STATEMENT SET BEGIN
INSERT INTO fact_order_items
SELECT
  id,
  order_id,
  book_id,
  quantity,
  price_at_purchase,
  TRY_CAST(line_total AS DECIMAL(12, 2))
FROM order_lines
WHERE reason IS NULL AND line_total BETWEEN -9999999999.99 AND 9999999999.99;
INSERT INTO quarantined_records
SELECT
  topic,
  kafka_partition,
  kafka_offset,
  record_key,
  COALESCE(reason, 'column line_total: ' || CAST(line_total AS STRING) || ' does not fit DECIMAL(12, 2)'),
  raw_value,
  CAST(recorded_at AS TIMESTAMP(3))
FROM order_lines
WHERE reason IS NOT NULL OR NOT (line_total BETWEEN -9999999999.99 AND 9999999999.99);
END;

-- SPEC 7.2: stock and what of it can be sold.
CREATE TABLE inventory_changes (
  book_id STRING,
  quantity INT,
  reserved INT,
  low_stock_threshold INT,
  updated_at TIMESTAMP_LTZ(6),
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
  'value.format' = 'debezium-json',
  'value.debezium-json.timestamp-format.standard' = 'ISO-8601'
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
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-inventory',
  'table-name' = 'fact_inventory',
  'sink.buffer-flush.max-rows' = '1',
  'sink.buffer-flush.interval' = '1 s',
  'sink.max-retries' = '3'
);

INSERT INTO fact_inventory
SELECT
  book_id,
  quantity,
  reserved,
  quantity - reserved,
  low_stock_threshold,
  CAST(updated_at AS TIMESTAMP(6))
FROM inventory_changes;

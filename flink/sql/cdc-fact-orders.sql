-- SPEC 7.2: orders; the day of an order is the one in UTC.
CREATE TABLE orders_changes (
  id STRING,
  user_id STRING,
  status STRING,
  total STRING,
  currency STRING,
  created_at TIMESTAMP_LTZ(6),
  updated_at TIMESTAMP_LTZ(6),
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
  'value.format' = 'debezium-json',
  'value.debezium-json.timestamp-format.standard' = 'ISO-8601'
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
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-orders',
  'table-name' = 'fact_orders',
  'sink.buffer-flush.max-rows' = '1',
  'sink.buffer-flush.interval' = '1 s',
  'sink.max-retries' = '3'
);

INSERT INTO fact_orders
SELECT
  id,
  user_id,
  status,
  CAST(total AS DECIMAL(12, 2)),
  currency,
  CAST(DATE_FORMAT(CAST(created_at AS TIMESTAMP(6)), 'yyyyMMdd') AS INT),
  CAST(created_at AS TIMESTAMP(6)),
  CAST(updated_at AS TIMESTAMP(6))
FROM orders_changes;

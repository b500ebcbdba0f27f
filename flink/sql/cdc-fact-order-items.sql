-- SPEC 7.2: order lines and what each came to.
CREATE TABLE order_items_changes (
  id STRING,
  order_id STRING,
  book_id STRING,
  quantity INT,
  price_at_purchase STRING,
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
  'value.format' = 'debezium-json',
  'value.debezium-json.timestamp-format.standard' = 'ISO-8601'
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
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-fact-order-items',
  'table-name' = 'fact_order_items',
  'sink.buffer-flush.max-rows' = '1',
  'sink.buffer-flush.interval' = '1 s',
  'sink.max-retries' = '3'
);

INSERT INTO fact_order_items
SELECT
  id,
  order_id,
  book_id,
  quantity,
  CAST(price_at_purchase AS DECIMAL(10, 2)),
  CAST(quantity * CAST(price_at_purchase AS DECIMAL(10, 2)) AS DECIMAL(12, 2))
FROM order_items_changes;

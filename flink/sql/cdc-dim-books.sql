-- SPEC 7.2: books as the catalogue has them; a blank genre counts as unknown.
CREATE TABLE books_changes (
  id STRING,
  title STRING,
  author STRING,
  isbn STRING,
  genre STRING,
  price STRING,
  published_year INT,
  active BOOLEAN,
  created_at TIMESTAMP_LTZ(6),
  updated_at TIMESTAMP_LTZ(6),
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'kafka',
  'topic' = 'cdc.ecom.public.books',
  'properties.bootstrap.servers' = '${kafka}',
  'properties.group.id' = 'flink-cdc-dim-books',
  'properties.auto.offset.reset' = 'earliest',
  'properties.connections.max.idle.ms' = '180000',
  'properties.request.timeout.ms' = '10000',
  'scan.startup.mode' = 'earliest-offset',
  'scan.topic-partition-discovery.interval' = '5 min',
  'value.format' = 'debezium-json',
  'value.debezium-json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TABLE dim_books (
  book_id STRING,
  title STRING,
  author STRING,
  isbn STRING,
  genre STRING,
  price DECIMAL(10, 2),
  published_year INT,
  active BOOLEAN,
  created_at TIMESTAMP(6),
  updated_at TIMESTAMP(6),
  PRIMARY KEY (book_id) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = 'jdbc:postgresql://${analytics_db}/analyticsdb?user=analytics_app&connectTimeout=5&socketTimeout=20&ApplicationName=cdc-dim-books',
  'table-name' = 'dim_books',
  'sink.buffer-flush.max-rows' = '1',
  'sink.buffer-flush.interval' = '1 s',
  'sink.max-retries' = '3'
);

INSERT INTO dim_books
SELECT
  id,
  title,
  author,
  isbn,
  COALESCE(NULLIF(TRIM(genre), ''), 'Unknown'),
  CAST(price AS DECIMAL(10, 2)),
  published_year,
  active,
  CAST(created_at AS TIMESTAMP(6)),
  CAST(updated_at AS TIMESTAMP(6))
FROM books_changes;

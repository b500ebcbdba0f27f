import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;
import java.time.Instant;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.header.internals.RecordHeaders;

/**
 * The new snapshot: publishes the outbox and every row of the captured tables while the server streams from a new slot. In chunks by
 * key; how far it is stands in the topic of offsets (the ledger), so that one which is killed goes on where it was.
 *
 * <p><b>No row gets older.</b> The slot was there first, so the server publishes each change that a chunk does not have yet. It may do
 * so before the chunk's row, which is older, gets to Kafka. So after Kafka has acknowledged a chunk, its rows are looked at again, once
 * every transaction that was running then is over: until then one may be in the log, and published, whose effect is not to be seen. A
 * row that another transaction has written since is published again, one that is gone as a deletion, and both are looked at again.
 *
 * <p><b>No event gets lost.</b> Events are published in the order in which they were written, before the tables' rows. Until all are,
 * no heartbeat passes ({@link Gate}): who sees one takes every event for known that was committed before it.
 */
final class Reread implements Runnable {
  static final String OUTBOX = "outbox_events";
  private static final String HEARTBEAT = "cdc_heartbeat";
  private static final long PAUSE_MS = 1_000;
  private static final long BARRIER_MS = 5;
  private static final long WAIT_LOGGED_MS = 30_000;
  private final Properties settings;
  private final Offsets offsets;
  private final String prefix;
  private final long longest;
  private final String deadLetters;
  private final Set<String> events;
  private final AtomicReference<Exception> failed = new AtomicReference<>();
  // Of this run: when it began, and how many rows were done before.
  private final String began = Instant.now().toString();
  private long before = -1;
  private long toldAt;
  private KafkaProducer<String, String> producer;

  /** {@code offsets} must have been loaded. */
  Reread(Properties settings, Offsets offsets, String prefix) {
    this.settings = settings;
    this.offsets = offsets;
    this.prefix = prefix;
    this.longest = Long.parseLong(settings.getProperty("debezium.transforms.limit.bytes"));
    this.deadLetters = settings.getProperty("debezium.transforms.limit.dead.letter.topic");
    this.events = Set.of(settings.getProperty("debezium.transforms.outbox.topics").split(","));
    Gate.heartbeats(ledger().path("events").asBoolean(false));
    Gate.audits(false);
  }

  /** What is done of the snapshot that the note orders: {since, began, events, tables: {name: {rows, of, position, done}}}. */
  private ObjectNode ledger() {
    String since = offsets.note().path("since").asText();
    if (offsets.ledger() instanceof ObjectNode known && known.path("since").asText().equals(since)) {
      return known;
    }
    ObjectNode ledger = Offsets.JSON.createObjectNode().put("since", since).put("began", Instant.now().toString()).put("events", false);
    ledger.putObject("tables");
    return ledger;
  }

  @Override
  public void run() {
    try {
      while (!done()) {
        Thread.sleep(PAUSE_MS);
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    } catch (Exception error) {
      // Better a restart than rows that nobody reads.
      Guard.log("ERROR", "BK-451: the new snapshot failed: " + error);
      System.exit(3);
    }
  }

  private boolean done() throws Exception {
    try (Source source = Guard.open(settings); KafkaProducer<String, String> opened = offsets.bulkProducer()) {
      producer = opened;
      failed.set(null);
      offsets.load();
      ObjectNode ledger = ledger();
      count(source, ledger);
      keep(ledger);
      events(source, ledger);
      // The stream first: it starts on what little processor there is, and what happens now is more urgent than what was.
      while (!source.state().active()) {
        Thread.sleep(BARRIER_MS * 40);
      }
      for (String table : Topics.tablesWithState(settings)) {
        table(source, ledger, table);
      }
      return true;
    } catch (SQLException | KafkaException error) {
      Guard.log("WARN", "waiting: " + error.getMessage());
      return false;
    }
  }

  /** How many rows there are, when the snapshot begins. */
  private void count(Source source, ObjectNode ledger) throws Exception {
    for (String table : Topics.tables(settings)) {
      ObjectNode tables = (ObjectNode) ledger.get("tables");
      if (!table.equals(HEARTBEAT) && !tables.has(table)) {
        tables.putObject(table).put("rows", 0).put("of", source.count(table)).putNull("position").put("done", false);
      }
    }
    if (before < 0) {
      before = sum(ledger, "rows");
      Guard.log("INFO", "a new snapshot " + (before > 0 ? "goes on" : "begins") + ": " + before + " of " + sum(ledger, "of") + " rows");
    }
  }

  private void table(Source source, ObjectNode ledger, String table) throws Exception {
    ObjectNode state = (ObjectNode) ledger.get("tables").get(table);
    if (state.path("done").asBoolean()) {
      return;
    }
    Rows rows = source.rows(settings, table, longest);
    while (true) {
      List<Rows.Row> chunk = rows.after(state.path("position").textValue());
      if (chunk.isEmpty()) {
        break;
      }
      Map<String, ObjectNode> known = new HashMap<>();
      Map<String, String> versions = publish(table, chunk, known);
      while (!versions.isEmpty()) {
        versions = again(source, ledger, rows, table, versions, known);
      }
      step(ledger, state, chunk.size(), chunk.get(chunk.size() - 1).id());
    }
    finish(ledger, state);
  }

  /** Publishes rows, and waits until Kafka has them; the transaction that wrote each. */
  private Map<String, String> publish(String table, List<Rows.Row> chunk, Map<String, ObjectNode> known) throws Exception {
    Map<String, String> versions = new LinkedHashMap<>();
    for (Rows.Row row : chunk) {
      versions.put(row.id(), row.version());
      known.put(row.id(), row.values());
      String topic = Topics.topic(prefix, table);
      String key = Offsets.published(row.key());
      String value = row.bytes() > longest ? null : Offsets.published(change(table, "r", null, row.values()));
      long bytes = value == null ? row.bytes() : value.getBytes(StandardCharsets.UTF_8).length + key.length();
      if (bytes > longest) {
        setAside(topic, row.key(), table, "it has " + bytes + " bytes, bookstore_record_bytes_max is " + longest);
      } else {
        send(new ProducerRecord<>(topic, key, value));
      }
    }
    flush();
    return versions;
  }

  /** Publishes those rows anew that are others now; what is to be looked at after that. */
  private Map<String, String> again(Source source, ObjectNode ledger, Rows rows, String table, Map<String, String> versions,
      Map<String, ObjectNode> known) throws Exception {
    await(source, ledger, source.nextTransaction());
    Map<String, String> now = rows.versions(versions.keySet());
    List<String> changed = versions.keySet().stream().filter(id -> !Objects.equals(versions.get(id), now.get(id))).toList();
    if (changed.isEmpty()) {
      return Map.of();
    }
    Map<String, String> published = publish(table, rows.with(changed), known);
    String topic = Topics.topic(prefix, table);
    for (String id : changed) {
      if (!published.containsKey(id)) {
        ObjectNode row = known.get(id);
        String column = source.key(table);
        String key = Offsets.published(Offsets.JSON.createObjectNode().set(column, row.get(column)));
        send(new ProducerRecord<>(topic, key, Offsets.published(change(table, "d", row, null))));
        send(new ProducerRecord<>(topic, key, null));
        published.put(id, null);
      }
    }
    flush();
    return published;
  }

  /**
   * Waits until every transaction before {@code horizon} is over. Without bound: only its end tells that it has nothing more to publish. A
   * restart would wait for the same one, and stop the stream, which goes on meanwhile. So it says whom it waits for, and since when.
   */
  private void await(Source source, ObjectNode ledger, long horizon) throws Exception {
    long began = System.nanoTime();
    long logged = 0;
    while (source.oldestTransaction() < horizon) {
      long waited = (System.nanoTime() - began) / 1_000_000;
      if (waited >= Progress.PAUSE_MS) {
        ObjectNode waiting = source.oldestHolder().put("seconds", waited / 1_000);
        tell(ledger, waiting);
        if (waited - logged >= WAIT_LOGGED_MS) {
          logged = waited;
          Guard.log("WARN", "BK-447: the new snapshot waits for the oldest transaction of the source: " + waiting);
        }
      }
      Thread.sleep(waited < Progress.PAUSE_MS ? BARRIER_MS : Progress.PAUSE_MS / 2);
    }
  }

  private void events(Source source, ObjectNode ledger) throws Exception {
    ObjectNode state = (ObjectNode) ledger.get("tables").get(OUTBOX);
    if (state != null && !state.path("done").asBoolean()) {
      while (true) {
        List<Source.Event> chunk = source.events(state.path("position").textValue(), longest);
        if (chunk.isEmpty()) {
          break;
        }
        for (Source.Event event : chunk) {
          publish(event);
        }
        flush();
        step(ledger, state, chunk.size(), chunk.get(chunk.size() - 1).position());
      }
      finish(ledger, state);
    }
    if (!ledger.path("events").asBoolean(false)) {
      // As a snapshot of the server would: who lacks events takes it for the word that the whole outbox was published after "began".
      ObjectNode row = Offsets.JSON.createObjectNode().put("id", 1).put("ts", Instant.now().toString());
      send(new ProducerRecord<>(Topics.topic(prefix, HEARTBEAT), null, Instant.parse(ledger.path("began").asText()).toEpochMilli(),
          "{\"id\":1}", Offsets.published(change(HEARTBEAT, "r", null, row))));
      flush();
      ledger.put("events", true);
      keep(ledger);
    }
    Gate.heartbeats(true);
  }

  private void publish(Source.Event event) throws Exception {
    String topic = Topics.topic(prefix, OUTBOX);
    ObjectNode id = Offsets.JSON.createObjectNode().put("id", event.id());
    if (event.type().equals(Gate.AUDITS)) {
      return; // A digest of what was long ago, of no use to anybody.
    }
    if (event.payload() == null) {
      setAside(topic, id, OUTBOX, "its payload has " + event.length() + " bytes, more than " + longest);
    } else if (!events.contains(event.type())) {
      setAside(topic, id, OUTBOX, "its type " + event.type() + " is no topic of this server");
    } else {
      // The router's headers: the id of the event, and that of the request that caused it.
      String header = "{\"schema\":{\"type\":\"string\",\"optional\":false,\"name\":\"io.debezium.data.Uuid\",\"version\":1},\"payload\":\""
          + event.id() + "\"}";
      RecordHeaders headers = new RecordHeaders();
      headers.add("id", header.getBytes(StandardCharsets.UTF_8));
      if (event.request() != null) {
        String request = "{\"schema\":{\"type\":\"string\",\"optional\":true},\"payload\":" + event.request() + "}";
        headers.add("request_id", request.getBytes(StandardCharsets.UTF_8));
      }
      String payload = Offsets.published(withoutNulls(Offsets.JSON.readTree(event.payload())));
      send(new ProducerRecord<>(event.type(), null, null, Offsets.published(event.aggregate()), payload, headers));
    }
  }

  /** As the router leaves them out. */
  private static JsonNode withoutNulls(JsonNode node) {
    if (node instanceof ObjectNode object) {
      object.properties().removeIf(field -> field.getValue().isNull());
    }
    node.forEach(Reread::withoutNulls);
    return node;
  }

  /** A record as the connector makes it, as far as anybody reads it. */
  private ObjectNode change(String table, String op, JsonNode old, JsonNode row) {
    long now = System.currentTimeMillis();
    ObjectNode change = Offsets.JSON.createObjectNode();
    change.set("before", old);
    change.set("after", row);
    change.putObject("source").put("connector", "postgresql").put("name", prefix).put("ts_ms", now).put("snapshot", "incremental")
        .put("schema", "public").put("table", table);
    return change.put("op", op).put("ts_ms", now);
  }

  private void setAside(String topic, ObjectNode key, String table, String reason) throws Exception {
    ObjectNode letter = Offsets.JSON.createObjectNode().put("topic", topic).put("reason", reason).put("table", table);
    letter.set("key", key);
    Guard.log("ERROR", "BK-273: set aside into " + deadLetters + ": " + letter);
    send(new ProducerRecord<>(deadLetters, Offsets.published(key), Offsets.published(letter)));
  }

  private void send(ProducerRecord<String, String> record) throws Exception {
    producer.send(record, (sent, error) -> failed.compareAndSet(null, error));
  }

  private void flush() throws Exception {
    producer.flush();
    if (failed.get() != null) {
      throw failed.get();
    }
  }

  private void step(ObjectNode ledger, ObjectNode state, int rows, String position) throws Exception {
    state.put("rows", state.path("rows").asLong() + rows).put("position", position);
    keep(ledger);
    if (System.nanoTime() - toldAt > Progress.PAUSE_MS * 1_000_000) {
      tell(ledger);
    }
  }

  private void finish(ObjectNode ledger, ObjectNode state) throws Exception {
    state.put("done", true).put("of", state.path("rows").asLong()).putNull("position");
    keep(ledger);
    tell(ledger);
  }

  /** Keeps the ledger; what it says is true already, so nothing waits for it. */
  private void keep(ObjectNode ledger) throws Exception {
    send(new ProducerRecord<>(offsets.topic(), 0, offsets.ledgerKey(), Offsets.published(ledger)));
    offsets.remember(ledger);
  }

  private void tell(ObjectNode ledger) throws Exception {
    tell(ledger, null);
  }

  /** {@code waiting}: the transaction that it waits for, or null. */
  private void tell(ObjectNode ledger, ObjectNode waiting) throws Exception {
    toldAt = waiting == null ? System.nanoTime() : 0;
    ObjectNode progress = Progress.node("snapshot", began, sum(ledger, "rows"), sum(ledger, "of")).put("before", before);
    if (waiting != null) {
      progress.set("waiting", waiting);
    }
    ObjectNode tables = progress.putObject("tables");
    ledger.get("tables").fields().forEachRemaining(one -> tables.putArray(one.getKey())
        .add(Math.min(one.getValue().path("rows").asLong(), one.getValue().path("of").asLong())).add(one.getValue().path("of").asLong()));
    Progress.current(progress);
    send(new ProducerRecord<>(offsets.topic(), 0, offsets.progressKey(), Offsets.published(progress)));
  }

  /** Rows that came after they were counted are not done before the table is. */
  private static long sum(ObjectNode ledger, String name) {
    long sum = 0;
    for (JsonNode one : ledger.get("tables")) {
      sum += Math.min(one.path(name).asLong(), one.path("of").asLong());
    }
    return sum;
  }
}

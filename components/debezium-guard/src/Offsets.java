import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The server's topic of offsets, and what the guard keeps in it: its note (what was wrong last, and whether it is dealt with), the
 * marks of {@link Custody}, what is done of a new snapshot ({@link Reread}), and what is told of it ({@link Progress}).
 */
final class Offsets {
  static final ObjectMapper JSON = new ObjectMapper();
  static final int TIMEOUT_MS = 20_000;
  // Of each consumer, whatever a topic holds: they share the server's heap. A single record may be larger.
  private static final int FETCH_BYTES = 1 << 20;
  private final String servers;
  private final String topic;
  private final String prefix;
  private final String noteKey;
  private final String marksKey;
  private final String progressKey;
  private final String ledgerKey;
  // The server's own key: Debezium Server names its engine after its sink.
  private final String serverKey;
  private Map<String, String> latest = Map.of();

  Offsets(String servers, String topic, String prefix) {
    this.servers = servers;
    this.topic = topic;
    this.prefix = prefix;
    // The shape of the server's own keys, [name, partition], under names that no server has.
    this.noteKey = "[\"guard\",{\"server\":\"" + prefix + "\"}]";
    this.marksKey = "[\"guard-marks\",{\"server\":\"" + prefix + "\"}]";
    this.progressKey = "[\"guard-progress\",{\"server\":\"" + prefix + "\"}]";
    this.ledgerKey = "[\"guard-snapshot\",{\"server\":\"" + prefix + "\"}]";
    this.serverKey = "[\"kafka\",{\"server\":\"" + prefix + "\"}]";
  }

  /** Reads the topic: what was stored last under each key. */
  void load() {
    Map<String, String> found = new LinkedHashMap<>();
    read(topic, record -> {
      if (record.key() == null) {
        return;
      }
      if (record.value() == null) {
        found.remove(record.key());
      } else {
        found.put(record.key(), record.value());
      }
    });
    latest = found;
  }

  /** The stored offset, or null. One that cannot be read is none. */
  JsonNode offset() {
    for (Map.Entry<String, String> entry : latest.entrySet()) {
      if (server(entry.getKey())) {
        return parsed(entry.getValue()) instanceof ObjectNode offset ? offset : null;
      }
    }
    return null;
  }

  /** What a text says; nothing when it is no JSON, so that a record that anybody wrote stops nobody. */
  static JsonNode parsed(String text) {
    try {
      return text == null ? JSON.missingNode() : JSON.readTree(text);
    } catch (JsonProcessingException error) {
      return JSON.missingNode();
    }
  }

  /** JSON by the letter as the server publishes it, which decides about a key's partition: as bytes, where emojis are escaped. */
  static String published(Object value) throws JsonProcessingException {
    return new String(JSON.writeValueAsBytes(value), StandardCharsets.UTF_8);
  }

  /** Whether the offset was stored in the middle of a snapshot. */
  static boolean unfinished(JsonNode offset) {
    return offset != null && offset.hasNonNull("snapshot") && !offset.path("snapshot_completed").asBoolean(false);
  }

  /** Up to where whole transactions were published. An event's own position says less: transactions overlap in the log. */
  static Long position(JsonNode offset) {
    if (offset == null || !offset.hasNonNull("lsn")) {
      return null;
    }
    return offset.hasNonNull("lsn_commit") ? offset.get("lsn_commit").asLong() : offset.get("lsn").asLong();
  }

  /** Whether the offset names the end of a transaction and nothing after it. */
  static boolean plain(JsonNode offset) {
    return offset != null && offset.path("lsn").equals(offset.path("lsn_commit")) && offset.path("lsn").equals(offset.path("lsn_proc"));
  }

  /** Forgets the offset. */
  void forget() throws Exception {
    for (String key : latest.keySet()) {
      if (server(key)) {
        write(key, null);
      }
    }
    load();
  }

  /** Stores the first offset of a new slot: the server streams from there, and takes no snapshot of its own. */
  void begin(long position) throws Exception {
    write(serverKey, JSON.writeValueAsString(committed(position)));
    load();
  }

  private static ObjectNode committed(long position) {
    ObjectNode offset = JSON.createObjectNode();
    return offset.put("lsn_proc", position).put("messageType", "COMMIT").put("lsn_commit", position).put("lsn", position);
  }

  /** Stores an offset as the server does at the end of a transaction. */
  void rewind(long position) throws Exception {
    ObjectNode offset = committed(position);
    for (String key : latest.keySet()) {
      if (server(key)) {
        JsonNode before = parsed(latest.get(key));
        for (String name : List.of("txId", "ts_usec")) {
          if (before.hasNonNull(name)) {
            offset.set(name, before.get(name));
          }
        }
        write(key, JSON.writeValueAsString(offset));
      }
    }
    load();
  }

  /** The guard's note: {cause, since, done, removed, lost}; null if nothing was ever wrong. */
  JsonNode note() {
    return parsed(latest.get(noteKey)) instanceof ObjectNode note ? note : null;
  }

  void note(ObjectNode note) throws Exception {
    write(noteKey, JSON.writeValueAsString(note));
    load();
  }

  /** What Kafka had, by topic and partition: [id of the topic, start of the log, newest offset, its timestamp]; null if not known. */
  JsonNode marks() {
    return parsed(latest.get(marksKey)) instanceof ObjectNode marks ? marks : null;
  }

  /** Keeps marks, or forgets them (null). Does not load. */
  void marks(ObjectNode marks) throws Exception {
    write(marksKey, marks == null ? null : JSON.writeValueAsString(marks));
  }

  /** Tells how far a snapshot or the comparison after it is. Does not load. */
  void progress(ObjectNode progress) throws Exception {
    write(progressKey, JSON.writeValueAsString(progress));
  }

  /** What is done of the last new snapshot, see {@link Reread}; null if there was none. */
  JsonNode ledger() {
    return parsed(latest.get(ledgerKey)) instanceof ObjectNode ledger ? ledger : null;
  }

  String ledgerKey() {
    return ledgerKey;
  }

  String progressKey() {
    return progressKey;
  }

  /** Takes for stored what is on its way. */
  void remember(ObjectNode ledger) throws JsonProcessingException {
    Map<String, String> next = new LinkedHashMap<>(latest);
    next.put(ledgerKey, JSON.writeValueAsString(ledger));
    latest = next;
  }

  /** Whether a key is that of the server's offset: [name, {"server": prefix}]. */
  private boolean server(String key) {
    JsonNode parts = parsed(key);
    return !Set.of(noteKey, marksKey, progressKey, ledgerKey).contains(key) && parts.path(1).path("server").asText().equals(prefix);
  }

  private void write(String key, String value) throws Exception {
    try (KafkaProducer<String, String> producer = producer()) {
      producer.send(new ProducerRecord<>(topic, 0, key, value)).get();
    } catch (ExecutionException error) {
      throw error.getCause() instanceof KafkaException known ? known : error;
    }
  }

  KafkaProducer<String, String> producer() {
    return new KafkaProducer<>(producing());
  }

  /** One for many records: each batch is one flush of the broker's disk. */
  KafkaProducer<String, String> bulkProducer() {
    Map<String, Object> settings = producing();
    settings.putAll(Map.of("batch.size", 1 << 17, "linger.ms", 2));
    return new KafkaProducer<>(settings);
  }

  private Map<String, Object> producing() {
    return new HashMap<>(Map.of(
        "bootstrap.servers", servers, "acks", "all", "enable.idempotence", true, "delivery.timeout.ms", TIMEOUT_MS,
        "request.timeout.ms", TIMEOUT_MS / 2, "max.block.ms", TIMEOUT_MS, "buffer.memory", 1 << 20,
        "key.serializer", StringSerializer.class, "value.serializer", StringSerializer.class));
  }

  KafkaConsumer<String, String> consumer() {
    Map<String, Object> settings = new HashMap<>(Map.of(
        "bootstrap.servers", servers, "enable.auto.commit", false, "auto.offset.reset", "earliest", "allow.auto.create.topics", false,
        "default.api.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2,
        "key.deserializer", StringDeserializer.class, "value.deserializer", StringDeserializer.class));
    settings.putAll(Map.of("fetch.max.bytes", FETCH_BYTES, "max.partition.fetch.bytes", FETCH_BYTES / 4, "max.poll.records", 100));
    return new KafkaConsumer<>(settings);
  }

  Admin admin() {
    return Admin.create(
        Map.of("bootstrap.servers", servers, "default.api.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2));
  }

  String topic() {
    return topic;
  }

  /** How many offsets a topic of one partition spans, 0 without such a topic: as many records at most. */
  long size(String name) {
    try (KafkaConsumer<String, String> consumer = consumer()) {
      if (!consumer.listTopics().containsKey(name)) {
        return 0;
      }
      List<TopicPartition> partition = List.of(new TopicPartition(name, 0));
      return consumer.endOffsets(partition).get(partition.get(0)) - consumer.beginningOffsets(partition).get(partition.get(0));
    }
  }

  /** Shows each record that a topic of one partition holds now, oldest first; false if there is no such topic. */
  boolean read(String name, Consumer<ConsumerRecord<String, String>> reader) {
    try (KafkaConsumer<String, String> consumer = consumer()) {
      if (!consumer.listTopics().containsKey(name)) {
        return false;
      }
      TopicPartition partition = new TopicPartition(name, 0);
      consumer.assign(List.of(partition));
      consumer.seekToBeginning(List.of(partition));
      long end = consumer.endOffsets(List.of(partition)).get(partition);
      long seen = System.nanoTime();
      while (consumer.position(partition) < end) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(500));
        records.forEach(reader);
        seen = records.isEmpty() ? seen : System.nanoTime();
        if (System.nanoTime() - seen > TIMEOUT_MS * 1_000_000L) {
          throw new KafkaException("nothing of " + name + " came for " + TIMEOUT_MS + " ms, its end is at " + end);
        }
      }
      return true;
    }
  }
}

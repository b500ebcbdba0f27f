import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The server's topic of offsets, and the guard's own note in it: what was wrong last, and whether it is dealt with. */
final class Offsets {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final int TIMEOUT_MS = 20_000;
  private final String servers;
  private final String topic;
  private final String noteKey;
  private Map<String, String> latest = Map.of();

  Offsets(String servers, String topic, String prefix) {
    this.servers = servers;
    this.topic = topic;
    // The shape of the server's own keys, [name, partition], under a name that no server has.
    this.noteKey = "[\"guard\",{\"server\":\"" + prefix + "\"}]";
  }

  /** Reads the topic: what was stored last under each key. */
  void load() {
    Map<String, String> found = new LinkedHashMap<>();
    read(topic, record -> {
      if (record.value() == null) {
        found.remove(record.key());
      } else {
        found.put(record.key(), record.value());
      }
    });
    latest = found;
  }

  /** The stored offset, or null. */
  JsonNode offset() throws Exception {
    for (Map.Entry<String, String> entry : latest.entrySet()) {
      if (!entry.getKey().equals(noteKey)) {
        return JSON.readTree(entry.getValue());
      }
    }
    return null;
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
      if (!key.equals(noteKey)) {
        write(key, null);
      }
    }
    load();
  }

  /** Stores an offset as the server does at the end of a transaction. */
  void rewind(long position) throws Exception {
    ObjectNode offset = JSON.createObjectNode();
    offset.put("lsn_proc", position).put("messageType", "COMMIT").put("lsn_commit", position).put("lsn", position);
    for (String key : latest.keySet()) {
      if (!key.equals(noteKey)) {
        JsonNode before = JSON.readTree(latest.get(key));
        offset.set("txId", before.path("txId"));
        offset.set("ts_usec", before.path("ts_usec"));
        write(key, JSON.writeValueAsString(offset));
      }
    }
    load();
  }

  /** The guard's note: {cause, since, done, removed, lost}; null if nothing was ever wrong. */
  JsonNode note() throws Exception {
    String text = latest.get(noteKey);
    return text == null ? null : JSON.readTree(text);
  }

  void note(ObjectNode note) throws Exception {
    write(noteKey, JSON.writeValueAsString(note));
    load();
  }

  private void write(String key, String value) throws Exception {
    try (KafkaProducer<String, String> producer = producer()) {
      producer.send(new ProducerRecord<>(topic, 0, key, value)).get();
    }
  }

  KafkaProducer<String, String> producer() {
    return new KafkaProducer<>(Map.of(
        "bootstrap.servers", servers, "acks", "all", "enable.idempotence", true, "delivery.timeout.ms", TIMEOUT_MS,
        "request.timeout.ms", TIMEOUT_MS / 2, "max.block.ms", TIMEOUT_MS, "buffer.memory", 1 << 20,
        "key.serializer", StringSerializer.class, "value.serializer", StringSerializer.class));
  }

  KafkaConsumer<String, String> consumer() {
    return new KafkaConsumer<>(Map.of(
        "bootstrap.servers", servers, "enable.auto.commit", false, "auto.offset.reset", "earliest", "allow.auto.create.topics", false,
        "default.api.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2, "max.partition.fetch.bytes", 1 << 20,
        "key.deserializer", StringDeserializer.class, "value.deserializer", StringDeserializer.class));
  }

  String topic() {
    return topic;
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
      while (consumer.position(partition) < end) {
        consumer.poll(Duration.ofMillis(500)).forEach(reader);
      }
      return true;
    }
  }
}

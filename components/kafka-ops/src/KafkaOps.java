import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What operators and playbooks ask of the broker, in one process: Kafka's own commands start a virtual machine for each
 * topic. Speaks to the listener that only this pod reaches. Answers are one line of JSON. Topics are read as a stream: what is kept
 * of them, and returned, is bounded by {@link #MOST_RECORDS} and {@link #MOST_BYTES}, and {@code left_out} says how many records
 * that is fewer.
 *
 * <pre>
 * describe                 {topics: {name: {partitions, configs, begin, end}}, groups: {group: {topic: lag}}}
 * apply PLAN               {create: [{name, partitions, configs}], alter: [{name, configs}], grow: [{name, partitions}]}
 * records TOPIC [KEY]      {records: [{partition, offset, key, value}], left_out}: the newest of the topic, or of one key
 * latest TOPIC [KEY]       the same of each key, or of one: its newest record, deletions included
 * newest TOPIC...          {topic: what latest says of it}
 * tombstone TOPIC RECORD   {key, partition}; writes a record without value
 * put TOPIC RECORD         {key, partition, value}; writes a record
 * purge TOPIC              removes all records that the topic holds now, such as dead letters that were dealt with
 * </pre>
 */
public final class KafkaOps {
  private static final ObjectMapper JSON = new ObjectMapper().disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET);
  private static final String SERVER = System.getProperty("kafkaops.server", "127.0.0.1:9094");
  private static final int MOST_RECORDS = 1_000;
  private static final int MOST_BYTES = 4 << 20;
  private static final int FETCH_BYTES = 2 << 20;
  private static final int TIMEOUT_MS = 20_000;

  private KafkaOps() {}

  public static void main(String[] arguments) throws Exception {
    String mode = arguments.length > 0 ? arguments[0] : "";
    try {
      JsonNode answer =
          switch (mode) {
            case "describe" -> describe();
            case "apply" -> apply(JSON.readTree(arguments[1]));
            case "records" -> records(arguments[1], arguments.length > 2 ? arguments[2] : null);
            case "latest" -> latest(arguments[1], arguments.length > 2 ? arguments[2] : null, MOST_BYTES);
            case "newest" -> newest(List.of(arguments).subList(1, arguments.length));
            case "tombstone", "put" -> put(arguments[1], JSON.readTree(arguments[2]), mode.equals("put"));
            case "purge" -> purge(arguments[1]);
            default -> throw new IllegalArgumentException("mode " + mode + ": use describe, apply, records, latest, newest, tombstone, put or purge");
          };
      JSON.writeValue(System.out, answer);
    } catch (ExecutionException error) {
      System.err.println(error.getCause());
      System.exit(1);
    } catch (RuntimeException error) {
      System.err.println(error);
      System.exit(2);
    }
  }

  private static Admin admin() {
    return Admin.create(
        Map.of("bootstrap.servers", SERVER, "default.api.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2));
  }

  private static JsonNode describe() throws Exception {
    try (Admin admin = admin()) {
      Collection<String> names = admin.listTopics().names().get();
      Map<String, TopicDescription> found = admin.describeTopics(names).allTopicNames().get();
      List<ConfigResource> resources = names.stream().map(KafkaOps::resource).toList();
      var configs = admin.describeConfigs(resources).all().get();
      Map<TopicPartition, OffsetSpec> first = new HashMap<>();
      Map<TopicPartition, OffsetSpec> last = new HashMap<>();
      found.forEach((name, topic) -> topic.partitions().forEach(one -> {
        first.put(new TopicPartition(name, one.partition()), OffsetSpec.earliest());
        last.put(new TopicPartition(name, one.partition()), OffsetSpec.latest());
      }));
      // Before the ends: a group that is at work meanwhile must not seem to be beyond them.
      Map<String, Map<TopicPartition, OffsetAndMetadata>> committed = new TreeMap<>();
      for (var listing : admin.listGroups().all().get()) {
        committed.put(listing.groupId(), admin.listConsumerGroupOffsets(listing.groupId()).partitionsToOffsetAndMetadata().get());
      }
      var begins = admin.listOffsets(first).all().get();
      var ends = admin.listOffsets(last).all().get();
      ObjectNode answer = JSON.createObjectNode();
      ObjectNode topics = answer.putObject("topics");
      for (String name : new TreeMap<>(found).keySet()) {
        ObjectNode topic = topics.putObject(name);
        topic.put("partitions", found.get(name).partitions().size());
        ObjectNode own = topic.putObject("configs");
        for (ConfigEntry entry : configs.get(resource(name)).entries()) {
          if (entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) {
            own.put(entry.name(), entry.value());
          }
        }
        long begin = 0;
        long end = 0;
        for (var one : found.get(name).partitions()) {
          TopicPartition partition = new TopicPartition(name, one.partition());
          begin += begins.get(partition).offset();
          end += ends.get(partition).offset();
        }
        topic.put("begin", begin);
        topic.put("end", end);
      }
      ObjectNode groups = answer.putObject("groups");
      committed.forEach((name, offsets) -> {
        Map<String, Long> lags = new TreeMap<>();
        offsets.forEach((partition, offset) -> {
          if (offset != null && ends.containsKey(partition)) {
            lags.merge(partition.topic(), ends.get(partition).offset() - offset.offset(), Long::sum);
          }
        });
        lags.forEach(groups.putObject(name)::put);
      });
      return answer;
    }
  }

  private static JsonNode apply(JsonNode plan) throws Exception {
    try (Admin admin = admin()) {
      List<NewTopic> created = new ArrayList<>();
      for (JsonNode topic : plan.path("create")) {
        NewTopic wanted = new NewTopic(topic.get("name").asText(), Optional.of(topic.get("partitions").asInt()), Optional.empty());
        created.add(wanted.configs(texts(topic.get("configs"))));
      }
      admin.createTopics(created).all().get();
      Map<ConfigResource, Collection<AlterConfigOp>> altered = new HashMap<>();
      for (JsonNode topic : plan.path("alter")) {
        List<AlterConfigOp> operations = new ArrayList<>();
        texts(topic.get("configs")).forEach((name, value) -> operations.add(
            new AlterConfigOp(new ConfigEntry(name, value), value == null ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET)));
        altered.put(resource(topic.get("name").asText()), operations);
      }
      if (!altered.isEmpty()) {
        admin.incrementalAlterConfigs(altered).all().get();
      }
      Map<String, NewPartitions> grown = new HashMap<>();
      for (JsonNode topic : plan.path("grow")) {
        grown.put(topic.get("name").asText(), NewPartitions.increaseTo(topic.get("partitions").asInt()));
      }
      if (!grown.isEmpty()) {
        admin.createPartitions(grown).all().get();
      }
      return JSON.createObjectNode().put("created", created.size()).put("altered", altered.size()).put("grown", grown.size());
    }
  }

  private static JsonNode records(String topic, String key) {
    Kept kept = new Kept(MOST_BYTES);
    // Without a key the newest are the last ones, and those before need not be read.
    long skipped = read(topic, key == null ? MOST_RECORDS : Long.MAX_VALUE, one -> {
      if (key == null || is(key, one)) {
        kept.add(one);
      }
    });
    return kept.answer(skipped);
  }

  /**
   * Reads twice, so that values are kept only of what is returned: where the newest record of each key is, then these. A caller that
   * looks for a key is not given the others: topics grow, the pipe out of the pod does not.
   */
  private static JsonNode latest(String topic, String key, int bytes) {
    Map<String, Place> newest = new HashMap<>();
    long[] beyond = {0};
    long[] keyBytes = {0};
    read(topic, Long.MAX_VALUE, one -> {
      if (one.key() == null || key != null && !is(key, one)) {
        return;
      }
      String name = text(one.key());
      if (newest.containsKey(name) || newest.size() < MOST_RECORDS && keyBytes[0] + one.key().length <= bytes) {
        keyBytes[0] += newest.put(name, new Place(one.partition(), one.offset())) == null ? one.key().length : 0;
      } else {
        beyond[0]++;
      }
    });
    Set<Place> places = new HashSet<>(newest.values());
    Kept kept = new Kept(bytes);
    read(topic, Long.MAX_VALUE, one -> {
      if (places.contains(new Place(one.partition(), one.offset()))) {
        kept.add(one);
      }
    });
    return kept.answer(beyond[0]);
  }

  private static JsonNode newest(List<String> topics) {
    ObjectNode answer = JSON.createObjectNode();
    topics.forEach(topic -> answer.set(topic, latest(topic, null, MOST_BYTES / topics.size())));
    return answer;
  }

  private record Place(int partition, long offset) {}

  /** The newest records that were added, within both bounds. */
  private static final class Kept {
    private final ArrayDeque<ConsumerRecord<byte[], byte[]>> records = new ArrayDeque<>();
    private final int most;
    private long bytes;
    private long dropped;

    Kept(int most) {
      this.most = most;
    }

    void add(ConsumerRecord<byte[], byte[]> one) {
      records.addLast(one);
      bytes += size(one);
      while (records.size() > MOST_RECORDS || bytes > most && records.size() > 1) {
        bytes -= size(records.removeFirst());
        dropped++;
      }
    }

    private static long size(ConsumerRecord<byte[], byte[]> one) {
      return 100L + (one.key() == null ? 0 : one.key().length) + (one.value() == null ? 0 : one.value().length);
    }

    JsonNode answer(long before) {
      ObjectNode answer = JSON.createObjectNode();
      ArrayNode listed = answer.putArray("records");
      for (ConsumerRecord<byte[], byte[]> one = records.pollFirst(); one != null; one = records.pollFirst()) {
        listed.addObject().put("partition", one.partition()).put("offset", one.offset()).put("key", text(one.key())).put("value", text(one.value()));
      }
      return answer.put("left_out", before + dropped);
    }
  }

  private static boolean is(String key, ConsumerRecord<byte[], byte[]> one) {
    return Arrays.equals(key.getBytes(StandardCharsets.UTF_8), one.key());
  }

  private static String text(byte[] bytes) {
    return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
  }

  /**
   * Shows the last {@code most} records of each partition up to its present end, one after the other.
   *
   * @return how many offsets before these were passed over
   */
  private static long read(String topic, long most, Consumer<ConsumerRecord<byte[], byte[]>> reader) {
    Map<String, Object> settings = new HashMap<>(Map.of(
        "bootstrap.servers", SERVER, "enable.auto.commit", false, "auto.offset.reset", "earliest", "max.poll.records", 100,
        "default.api.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2,
        "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class));
    // Of all partitions together; a single record may be larger.
    settings.putAll(Map.of("fetch.max.bytes", FETCH_BYTES, "max.partition.fetch.bytes", FETCH_BYTES / 4));
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic).stream().map(one -> new TopicPartition(topic, one.partition())).toList();
      consumer.assign(partitions);
      Map<TopicPartition, Long> begins = consumer.beginningOffsets(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      long skipped = 0;
      for (TopicPartition one : partitions) {
        long first = Math.max(begins.get(one), most > ends.get(one) ? 0 : ends.get(one) - most);
        skipped += first - begins.get(one);
        consumer.seek(one, first);
      }
      long seen = System.nanoTime();
      while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(500));
        for (ConsumerRecord<byte[], byte[]> one : records) {
          if (one.offset() < ends.get(new TopicPartition(topic, one.partition()))) {
            reader.accept(one);
          }
        }
        seen = records.isEmpty() ? seen : System.nanoTime();
        if (System.nanoTime() - seen > TIMEOUT_MS * 1_000_000L) {
          throw new IllegalStateException("nothing of " + topic + " came for " + TIMEOUT_MS + " ms");
        }
      }
      return skipped;
    }
  }

  private static JsonNode put(String topic, JsonNode record, boolean withValue) throws Exception {
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", SERVER, "acks", "all", "delivery.timeout.ms", TIMEOUT_MS, "request.timeout.ms", TIMEOUT_MS / 2,
        "key.serializer", StringSerializer.class, "value.serializer", StringSerializer.class);
    try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
      String value = withValue ? record.get("value").asText() : null;
      var sent = producer.send(new ProducerRecord<>(topic, record.get("partition").asInt(), record.get("key").asText(), value)).get();
      return JSON.createObjectNode().put("offset", sent.offset());
    }
  }

  private static JsonNode purge(String topic) throws Exception {
    try (Admin admin = admin()) {
      Map<TopicPartition, OffsetSpec> last = new HashMap<>();
      admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()
          .forEach(one -> last.put(new TopicPartition(topic, one.partition()), OffsetSpec.latest()));
      Map<TopicPartition, RecordsToDelete> doomed = new HashMap<>();
      admin.listOffsets(last).all().get().forEach((one, end) -> doomed.put(one, RecordsToDelete.beforeOffset(end.offset())));
      admin.deleteRecords(doomed).all().get();
      return JSON.createObjectNode().put("partitions", doomed.size());
    }
  }

  private static ConfigResource resource(String topic) {
    return new ConfigResource(ConfigResource.Type.TOPIC, topic);
  }

  private static Map<String, String> texts(JsonNode node) {
    Map<String, String> texts = new HashMap<>();
    node.fields().forEachRemaining(entry -> texts.put(entry.getKey(), entry.getValue().isNull() ? null : entry.getValue().asText()));
    return texts;
  }
}

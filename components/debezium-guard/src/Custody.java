import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * Sees that Kafka still has what it had acknowledged. A broker that comes back with less, as from an older copy of its volume or
 * empty, goes on as if nothing had happened, and so does the server: it would store its next offset, and nobody could tell
 * afterwards that records before it are missing. So a {@link Mark} of each partition is kept, in memory and beside the offset, and
 * compared with what is there: by {@link #lost} before the server starts, every two seconds while it runs. When something is gone,
 * that is noted and the server ended, for the guard to begin anew.
 *
 * <p>Only topics whose records are on disk before they are acknowledged are watched: elsewhere a hard stop may lose some. Which
 * ones these are says the configuration: a watched topic that vanishes is lost, and not forgotten.
 */
final class Custody implements Runnable {
  private static final long PAUSE_MS = 2_000;
  private static final long PATIENCE_MS = 5_000;
  // Marks beside the offset may be that old: what is lost after the last one is seen by the server's next start only if it ran.
  private static final long STORE_MS = 30_000;
  private static final int EXIT = 4;
  private final Offsets offsets;
  private final Set<String> topics;
  private final Map<TopicPartition, Mark> marks = new HashMap<>();
  private Map<TopicPartition, Mark> stored = Map.of();
  private long storedAt;

  /** {@code topics} are watched; {@code offsets} must have been loaded. */
  Custody(Offsets offsets, Set<String> topics) throws Exception {
    this.offsets = offsets;
    this.topics = topics;
    JsonNode known = offsets.marks();
    if (known != null) {
      known.fields().forEachRemaining(topic -> topic.getValue().fields().forEachRemaining(part -> {
        JsonNode one = part.getValue();
        TopicPartition partition = new TopicPartition(topic.getKey(), Integer.parseInt(part.getKey()));
        if (topics.contains(topic.getKey())) {
          marks.put(partition, new Mark(one.get(0).asText(), one.get(1).asLong(), one.get(2).asLong(), one.get(3).asLong()));
        }
      }));
    }
    stored = Map.copyOf(marks);
  }

  @Override
  public void run() {
    try {
      while (true) {
        try (KafkaConsumer<String, String> consumer = offsets.consumer(); Admin admin = offsets.admin()) {
          while (true) {
            String lost = look(consumer, admin);
            if (lost != null) {
              end(lost);
            }
            store();
            Thread.sleep(PAUSE_MS);
          }
        } catch (KafkaException error) {
          // It is away; what was remembered is looked for when it is back.
          Guard.log("INFO", "the broker does not answer: " + error.getMessage());
        }
        Thread.sleep(PAUSE_MS);
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    } catch (Exception | Error error) {
      // Better a restart than records that nobody watches.
      Guard.log("ERROR", "the watch over Kafka failed: " + error);
      System.exit(3);
    }
  }

  /** What Kafka lost since the stored marks, or null. Before the server starts. */
  String lost() throws Exception {
    try (KafkaConsumer<String, String> consumer = offsets.consumer(); Admin admin = offsets.admin()) {
      return look(consumer, admin);
    }
  }

  /** Those of {@code topics} that do not exist. */
  static Set<String> absent(Offsets offsets, Set<String> topics) throws Exception {
    try (Admin admin = offsets.admin()) {
      Set<String> absent = new TreeSet<>(topics);
      absent.removeAll(answer(() -> admin.listTopics().names().get(Offsets.TIMEOUT_MS, TimeUnit.MILLISECONDS)));
      return absent;
    }
  }

  private String look(KafkaConsumer<String, String> consumer, Admin admin) throws Exception {
    Set<String> there = new HashSet<>(answer(() -> admin.listTopics().names().get(Offsets.TIMEOUT_MS, TimeUnit.MILLISECONDS)));
    there.retainAll(topics);
    Map<String, TopicDescription> described =
        answer(() -> admin.describeTopics(there).allTopicNames().get(Offsets.TIMEOUT_MS, TimeUnit.MILLISECONDS));
    List<TopicPartition> partitions = new ArrayList<>();
    described.forEach((name, topic) -> topic.partitions().forEach(one -> partitions.add(new TopicPartition(name, one.partition()))));
    consumer.assign(partitions);
    Map<TopicPartition, Long> begins = consumer.beginningOffsets(partitions);
    Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
    Map<TopicPartition, Long> places = new HashMap<>();
    marks.forEach((partition, mark) -> {
      if (mark.offset() >= 0 && ends.getOrDefault(partition, -1L) > mark.offset()) {
        places.put(partition, mark.offset());
      }
    });
    Map<TopicPartition, ConsumerRecord<String, String>> found = new HashMap<>();
    fetch(consumer, places, found::put);
    for (Map.Entry<TopicPartition, Mark> entry : marks.entrySet()) {
      TopicPartition partition = entry.getKey();
      TopicDescription topic = described.get(partition.topic());
      ConsumerRecord<String, String> record = found.get(partition);
      String lost = entry.getValue().lost(new Mark.Now(
          topic == null ? null : topic.topicId().toString(), begins.getOrDefault(partition, -1L), ends.getOrDefault(partition, -1L),
          record == null ? -1 : record.offset(), record == null ? -1 : record.timestamp()));
      if (lost != null) {
        return partition + ": " + lost;
      }
    }
    places.clear();
    ends.forEach((partition, end) -> {
      Mark mark = marks.get(partition);
      if (end > begins.get(partition) && (mark == null || end > mark.offset() + 1)) {
        places.put(partition, end - 1);
      } else if (mark == null) {
        marks.put(partition, new Mark(described.get(partition.topic()).topicId().toString(), begins.get(partition), -1, -1));
      }
    });
    fetch(consumer, places, (partition, record) -> marks.put(partition, new Mark(
        described.get(partition.topic()).topicId().toString(), begins.get(partition), record.offset(), record.timestamp())));
    return null;
  }

  /** Reads the first record at or after each place; one that is not there in time is left out. */
  private static void fetch(KafkaConsumer<String, String> consumer, Map<TopicPartition, Long> places,
      BiConsumer<TopicPartition, ConsumerRecord<String, String>> reader) {
    Set<TopicPartition> open = new HashSet<>(places.keySet());
    consumer.pause(consumer.assignment());
    consumer.resume(open);
    places.forEach(consumer::seek);
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
    while (!open.isEmpty() && System.nanoTime() < deadline) {
      for (ConsumerRecord<String, String> one : consumer.poll(Duration.ofMillis(500))) {
        TopicPartition partition = new TopicPartition(one.topic(), one.partition());
        if (open.remove(partition)) {
          reader.accept(partition, one);
        }
      }
      consumer.pause(consumer.assignment().stream().filter(partition -> !open.contains(partition)).toList());
    }
  }

  private void store() throws Exception {
    if (System.nanoTime() - storedAt < STORE_MS * 1_000_000 && storedAt != 0 || marks.equals(stored)) {
      return;
    }
    ObjectNode document = Offsets.JSON.createObjectNode();
    marks.forEach((partition, mark) -> document.withObjectProperty(partition.topic()).putArray(String.valueOf(partition.partition()))
        .add(mark.topic()).add(mark.begin()).add(mark.offset()).add(mark.timestamp()));
    offsets.marks(document);
    stored = Map.copyOf(marks);
    storedAt = System.nanoTime();
  }

  private void end(String lost) throws Exception {
    Guard.log("WARN", "BK-271: Kafka lost records that it had acknowledged: " + lost + "; the server ends, its next start takes a new snapshot");
    // Without its topic no offset is stored, which tells the same, and nothing can be noted.
    if (absent(offsets, Set.of(offsets.topic())).isEmpty()) {
      offsets.load();
      offsets.note(Guard.marked(offsets.note(), true));
    }
    // Not exit(): hooks would let the server store another offset.
    Runtime.getRuntime().halt(EXIT);
  }

  private interface Question<T> {
    T ask() throws ExecutionException, TimeoutException, InterruptedException;
  }

  /** What the broker says; a KafkaException when it does not. */
  private static <T> T answer(Question<T> question) throws InterruptedException {
    try {
      return question.ask();
    } catch (ExecutionException error) {
      throw error.getCause() instanceof KafkaException known ? known : new KafkaException(error.getCause());
    } catch (TimeoutException error) {
      throw new KafkaException("no answer within " + Offsets.TIMEOUT_MS + " ms", error);
    }
  }
}

import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * Sees that Kafka still has what it had acknowledged. A broker that comes back with less, as from an older copy of its volume,
 * goes on as if nothing had happened, and so does the server: it would store its next offset, and nobody could tell afterwards
 * that records before it are missing. So the newest record of each partition is remembered, and looked for again; when it is
 * gone, or another one stands in its place, that is noted and the server ended, for the guard to begin anew.
 *
 * <p>Only topics whose records are on disk before they are acknowledged are watched: elsewhere a hard stop may lose some.
 */
final class Custody implements Runnable {
  private static final long PAUSE_MS = 2_000;
  private static final long PATIENCE_MS = 5_000;
  private static final int EXIT = 4;
  private final Offsets offsets;
  private final String prefix;
  private final Map<TopicPartition, Mark> marks = new HashMap<>();

  Custody(Offsets offsets, String prefix) {
    this.offsets = offsets;
    this.prefix = prefix;
  }

  @Override
  public void run() {
    try {
      while (true) {
        try (KafkaConsumer<String, String> consumer = offsets.consumer()) {
          while (true) {
            look(consumer);
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
    } catch (RuntimeException | Error error) {
      // Better a restart than records that nobody watches.
      Guard.log("ERROR", "the watch over Kafka failed: " + error);
      System.exit(3);
    }
  }

  private void look(KafkaConsumer<String, String> consumer) {
    List<TopicPartition> watched = consumer.listTopics().entrySet().stream()
        .filter(topic -> topic.getKey().equals(offsets.topic()) || ofTable(topic.getKey()))
        .flatMap(topic -> topic.getValue().stream().map(one -> new TopicPartition(one.topic(), one.partition()))).toList();
    consumer.assign(watched);
    Map<TopicPartition, Long> ends = consumer.endOffsets(watched);
    marks.keySet().retainAll(ends.keySet());
    Map<TopicPartition, Mark> now = new HashMap<>();
    Map<TopicPartition, Long> places = new HashMap<>();
    marks.forEach((partition, mark) -> {
      if (ends.get(partition) > mark.offset()) {
        places.put(partition, mark.offset());
      }
    });
    fetch(consumer, places, now::put);
    marks.forEach((partition, mark) -> {
      if (mark.lost(ends.get(partition), now.get(partition))) {
        end(partition, mark, ends.get(partition));
      }
    });
    places.clear();
    ends.forEach((partition, end) -> {
      Mark mark = marks.get(partition);
      if (end > 0 && (mark == null || end > mark.offset() + 1)) {
        places.put(partition, end - 1);
      }
    });
    fetch(consumer, places, marks::put);
  }

  private boolean ofTable(String topic) {
    return topic.startsWith(prefix + ".") && !topic.endsWith(".cdc_heartbeat");
  }

  /** Reads the first record at or after each place; one that is not there in time is left out. */
  private static void fetch(
      KafkaConsumer<String, String> consumer, Map<TopicPartition, Long> places, BiConsumer<TopicPartition, Mark> reader) {
    Set<TopicPartition> open = new HashSet<>(places.keySet());
    consumer.pause(consumer.assignment());
    consumer.resume(open);
    places.forEach(consumer::seek);
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
    while (!open.isEmpty() && System.nanoTime() < deadline) {
      for (ConsumerRecord<String, String> one : consumer.poll(Duration.ofMillis(500))) {
        TopicPartition partition = new TopicPartition(one.topic(), one.partition());
        if (open.remove(partition)) {
          reader.accept(partition, new Mark(one.offset(), one.timestamp()));
        }
      }
      consumer.pause(consumer.assignment().stream().filter(partition -> !open.contains(partition)).toList());
    }
  }

  private void end(TopicPartition partition, Mark mark, long end) {
    Guard.log("WARN", "Kafka lost records that it had acknowledged: " + partition + " ends at " + end + ", " + mark + " was there");
    try {
      offsets.load();
      offsets.note(Guard.marked(offsets.note(), true));
    } catch (Exception error) {
      // The server goes on meanwhile, which does no further harm; the next look comes to the same end.
      throw error instanceof KafkaException known ? known : new KafkaException(error);
    }
    // Not exit(): hooks would let the server store another offset.
    Runtime.getRuntime().halt(EXIT);
  }
}

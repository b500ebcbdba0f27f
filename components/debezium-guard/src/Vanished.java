import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.sql.SQLException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;

/**
 * After a new snapshot: publishes the deletion of rows that Kafka still has and the database does not. Keys are taken from
 * Kafka first and looked up in the database afterwards, so a row that is missing there was deleted; its own event may
 * still be on its way, and then comes twice, which consumers bear. Holds a bounded number of keys at a time.
 */
final class Vanished implements Runnable {
  private static final int BATCH = 1_000;
  private static final long MOST_KEYS = 20_000;
  private static final long PAUSE_MS = 1_000;
  private final Properties settings;
  private final Offsets offsets;
  private final String prefix;
  // Of the comparison that is under way, all topics together.
  private String since;
  private long all;
  private long read;
  private long toldAt;

  Vanished(Properties settings, Offsets offsets, String prefix) {
    this.settings = settings;
    this.offsets = offsets;
    this.prefix = prefix;
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
      // Better a restart than a comparison that nobody makes.
      Guard.log("ERROR", "the comparison with the source failed: " + error);
      System.exit(3);
    }
  }

  private boolean done() throws Exception {
    try {
      offsets.load();
      JsonNode offset = offsets.offset();
      try (Source source = Guard.open(settings)) {
        if (offset == null || Offsets.unfinished(offset) || !source.state().active()) {
          return false;
        }
        List<String> tables = Topics.tablesWithState(settings);
        since = Instant.now().toString();
        all = 0;
        read = 0;
        for (String table : tables) {
          all += offsets.size(Topics.topic(prefix, table));
        }
        ObjectNode removed = Offsets.JSON.createObjectNode();
        for (String table : tables) {
          removed.put(table, compare(source, table));
        }
        ObjectNode note = (ObjectNode) offsets.note();
        note.put("done", Instant.now().toString()).set("removed", removed);
        offsets.note(note);
        Progress.over();
        Gate.audits(true);
        Guard.log("INFO", "compared with the source after a new snapshot: " + note);
        return true;
      }
    } catch (SQLException | KafkaException error) {
      Guard.log("WARN", "waiting: " + error.getMessage());
      return false;
    }
  }

  /** One pass over the topic, whose cost is that of its records; a key that comes again is looked up again. */
  private int compare(Source source, String table) throws Exception {
    String topic = Topics.topic(prefix, table);
    Set<String> keys = new HashSet<>();
    // Rows that the database does not have and whose deletion was not read yet.
    Set<String> gone = new HashSet<>();
    int[] removed = {0};
    AtomicReference<Exception> failed = new AtomicReference<>();
    offsets.read(topic, record -> {
      if (failed.get() != null) {
        return;
      }
      read++;
      if (record.value() == null) {
        keys.remove(record.key());
        gone.remove(record.key());
      } else if (record.key() != null) {
        keys.add(record.key());
      }
      try {
        if (keys.size() >= MOST_KEYS) {
          gone.addAll(missing(source, table, new ArrayList<>(keys)));
          keys.clear();
        }
        if (gone.size() >= MOST_KEYS) {
          removed[0] += publish(topic, gone);
          gone.clear();
        }
        if (System.nanoTime() - toldAt > Progress.PAUSE_MS * 1_000_000) {
          toldAt = System.nanoTime();
          ObjectNode progress = Progress.node("comparison", since, Math.min(read, all), all);
          Progress.current(progress);
          offsets.progress(progress);
        }
      } catch (Exception error) {
        failed.set(error);
      }
    });
    if (failed.get() != null) {
      throw failed.get();
    }
    gone.addAll(missing(source, table, new ArrayList<>(keys)));
    return removed[0] + publish(topic, gone);
  }

  private static Set<String> missing(Source source, String table, List<String> keys) throws Exception {
    String column = source.key(table);
    Set<String> missing = new HashSet<>();
    for (int from = 0; from < keys.size(); from += BATCH) {
      Map<String, String> ids = new TreeMap<>();
      for (String key : keys.subList(from, Math.min(from + BATCH, keys.size()))) {
        JsonNode id = Offsets.parsed(key).path(column);
        if (id.isValueNode() && !id.isNull()) {
          ids.put(id.asText(), key);
        } else {
          Guard.log("WARN", "passed over: key " + key.substring(0, Math.min(key.length(), 100)) + " names no row of " + table);
        }
      }
      ids.keySet().removeAll(source.present(table, column, ids.keySet()));
      missing.addAll(ids.values());
    }
    return missing;
  }

  private int publish(String topic, Set<String> keys) throws Exception {
    if (keys.isEmpty()) {
      return 0;
    }
    // Where the newest record of each is first: values are read one at a time, whatever they hold.
    Map<String, Long> last = new HashMap<>();
    offsets.read(topic, record -> {
      if (keys.contains(record.key())) {
        last.put(record.key(), record.value() == null ? -1 : record.offset());
      }
    });
    int[] published = {0};
    AtomicReference<Exception> failed = new AtomicReference<>();
    try (KafkaProducer<String, String> producer = offsets.producer()) {
      offsets.read(topic, record -> {
        JsonNode value = last.getOrDefault(record.key(), -1L).equals(record.offset()) ? Offsets.parsed(record.value()) : null;
        if (failed.get() != null || value == null || !value.hasNonNull("after")) {
          return;
        }
        try {
          ObjectNode gone = Offsets.JSON.createObjectNode();
          gone.set("before", value.get("after"));
          gone.putNull("after").set("source", value.path("source"));
          gone.put("op", "d").put("ts_ms", System.currentTimeMillis());
          for (String text : Arrays.asList(Offsets.JSON.writeValueAsString(gone), null)) {
            producer.send(new ProducerRecord<>(topic, 0, record.key(), text), (sent, error) -> failed.compareAndSet(null, error));
          }
          published[0]++;
        } catch (JsonProcessingException | KafkaException error) {
          failed.compareAndSet(null, error);
        }
      });
      producer.flush();
    }
    if (failed.get() != null) {
      throw failed.get();
    }
    return published[0];
  }
}

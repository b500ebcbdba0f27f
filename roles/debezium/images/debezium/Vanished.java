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
 * still be on its way, and then comes twice, which consumers bear. Works on a bounded share of the keys at a time.
 */
final class Vanished implements Runnable {
  private static final int BATCH = 1_000;
  private static final long MOST_KEYS = 50_000;
  private static final long PAUSE_MS = 1_000;
  private final Properties settings;
  private final Offsets offsets;
  private final String prefix;

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
        ObjectNode removed = Offsets.JSON.createObjectNode();
        for (String name : settings.getProperty("debezium.source.table.include.list").split(",")) {
          String table = name.substring(name.indexOf('.') + 1);
          if (!Topics.NO_STATE.contains(table)) {
            removed.put(table, compare(source, table));
          }
        }
        ObjectNode note = (ObjectNode) offsets.note();
        note.put("done", Instant.now().toString()).set("removed", removed);
        offsets.note(note);
        Guard.log("INFO", "compared with the source after a new snapshot: " + note);
        return true;
      }
    } catch (SQLException | KafkaException error) {
      Guard.log("WARN", "waiting: " + error.getMessage());
      return false;
    }
  }

  private int compare(Source source, String table) throws Exception {
    String topic = prefix + ".public." + table;
    long[] records = {0};
    if (!offsets.read(topic, record -> records[0]++)) {
      return 0;
    }
    int shares = (int) (records[0] / MOST_KEYS) + 1;
    int removed = 0;
    for (int share = 0; share < shares; share++) {
      Set<String> keys = new HashSet<>();
      int mine = share;
      offsets.read(topic, record -> {
        if (record.key() == null || Math.floorMod(record.key().hashCode(), shares) != mine) {
          return;
        }
        if (record.value() == null) {
          keys.remove(record.key());
        } else {
          keys.add(record.key());
        }
      });
      removed += publish(topic, missing(source, table, new ArrayList<>(keys)));
    }
    return removed;
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

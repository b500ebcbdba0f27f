import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.management.ManagementFactory;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import javax.management.openmbean.CompositeData;
import javax.management.openmbean.TabularData;

/**
 * How far the server's snapshot is, told in the topic of offsets for whoever waits for it: {stage, since, at, rows, of, tables}, the
 * last by name [rows done, rows in all]. The connector counts the rows of a table every ten seconds; how many there are is counted
 * when the snapshot begins. A failure to tell ends nothing.
 */
final class Progress implements Runnable {
  static final long PAUSE_MS = 2_000;
  private final Properties settings;
  private final Offsets offsets;
  private final ObjectName meter;
  private final MBeanServer beans = ManagementFactory.getPlatformMBeanServer();
  private final Map<String, Long> totals = new LinkedHashMap<>();
  private final String since = Instant.now().toString();

  Progress(Properties settings, Offsets offsets, String prefix) throws JMException {
    this.settings = settings;
    this.offsets = offsets;
    this.meter = new ObjectName("debezium.postgres:type=connector-metrics,context=snapshot,server=" + prefix + ",*");
  }

  @Override
  public void run() {
    try {
      while (!told()) {
        Thread.sleep(PAUSE_MS);
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }

  /** Whether there is nothing more to tell. */
  private boolean told() {
    try {
      Set<ObjectName> found = beans.queryNames(meter, null);
      if (found.isEmpty()) {
        return false;
      }
      ObjectName one = found.iterator().next();
      boolean over = is(one, "SnapshotCompleted") || is(one, "SnapshotSkipped");
      if (is(one, "SnapshotRunning") || (over && !totals.isEmpty())) {
        tell(rows(one));
      }
      return over;
    } catch (Exception error) {
      Guard.log("WARN", "the progress of the snapshot cannot be told: " + error);
      return false;
    }
  }

  private boolean is(ObjectName one, String attribute) throws JMException {
    return Boolean.TRUE.equals(beans.getAttribute(one, attribute));
  }

  /** Rows read so far by name of the table, of those that were begun. */
  private Map<String, Long> rows(ObjectName one) throws JMException {
    Map<String, Long> rows = new LinkedHashMap<>();
    if (beans.getAttribute(one, "RowsScanned") instanceof TabularData scanned) {
      for (Object entry : scanned.values()) {
        CompositeData pair = (CompositeData) entry;
        String name = (String) pair.get("key");
        rows.put(name.substring(name.lastIndexOf('.') + 1), (Long) pair.get("value"));
      }
    }
    return rows;
  }

  private void tell(Map<String, Long> rows) throws Exception {
    if (totals.isEmpty()) {
      try (Source source = Guard.open(settings)) {
        for (String table : Topics.tables(settings)) {
          totals.put(table, source.count(table));
        }
      }
    }
    ObjectNode progress = node("snapshot", since, 0, 0);
    ObjectNode tables = progress.putObject("tables");
    long done = 0;
    long all = 0;
    for (Map.Entry<String, Long> total : totals.entrySet()) {
      // Rows that came after they were counted.
      long read = Math.min(rows.getOrDefault(total.getKey(), 0L), total.getValue());
      tables.putArray(total.getKey()).add(read).add(total.getValue());
      done += read;
      all += total.getValue();
    }
    offsets.progress(progress.put("rows", done).put("of", all));
  }

  static ObjectNode node(String stage, String since, long rows, long of) {
    ObjectNode node = Offsets.JSON.createObjectNode();
    return node.put("stage", stage).put("since", since).put("at", Instant.now().toString()).put("rows", rows).put("of", of);
  }
}

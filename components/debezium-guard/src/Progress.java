import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;

/**
 * How far a new snapshot or the comparison after it is, told in the topic of offsets and by the door for whoever waits for it: {stage,
 * since, at, rows, of, before, tables}. {@code before}: rows that were done when this run of it began, {@code since}; {@code tables}: by
 * name [rows done, rows in all]; {@code waiting}, only while it waits for the oldest transaction of the source: {pid, user,
 * application, seconds}, the seconds of the wait.
 */
final class Progress {
  static final long PAUSE_MS = 2_000;
  private static volatile String current = "{\"stage\":\"none\"}";

  private Progress() {}

  static ObjectNode node(String stage, String since, long rows, long of) {
    ObjectNode node = Offsets.JSON.createObjectNode();
    return node.put("stage", stage).put("since", since).put("at", Instant.now().toString()).put("rows", rows).put("of", of);
  }

  /** Told last by this process. */
  static void current(ObjectNode progress) {
    current = progress.toString();
  }

  static void over() {
    current = "{\"stage\":\"none\"}";
  }

  static String current() {
    return current;
  }
}

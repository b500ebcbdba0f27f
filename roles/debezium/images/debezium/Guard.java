import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Instant;
import java.util.Properties;
import org.apache.kafka.common.KafkaException;

/**
 * Starts the server after it has looked at the stored offset and the slot, see {@link Verdict}. Where only a new snapshot
 * brings every row, it drops the slot and forgets the offset, so that the server begins anew; a snapshot cannot tell which
 * rows are gone, so {@link Vanished} publishes their deletion afterwards, and {@link Custody} watches the broker as long as the
 * server runs. What is still to be done is noted in the topic of offsets: a guard that is killed goes on when it is started again.
 *
 * <p>In the server's own process: the server ends when it cannot go on, and the container's restart brings the guard
 * back. It waits for database and broker itself, which spares the waits between the restarts of a container.
 */
public final class Guard {
  private static final Path SETTINGS = Path.of("/opt/debezium/config/application.properties");
  private static final long PATIENCE_MS = 100_000;
  private static final long PAUSE_MS = 1_000;

  private Guard() {}

  public static void main(String[] arguments) throws Exception {
    Properties settings = new Properties();
    try (InputStream in = Files.newInputStream(SETTINGS)) {
      settings.load(in);
    }
    String prefix = settings.getProperty("debezium.source.topic.prefix");
    Offsets offsets = offsets(settings, prefix);
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
    while (!prepared(settings, offsets, deadline)) {
      Thread.sleep(PAUSE_MS);
    }
    if (pending(offsets.note())) {
      Thread thread = new Thread(new Vanished(settings, offsets, prefix), "guard-vanished");
      thread.setDaemon(true);
      thread.start();
    }
    Thread custody = new Thread(new Custody(offsets(settings, prefix), prefix), "guard-custody");
    custody.setDaemon(true);
    custody.start();
    Class.forName("io.debezium.server.Main").getMethod("main", String[].class).invoke(null, (Object) arguments);
  }

  private static Offsets offsets(Properties settings, String prefix) {
    return new Offsets(
        settings.getProperty("debezium.source.bootstrap.servers"), settings.getProperty("debezium.source.offset.storage.topic"), prefix);
  }

  /** Whether the server may start; false if database or broker do not answer yet. */
  private static boolean prepared(Properties settings, Offsets offsets, long deadline) throws Exception {
    try {
      offsets.load();
      try (Source source = open(settings)) {
        prepare(source, offsets);
      }
      return true;
    } catch (SQLException | KafkaException error) {
      if (System.nanoTime() > deadline) {
        throw error;
      }
      log("WARN", "waiting: " + error.getMessage());
      return false;
    }
  }

  static Source open(Properties settings) throws SQLException {
    return new Source(settings, System.getenv("DATABASE_USER"), System.getenv("DATABASE_PASSWORD"));
  }

  private static void prepare(Source source, Offsets offsets) throws Exception {
    Source.State state = source.state();
    if (state.active()) {
      source.release();
      throw new SQLException("the slot was in use; its reader was ended");
    }
    JsonNode offset = offsets.offset();
    boolean lost = offsets.note() != null && offsets.note().path("lost").asBoolean(false);
    Verdict verdict = lost ? Verdict.BROKER_BACK : Verdict.of(
        Offsets.position(offset), Offsets.plain(offset), Offsets.unfinished(offset), state.confirmed(), state.lost(), state.end());
    log(verdict.snapshot ? "WARN" : "INFO", verdict + ": " + verdict.reason + "; offset=" + offset + " slot=" + state);
    if (verdict.snapshot) {
      // The note first: whatever is interrupted from here on, the comparison afterwards is not forgotten. A new one each time,
      // also while the last is not done: readers of the topics take "since" for the snapshot that their state belongs to.
      ObjectNode note = Offsets.JSON.createObjectNode();
      offsets.note(note.put("cause", verdict.name()).put("since", Instant.now().toString()).put("lost", lost).putNull("done"));
      offsets.forget();
      if (state.exists()) {
        source.drop();
      }
      if (lost) {
        // Not before the offset is gone, which from here on tells the same.
        offsets.note(marked(note, false));
      }
    } else if (verdict == Verdict.REWIND) {
      offsets.rewind(state.confirmed());
    }
  }

  /** A note (or null) that says whether Kafka lost records and nothing was done about it yet. */
  static ObjectNode marked(JsonNode note, boolean lost) {
    ObjectNode marked = note == null ? Offsets.JSON.createObjectNode() : note.deepCopy();
    return marked.put("lost", lost);
  }

  static boolean pending(JsonNode note) {
    return note != null && !note.hasNonNull("done");
  }

  static void log(String level, String message) {
    ObjectNode line = Offsets.JSON.createObjectNode();
    System.out.println(line.put("timestamp", Instant.now().toString()).put("level", level).put("loggerName", "guard").put("message", message));
  }
}

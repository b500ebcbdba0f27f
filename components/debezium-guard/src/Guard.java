import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Instant;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.common.KafkaException;

/**
 * Starts the server after it has looked at the stored offset and the slot, see {@link Verdict}. Where only a new snapshot
 * brings every row, it makes a new slot, from which the server streams at once, and {@link Reread} publishes what was there before; that
 * cannot tell which rows are gone, so {@link Vanished} publishes their deletion afterwards. {@link Custody} watches the broker as long as
 * the server runs. What is still to be done is noted in the topic of offsets: a guard that is killed goes on when it is started again.
 *
 * <p>In the server's own process: the server ends when it cannot go on, and the container's restart brings the guard
 * back. It waits for database and broker itself, which spares the waits between the restarts of a container.
 */
public final class Guard {
  private static final Path SETTINGS = Path.of("/opt/debezium/config/application.properties");
  private static final long PATIENCE_MS = 100_000;
  private static final long PAUSE_MS = 1_000;
  // Survives the container, not its pod: the slot's position at the last starts, and how many there were at it.
  private static final Path STARTS = Path.of("/tmp/guard-starts");
  private static final int FUTILE_STARTS = 3;

  private Guard() {}

  public static void main(String[] arguments) throws Exception {
    Properties settings = new Properties();
    try (InputStream in = Files.newInputStream(SETTINGS)) {
      settings.load(in);
    }
    Door.open(settings);
    String prefix = settings.getProperty("debezium.source.topic.prefix");
    Offsets offsets = offsets(settings, prefix);
    Topics topics = Topics.of(settings);
    long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
    while (!prepared(settings, offsets, topics, deadline)) {
      Thread.sleep(PAUSE_MS);
    }
    if (pending(offsets.note())) {
      Reread reread = new Reread(settings, offsets, prefix);
      Vanished vanished = new Vanished(settings, offsets, prefix);
      start("guard-snapshot", () -> {
        reread.run();
        vanished.run();
      });
    }
    Offsets watched = offsets(settings, prefix);
    watched.load();
    start("guard-custody", new Custody(watched, topics.watched()));
    Class.forName("io.debezium.server.Main").getMethod("main", String[].class).invoke(null, (Object) arguments);
  }

  private static void start(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    thread.start();
  }

  private static Offsets offsets(Properties settings, String prefix) {
    return new Offsets(
        settings.getProperty("debezium.source.bootstrap.servers"), settings.getProperty("debezium.source.offset.storage.topic"), prefix);
  }

  /** Whether the server may start; false if database or broker do not answer yet. */
  private static boolean prepared(Properties settings, Offsets offsets, Topics topics, long deadline) throws Exception {
    try {
      Set<String> absent = Custody.absent(offsets, topics.all());
      if (!absent.isEmpty()) {
        throw new KafkaException("BK-270: Kafka has no topic " + String.join(", ", absent)
            + "; the broker makes none by itself: run `make up`, which makes them");
      }
      offsets.load();
      try (Source source = open(settings)) {
        prepare(source, offsets, topics);
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

  private static void prepare(Source source, Offsets offsets, Topics topics) throws Exception {
    Source.State state = source.state();
    if (state.active()) {
      source.release();
      throw new SQLException("the slot was in use; its reader was ended");
    }
    JsonNode offset = offsets.offset();
    boolean lost = offsets.note() != null && offsets.note().path("lost").asBoolean(false);
    if (!lost) {
      String gone = new Custody(offsets, topics.watched()).lost();
      lost = gone != null;
      if (lost) {
        log("WARN", "BK-271: Kafka lost records that it had acknowledged: " + gone);
      }
    }
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
        // Not before the offset is gone, which from here on tells the same. What was lost is not there to be compared with again.
        offsets.marks(null);
        offsets.note(marked(note, false));
      }
      // The slot first: what is committed from here on comes by it, everything else by Reread, while the server streams.
      offsets.begin(source.create());
    } else if (verdict == Verdict.REWIND) {
      offsets.rewind(state.confirmed());
    }
    count(state);
  }

  /** Says so when the server was started again and again without getting on: what comes next in the log ends it. */
  private static void count(Source.State state) throws IOException {
    String[] last = Files.exists(STARTS) ? Files.readString(STARTS).strip().split(" ") : new String[0];
    int starts = last.length == 2 && last[0].equals(String.valueOf(state.confirmed())) ? Integer.parseInt(last[1]) + 1 : 1;
    Files.writeString(STARTS, state.confirmed() + " " + starts);
    // Without anything to read it stays where it is, and is not to blame.
    if (starts >= FUTILE_STARTS && state.confirmed() != null && state.confirmed() < state.end()) {
      log("ERROR", "BK-272: start " + starts + " at the slot's position " + state.confirmed() + ": what comes next in the log ends the"
          + " server each time, see its last lines before the restart. After an OutOfMemoryError a row is larger than the memory"
          + " allows: restore the constraints of the captured tables, or raise debezium_heap");
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

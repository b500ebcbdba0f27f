import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * A transform that lets no heartbeat of the source pass while a new snapshot has not published the whole outbox ({@link Reread}):
 * workers take a heartbeat for the word that everything committed before it was published. The next one comes in seconds.
 *
 * <p>Settings: {@code topic}.
 */
public final class Heartbeats implements Transformation<SourceRecord> {
  // Of the process: the server may load its transforms with another class loader than the guard's.
  private static final String WITHHELD = "bookstore.guard.heartbeats.withheld";
  private String topic;

  static void withhold(boolean withheld) {
    System.setProperty(WITHHELD, String.valueOf(withheld));
  }

  @Override
  public void configure(Map<String, ?> settings) {
    topic = settings.get("topic").toString();
  }

  @Override
  public SourceRecord apply(SourceRecord record) {
    return topic.equals(record.topic()) && Boolean.getBoolean(WITHHELD) ? null : record;
  }

  @Override
  public ConfigDef config() {
    return new ConfigDef();
  }

  @Override
  public void close() {}
}

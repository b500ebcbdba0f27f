import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * A transform that lets records not pass which say that everything before them was published, while a new snapshot has still to
 * publish it ({@link Reread}): heartbeats of the source, until the outbox is done, and digests of the standing audit, until the rows
 * are. The next ones come in seconds or minutes.
 *
 * <p>Settings: {@code heartbeats}, their topic.
 */
public final class Gate implements Transformation<SourceRecord> {
  static final String AUDITS = "cdc.audit";
  // Of the process: the server may load its transforms with another class loader than the guard's.
  private static final String HEARTBEATS_WITHHELD = "bookstore.guard.heartbeats.withheld";
  private static final String AUDITS_WITHHELD = "bookstore.guard.audits.withheld";
  private String heartbeats;

  static void heartbeats(boolean pass) {
    System.setProperty(HEARTBEATS_WITHHELD, String.valueOf(!pass));
  }

  static void audits(boolean pass) {
    System.setProperty(AUDITS_WITHHELD, String.valueOf(!pass));
  }

  @Override
  public void configure(Map<String, ?> settings) {
    heartbeats = settings.get("heartbeats").toString();
  }

  @Override
  public SourceRecord apply(SourceRecord record) {
    boolean withheld = heartbeats.equals(record.topic()) && Boolean.getBoolean(HEARTBEATS_WITHHELD)
        || AUDITS.equals(record.topic()) && Boolean.getBoolean(AUDITS_WITHHELD);
    return withheld ? null : record;
  }

  @Override
  public ConfigDef config() {
    return new ConfigDef();
  }

  @Override
  public void close() {}
}

import io.debezium.data.Envelope;
import io.debezium.transforms.outbox.EventRouter;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Debezium's event router, which no row of the outbox can stop: a row that it cannot read, whose payload is too large, or whose
 * type is no topic of this server, is set aside. Without that, a type without topic would let the producer wait in vain and end the
 * server, and the name of another topic would get there.
 *
 * <p>The router derives a schema from each payload and keeps it; a payload of many small parts takes some thirty times its size.
 * So the payload has a bound of its own, and the router is made anew after some of them.
 *
 * <p>Settings: those of the router, {@code topics}, {@code bytes}, {@code dead.letter.topic}.
 */
public final class OutboxRouter implements Transformation<SourceRecord> {
  private EventRouter<SourceRecord> router;
  private Map<String, ?> settings;
  private Set<String> topics;
  private long bytes;
  private String deadLetters;
  private long seen;

  @Override
  public void configure(Map<String, ?> settings) {
    this.settings = settings;
    topics = Set.of(settings.get("topics").toString().split(","));
    bytes = Long.parseLong(settings.get("bytes").toString());
    deadLetters = settings.get("dead.letter.topic").toString();
    router = router();
  }

  private EventRouter<SourceRecord> router() {
    EventRouter<SourceRecord> made = new EventRouter<>();
    made.configure(settings);
    return made;
  }

  // Several threads may transform records of one batch.
  @Override
  public synchronized SourceRecord apply(SourceRecord record) {
    try {
      long size = payload(record);
      if (size > bytes) {
        return DeadLetter.of(record, deadLetters, "its payload has " + size + " bytes, more than " + bytes);
      }
      seen += size;
      if (seen > 2 * bytes) {
        router.close();
        router = router();
        seen = size;
      }
      SourceRecord event = router.apply(record);
      return event == null || topics.contains(event.topic()) ? event
          : DeadLetter.of(record, deadLetters, "its type " + event.topic() + " is no topic of this server");
    } catch (RuntimeException | StackOverflowError error) {
      return DeadLetter.of(record, deadLetters, "it cannot be read: " + error);
    }
  }

  private static long payload(SourceRecord record) {
    return record.value() instanceof Struct row && row.schema().field(Envelope.FieldName.AFTER) != null
        && row.get(Envelope.FieldName.AFTER) instanceof Struct after && after.schema().field("payload") != null
        && after.get("payload") instanceof String payload ? payload.length() : 0;
  }

  @Override
  public ConfigDef config() {
    return new ConfigDef();
  }

  @Override
  public void close() {
    router.close();
  }
}

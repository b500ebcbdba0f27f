import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Sets a record aside that cannot be published: its place is taken by a short one in the server's topic of dead letters, which says
 * what it was and where its row is. The row itself stays in the source. Whoever sets one aside goes on: one record stops no other.
 */
final class DeadLetter {
  private static final int LONGEST = 1_000;

  private DeadLetter() {}

  static SourceRecord of(SourceRecord record, String topic, String reason) {
    Map<String, Object> letter = new LinkedHashMap<>();
    letter.put("topic", record.topic());
    letter.put("key", record.key() instanceof Struct key ? fields(key) : text(record.key()));
    letter.put("reason", text(reason));
    Object value = record.value();
    if (value instanceof Struct row && row.schema().field("source") != null && row.get("source") instanceof Struct source) {
      letter.put("table", source.getString("table"));
      letter.put("lsn", source.getInt64("lsn"));
    }
    Guard.log("ERROR", "BK-273: set aside into " + topic + ": " + letter);
    return record.newRecord(topic, null, null, letter.get("key"), null, letter, record.timestamp());
  }

  private static Map<String, String> fields(Struct row) {
    Map<String, String> fields = new LinkedHashMap<>();
    row.schema().fields().forEach(field -> fields.put(field.name(), text(row.get(field))));
    return fields;
  }

  private static String text(Object value) {
    String text = String.valueOf(value);
    return text.substring(0, Math.min(text.length(), LONGEST));
  }
}

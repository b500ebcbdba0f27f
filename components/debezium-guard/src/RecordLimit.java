import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * The last transform: sets records aside that are larger than what producer, broker, topics and consumers are made for. Kafka's
 * producer would refuse such a record, which ends the server, which would read the same record again.
 *
 * <p>Settings: {@code bytes}, {@code dead.letter.topic}.
 */
public final class RecordLimit implements Transformation<SourceRecord> {
  private long bytes;
  private String deadLetters;

  @Override
  public void configure(Map<String, ?> settings) {
    bytes = Long.parseLong(settings.get("bytes").toString());
    deadLetters = settings.get("dead.letter.topic").toString();
  }

  @Override
  public SourceRecord apply(SourceRecord record) {
    long size = size(record);
    return size <= bytes ? record : DeadLetter.of(record, deadLetters, "it has " + size + " bytes, bookstore_record_bytes_max is " + bytes);
  }

  /** Bytes of key and value as JSON in UTF-8, or a few more. */
  static long size(ConnectRecord<?> record) {
    return size(record.key()) + size(record.value());
  }

  private static long size(Object value) {
    return switch (value) {
      case null -> 4;
      case String text -> size(text);
      case Struct struct -> {
        long sum = 2;
        for (Field field : struct.schema().fields()) {
          sum += size(field.name()) + 2 + size(struct.getWithoutDefault(field.name()));
        }
        yield sum;
      }
      case List<?> list -> {
        long sum = 2;
        for (Object one : list) {
          sum += 1 + size(one);
        }
        yield sum;
      }
      case Map<?, ?> map -> {
        long sum = 2;
        for (Map.Entry<?, ?> entry : map.entrySet()) {
          sum += size(String.valueOf(entry.getKey())) + 2 + size(entry.getValue());
        }
        yield sum;
      }
      case byte[] binary -> 4L * (binary.length / 3 + 1) + 2;
      case Boolean truth -> 5;
      default -> String.valueOf(value).length() + 2L;
    };
  }

  private static long size(String text) {
    long sum = 2;
    for (int index = 0; index < text.length(); index++) {
      char one = text.charAt(index);
      if (one < 0x20) {
        sum += 6;
      } else if (one < 0x80) {
        sum += one == '"' || one == '\\' ? 2 : 1;
      } else {
        // A half of a surrogate pair has two of its four bytes.
        sum += one < 0x800 || Character.isSurrogate(one) ? 2 : 3;
      }
    }
    return sum;
  }

  @Override
  public ConfigDef config() {
    return new ConfigDef();
  }

  @Override
  public void close() {}
}

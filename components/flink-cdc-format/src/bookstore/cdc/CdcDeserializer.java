package bookstore.cdc;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.Collector;

/**
 * Makes a row of a record, whatever the record's bytes are: the row itself (kinds INSERT and UPDATE_AFTER from {@code after} alone, for
 * {@code before} may be partial or wrong; DELETE with the key's columns), or one that says why there is none. A tombstone makes none.
 */
final class CdcDeserializer implements DeserializationSchema<RowData> {

    /** How much of a refused record is kept. */
    static final int RAW_BYTES = 65536;

    private static final long serialVersionUID = 1L;

    private final ArrayList<Column> columns;
    private final ArrayList<String> metadata;
    private final TypeInformation<RowData> produced;
    private transient ObjectMapper mapper;

    CdcDeserializer(List<Column> columns, List<String> metadata, TypeInformation<RowData> produced) {
        this.columns = new ArrayList<>(columns);
        this.metadata = new ArrayList<>(metadata);
        this.produced = produced;
    }

    @Override
    public void open(InitializationContext context) {
        mapper = new ObjectMapper();
        mapper.enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS, DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);
        mapper.enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);
    }

    @Override
    public void deserialize(byte[] message, Collector<RowData> out) {
        if (message == null) {
            return;
        }
        RowData row = row(message);
        // Apart from what is guarded above it: what the sink throws is a fault of the sink.
        out.collect(row);
    }

    @Override
    public RowData deserialize(byte[] message) {
        throw new UnsupportedOperationException("a tombstone is no row; call deserialize(byte[], Collector)");
    }

    private RowData row(byte[] message) {
        try {
            return applied(message);
        } catch (RefusedException refusal) {
            return quarantined(message, refusal.getMessage());
        } catch (RuntimeException | StackOverflowError error) {
            // Whatever was not thought of stops no other record either.
            return quarantined(message, "not readable: " + RefusedException.shown(String.valueOf(error)));
        }
    }

    private RowData applied(byte[] message) throws RefusedException {
        JsonNode record = parsed(message);
        JsonNode op = record.get("op");
        if (op == null || !op.isTextual()) {
            throw new RefusedException("no change of Debezium: it has no text op");
        }
        return switch (op.textValue()) {
            case "c", "r" -> written(RowKind.INSERT, record);
            case "u" -> written(RowKind.UPDATE_AFTER, record);
            case "d" -> deleted(record);
            case "t" -> throw new RefusedException("op t: the table was truncated, and its rows in analytics were not");
            default -> throw new RefusedException("op " + RefusedException.shown(op.textValue()) + " is none of c, r, u, d");
        };
    }

    private JsonNode parsed(byte[] message) throws RefusedException {
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(message)).toString();
        } catch (CharacterCodingException error) {
            throw new RefusedException("no UTF-8");
        }
        JsonNode record;
        try {
            record = mapper.readTree(text);
        } catch (JsonProcessingException error) {
            throw new RefusedException("no JSON that can be read: " + RefusedException.shown(error.getOriginalMessage()));
        }
        if (record == null || !record.isObject()) {
            throw new RefusedException("no JSON object");
        }
        return record;
    }

    private RowData written(RowKind kind, JsonNode record) throws RefusedException {
        JsonNode after = object(record, "after");
        GenericRowData row = new GenericRowData(kind, columns.size() + metadata.size());
        for (int i = 0; i < columns.size(); i++) {
            row.setField(i, columns.get(i).read(after));
        }
        return row;
    }

    private RowData deleted(JsonNode record) throws RefusedException {
        JsonNode before = object(record, "before");
        GenericRowData row = new GenericRowData(RowKind.DELETE, columns.size() + metadata.size());
        for (int i = 0; i < columns.size(); i++) {
            Column column = columns.get(i);
            row.setField(i, column.key ? column.read(before) : column.nothing());
        }
        return row;
    }

    private static JsonNode object(JsonNode record, String name) throws RefusedException {
        JsonNode found = record.get(name);
        if (found == null || !found.isObject()) {
            throw new RefusedException("op " + record.get("op").textValue() + " without an object " + name);
        }
        return found;
    }

    private RowData quarantined(byte[] message, String reason) {
        GenericRowData row = new GenericRowData(RowKind.INSERT, columns.size() + metadata.size());
        for (int i = 0; i < columns.size(); i++) {
            row.setField(i, columns.get(i).nothing());
        }
        boolean whole = message.length <= RAW_BYTES;
        String told = whole ? reason : reason + " (kept: the first " + RAW_BYTES + " of " + message.length + " bytes)";
        for (int i = 0; i < metadata.size(); i++) {
            Object value = metadata.get(i).equals("reason") ? StringData.fromString(told)
                : whole ? message : Arrays.copyOf(message, RAW_BYTES);
            row.setField(columns.size() + i, value);
        }
        return row;
    }

    @Override
    public boolean isEndOfStream(RowData nextElement) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return produced;
    }
}

package bookstore.cdc;

import java.io.Serializable;
import java.math.BigDecimal;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.utils.LogicalTypeChecks;

/** A column as the table declares it: what of JSON it holds, exactly, and what it does not hold. */
final class Column implements Serializable {

    private static final long serialVersionUID = 1L;
    // What Debezium writes instead of a value that did not change and that the log does not hold.
    private static final String UNAVAILABLE = "__debezium_unavailable_value";
    private static final Pattern NUMBER = Pattern.compile("-?[0-9]{1,100}(\\.[0-9]{1,100})?");
    private static final int LONGEST_TIME = 40;

    final String name;
    final boolean key;
    private final LogicalType type;

    private Column(String name, LogicalType type, boolean key) {
        this.name = name;
        this.type = type;
        this.key = key;
    }

    static List<Column> of(RowType row, List<String> keys) {
        List<Column> columns = new ArrayList<>();
        for (RowType.RowField field : row.getFields()) {
            switch (field.getType().getTypeRoot()) {
                case CHAR, VARCHAR, BOOLEAN, INTEGER, BIGINT, DECIMAL, TIMESTAMP_WITHOUT_TIME_ZONE, TIMESTAMP_WITH_LOCAL_TIME_ZONE ->
                    columns.add(new Column(field.getName(), field.getType(), keys.contains(field.getName())));
                default -> throw new ValidationException("Format bookstore-cdc: column " + field.getName() + " has type " + field.getType()
                    + "; declare a text, BOOLEAN, INT, BIGINT, DECIMAL or TIMESTAMP");
            }
        }
        return columns;
    }

    /** The column's value of a row; RefusedException when there is none that it can hold. */
    Object read(JsonNode row) throws RefusedException {
        JsonNode node = row.get(name);
        if (node == null) {
            throw refused("the record does not have it");
        }
        if (node.isNull()) {
            if (type.isNullable()) {
                return null;
            }
            throw refused("null, and it must have a value");
        }
        return switch (type.getTypeRoot()) {
            case CHAR, VARCHAR -> text(node);
            case BOOLEAN -> {
                if (!node.isBoolean()) {
                    throw unfit(node, "neither true nor false");
                }
                yield node.booleanValue();
            }
            case INTEGER -> {
                if (!node.isIntegralNumber() || !node.canConvertToInt()) {
                    throw unfit(node, "no integer of 32 bits");
                }
                yield node.intValue();
            }
            case BIGINT -> {
                if (!node.isIntegralNumber() || !node.canConvertToLong()) {
                    throw unfit(node, "no integer of 64 bits");
                }
                yield node.longValue();
            }
            case DECIMAL -> decimal(node);
            default -> time(node);
        };
    }

    /** What stands in the column where a row says nothing about it. */
    Object nothing() {
        if (type.isNullable()) {
            return null;
        }
        return switch (type.getTypeRoot()) {
            case CHAR, VARCHAR -> StringData.fromString("");
            case BOOLEAN -> false;
            case INTEGER -> 0;
            case BIGINT -> 0L;
            case DECIMAL -> DecimalData.zero(LogicalTypeChecks.getPrecision(type), LogicalTypeChecks.getScale(type));
            default -> TimestampData.fromEpochMillis(0);
        };
    }

    private StringData text(JsonNode node) throws RefusedException {
        String value = node.textValue();
        if (value == null) {
            throw unfit(node, "no text");
        }
        if (value.equals(UNAVAILABLE)) {
            throw refused("the record does not hold its value, which did not change; the table's REPLICA IDENTITY is not FULL");
        }
        int length = value.codePointCount(0, value.length());
        int longest = LogicalTypeChecks.getLength(type);
        if (length > longest) {
            throw refused("a text of " + length + " characters, at most " + longest + " fit: " + RefusedException.shown(value));
        }
        for (int i = 0; i < value.length(); i++) {
            char unit = value.charAt(i);
            if (unit == 0) {
                throw unfit(node, "a text with U+0000, which no PostgreSQL text can hold");
            }
            if (Character.isSurrogate(unit)) {
                if (i + 1 == value.length() || !Character.isSurrogatePair(unit, value.charAt(i + 1))) {
                    throw unfit(node, "a text with half of a surrogate pair");
                }
                i++;
            }
        }
        return StringData.fromString(value);
    }

    private DecimalData decimal(JsonNode node) throws RefusedException {
        BigDecimal value;
        if (node.isTextual()) {
            if (!NUMBER.matcher(node.textValue()).matches()) {
                throw unfit(node, "no decimal number");
            }
            value = new BigDecimal(node.textValue());
        } else if (node.isNumber()) {
            value = node.decimalValue();
        } else {
            throw unfit(node, "no decimal number");
        }
        int precision = LogicalTypeChecks.getPrecision(type);
        int scale = LogicalTypeChecks.getScale(type);
        value = value.signum() == 0 ? BigDecimal.ZERO : value.stripTrailingZeros();
        // Counted before anything is written out: 1E999999999 is short, and its digits are not.
        if (value.scale() > scale || (long) value.precision() - value.scale() > precision - scale) {
            throw unfit(node, "more digits than " + type.copy(true).asSummaryString() + " holds");
        }
        return DecimalData.fromBigDecimal(value.setScale(scale), precision, scale);
    }

    private TimestampData time(JsonNode node) throws RefusedException {
        String text = node.textValue();
        if (text == null || text.length() > LONGEST_TIME) {
            throw unfit(node, "no time such as 2026-01-31T23:59:59.999999Z");
        }
        LocalDateTime moment;
        try {
            moment = OffsetDateTime.parse(text).withOffsetSameInstant(ZoneOffset.UTC).toLocalDateTime();
        } catch (DateTimeException error) {
            throw unfit(node, "no time such as 2026-01-31T23:59:59.999999Z");
        }
        if (moment.getYear() < 1 || moment.getYear() > 9999) {
            throw unfit(node, "a time outside of the years 1 to 9999");
        }
        int precision = LogicalTypeChecks.getPrecision(type);
        if (moment.getNano() % (int) Math.pow(10, 9 - precision) != 0) {
            throw unfit(node, "a time with more than " + precision + " digits after the second");
        }
        Instant instant = moment.toInstant(ZoneOffset.UTC);
        return TimestampData.fromEpochMillis(instant.toEpochMilli(), instant.getNano() % 1_000_000);
    }

    private RefusedException unfit(JsonNode node, String fault) {
        String value = node.isContainerNode() ? (node.isArray() ? "an array" : "an object") : RefusedException.shown(node.asText());
        return refused(value + " is " + fault);
    }

    private RefusedException refused(String fault) {
        return new RefusedException("column " + name + ": " + fault);
    }
}

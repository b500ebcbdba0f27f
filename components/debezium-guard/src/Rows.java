import com.fasterxml.jackson.databind.node.ObjectNode;
import java.sql.Array;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;

/**
 * Rows of a captured table as the server publishes them, read in chunks by primary key. Values have the connector's forms: numbers
 * with a point as texts, times as ISO texts in UTC with six digits, everything else that is neither number nor truth as text.
 */
final class Rows {
  /** A row: its key as JSON, the values, the transaction that wrote it, and the bytes of its unbounded texts. */
  record Row(String id, ObjectNode key, ObjectNode values, String version, long bytes) {}

  // A chunk ends with whichever comes first; the row that exceeds the characters belongs to it.
  static final int MOST_ROWS = 1_000;
  static final int MOST_CHARACTERS = 1 << 19;
  static final int FETCH = 100;
  private static final Set<String> INTEGERS = Set.of("smallint", "integer", "bigint");
  private static final Set<String> BOUNDED = Set.of(
      "smallint", "integer", "bigint", "boolean", "uuid", "numeric", "timestamp with time zone", "character varying", "character");

  private record Column(String name, String type) {}

  private final Connection connection;
  private final String table;
  private final Column key;
  private final List<Column> columns = new ArrayList<>();
  private final String selection;

  /** {@code longest}: a text of more bytes is not fetched, only measured. */
  Rows(Connection connection, Properties settings, String table, String key, long longest) throws SQLException {
    this.connection = connection;
    this.table = "public.\"" + table + "\"";
    Set<String> excluded = Set.copyOf(Arrays.asList(settings.getProperty("debezium.source.column.exclude.list", "").split(",")));
    try (PreparedStatement statement = connection.prepareStatement(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = ?::regclass AND attnum > 0 AND NOT attisdropped"
            + " ORDER BY attnum")) {
      statement.setString(1, "public." + table);
      try (ResultSet row = statement.executeQuery()) {
        while (row.next()) {
          if (!excluded.contains("public." + table + "." + row.getString(1))) {
            columns.add(new Column(row.getString(1), row.getString(2)));
          }
        }
      }
    }
    this.key = columns.stream().filter(one -> one.name.equals(key)).findFirst()
        .orElseThrow(() -> new SQLException("public." + table + "." + key + " is not captured"));
    List<String> values = new ArrayList<>();
    List<String> sizes = new ArrayList<>(List.of("0"));
    for (Column one : columns) {
      String name = "\"" + one.name + "\"";
      if (one.type.equals("timestamp with time zone")) {
        values.add("CASE WHEN isfinite(" + name + ") THEN to_char(" + name + " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') ELSE "
            + name + "::text END");
      } else if (BOUNDED.contains(one.type)) {
        values.add(name + "::text");
      } else {
        values.add("CASE WHEN octet_length(" + name + "::text) <= " + longest + " THEN " + name + "::text END");
        sizes.add("coalesce(octet_length(" + name + "::text), 0)");
      }
    }
    selection = "SELECT xmin::text, " + String.join(" + ", sizes) + ", " + String.join(", ", values) + " FROM " + this.table;
  }

  /** The rows behind a key (null: from the first one on), in the order of their keys, as one snapshot has them; empty at the end. */
  List<Row> after(String id) throws SQLException {
    String name = "\"" + key.name + "\"";
    String query = selection + (id == null ? "" : " WHERE " + name + " > ?::" + key.type) + " ORDER BY " + name + " LIMIT " + MOST_ROWS;
    // Only within a transaction the driver fetches some rows at a time.
    connection.setAutoCommit(false);
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      statement.setFetchSize(FETCH);
      if (id != null) {
        statement.setString(1, id);
      }
      return read(statement, MOST_CHARACTERS);
    } finally {
      connection.rollback();
      connection.setAutoCommit(true);
    }
  }

  /** Those of some rows that are there. */
  List<Row> with(Collection<String> ids) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(selection + present())) {
      statement.setArray(1, array(ids));
      return read(statement, Long.MAX_VALUE);
    }
  }

  /** The transaction that wrote each of some rows, of those that are there. */
  Map<String, String> versions(Collection<String> ids) throws SQLException {
    Map<String, String> versions = new LinkedHashMap<>();
    String query = "SELECT \"" + key.name + "\"::text, xmin::text FROM " + table + present();
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      statement.setArray(1, array(ids));
      try (ResultSet row = statement.executeQuery()) {
        while (row.next()) {
          versions.put(row.getString(1), row.getString(2));
        }
      }
    }
    return versions;
  }

  private String present() {
    return " WHERE \"" + key.name + "\" = ANY (?::text[]::" + key.type + "[])";
  }

  private Array array(Collection<String> ids) throws SQLException {
    return connection.createArrayOf("text", ids.toArray());
  }

  private List<Row> read(PreparedStatement statement, long most) throws SQLException {
    List<Row> rows = new ArrayList<>();
    long characters = 0;
    try (ResultSet found = statement.executeQuery()) {
      while (characters < most && found.next()) {
        ObjectNode values = Offsets.JSON.createObjectNode();
        ObjectNode name = Offsets.JSON.createObjectNode();
        String id = null;
        for (int index = 0; index < columns.size(); index++) {
          Column column = columns.get(index);
          String text = found.getString(index + 3);
          characters += text == null ? 0 : text.length();
          put(values, column, text);
          if (column.equals(key)) {
            id = text;
            put(name, column, text);
          }
        }
        rows.add(new Row(id, name, values, found.getString(1), found.getLong(2)));
      }
    }
    return rows;
  }

  private static void put(ObjectNode node, Column column, String text) {
    if (text == null) {
      node.putNull(column.name);
    } else if (INTEGERS.contains(column.type)) {
      node.put(column.name, Long.parseLong(text));
    } else if (column.type.equals("boolean")) {
      node.put(column.name, text.equals("true"));
    } else {
      node.put(column.name, text);
    }
  }
}

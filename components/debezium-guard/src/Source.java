import com.fasterxml.jackson.databind.node.ObjectNode;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;

/** The source database: its slot, the end of its log, and which of some keys it has. */
final class Source implements AutoCloseable {
  private final Connection connection;
  private final String slot;

  /** State of the slot. {@code confirmed} is null when there is none, or an invalidated one. */
  record State(boolean exists, boolean active, boolean lost, Long confirmed, long end) {}

  Source(Properties settings, String user, String password) throws SQLException {
    Properties login = new Properties();
    login.setProperty("user", user);
    login.setProperty("password", password);
    login.setProperty("ApplicationName", "debezium-guard");
    login.setProperty("connectTimeout", "10");
    login.setProperty("socketTimeout", "60");
    String prefix = "debezium.source.database.";
    connection = DriverManager.getConnection(
        "jdbc:postgresql://" + settings.getProperty(prefix + "hostname") + ":" + settings.getProperty(prefix + "port") + "/"
            + settings.getProperty(prefix + "dbname"), login);
    slot = settings.getProperty("debezium.source.slot.name");
  }

  State state() throws SQLException {
    String query = "SELECT s.slot_name IS NOT NULL, coalesce(s.active, false), coalesce(s.wal_status = 'lost', false),"
        + " (s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
        + " FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = ?";
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      statement.setString(1, slot);
      try (ResultSet row = statement.executeQuery()) {
        row.next();
        Long confirmed = row.getObject(4, Long.class);
        return new State(row.getBoolean(1), row.getBoolean(2), row.getBoolean(3), confirmed, row.getLong(5));
      }
    }
  }

  /** Ends the session of a server that is no more; this one is the only one that may read. */
  void release() throws SQLException {
    call("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ? AND active");
  }

  void drop() throws SQLException {
    call("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ?");
  }

  /** Makes the slot, and returns its position: every transaction that commits after this is read from it. */
  long create() throws SQLException {
    call("SELECT pg_create_logical_replication_slot(?, 'pgoutput')");
    return state().confirmed();
  }

  /**
   * A transaction of its own, over at once: every one that has written is before it. The end of a snapshot would not do: that is behind the
   * newest one that is <em>over</em>, so one that still runs may be there already.
   */
  long nextTransaction() throws SQLException {
    return number("SELECT pg_current_xact_id()::text::bigint");
  }

  /** The first transaction that is not over. */
  long oldestTransaction() throws SQLException {
    return number("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint");
  }

  /** Who holds the oldest transaction: {pid, user, application}, of what everybody may see. Empty if it ended just now. */
  ObjectNode oldestHolder() throws SQLException {
    String query = "SELECT pid, coalesce(usename, ''), coalesce(application_name, '') FROM pg_stat_activity"
        + " WHERE backend_xid = pg_snapshot_xmin(pg_current_snapshot())::xid";
    ObjectNode holder = Offsets.JSON.createObjectNode();
    try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(query)) {
      if (row.next()) {
        holder.put("pid", row.getInt(1)).put("user", row.getString(2)).put("application", row.getString(3));
      }
    }
    return holder;
  }

  /** How many rows a table of schema public has. */
  long count(String table) throws SQLException {
    return number("SELECT count(*) FROM public.\"" + table + "\"");
  }

  private long number(String query) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(query)) {
      row.next();
      return row.getLong(1);
    }
  }

  /** The rows of a captured table. */
  Rows rows(Properties settings, String table, long longest) throws SQLException {
    return new Rows(connection, settings, table, key(table), longest);
  }

  /** A row of the outbox; {@code payload} is null when its {@code length} exceeds the limit, {@code request}, JSON, without such a column. */
  record Event(String position, String id, String aggregate, String type, String payload, long length, String request) {}

  /** The events behind a position (null: from the first one on), in the order in which they were written; empty at the end. */
  List<Event> events(String position, long longest) throws SQLException {
    String[] behind = position == null ? new String[] {"-1", "00000000-0000-0000-0000-000000000000"} : position.split(":");
    String query = "SELECT wal_position || ':' || id, id, aggregate_id, event_type,"
        // An outbox may not have the last column yet: then there is no such key.
        + " CASE WHEN length(payload::text) <= ? THEN payload::text END, length(payload::text),"
        + " (to_jsonb(e) -> 'request_id')::text"
        + " FROM outbox_events e"
        + " WHERE wal_position >= ? AND (wal_position, id) > (?, ?::uuid) ORDER BY wal_position, id LIMIT " + Rows.MOST_ROWS;
    List<Event> events = new ArrayList<>();
    connection.setAutoCommit(false);
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      statement.setFetchSize(Rows.FETCH);
      statement.setLong(1, longest);
      statement.setLong(2, Long.parseLong(behind[0]));
      statement.setLong(3, Long.parseLong(behind[0]));
      statement.setString(4, behind[1]);
      long characters = 0;
      try (ResultSet row = statement.executeQuery()) {
        while (characters < Rows.MOST_CHARACTERS && row.next()) {
          events.add(new Event(row.getString(1), row.getString(2), row.getString(3), row.getString(4), row.getString(5), row.getLong(6),
              row.getString(7)));
          characters += row.getString(5) == null ? 0 : row.getString(5).length();
        }
      }
    } finally {
      connection.rollback();
      connection.setAutoCommit(true);
    }
    return events;
  }

  /** The column that is the primary key of a table of schema public. */
  String key(String table) throws SQLException {
    String query = "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        + " WHERE i.indrelid = ?::regclass AND i.indisprimary AND i.indnkeyatts = 1";
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      statement.setString(1, "public." + table);
      try (ResultSet row = statement.executeQuery()) {
        if (!row.next()) {
          throw new SQLException("public." + table + " has no primary key of one column");
        }
        return row.getString(1);
      }
    }
  }

  /** Those of {@code keys} that a table of schema public has in {@code column}. */
  Set<String> present(String table, String column, Collection<String> keys) throws SQLException {
    String type;
    try (PreparedStatement statement = connection.prepareStatement(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = ?::regclass AND attname = ?")) {
      statement.setString(1, "public." + table);
      statement.setString(2, column);
      try (ResultSet row = statement.executeQuery()) {
        row.next();
        type = row.getString(1);
      }
    }
    try {
      return found(table, column, "\"" + column + "\" = ANY (?::text[]::" + type + "[])", keys);
    } catch (SQLException error) {
      if (error.getSQLState() == null || !error.getSQLState().startsWith("22")) {
        throw error;
      }
      // One of them is no value of that type, and no row's key: as texts they can be compared, without the index.
      return found(table, column, "\"" + column + "\"::text = ANY (?::text[])", keys);
    }
  }

  private Set<String> found(String table, String column, String condition, Collection<String> keys) throws SQLException {
    Set<String> found = new HashSet<>();
    String query = "SELECT \"" + column + "\"::text FROM public.\"" + table + "\" WHERE " + condition;
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      Array wanted = connection.createArrayOf("text", keys.toArray());
      statement.setArray(1, wanted);
      try (ResultSet rows = statement.executeQuery()) {
        while (rows.next()) {
          found.add(rows.getString(1));
        }
      }
    }
    return found;
  }

  private void call(String query) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(query)) {
      statement.setString(1, slot);
      statement.execute();
    }
  }

  @Override
  public void close() throws SQLException {
    connection.close();
  }
}

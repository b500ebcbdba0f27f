import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;

/**
 * The topics of a server, as its configuration names them: {@code watched} hold what cannot be lost without a new snapshot (the
 * captured tables and the stored offset), {@code all} must exist before it starts.
 */
record Topics(Set<String> watched, Set<String> all) {
  // They have no table in analytics: events are no state, the heartbeat is nobody's row.
  private static final Set<String> NO_STATE = Set.of("outbox_events", "cdc_heartbeat");

  /** The captured tables of schema public. */
  static List<String> tables(Properties settings) {
    return Arrays.stream(settings.getProperty("debezium.source.table.include.list").split(","))
        .map(name -> name.substring(name.indexOf('.') + 1))
        .toList();
  }

  /** Those of them whose rows analytics has. */
  static List<String> tablesWithState(Properties settings) {
    return tables(settings).stream().filter(table -> !NO_STATE.contains(table)).toList();
  }

  /** Where the changes of a table of schema public are. */
  static String topic(String prefix, String table) {
    return prefix + ".public." + table;
  }

  static Topics of(Properties settings) {
    String prefix = settings.getProperty("debezium.source.topic.prefix");
    Set<String> watched = new TreeSet<>();
    Set<String> all = new TreeSet<>();
    for (String table : tables(settings)) {
      if (!NO_STATE.contains(table)) {
        watched.add(topic(prefix, table));
      } else if (!table.equals("outbox_events")) {
        all.add(topic(prefix, table));
      }
    }
    watched.add(settings.getProperty("debezium.source.offset.storage.topic"));
    all.addAll(watched);
    all.add("__debezium-heartbeat." + prefix);
    all.addAll(Set.of(settings.getProperty("debezium.transforms.outbox.topics").split(",")));
    all.add(settings.getProperty("debezium.transforms.limit.dead.letter.topic"));
    return new Topics(watched, all);
  }
}

/**
 * What Kafka had of a partition: its topic's id, the start of its log, and its newest record (offset -1: none), whose timestamp tells
 * it from another record at the same offset. Nothing here speaks to anybody.
 */
public record Mark(String topic, long begin, long offset, long timestamp) {
  /**
   * What Kafka has of it now.
   *
   * @param topic the topic's id, or null without a topic of this name
   * @param begin start of the partition's log
   * @param end end of the partition's log, or -1 without such a partition
   * @param offset of the first record that was read from the mark's offset on, or -1 when none was read in time
   * @param timestamp of that record
   */
  public record Now(String topic, long begin, long end, long offset, long timestamp) {}

  /** What was lost, or null. The watched topics are compacted: what went as superseded is not lost, the log's start does not move. */
  public String lost(Now now) {
    if (now.topic == null) {
      return "the topic is gone";
    }
    if (!now.topic.equals(topic)) {
      return "the topic is another one of the same name";
    }
    if (now.end < 0) {
      return "the partition is gone";
    }
    if (now.end <= offset) {
      return "it ends at " + now.end + ", and offset " + offset + " was there";
    }
    if (now.begin > begin) {
      return "it begins at " + now.begin + " instead of " + begin;
    }
    // What follows a record that compaction removed was written after it, by the same log.
    return now.offset == offset && offset >= 0 && now.timestamp != timestamp ? "another record stands at offset " + offset : null;
  }

  /** Prints whether each line of its input is lost, for tests: topic begin offset timestamp, then the same of Now with its end; "-" is none. */
  public static void main(String[] arguments) {
    new java.util.Scanner(System.in).useDelimiter("\\R").forEachRemaining(line -> {
      String[] word = line.split(" ");
      Mark mark = new Mark(word[0], number(word[1]), number(word[2]), number(word[3]));
      Now now = new Now(word[4].equals("-") ? null : word[4], number(word[5]), number(word[6]), number(word[7]), number(word[8]));
      String lost = mark.lost(now);
      System.out.println(lost == null ? "kept" : lost);
    });
  }

  private static long number(String word) {
    return word.equals("-") ? -1 : Long.parseLong(word);
  }
}

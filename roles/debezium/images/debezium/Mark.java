/** A record that Kafka had: the moment at which it was made tells it from another one at its offset. */
public record Mark(long offset, long timestamp) {
  /** Whether it is lost, from the end of its partition and what is read from its offset on (null: nothing was read in time). */
  public boolean lost(long end, Mark now) {
    // What follows a record that compaction removed was written after it, by the same log.
    return end <= offset || now != null && now.offset == offset && now.timestamp != timestamp;
  }

  /** Prints whether each line of its input is lost, for tests: offset, timestamp, end, offset and timestamp now; "-" is none. */
  public static void main(String[] arguments) {
    new java.util.Scanner(System.in).useDelimiter("\\R").forEachRemaining(line -> {
      String[] word = line.split(" ");
      Mark now = word[3].equals("-") ? null : new Mark(Long.parseLong(word[3]), Long.parseLong(word[4]));
      System.out.println(new Mark(Long.parseLong(word[0]), Long.parseLong(word[1])).lost(Long.parseLong(word[2]), now));
    });
  }
}

/**
 * What a server may do with its stored offset, from offset, slot and the end of the database's log. Positions are log
 * sequence numbers as plain numbers. Nothing here speaks to anybody.
 *
 * <p>The slot's confirmed position is the truth: the server confirms what Kafka has acknowledged, after it has stored
 * its offset. So an offset before it means that Kafka lost records or the slot is another one: rows between them will
 * never come again. An offset after it is the normal state after a crash, and also what a damaged offset looks like:
 * reading again from the confirmed position is right in both cases, at the price of repeats.
 */
public enum Verdict {
  RESUME(false, ""),
  REWIND(false, "the offset is after the slot's confirmed position"),
  FIRST(true, "neither offset nor slot"),
  OFFSET_ABSENT(true, "no offset is stored"),
  SNAPSHOT_UNFINISHED(true, "the last snapshot was not finished"),
  OFFSET_BEHIND(true, "the offset is before the slot's confirmed position"),
  OFFSET_BEYOND_LOG(true, "the offset is after the end of the log: the database went back"),
  BROKER_BACK(true, "Kafka came back without records that it had acknowledged"),
  SLOT_ABSENT(true, "the slot does not exist"),
  SLOT_LOST(true, "the slot lost log that it needs: max_slot_wal_keep_size"),
  SLOT_BEYOND_LOG(true, "the slot is after the end of the log: the database went back");

  /** Whether only a new snapshot brings every row. */
  public final boolean snapshot;
  public final String reason;

  Verdict(boolean snapshot, String reason) {
    this.snapshot = snapshot;
    this.reason = reason;
  }

  /**
   * What offset and slot say; BROKER_BACK is none of these: a server that went on meanwhile has stored an offset after the gap.
   *
   * @param offset position up to which whole transactions were published, or null without a stored offset
   * @param plain whether the offset names that position and nothing after it
   * @param unfinished whether the offset was stored in the middle of a snapshot
   * @param confirmed the slot's confirmed position, or null without a slot
   * @param lost whether the slot was invalidated
   * @param end end of the log
   */
  public static Verdict of(Long offset, boolean plain, boolean unfinished, Long confirmed, boolean lost, long end) {
    if (confirmed == null && !lost) {
      return offset == null ? FIRST : SLOT_ABSENT;
    }
    if (lost) {
      return SLOT_LOST;
    }
    if (confirmed > end) {
      return SLOT_BEYOND_LOG;
    }
    if (offset == null) {
      return OFFSET_ABSENT;
    }
    if (unfinished) {
      return SNAPSHOT_UNFINISHED;
    }
    if (offset > end) {
      return OFFSET_BEYOND_LOG;
    }
    if (offset < confirmed) {
      return OFFSET_BEHIND;
    }
    return offset.equals(confirmed) && plain ? RESUME : REWIND;
  }

  /** Prints the verdict of each line of its input, for tests: offset plain unfinished confirmed lost end; "-" is null. */
  public static void main(String[] arguments) {
    new java.util.Scanner(System.in).useDelimiter("\\R").forEachRemaining(line -> {
      String[] word = line.split(" ");
      Long offset = word[0].equals("-") ? null : Long.valueOf(word[0]);
      Long confirmed = word[3].equals("-") ? null : Long.valueOf(word[3]);
      boolean lost = Boolean.parseBoolean(word[4]);
      Verdict verdict = of(offset, Boolean.parseBoolean(word[1]), Boolean.parseBoolean(word[2]), confirmed, lost, Long.parseLong(word[5]));
      System.out.println(verdict + " " + verdict.snapshot);
    });
  }
}

package bookstore.cdc;

/** A record that its table cannot hold, and why. */
final class RefusedException extends Exception {

    private static final long serialVersionUID = 1L;
    private static final int SHOWN = 80;

    RefusedException(String reason) {
        // Refusals come by the thousand when a source is wrong: without a stack trace they are as cheap as a row.
        super(reason, null, false, false);
    }

    /** A part of a value that can be shown everywhere, in PostgreSQL, too: bounded, and without control characters and lone surrogates. */
    static String shown(String value) {
        StringBuilder text = new StringBuilder("'");
        int[] points = value.codePoints().limit(SHOWN + 1L).toArray();
        for (int i = 0; i < Math.min(points.length, SHOWN); i++) {
            int point = points[i];
            boolean plain = !Character.isISOControl(point) && Character.getType(point) != Character.SURROGATE;
            text.append(plain ? Character.toString(point) : String.format("\\u%04x", point));
        }
        return text.append(points.length > SHOWN ? "...'" : "'").toString();
    }
}

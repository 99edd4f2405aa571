import java.nio.ByteBuffer;

/**
 * A row of an entity's minute: sparse panes of 10 s, each its number, four counts and the watch time (SIX: and what was spent). Both
 * peers that are tuned by hand keep these, so that what differs is the engine around them.
 */
final class Panes {
    static final long PANE_MS = 10_000, ROW_MS = 60_000;
    static final Panes W1 = new Panes(1), SIX = new Panes(2);
    private static final int COUNTS = 4, SUMS_AT = 1 + 4 * COUNTS;
    final int sums, measures, paneBytes;

    private Panes(int sums) {
        this.sums = sums;
        measures = COUNTS + sums;
        paneBytes = SUMS_AT + 8 * sums;
    }

    static long row(long tsMs) {
        return tsMs / ROW_MS;
    }

    /** The row (null: there is none yet) with a count in a column, and sums, added. The same array where it has the pane. */
    byte[] add(byte[] row, long tsMs, int column, long watched, long spent) {
        byte pane = (byte) (tsMs % ROW_MS / PANE_MS);
        int at = 0;

        while (row != null && at < row.length && row[at] != pane)
            at += paneBytes;
        if (row == null || at == row.length) {
            byte[] grown = new byte[at + paneBytes];
            if (row != null)
                System.arraycopy(row, 0, grown, 0, at);
            grown[at] = pane;
            row = grown;
        }
        ByteBuffer buffer = ByteBuffer.wrap(row);
        buffer.putInt(at + 1 + 4 * column, buffer.getInt(at + 1 + 4 * column) + 1);
        buffer.putLong(at + SUMS_AT, buffer.getLong(at + SUMS_AT) + watched);
        if (sums > 1)
            buffer.putLong(at + SUMS_AT + 8, buffer.getLong(at + SUMS_AT + 8) + spent);
        return row;
    }

    /** Adds to the measures what a row (null: nothing) has in a window. */
    void sum(byte[] row, long minute, Window window, long[] into) {
        ByteBuffer buffer = row == null ? null : ByteBuffer.wrap(row);

        for (int at = 0; row != null && at < row.length; at += paneBytes) {
            if (!window.has(minute * ROW_MS + row[at] * PANE_MS))
                continue;
            for (int i = 0; i < COUNTS; i++)
                into[i] += buffer.getInt(at + 1 + 4 * i);
            for (int i = 0; i < sums; i++)
                into[COUNTS + i] += buffer.getLong(at + SUMS_AT + 8 * i);
        }
    }

    /** A window at a time: panes of 10 s, or of whole minutes from an hour on. */
    static final class Window {
        final long firstRow, lastRow;
        private final long paneMs, first, last;

        Window(long spanMs, long timeMs) {
            paneMs = spanMs >= 3_600_000 ? ROW_MS : PANE_MS;
            last = timeMs / paneMs;
            first = last - spanMs / paneMs + 1;
            firstRow = first * paneMs / ROW_MS;
            lastRow = last * paneMs / ROW_MS;
        }

        boolean has(long tsMs) {
            long pane = tsMs / paneMs;

            return pane >= first && pane <= last;
        }
    }
}

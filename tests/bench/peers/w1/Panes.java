import java.nio.ByteBuffer;

/**
 * A row of an entity's minute: sparse panes of 10 s, each its number, four counts and the watch time. Both peers that are tuned by hand
 * keep these, so that what differs is the engine around them.
 */
final class Panes {
    static final long PANE_MS = 10_000, ROW_MS = 60_000;
    private static final int PANE_BYTES = 1 + 4 * 4 + 8;

    private Panes() {}

    static long row(long tsMs) {
        return tsMs / ROW_MS;
    }

    /** The row (null: there is none yet) with a count in a column, and watch time, added. The same array where it has the pane. */
    static byte[] add(byte[] row, long tsMs, int column, long micros) {
        byte pane = (byte) (tsMs % ROW_MS / PANE_MS);
        int at = 0;

        while (row != null && at < row.length && row[at] != pane)
            at += PANE_BYTES;
        if (row == null || at == row.length) {
            byte[] grown = new byte[at + PANE_BYTES];
            if (row != null)
                System.arraycopy(row, 0, grown, 0, at);
            grown[at] = pane;
            row = grown;
        }
        ByteBuffer buffer = ByteBuffer.wrap(row);
        buffer.putInt(at + 1 + 4 * column, buffer.getInt(at + 1 + 4 * column) + 1);
        buffer.putLong(at + 17, buffer.getLong(at + 17) + micros);
        return row;
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

        /** Adds to four counts and the watch time what a row (null: nothing) has in the window. */
        void sum(byte[] row, long minute, long[] sums) {
            ByteBuffer buffer = row == null ? null : ByteBuffer.wrap(row);

            for (int at = 0; row != null && at < row.length; at += PANE_BYTES) {
                long pane = (minute * ROW_MS + row[at] * PANE_MS) / paneMs;
                if (pane < first || pane > last)
                    continue;
                for (int i = 0; i < 4; i++)
                    sums[i] += buffer.getInt(at + 1 + 4 * i);
                sums[4] += buffer.getLong(at + 17);
            }
        }
    }
}

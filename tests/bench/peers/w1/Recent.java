import java.nio.ByteBuffer;

/** A user's last 50 items by time, newest last: (ts, item) each. */
final class Recent {
    private static final int LAST = 50, RECORD_BYTES = 16;

    private Recent() {}

    /** What was (null: nothing) with one more; null where it is older than all of them. */
    static byte[] add(byte[] before, long tsMs, long itemId) {
        int have = before == null ? 0 : before.length / RECORD_BYTES, from = have == LAST ? 1 : 0, at = have;
        ByteBuffer old = before == null ? null : ByteBuffer.wrap(before);

        while (at > 0 && old.getLong((at - 1) * RECORD_BYTES) > tsMs)
            at--;
        if (at < from)
            return null;
        ByteBuffer after = ByteBuffer.allocate((have + 1 - from) * RECORD_BYTES);
        if (before != null)
            after.put(before, from * RECORD_BYTES, (at - from) * RECORD_BYTES);
        after.putLong(tsMs).putLong(itemId);
        if (before != null)
            after.put(before, at * RECORD_BYTES, (have - at) * RECORD_BYTES);
        return after.array();
    }
}

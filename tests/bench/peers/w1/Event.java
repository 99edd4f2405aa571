import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** What W1's features need of a freshet.v1.Event, decoded by hand: a generated class would only be slower. */
final class Event {
    static final int WATCH = 3, LIKE = 4, COMMENT = 6, PURCHASE = 13;

    long tsMs, userId, itemId, creatorId;
    int action;
    double value;

    static Event decode(byte[] bytes) {
        ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        Event event = new Event();

        while (in.hasRemaining()) {
            long tag = varint(in);
            switch ((int) tag) {
                case 2 << 3 -> event.tsMs = varint(in);
                case 3 << 3 -> event.userId = varint(in);
                case 4 << 3 -> event.itemId = varint(in);
                case 5 << 3 -> event.creatorId = varint(in);
                case 9 << 3 -> event.action = (int) varint(in);
                case 10 << 3 | 1 -> event.value = in.getDouble();
                default -> skip(in, (int) tag & 7);
            }
        }
        return event;
    }

    /** 0 to 3, the columns' order; −1 for others. */
    int column() {
        return switch (action) {
            case WATCH -> 0;
            case LIKE -> 1;
            case COMMENT -> 2;
            case PURCHASE -> 3;
            default -> -1;
        };
    }

    /** Watch time in micro-units. */
    long micros() {
        return action == WATCH ? Math.round(value * 1e6) : 0;
    }

    /** The price of a purchase in micro-units. */
    long spent() {
        return action == PURCHASE ? Math.round(value * 1e6) : 0;
    }

    private static long varint(ByteBuffer in) {
        long value = 0;
        for (int shift = 0;; shift += 7) {
            byte part = in.get();
            value |= (long) (part & 127) << shift;
            if (part >= 0)
                return value;
        }
    }

    private static void skip(ByteBuffer in, int wire) {
        switch (wire) {
            case 0 -> varint(in);
            case 1 -> in.position(in.position() + 8);
            case 2 -> in.position((int) varint(in) + in.position());
            default -> in.position(in.position() + 4);
        }
    }
}

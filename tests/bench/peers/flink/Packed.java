import java.nio.ByteBuffer;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.functions.KeySelector;

/**
 * What W1 needs of an event in a fixed layout, so that it goes through the shuffle as an array: decoded once, and neither POJO nor Kryo.
 * A question takes the same way: it is longer, and has the span and time of a window behind the item.
 */
final class Packed {
    static final int USER = 0, ITEM = 8, CREATOR = 16, TS = 24, MICROS = 32, COLUMN = 40, EVENT_BYTES = 41;
    private static final int SPAN = EVENT_BYTES, TIME = SPAN + 8, QUESTION_BYTES = TIME + 8;

    private Packed() {}

    static byte[] question(long itemId, long spanMs, long timeMs) {
        return ByteBuffer.allocate(QUESTION_BYTES).putLong(ITEM, itemId).putLong(SPAN, spanMs).putLong(TIME, timeMs).array();
    }

    static boolean isQuestion(byte[] packed) {
        return packed.length == QUESTION_BYTES;
    }

    static Panes.Window window(ByteBuffer question) {
        return new Panes.Window(question.getLong(SPAN), question.getLong(TIME));
    }

    /** Of events as Kafka has them. */
    static final class Schema implements DeserializationSchema<byte[]> {
        @Override
        public byte[] deserialize(byte[] bytes) {
            Event event = Event.decode(bytes);

            return ByteBuffer.allocate(EVENT_BYTES).putLong(event.userId).putLong(event.itemId).putLong(event.creatorId)
                .putLong(event.tsMs).putLong(event.micros()).put((byte) event.column()).array();
        }

        @Override
        public boolean isEndOfStream(byte[] packed) {
            return false;
        }

        @Override
        public TypeInformation<byte[]> getProducedType() {
            return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        }
    }

    /** The id at a place. */
    static final class Key implements KeySelector<byte[], Long> {
        private final int at;

        Key(int at) {
            this.at = at;
        }

        @Override
        public Long getKey(byte[] packed) {
            return ByteBuffer.wrap(packed).getLong(at);
        }
    }
}

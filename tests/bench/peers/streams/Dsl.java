import java.nio.ByteBuffer;
import java.time.Duration;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * W1 as the manual teaches it: three hopping windows for items and three for creators, each kept by itself, a table of users' last items.
 * The windows hop by a sixth (a fifth of 5 minutes), so they are up to so much staler than W1 asks.
 */
final class Dsl {
    private static final Duration GRACE = Duration.ofSeconds(10);

    private Dsl() {}

    private static byte[] add(byte[] sums, byte[] value) {
        Event event = Event.decode(value);
        ByteBuffer buffer = ByteBuffer.wrap(sums.clone());
        int column = event.column();

        if (column >= 0) {
            buffer.putInt(4 * column, buffer.getInt(4 * column) + 1);
            buffer.putLong(16, buffer.getLong(16) + event.micros());
        }
        return buffer.array();
    }

    private static byte[] remember(byte[] before, byte[] value) {
        Event event = Event.decode(value);
        int keep = Math.min(before.length, 49 * 16);

        Main.processed.increment();
        Main.saw(event.tsMs);
        return ByteBuffer.allocate(keep + 16).put(before, before.length - keep, keep).putLong(event.tsMs).putLong(event.itemId).array();
    }

    private static void windows(KStream<byte[], byte[]> events, String kind, int[][] spans) {
        Serde<Long> ids = Serdes.Long();
        Serde<byte[]> bytes = Serdes.ByteArray();
        KGroupedStream<Long, byte[]> grouped = events.groupBy((key, value) -> {
            Event event = Event.decode(value);
            return kind.equals("item") ? event.itemId : event.creatorId;
        }, Grouped.with(kind, ids, bytes));

        for (int[] span : spans)
            grouped.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(span[0]), GRACE).advanceBy(Duration.ofSeconds(span[1])))
                .aggregate(() -> new byte[24], (id, value, sums) -> add(sums, value),
                           Materialized.<Long, byte[], WindowStore<Bytes, byte[]>>as(kind + "-" + span[0]).withKeySerde(ids)
                               .withValueSerde(bytes));
    }

    static Topology topology(String topic) {
        StreamsBuilder builder = new StreamsBuilder();
        TimestampExtractor eventTime = (record, partitionTime) -> Event.decode((byte[]) record.value()).tsMs;
        KStream<byte[], byte[]> events = builder.stream(
            topic, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()).withTimestampExtractor(eventTime));
        int[][] spans = {{60, 10}, {300, 60}, {3600, 600}};

        windows(events, "item", spans);
        windows(events, "creator", spans);
        events.groupByKey(Grouped.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .aggregate(() -> new byte[0], (user, value, before) -> remember(before, value),
                       Materialized.<byte[], byte[], KeyValueStore<Bytes, byte[]>>as("users").withKeySerde(Serdes.ByteArray())
                           .withValueSerde(Serdes.ByteArray()));
        return builder.build();
    }
}

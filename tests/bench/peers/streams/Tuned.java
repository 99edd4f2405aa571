import java.nio.ByteBuffer;
import java.util.LinkedHashSet;
import java.util.Set;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * W1 as somebody who knows Kafka Streams would write it for speed: the Processor API over RocksDB with its cache and changelog, no
 * repartitioning (each task keeps its part of an item, a query adds the parts up), one row per entity and minute with sparse panes of
 * 10 s in it. That is less than W1 asks: the window of a minute has panes of 10 s, not of 1 s.
 */
final class Tuned implements Processor<byte[], byte[], Void, Void> {
    static final int ITEM = 1, CREATOR = 2, LAST = 50;
    private static final int PANE_BYTES = 1 + 4 * 4 + 8, RECORD_BYTES = 16;
    private static final long PANE_MS = 10_000, ROW_MS = 60_000;

    private KeyValueStore<Bytes, byte[]> rows, users;

    static Topology topology(String topic) {
        Topology topology = new Topology();

        topology.addSource("in", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic);
        topology.addProcessor("features", Tuned::new, "in");
        for (String name : new String[] {"rows", "users"})
            topology.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), Serdes.Bytes(),
                                                               Serdes.ByteArray()).withCachingEnabled(), "features");
        return topology;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
        rows = context.getStateStore("rows");
        users = context.getStateStore("users");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Event event = Event.decode(record.value());

        add(ITEM, event.itemId, event);
        add(CREATOR, event.creatorId, event);
        remember(event);
        Main.processed.increment();
        Main.saw(event.tsMs);
    }

    private static Bytes key(int kind, long id, long minute) {
        return Bytes.wrap(ByteBuffer.allocate(13).put((byte) kind).putLong(id).putInt((int) minute).array());
    }

    private void add(int kind, long id, Event event) {
        int column = event.column();
        byte pane = (byte) (event.tsMs % ROW_MS / PANE_MS);
        Bytes key = key(kind, id, event.tsMs / ROW_MS);
        byte[] row = rows.get(key);
        int at = 0;

        if (column < 0)
            return;
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
        buffer.putLong(at + 17, buffer.getLong(at + 17) + event.micros());
        rows.put(key, row);
    }

    /** The user's last items by time, newest last. */
    private void remember(Event event) {
        Bytes key = Bytes.wrap(ByteBuffer.allocate(8).putLong(event.userId).array());
        byte[] before = users.get(key);
        int have = before == null ? 0 : before.length / RECORD_BYTES, from = have == LAST ? 1 : 0, at = have;
        ByteBuffer old = before == null ? null : ByteBuffer.wrap(before);

        while (at > 0 && old.getLong((at - 1) * RECORD_BYTES) > event.tsMs)
            at--;
        if (at < from)
            return;
        ByteBuffer after = ByteBuffer.allocate((have + 1 - from) * RECORD_BYTES);
        if (before != null)
            after.put(before, from * RECORD_BYTES, (at - from) * RECORD_BYTES);
        after.putLong(event.tsMs).putLong(event.itemId);
        if (before != null)
            after.put(before, at * RECORD_BYTES, (have - at) * RECORD_BYTES);
        users.put(key, after.array());
    }

    /** Items of the first partition, as they come. */
    static Set<String> sample(KafkaStreams streams, int count) {
        Set<String> found = new LinkedHashSet<>();

        try (KeyValueIterator<Bytes, byte[]> all = store(streams, 0).all()) {
            while (all.hasNext() && found.size() < count) {
                ByteBuffer key = ByteBuffer.wrap(all.next().key.get());
                if (key.get() == ITEM)
                    found.add(Long.toUnsignedString(key.getLong()));
            }
        }
        return found;
    }

    private static ReadOnlyKeyValueStore<Bytes, byte[]> store(KafkaStreams streams, int partition) {
        return streams.store(
            StoreQueryParameters.fromNameAndType("rows", QueryableStoreTypes.<Bytes, byte[]>keyValueStore()).withPartition(partition));
    }

    /** Counts by action and the watch time of a window at time T: panes of 10 s, or of whole minutes from an hour on. */
    static long[] read(KafkaStreams streams, int kind, long id, long spanMs, long timeMs, int partitions) {
        long paneMs = spanMs >= 3_600_000 ? ROW_MS : PANE_MS;
        long last = timeMs / paneMs, first = last - spanMs / paneMs + 1;
        long[] sums = new long[5];

        for (int partition = 0; partition < partitions; partition++) {
            ReadOnlyKeyValueStore<Bytes, byte[]> store = store(streams, partition);

            for (long minute = first * paneMs / ROW_MS; minute <= last * paneMs / ROW_MS; minute++) {
                byte[] row = store.get(key(kind, id, minute));
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
        return sums;
    }
}

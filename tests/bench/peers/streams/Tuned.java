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
    static final int ITEM = 1, CREATOR = 2;

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

    static Bytes key(int kind, long id, long minute) {
        return Bytes.wrap(ByteBuffer.allocate(13).put((byte) kind).putLong(id).putInt((int) minute).array());
    }

    private void add(int kind, long id, Event event) {
        int column = event.column();
        Bytes key = key(kind, id, Panes.row(event.tsMs));

        if (column >= 0)
            rows.put(key, Panes.W1.add(rows.get(key), event.tsMs, column, event.micros(), 0));
    }

    private void remember(Event event) {
        Bytes key = Bytes.wrap(ByteBuffer.allocate(8).putLong(event.userId).array());
        byte[] after = Recent.add(users.get(key), event.tsMs, event.itemId);

        if (after != null)
            users.put(key, after);
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

    /** The measures of a window at a time. */
    static long[] read(KafkaStreams streams, Panes panes, int kind, long id, Panes.Window window, int partitions) {
        long[] sums = new long[panes.measures];

        for (int partition = 0; partition < partitions; partition++) {
            ReadOnlyKeyValueStore<Bytes, byte[]> store = store(streams, partition);

            for (long minute = window.firstRow; minute <= window.lastRow; minute++)
                panes.sum(store.get(key(kind, id, minute)), minute, window, sums);
        }
        return sums;
    }
}

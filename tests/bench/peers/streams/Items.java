import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** Six measures of items and nothing else, in the rows that Tuned has: for what an item takes. In RocksDB or in the heap. */
final class Items implements Processor<byte[], byte[], Void, Void> {
    private KeyValueStore<Bytes, byte[]> rows;

    static Topology topology(String topic, boolean isInMemory) {
        KeyValueBytesStoreSupplier kept = isInMemory ? Stores.inMemoryKeyValueStore("rows") : Stores.persistentKeyValueStore("rows");
        StoreBuilder<KeyValueStore<Bytes, byte[]>> store = Stores.keyValueStoreBuilder(kept, Serdes.Bytes(), Serdes.ByteArray());
        Topology topology = new Topology();

        topology.addSource("in", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), topic);
        topology.addProcessor("features", Items::new, "in");
        topology.addStateStore(isInMemory ? store : store.withCachingEnabled(), "features"); // a heap needs no cache of itself
        return topology;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
        rows = context.getStateStore("rows");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Event event = Event.decode(record.value());
        int column = event.column();
        Bytes key = Tuned.key(Tuned.ITEM, event.itemId, Panes.row(event.tsMs));

        if (column >= 0)
            rows.put(key, Panes.SIX.add(rows.get(key), event.tsMs, column, event.micros(), event.spent()));
        Main.processed.increment();
        Main.saw(event.tsMs);
    }
}

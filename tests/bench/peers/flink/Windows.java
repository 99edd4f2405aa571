import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.LongAdder;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Counts and watch time of an item or a creator: a row of panes a minute, as the Kafka Streams peer has them. */
final class Windows extends KeyedProcessFunction<Long, byte[], Void> {
    static final LongAdder items = new LongAdder(), creators = new LongAdder();
    static final BlockingQueue<long[]> answers = new LinkedBlockingQueue<>();
    static final Set<Long> sample = ConcurrentHashMap.newKeySet();
    static final int SAMPLE = 1000;
    private final boolean isItem;
    private transient MapState<Integer, byte[]> rows;
    private transient boolean isSampled;

    Windows(boolean isItem) {
        this.isItem = isItem;
    }

    @Override
    public void open(OpenContext context) {
        rows = getRuntimeContext().getMapState(
            new MapStateDescriptor<>("rows", Types.INT, PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
    }

    @Override
    public void processElement(byte[] packed, Context context, Collector<Void> out) throws Exception {
        ByteBuffer event = ByteBuffer.wrap(packed);

        if (Packed.isQuestion(packed)) {
            answers.add(read(Packed.window(event)));
            return;
        }
        long tsMs = event.getLong(Packed.TS);
        int minute = (int) Panes.row(tsMs), column = event.get(Packed.COLUMN);

        if (column >= 0)
            rows.put(minute, Panes.W1.add(rows.get(minute), tsMs, column, event.getLong(Packed.MICROS), 0));
        if (isItem && !isSampled) {
            sample.add(context.getCurrentKey());
            isSampled = sample.size() >= SAMPLE;
        }
        (isItem ? items : creators).increment();
    }

    private long[] read(Panes.Window window) throws Exception {
        long[] sums = new long[Panes.W1.measures];

        for (long minute = window.firstRow; minute <= window.lastRow; minute++)
            Panes.W1.sum(rows.get((int) minute), minute, window, sums);
        return sums;
    }
}

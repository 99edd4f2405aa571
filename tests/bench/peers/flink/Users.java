import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** A user's last items. It also knows what time it is in the stream, and which checkpoints there are. */
final class Users extends KeyedProcessFunction<Long, byte[], Void> implements CheckpointedFunction, CheckpointListener {
    static final LongAdder users = new LongAdder();
    static final AtomicLong streamTimeMs = new AtomicLong(), begun = new AtomicLong(), complete = new AtomicLong();
    private transient ValueState<byte[]> recent;

    @Override
    public void open(OpenContext context) {
        recent = getRuntimeContext().getState(
            new ValueStateDescriptor<>("recent", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
    }

    @Override
    public void processElement(byte[] packed, Context context, Collector<Void> out) throws Exception {
        ByteBuffer event = ByteBuffer.wrap(packed);
        long tsMs = event.getLong(Packed.TS);
        byte[] after = Recent.add(recent.value(), tsMs, event.getLong(Packed.ITEM));

        if (after != null)
            recent.update(after);
        if (tsMs > streamTimeMs.get())
            streamTimeMs.accumulateAndGet(tsMs, Math::max);
        users.increment();
    }

    @Override
    public void initializeState(FunctionInitializationContext context) {}

    @Override
    public void snapshotState(FunctionSnapshotContext context) {
        begun.accumulateAndGet(context.getCheckpointId(), Math::max);
    }

    @Override
    public void notifyCheckpointComplete(long id) {
        complete.accumulateAndGet(id, Math::max);
    }
}

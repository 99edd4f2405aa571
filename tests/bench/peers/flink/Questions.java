import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.flink.streaming.api.functions.source.legacy.SourceFunction;

/** Questions as a stream of their own: Flink 2 has no other way to a keyed state from outside. */
final class Questions implements SourceFunction<byte[]> {
    static final BlockingQueue<byte[]> asked = new LinkedBlockingQueue<>();
    private volatile boolean isCancelled;

    @Override
    public void run(SourceContext<byte[]> context) throws Exception {
        while (!isCancelled) {
            byte[] question = asked.poll(100, TimeUnit.MILLISECONDS);

            if (question == null)
                continue;
            synchronized (context.getCheckpointLock()) {
                context.collect(question);
            }
        }
    }

    @Override
    public void cancel() {
        isCancelled = true;
    }
}

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.stream.Collectors;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * W1 as somebody who knows Flink would write it for speed, on a cluster of its own in this process: keyed process functions over RocksDB,
 * incremental checkpoints every 2 s as our epochs, objects reused, events packed into arrays. BROKERS TOPIC DIRECTORY GROUP. Says
 * {"processed": N} every 100 ms; answers "item ID SPAN_MS" on stdin with the sums of a window at the greatest event time, and "sample N"
 * with items that it has. Ends with its input, after one more checkpoint.
 */
public final class Main {
    private static final int TASKS = 2;

    private Main() {}

    private static Configuration configure(String directory) {
        Configuration configuration = new Configuration();

        configuration.setString("state.backend.type", "rocksdb");
        configuration.setString("state.backend.rocksdb.localdir", directory + "/rocksdb");
        configuration.setString("execution.checkpointing.incremental", "true");
        configuration.setString("execution.checkpointing.interval", "2 s");
        configuration.setString("execution.checkpointing.dir", "file://" + directory + "/checkpoints");
        configuration.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        configuration.setString("taskmanager.memory.managed.size", "256m"); // the other's cache
        configuration.setString("pipeline.object-reuse", "true");
        configuration.setString("pipeline.generic-types", "false");
        return configuration;
    }

    private static void build(StreamExecutionEnvironment environment, String brokers, String topic, String group) {
        KafkaSource<byte[]> source = KafkaSource.<byte[]>builder().setBootstrapServers(brokers).setTopics(topic).setGroupId(group)
            .setStartingOffsets(OffsetsInitializer.earliest()).setProperty("max.poll.records", "5000")
            .setProperty("commit.offsets.on.checkpoint", "false").setValueOnlyDeserializer(new Packed.Schema()).build();
        DataStream<byte[]> events = environment.fromSource(source, WatermarkStrategy.noWatermarks(), "w1");
        DataStream<byte[]> questions = environment.addSource(new Questions(), "questions",
                                                             PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO);

        events.union(questions).keyBy(new Packed.Key(Packed.ITEM)).process(new Windows(true)).sinkTo(new DiscardingSink<>());
        events.keyBy(new Packed.Key(Packed.CREATOR)).process(new Windows(false)).sinkTo(new DiscardingSink<>());
        events.keyBy(new Packed.Key(Packed.USER)).process(new Users()).sinkTo(new DiscardingSink<>());
    }

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(configure(args[2]));

        environment.setParallelism(TASKS);
        build(environment, args[0], args[1], args[3]);
        environment.executeAsync("w1");
        Thread teller = new Thread(Main::tell);
        teller.setDaemon(true);
        teller.start();
        answer();
        for (long last = Users.begun.get(); Users.complete.get() <= last;)
            Thread.sleep(10);
        Runtime.getRuntime().halt(0); // the checkpoint is there; what a cluster's end cleans up is not
    }

    private static void tell() {
        while (true) {
            long processed = Math.min(Users.users.sum(), Math.min(Windows.items.sum(), Windows.creators.sum()));

            System.out.println("{\"processed\": " + processed + "}");
            try {
                Thread.sleep(100);
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    private static void answer() throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));

        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");

            if (words[0].equals("sample")) {
                String ids = Windows.sample.stream().limit(Integer.parseInt(words[1])).map(Long::toUnsignedString)
                                 .collect(Collectors.joining(", "));
                System.out.println("{\"sample\": [" + ids + "]}");
                continue;
            }
            Questions.asked.add(Packed.question(Long.parseUnsignedLong(words[1]), Long.parseLong(words[2]), Users.streamTimeMs.get()));
            System.out.println("{\"sums\": " + java.util.Arrays.toString(Windows.answers.take()) + "}");
        }
    }
}

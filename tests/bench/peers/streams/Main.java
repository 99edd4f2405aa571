import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;

/**
 * Runs one of them over a topic: BROKERS TOPIC tuned|dsl|items|items_in_memory DIRECTORY APPLICATION [http], from the topic's end and with
 * a port to ask at, which it says, with http. Says {"processed": N} every 100 ms. Answers lines on stdin: "item|creator ID SPAN_MS" with
 * the sums of a window at the greatest event time, "sample N" with items that it has (but for dsl), "heap" with the bytes in use after a
 * collection; ends with its input.
 */
public final class Main {
    static final LongAdder processed = new LongAdder();
    private static final AtomicLong streamTimeMs = new AtomicLong();
    private static final int PARTITIONS = 8;

    private Main() {}

    static void saw(long tsMs) {
        if (tsMs > streamTimeMs.get())
            streamTimeMs.accumulateAndGet(tsMs, Math::max);
    }

    private static Topology topology(String topic, String kind) {
        return switch (kind) {
            case "tuned" -> Tuned.topology(topic);
            case "dsl" -> Dsl.topology(topic);
            case "items" -> Items.topology(topic, false);
            case "items_in_memory" -> Items.topology(topic, true);
            default -> throw new IllegalArgumentException(kind);
        };
    }

    public static void main(String[] args) throws Exception {
        boolean isHttp = args.length > 5;
        Properties properties = new Properties();

        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args[4]);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 2000); // as our epochs
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        properties.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), isHttp ? "latest" : "earliest");
        KafkaStreams streams = new KafkaStreams(topology(args[1], args[2]), properties);
        streams.start();
        if (isHttp)
            System.out.println("{\"http\": \"127.0.0.1:" + Door.open(streams) + "\"}");
        Thread teller = new Thread(() -> {
            while (true) {
                System.out.println("{\"processed\": " + processed.sum() + "}");
                try {
                    Thread.sleep(100);
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
        teller.setDaemon(true);
        teller.start();
        answer(streams, args[2].startsWith("items") ? Panes.SIX : Panes.W1);
        streams.close();
        System.exit(0);
    }

    private static void answer(KafkaStreams streams, Panes panes) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));

        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");

            if (words[0].equals("sample")) {
                System.out.println("{\"sample\": " + Tuned.sample(streams, Integer.parseInt(words[1])) + "}");
                continue;
            }
            if (words[0].equals("heap")) {
                System.gc();
                System.out.println("{\"heap\": " + (Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory()) + "}");
                continue;
            }
            long[] sums = Tuned.read(streams, panes, words[0].equals("item") ? Tuned.ITEM : Tuned.CREATOR, Long.parseUnsignedLong(words[1]),
                                     new Panes.Window(Long.parseLong(words[2]), streamTimeMs.get()), PARTITIONS);
            System.out.println("{\"sums\": " + java.util.Arrays.toString(sums) + "}");
        }
    }
}

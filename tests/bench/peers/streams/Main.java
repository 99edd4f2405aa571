import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;

/**
 * Runs one of the two over a topic: BROKERS TOPIC tuned|dsl DIRECTORY APPLICATION. Says {"processed": N} every 100 ms. Answers lines
 * "item|creator ID SPAN_MS" on stdin with the sums of a window at the greatest event time, and "sample N" with items that it has (tuned
 * only); ends with its input.
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

    public static void main(String[] args) throws Exception {
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
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        KafkaStreams streams =
            new KafkaStreams(args[2].equals("tuned") ? Tuned.topology(args[1]) : Dsl.topology(args[1]), properties);
        streams.start();
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
        answer(streams);
        streams.close();
        System.exit(0);
    }

    private static void answer(KafkaStreams streams) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));

        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");

            if (words[0].equals("sample")) {
                System.out.println("{\"sample\": " + Tuned.sample(streams, Integer.parseInt(words[1])) + "}");
                continue;
            }
            long[] sums = Tuned.read(streams, words[0].equals("item") ? Tuned.ITEM : Tuned.CREATOR, Long.parseUnsignedLong(words[1]),
                                     new Panes.Window(Long.parseLong(words[2]), streamTimeMs.get()), PARTITIONS);
            System.out.println("{\"sums\": " + java.util.Arrays.toString(sums) + "}");
        }
    }
}

import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.errors.InvalidStateStoreException;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/** Interactive queries by HTTP, as the manual has them: GET /users/ID says whether a user has had an event. */
final class Door {
    private static final String PREFIX = "/users/";

    private Door() {}

    static int open(KafkaStreams streams) throws Exception {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // else an answer may wait for 40 ms
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);

        server.setExecutor(Executors.newFixedThreadPool(2));
        server.createContext(PREFIX, exchange -> {
            long id = Long.parseUnsignedLong(exchange.getRequestURI().getPath().substring(PREFIX.length()));
            byte[] answer = ("{\"userPresent\":" + isKnown(streams, id) + "}").getBytes(StandardCharsets.US_ASCII);

            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
        return server.getAddress().getPort();
    }

    /** A store that moves or restores cannot be read: then nothing is known yet. */
    private static boolean isKnown(KafkaStreams streams, long id) {
        try {
            ReadOnlyKeyValueStore<Bytes, byte[]> users =
                streams.store(StoreQueryParameters.fromNameAndType("users", QueryableStoreTypes.<Bytes, byte[]>keyValueStore()));

            return users.get(Bytes.wrap(ByteBuffer.allocate(8).putLong(id).array())) != null;
        } catch (InvalidStateStoreException e) {
            return false;
        }
    }
}

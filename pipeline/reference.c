/* The keys of `node`, `kafka`, `store`, `server` and `texts`, for the reference, and the one list of all sections, in the order of reading. */
#include "internal.h"

static const struct fr_setting node[] = {
    {"clock", "wall", "wall, event", "event: reads use the stream's time, for replays"},
    {"mode", "standalone", "standalone, cluster, replica",
     "cluster: partitions are shared with others of kafka.group; replica: it has copies only: [scaling](scaling.md)"},
    {"id", "", "a name", "of an instance of a cluster: no other has it, and it stays the same"},
    {"standbys", "0", "0 to 8",
     "of a cluster: how many instances may be lost at once whose users the others have copies of; of a replica, above 0: all "
     "users"},
    {"drain", "0", "0 to 10m",
     "of a cluster: how long a node that is told to end gives its partitions away first; 0: it does not"},
    {"lanes", "2", "1 to 64",
     "ingest threads; partitions are spread over them; in a cluster as many, 8 at most, merge what others tell"},
    {"max_future", "1m", "0 to 1d", "an event later than the wall clock by more is a dead letter"},
    {"canary", "0", "0 to 1h",
     "how often the node produces an event of its own and times the read that comes after it; 0: never"},
    {"tombstones", "30d", "1s to 3650d", "how long events that a forgotten user made before are dropped"},
};
static const struct fr_setting dedupe[] = {
    {"ids", "32", "0 to 1024", "event ids remembered of each user"},
    {"horizon", "10m", "1s to 30d", "for how long"},
};

static const struct fr_setting kafka[] = {
    {"brokers", "embedded", "host:port,… or embedded", "embedded: a broker inside the process, whose records end with it"},
    {"group", "freshet", "a name",
     "offsets are committed under it, for lag tools only; in a cluster what instances share, and the name of its topics"},
    {"topics", "freshet.events, protobuf, 8 partitions", "list of 1 to 64 maps", "what is read"},
    {"dead_letters", "freshet.dead", "a topic, or empty",
     "where events that cannot be read go; empty: counted and logged only"},
    {"start", "earliest", "earliest, latest, fail", "where a partition that the store does not know begins"},
    {"recreated", "refuse", "refuse, adopt",
     "a topic made anew, or cut: refuse ends the node, adopt reads it as start says, on top of the state"},
    {"properties", "", "map of librdkafka properties", "passed through, as in fetch.min.bytes: 1"},
};
static const struct fr_setting topic[] = {
    {"name", NULL, "a topic", "what it is called"},
    {"format", "protobuf", "protobuf, json", "of its records"},
    {"partitions", "", "1 to 1024", "given: it is made with so many when missing"},
};

static const struct fr_setting store[] = {
    {"path", "/var/lib/freshet", "a directory", "of the state"},
    {"memory", "1GiB", "16MiB to 16TiB", "budget of the state in memory"},
    {"free", "64MiB", "0 to 16TiB", "no epoch is written with less free on the disk"},
    {"epoch", "2s", "50ms to 10m", "how often state and offsets become durable; does not delay reads"},
    {"checkpoints", "", "a directory, or empty",
     "of a cluster: one that all instances see, with files of users for who takes them over: [scaling](scaling.md#a-cluster)"},
    {"checkpoint_every", "10m", "1s to 1d", "how often each owner writes those of its partitions, if there were epochs"},
};

static const struct fr_setting server[] = {
    {"listen", "127.0.0.1:7070", "HOST:PORT", "gRPC and HTTP; port 0 picks a free one"},
    {"advertised", "", "HOST:PORT", "where the other instances of a cluster send who asks for this one's users; empty: listen"},
    {"stale_reads", "false", "true, false",
     "of a cluster: others' users are answered from a copy, if there is one; applied_lag_ms says how old"},
    {"operations", "127.0.0.1:7071", "HOST:PORT, or empty", "metrics, health, status page"},
    {"plaintext", "loopback", "loopback, anywhere", "where it may listen without TLS"},
    {"hosts", "", "list of names", "under which the operations port is asked off loopback, beside addresses"},
    {"loops", "2", "1 to 256", "server threads"},
    {"ready_lag", "10s", "1ms to 1d", "how fresh a node must have been once to be ready"},
};
static const struct fr_setting tls[] = {
    {"certificate", NULL, "a file in PEM", "what is shown"},
    {"key", NULL, "a file in PEM", "its key; only its owner may read it"},
    {"client_ca", "", "a file in PEM", "clients must show a certificate that it signed"},
    {"client_crl", "", "a file in PEM", "those taken back"},
};
static const struct fr_setting token[] = {
    {"name", NULL, "1 to 100 bytes", "whose it is"},
    {"groups", NULL, "list of read, learn, admin", "what it may call"},
    {"token", "", "${NAME} or file:/path", "shown as authorization: Bearer …; either this or certificate"},
    {"certificate", "", "a DNS, URI, email or CN", "a name in the client's certificate"},
};
static const struct fr_setting limits[] = {
    {"connections", "10000", "1 to 1000000", "open at once"},
    {"message", "4MiB", "1KiB to 256MiB", "of a request, unpacked"},
    {"idle", "5m", "1s to 1d", "a connection without a call is closed"},
    {"header", "10s", "100ms to 10m", "for a request's head to come"},
    {"body", "30s", "100ms to 10m", "for a request's body to come"},
    {"slow_calls", "64", "1 to 10000", "digests, backups, explanations that wait"},
    {"queued_calls", "4096", "1 to 1000000", "calls that wait for a loop"},
    {"early_calls", "1024", "1 to 100000", "calls that wait for what their after names"},
    {"watches", "1000", "1 to 10000", "streams of WatchFeatures"},
    {"watch_entities", "1000", "1 to 100000", "entities that one of them watches"},
    {"watch_values", "1000000", "1 to 1000000000", "columns times entities that all of them watch"},
    {"wait", "1s", "1ms to 10m", "a call that would wait longer is refused"},
    {"connection", "16MiB", "64KiB to 4GiB", "what one connection may hold"},
    {"rate", "", "1 to 100000", "calls a second of each principal"},
    {"burst", "", "1 to 1000000", "at once; goes with rate"},
    {"age", "", "1s to 30d", "a connection that is so old is told to go"},
    {"grace", "30s", "0 to 1h", "and cut after so long"},
};

static const struct fr_setting text[] = {
    {"from", NULL, "a topic", "events that are passed on; not in kafka.topics"},
    {"labelled", NULL, "a topic", "events with text and the label as the attribute NAME"},
    {"to", NULL, "a topic", "where they are passed on to; the node reads it by itself"},
    {"format", "protobuf", "protobuf, json", "of from and labelled"},
    {"labels", NULL, "list of 2 to 16 names", "what a text may be taken for"},
    {"actions", "[comment]", "list of actions", "whose texts are read"},
    {"least", "0.5", "0 to 1", "a label that is less likely is not given"},
    {"words", "2", "0 to 3", "n-grams of 1 to so many words; 0: none"},
    {"characters", "4", "0 to 6", "and of 2 to so many characters"},
    {"examples", "20000", "2 to 200000", "labelled texts that are kept: the latest"},
    {"bits", "18", "10 to 22", "2^bits coordinates, 24 bytes each for a label"},
};

static const struct fr_settings sections[] = {
    FR_SETTINGS("node", NULL, "The node itself.", node),
    FR_SETTINGS("node.dedupe", NULL, "What is remembered to drop duplicates.", dedupe),
    FR_SETTINGS("kafka", NULL, "Where events come from.", kafka),
    FR_SETTINGS("kafka.topics[]", NULL, "Each topic.", topic),
    FR_SETTINGS("store", NULL, "Where state is.", store),
    FR_SETTINGS("server", NULL, "Who asks.", server),
    FR_SETTINGS("server.tls", NULL, "TLS on the API port, and on the operations port off loopback.", tls),
    FR_SETTINGS("server.tokens[]", NULL, "Who may call: 1 to 64 entries.", token),
    FR_SETTINGS("server.limits", NULL, "What clients may cost.", limits),
    FR_SETTINGS("texts.NAME", NULL, "What is read out of comments, learned from few labelled ones: [texts](texts.md).", text),
};

const struct fr_settings *pipeline_settings(int i)
{
    int own = (int)(sizeof sections / sizeof sections[0]), of_learner, of_aggregators;
    const struct fr_settings *learner_sections = learner_settings(&of_learner), *agg_sections = agg_settings(&of_aggregators);

    if (i < own)
        return &sections[i];
    if (i < own + of_aggregators)
        return &agg_sections[i - own];
    return i < own + of_aggregators + of_learner ? &learner_sections[i - own - of_aggregators] : NULL;
}

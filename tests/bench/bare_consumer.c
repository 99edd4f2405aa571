/*
 * The limit that ingest is measured against: librdkafka alone, reading every partition of a topic to its end and looking at nothing.
 * Prints records, seconds and CPU seconds per million. The default allocator.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { BATCH = 512 };

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double wall_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char message[256];

    if (rd_kafka_conf_set(conf, name, value, message, sizeof message) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "%s\n", message);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_message_t *messages[BATCH];
    int partitions = argc > 3 ? atoi(argv[3]) : 8, ended = 0;
    long records = 0, bytes = 0;
    char message[256];
    double cpu, wall;

    if (argc < 3) {
        fprintf(stderr, "usage: bare_consumer BROKERS TOPIC [PARTITIONS]\n");
        return 2;
    }
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "enable.partition.eof", "true");
    set(conf, "queued.min.messages", "1000000");
    set(conf, "check.crcs", "true");
    rd_kafka_t *kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, message, sizeof message);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, argv[2], NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);

    cpu = cpu_seconds();
    wall = wall_seconds();
    for (int i = 0; i < partitions; i++)
        rd_kafka_consume_start_queue(topic, i, RD_KAFKA_OFFSET_BEGINNING, queue);
    while (ended < partitions) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH);

        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
                ended++;
            else if (!messages[i]->err) {
                records++;
                bytes += (long)messages[i]->len;
            }
            rd_kafka_message_destroy(messages[i]);
        }
    }
    cpu = cpu_seconds() - cpu;
    wall = wall_seconds() - wall;
    printf("{\"records\":%ld,\"bytes\":%ld,\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"cpu_per_million\":%.3f}\n", records, bytes,
           wall, cpu, cpu * 1e6 / (double)(records ? records : 1));
    fflush(stdout);
    _Exit(0);
}

/* Where partitions begin and end, asked by whoever has no lane. */
#include "internal.h"

#include <inttypes.h>

static bool take(const rd_kafka_topic_partition_t *answer, int64_t *mark, rd_kafka_resp_err_t otherwise, struct fr_err *err)
{
    if (!answer->err && answer->offset >= 0) {
        *mark = answer->offset;
        return true;
    }
    return fr_fail(err, FR_UNAVAILABLE, "'%s' [%" PRId32 "] does not say where it begins and ends: %s", answer->topic,
                   answer->partition, rd_kafka_err2str(answer->err ? answer->err : otherwise));
}

bool ingest_marks__ask(rd_kafka_t *client, const char *topic, const int32_t *partitions, int count, int64_t at, int timeout_ms,
                       int64_t *marks, struct fr_err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    rd_kafka_resp_err_t error;
    bool ok = true;

    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, topic, partitions[i])->offset = at;
    error = rd_kafka_offsets_for_times(client, list, timeout_ms);
    for (int i = 0; i < count && ok; i++)
        ok = take(&list->elems[i], &marks[i], error ? error : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, err);
    rd_kafka_topic_partition_list_destroy(list);
    return ok;
}

/*
 * What somebody who died left open. An open transaction hides what comes after it until its time is out; whoever begins with its id ends
 * it at once, and refuses what the dead one would still send. So of a member who lives it must not be done: the group is asked first.
 */
#include "group_internal.h"

#include <string.h>

enum { LIST_MS = 5000, END_MS = 10000, UUID_BYTES = 36 };

/* A static member's id is its instance's and a UUID: so brokers make them. */
static bool is_of(const char *member_id, const char *instance)
{
    size_t length = strlen(instance);

    return strncmp(member_id, instance, length) == 0 && member_id[length] == '-' &&
           strlen(member_id) == length + 1 + UUID_BYTES;
}

static bool find_member(struct ingest_group *group, const char *instance, bool *is_member, struct fr_err *err)
{
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t error = rd_kafka_list_groups(group->producer, group->options.group, &list, LIST_MS);
    bool is_told = error == RD_KAFKA_RESP_ERR_NO_ERROR && list->group_cnt == 1 &&
                   list->groups[0].err == RD_KAFKA_RESP_ERR_NO_ERROR && list->groups[0].member_cnt > 0;

    if (list && list->group_cnt == 1 && list->groups[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        error = list->groups[0].err;
    *is_member = false;
    for (int i = 0; is_told && i < list->groups[0].member_cnt; i++)
        *is_member = *is_member || is_of(list->groups[0].members[i].member_id, instance);
    if (list)
        rd_kafka_group_list_destroy(list);
    return is_told || fr_fail(err, FR_UNAVAILABLE, "cluster: nobody says who is in group '%s': %s", group->options.group,
                              error ? rd_kafka_err2str(error) : "it has no members");
}

bool ingest_group_end(struct ingest_group *group, const char *instance, bool *is_gone, struct fr_err *err)
{
    struct ingest_client as = {.role = INGEST_TRANSACTIONS,
                               .brokers = group->options.brokers,
                               .properties = group->options.properties,
                               .property_count = group->options.property_count,
                               .group = group->options.group,
                               .instance = instance};
    rd_kafka_error_t *error;
    rd_kafka_t *client;
    bool is_member;

    *is_gone = false;
    if (!find_member(group, instance, &is_member, err))
        return false;
    if (is_member)
        return true;
    if (!ingest_client__new(&as, &client, err))
        return false;
    error = rd_kafka_init_transactions(client, END_MS);
    *is_gone = !error;
    if (error)
        fr_fail(err, FR_UNAVAILABLE, "cluster: what '%s' left open cannot be ended: %s", instance,
                rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    rd_kafka_destroy(client);
    return *is_gone;
}

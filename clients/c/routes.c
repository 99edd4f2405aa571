/* Who has what, as the instance said that was asked last. */
#include "internal.h"

#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTITIONS_MAX = 1 << 20 };

uint32_t freshet_client_partition(uint64_t user_id, uint32_t partitions)
{
    const uint32_t mix = 0x5bd1e995;
    char key[24];
    uint32_t count = (uint32_t)snprintf(key, sizeof key, "%" PRIu64, user_id), hash = 0x9747b28c ^ count, rest = 0;
    const uint8_t *at = (const uint8_t *)key;

    for (; count >= 4; count -= 4, at += 4) {
        uint32_t four = ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24) * mix;

        hash = (hash * mix) ^ ((four ^ four >> 24) * mix);
    }
    for (uint32_t i = 0; i < count; i++)
        rest |= (uint32_t)at[i] << 8 * i;
    if (count > 0)
        hash = (hash ^ rest) * mix;
    hash = (hash ^ hash >> 13) * mix;
    return ((hash ^ hash >> 15) & 0x7fffffff) % partitions;
}

static int place_for(struct freshet__routes *routes)
{
    struct freshet__connection *more;

    for (size_t i = 0; i < routes->count; i++)
        if (!routes->connections[i].is_listed)
            return (int)i;
    more = realloc(routes->connections, (routes->count + 1) * sizeof *more);
    if (!more)
        return -1;
    routes->connections = more;
    more[routes->count] = (struct freshet__connection){.fd = -1};
    return (int)routes->count++;
}

int freshet__routes_add(struct freshet__routes *routes, const char *address, bool is_given)
{
    char *copy;
    int place;

    for (size_t i = 0; i < routes->count; i++)
        if (routes->connections[i].address && strcmp(routes->connections[i].address, address) == 0) {
            routes->connections[i].is_listed = true;
            return (int)i;
        }
    copy = strdup(address);
    place = copy ? place_for(routes) : -1;
    if (place < 0) {
        free(copy);
        return -1;
    }
    freshet__connection_close(&routes->connections[place]);
    free(routes->connections[place].address);
    routes->connections[place].address = copy;
    routes->connections[place].is_given = is_given;
    routes->connections[place].is_listed = true;
    routes->connections[place].has_failed = false;
    return place;
}

int freshet__routes_listed(const struct freshet__routes *routes, int from)
{
    int count = (int)routes->count, failed = -1;

    for (int i = 0; i < count; i++) {
        int at = (from % count + i) % count;

        if (routes->connections[at].is_listed && !routes->connections[at].has_failed)
            return at;
        if (routes->connections[at].is_listed && failed < 0)
            failed = at;
    }
    return failed;
}

static const char *address_of(const Freshet__V1__ClusterResponse *reply, const char *instance)
{
    for (size_t i = 0; i < reply->n_members; i++)
        if (strcmp(reply->members[i]->instance, instance) == 0)
            return reply->members[i]->api;
    return "";
}

static void close_unlisted(struct freshet__routes *routes)
{
    for (size_t i = 0; i < routes->count; i++) {
        struct freshet__connection *connection = &routes->connections[i];

        if (connection->is_listed)
            continue;
        freshet__connection_close(connection);
        free(connection->bytes);
        connection->bytes = NULL;
        connection->room = 0;
    }
}

static bool take(struct freshet__routes *routes, int asked, const Freshet__V1__ClusterResponse *reply)
{
    int *owners = calloc(reply->n_partitions + 1, sizeof *owners), *copies = calloc(reply->n_partitions + 1, sizeof *copies);
    bool is_good = owners && copies;

    for (size_t i = 0; i < routes->count && is_good; i++)
        routes->connections[i].is_listed = routes->connections[i].is_given || (int)i == asked;
    for (size_t i = 0; i < reply->n_partitions && is_good; i++) {
        const Freshet__V1__ClusterPartition *partition = reply->partitions[i];
        const char *address = address_of(reply, partition->instance);

        is_good = partition->partition == (int32_t)i;
        owners[i] = partition->here ? asked : freshet__is_address(address) ? freshet__routes_add(routes, address, false) : -1;
    }
    for (size_t i = 0; i < reply->n_partitions && is_good; i++) {
        int before = i < routes->partitions ? routes->copies[i] : -1;

        copies[i] = reply->partitions[i]->standby                                             ? asked
                    : before >= 0 && before != asked && routes->connections[before].is_listed ? before
                                                                                              : -1;
    }
    free(is_good ? routes->owners : owners);
    free(is_good ? routes->copies : copies);
    if (is_good) {
        routes->owners = owners;
        routes->copies = copies;
        routes->partitions = reply->n_partitions;
        routes->is_known = true;
        close_unlisted(routes);
    }
    return is_good;
}

bool freshet__routes_take(struct freshet__routes *routes, int asked, const void *bytes, size_t count)
{
    Freshet__V1__ClusterResponse *reply = freshet__v1__cluster_response__unpack(NULL, count, bytes);
    bool is_good = reply && reply->n_partitions <= PARTITIONS_MAX && take(routes, asked, reply);

    if (reply)
        freshet__v1__cluster_response__free_unpacked(reply, NULL);
    return is_good;
}

int freshet__routes_owner(const struct freshet__routes *routes, uint64_t user_id)
{
    if (user_id == 0 || routes->partitions == 0)
        return -1;
    return routes->owners[freshet_client_partition(user_id, (uint32_t)routes->partitions)];
}

int freshet__routes_copy(const struct freshet__routes *routes, uint64_t user_id, int but)
{
    int copy = user_id == 0 || routes->partitions == 0
                   ? -1
                   : routes->copies[freshet_client_partition(user_id, (uint32_t)routes->partitions)];

    return copy == but ? -1 : copy;
}

void freshet__routes_close(struct freshet__routes *routes)
{
    for (size_t i = 0; i < routes->count; i++) {
        freshet__connection_close(&routes->connections[i]);
        free(routes->connections[i].address);
        free(routes->connections[i].bytes);
    }
    free(routes->connections);
    free(routes->owners);
    free(routes->copies);
}

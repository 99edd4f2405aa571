/*
 * Asks a node, or a cluster, for the features of a user and some items and prints them: what a ranker in C needs, by clients/c. A service
 * would keep the client, one a thread. A node that wants a token gets FRESHET_TOKEN.
 *
 * usage: get_features HOST:PORT[,HOST:PORT…] USER [ITEM,… [FEATURE,…]]
 */
#include <freshet/client.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 64, ITEMS_MAX = 2000, FEATURES_MAX = 1000, TIMEOUT_MS = 5000 };

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "get_features: %s: %s\n", what, why);
    return false;
}

static bool read_id(const char *text, uint64_t *id)
{
    char *end;

    errno = 0;
    *id = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return fail(text, "an id is a number from 0 to 2^64 - 1");
    return true;
}

/* Ids from "1,2,3", which is taken apart. */
static bool read_items(char *text, uint64_t *ids, size_t *count)
{
    char *rest;

    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (*count == ITEMS_MAX)
            return fail("items", "at most 2,000 a call");
        if (!read_id(one, &ids[(*count)++]))
            return false;
    }
    return true;
}

static bool read_names(char *text, size_t most, char **names, size_t *count)
{
    char *rest;

    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (*count == most)
            return fail(one, "too many of them");
        names[(*count)++] = one;
    }
    return true;
}

static void print_field(const Freshet__V1__Field *field)
{
    printf("  %s:", field->name);
    for (size_t i = 0; i < field->n_ids; i++)
        printf(" %" PRIu64, field->ids[i]);
    for (size_t i = 0; i < field->n_ints; i++)
        printf(" %" PRId64, field->ints[i]);
    for (size_t i = 0; i < field->n_numbers; i++)
        printf(" %.17g", field->numbers[i]);
    printf("\n");
}

/* The item values are one matrix: a row an item, in the order asked for, a column for each of item_columns. */
static void print_reply(const Freshet__V1__GetFeaturesRequest *request, const Freshet__V1__GetFeaturesResponse *reply)
{
    printf("user %" PRIu64 "%s\n", request->user_id, reply->user_present ? "" : " (unknown)");
    for (size_t i = 0; i < reply->n_user_columns; i++)
        printf("  %s: %.9g\n", reply->user_columns[i], (double)reply->user_values[i]);
    for (size_t i = 0; i < request->n_item_ids; i++) {
        printf("item %" PRIu64 "%s\n", request->item_ids[i], reply->item_present[i] ? "" : " (unknown)");
        for (size_t k = 0; k < reply->n_item_columns; k++)
            printf("  %s: %.9g\n", reply->item_columns[k], (double)reply->item_values[i * reply->n_item_columns + k]);
    }
    if (reply->n_item_fields > 0)
        printf("items\n");
    for (size_t i = 0; i < reply->n_item_fields; i++)
        print_field(reply->item_fields[i]);
    for (size_t i = 0; i < reply->n_sequences; i++) {
        printf("sequence %s\n", reply->sequences[i]->name);
        for (size_t k = 0; k < reply->sequences[i]->n_fields; k++)
            print_field(reply->sequences[i]->fields[k]);
    }
}

int main(int argument_count, char **arguments)
{
    static uint64_t items[ITEMS_MAX];
    static char *features[FEATURES_MAX], *addresses[ADDRESSES_MAX];
    Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;
    Freshet__V1__GetFeaturesResponse *reply = NULL;
    struct freshet_client_options options = {
        .addresses = (const char *const *)addresses, .token = getenv("FRESHET_TOKEN"), .timeout_ms = TIMEOUT_MS};
    struct freshet_failure failure;
    struct freshet_client *client;

    if (argument_count < 3 || argument_count > 5) {
        fprintf(stderr, "usage: get_features HOST:PORT[,HOST:PORT...] USER [ITEM,... [FEATURE,...]]\n");
        return 2;
    }
    request.item_ids = items;
    request.features = features;
    if (!read_names(arguments[1], ADDRESSES_MAX, addresses, &options.address_count) ||
        !read_id(arguments[2], &request.user_id) ||
        (argument_count > 3 && !read_items(arguments[3], items, &request.n_item_ids)) ||
        (argument_count > 4 && !read_names(arguments[4], FEATURES_MAX, features, &request.n_features)))
        return 2;
    client = freshet_client_open(&options, &failure);
    reply = client ? freshet_client_get_features(client, &request, &failure) : NULL;
    if (reply) {
        print_reply(&request, reply);
        freshet__v1__get_features_response__free_unpacked(reply, NULL);
    } else {
        fail(failure.code, failure.message);
    }
    freshet_client_close(client);
    return reply && fflush(stdout) == 0 ? 0 : 1;
}

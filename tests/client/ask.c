/*
 * One client of clients/c for many calls: reads "USER ITEM FEATURE" lines and answers each with a line, "OWNER PRESENT VALUE" (of the
 * user's column, or of the item's) or "CODE: message".
 *
 *   ask ADDRESS,… TIMEOUT_MS RETRIES
 */
#include <freshet/client.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 8 };

static void answer(struct freshet_client *client, uint64_t user_id, uint64_t item_id, char *feature)
{
    Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;
    Freshet__V1__GetFeaturesResponse *reply;
    struct freshet_failure failure;
    const char *owner;

    request.user_id = user_id;
    request.n_item_ids = 1;
    request.item_ids = &item_id;
    request.n_features = 1;
    request.features = &feature;
    reply = freshet_client_get_features(client, &request, &failure);
    if (!reply) {
        printf("%s: %s\n", failure.code, failure.message);
        return;
    }
    owner = freshet_client_owner(client, user_id);
    printf("%s %d %.9g\n", owner ? owner : "-", reply->user_present,
           reply->n_user_values > 0   ? (double)reply->user_values[0]
           : reply->n_item_values > 0 ? (double)reply->item_values[0]
                                      : -1);
    freshet__v1__get_features_response__free_unpacked(reply, NULL);
}

int main(int argument_count, char **arguments)
{
    uint64_t user_id, item_id;
    char feature[128];
    struct freshet_failure failure;
    struct freshet_client *client;
    const char *addresses[ADDRESSES_MAX];
    size_t count = 0;

    if (argument_count != 4)
        return 2;
    for (char *one = strtok(arguments[1], ","); one && count < ADDRESSES_MAX; one = strtok(NULL, ","))
        addresses[count++] = one;
    client = freshet_client_open(
        &(struct freshet_client_options){
            .addresses = addresses, .address_count = count, .timeout_ms = atoi(arguments[2]), .retries = atoi(arguments[3])},
        &failure);
    if (!client) {
        printf("%s: %s\n", failure.code, failure.message);
        return 1;
    }
    while (scanf("%" SCNu64 " %" SCNu64 " %127s", &user_id, &item_id, feature) == 3) {
        answer(client, user_id, item_id, feature);
        fflush(stdout);
    }
    freshet_client_close(client);
    return 0;
}

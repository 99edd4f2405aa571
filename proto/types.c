/*
 * Every message type by its full name. A test holds this table against the descriptors that the program carries.
 */
#include "internal.h"

#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/event.pb-c.h>
#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/model.pb-c.h>
#include <freshet/v1/recall.pb-c.h>
#include <freshet/v1/session.pb-c.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &freshet__v1__event__descriptor,
    &freshet__v1__offset__descriptor,
    &freshet__v1__get_features_request__descriptor,
    &freshet__v1__get_features_response__descriptor,
    &freshet__v1__shape__descriptor,
    &freshet__v1__sequence__descriptor,
    &freshet__v1__padded_sequence__descriptor,
    &freshet__v1__field__descriptor,
    &freshet__v1__entity_key__descriptor,
    &freshet__v1__watch_features_request__descriptor,
    &freshet__v1__watch_features_update__descriptor,
    &freshet__v1__describe_request__descriptor,
    &freshet__v1__describe_response__descriptor,
    &freshet__v1__entity_description__descriptor,
    &freshet__v1__feature_description__descriptor,
    &freshet__v1__feature_set_description__descriptor,
    &freshet__v1__list_description__descriptor,
    &freshet__v1__schema_description__descriptor,
    &freshet__v1__trending_request__descriptor,
    &freshet__v1__labels_request__descriptor,
    &freshet__v1__related_request__descriptor,
    &freshet__v1__recent_request__descriptor,
    &freshet__v1__candidates__descriptor,
    &freshet__v1__score_request__descriptor,
    &freshet__v1__score_response__descriptor,
    &freshet__v1__label__descriptor,
    &freshet__v1__example__descriptor,
    &freshet__v1__served__descriptor,
    &freshet__v1__pull_request__descriptor,
    &freshet__v1__model_delta__descriptor,
    &freshet__v1__push_request__descriptor,
    &freshet__v1__push_response__descriptor,
    &freshet__v1__model_status_request__descriptor,
    &freshet__v1__model_status_response__descriptor,
    &freshet__v1__model_change_request__descriptor,
    &freshet__v1__model_state__descriptor,
    &freshet__v1__task_state__descriptor,
    &freshet__v1__column_drift__descriptor,
    &freshet__v1__status_request__descriptor,
    &freshet__v1__status_response__descriptor,
    &freshet__v1__partition_status__descriptor,
    &freshet__v1__feature_status__descriptor,
    &freshet__v1__outcome_count__descriptor,
    &freshet__v1__blocked_count__descriptor,
    &freshet__v1__ledger_row__descriptor,
    &freshet__v1__checkpoint_request__descriptor,
    &freshet__v1__checkpoint_response__descriptor,
    &freshet__v1__forget_request__descriptor,
    &freshet__v1__block_request__descriptor,
    &freshet__v1__block_reply__descriptor,
    &freshet__v1__forget_reply__descriptor,
    &freshet__v1__digest_request__descriptor,
    &freshet__v1__digest_response__descriptor,
    &freshet__v1__explain_request__descriptor,
    &freshet__v1__explain_response__descriptor,
    &freshet__v1__explained_pane__descriptor,
    &freshet__v1__explained_event__descriptor,
    &freshet__v1__explained_operand__descriptor,
    &freshet__v1__cluster_request__descriptor,
    &freshet__v1__cluster_response__descriptor,
    &freshet__v1__cluster_member__descriptor,
    &freshet__v1__cluster_partition__descriptor,
    &freshet__v1__drain_request__descriptor,
    &freshet__v1__drain_reply__descriptor,
    &freshet__v1__session__descriptor,
    &freshet__v1__slate__descriptor,
};

const ProtobufCMessageDescriptor *proto_type_find(const char *full_name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i]->name, full_name) == 0)
            return types[i];
    }
    return NULL;
}

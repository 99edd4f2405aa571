/* The catalogue as Describe and status show it. */
#include "tables.h"
#include "type.h"

int agg_entity_count(const struct agg *agg)
{
    return agg->catalogue->visible_count;
}

int agg_feature_count(const struct agg *agg)
{
    return agg->catalogue->visible_feature_count;
}

int agg_set_count(const struct agg *agg)
{
    return agg->catalogue->set_count;
}

struct agg_entity_info agg_entity_at(const struct agg *agg, int index)
{
    const struct agg_entity *entity = agg->catalogue->entities[index];

    return (struct agg_entity_info){.name = entity->name,
                                    .key = entity->key_names,
                                    .key_count = entity->key_count,
                                    .parent = entity->parent_name ? entity->parent_name : "",
                                    .retention_ms = entity->retention_ms};
}

struct agg_feature_info agg_feature_at(const struct agg *agg, int index)
{
    return agg_feature__info(agg->catalogue->features[index]);
}

struct agg_feature_info agg_feature__info(const struct agg_feature *feature)
{
    return (struct agg_feature_info){.name = feature->name,
                                     .entity = feature->entity->name,
                                     .aggregate = feature->type->name,
                                     .columns = feature->columns,
                                     .column_count = feature->column_count,
                                     .fields = feature->field_names,
                                     .field_count = feature->field_count,
                                     .windows_ms = feature->windows_ms,
                                     .resolutions_ms = feature->resolutions_ms,
                                     .window_count = feature->window_count,
                                     .limit = feature->limit,
                                     .generation = feature->generation,
                                     .complete_from_ms = feature->complete_from_ms};
}

struct agg_set_info agg_set_at(const struct agg *agg, int index)
{
    const struct agg_set *set = &agg->catalogue->sets[index];

    return (struct agg_set_info){.name = set->name, .features = set->names, .feature_count = set->count};
}

int agg_list_count(const struct agg *agg)
{
    return agg->catalogue->list_count;
}

struct agg_list_info agg_list_at(const struct agg *agg, int index)
{
    const struct agg_list *list = &agg->catalogue->lists[index];

    return (struct agg_list_info){.name = list->name,
                                  .entity = list->entity->name,
                                  .rank = list->rank->name,
                                  .weigh = list->weigh ? list->weigh : "",
                                  .without = list->without < 0 ? "" : agg->catalogue->table_fields[list->without].name,
                                  .scopes = list->scope_names,
                                  .scope_count = list->scope_count,
                                  .limit = list->limit};
}

bool agg_feature_find(const struct agg *agg, const char *name, struct agg_feature_info *info, struct fr_err *err)
{
    struct agg_feature *feature;
    int column;

    if (!agg_catalogue__resolve(agg->catalogue, fr_slice_of(name), &feature, &column, err))
        return false;
    *info = agg_feature__info(feature);
    return true;
}

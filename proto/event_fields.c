/*
 * An event's fields by their number, for the parts of the catalogue that name them.
 */
#include "internal.h"

uint64_t proto_event_id_field(const struct proto_event *event, int field)
{
    switch (field) {
    case PROTO_FIELD_EVENT_ID:
        return event->event_id;
    case PROTO_FIELD_USER_ID:
        return event->user_id;
    case PROTO_FIELD_ITEM_ID:
        return event->item_id;
    case PROTO_FIELD_CREATOR_ID:
        return event->creator_id;
    case PROTO_FIELD_ROOM_ID:
        return event->room_id;
    case PROTO_FIELD_CATEGORY_ID:
        return event->category_id;
    case PROTO_FIELD_REGION:
        return event->region;
    case PROTO_FIELD_REQUEST_ID:
        return event->request_id;
    default:
        return 0;
    }
}

bool proto_event_number_field(const struct proto_event *event, int field, double *value)
{
    switch (field) {
    case PROTO_FIELD_EVENT_ID:
    case PROTO_FIELD_USER_ID:
    case PROTO_FIELD_ITEM_ID:
    case PROTO_FIELD_CREATOR_ID:
    case PROTO_FIELD_ROOM_ID:
    case PROTO_FIELD_CATEGORY_ID:
    case PROTO_FIELD_REGION:
    case PROTO_FIELD_REQUEST_ID:
        *value = (double)proto_event_id_field(event, field);
        return true;
    case PROTO_FIELD_TS_MS:
        *value = (double)event->ts_ms;
        return true;
    case PROTO_FIELD_ACTION:
        *value = event->action;
        return true;
    case PROTO_FIELD_VALUE:
        *value = event->value;
        return true;
    case PROTO_FIELD_DURATION_S:
        *value = event->duration_s;
        return true;
    case PROTO_FIELD_SCENE:
        *value = event->scene;
        return true;
    case PROTO_FIELD_POSITION:
        *value = event->position;
        return true;
    case PROTO_FIELD_PROPENSITY:
        *value = (double)event->propensity;
        return true;
    default:
        return false;
    }
}

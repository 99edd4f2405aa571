"""Every value of a node beside the oracle's."""

import itertools

from freshet.v1 import feature_pb2, recall_pb2

import node as node_module
import recall

ITEMS_MAX = 2000
LATER_MS = (0, 30_000, 600_000, 90_000_000)  # T, and 30 s, 10 min and 25 h after it
UNKNOWN_ID = 18_446_744_073_709_551_557
SHOWN = 5


def field_values(field):
    return list(field.ids) or list(field.ints) or list(field.numbers)


def sequences_of(reply, keyed):
    """As the oracle has them: (name, key) → (rows, fields), without the empty ones; `keyed` are those whose key is not the user."""
    found = {}
    for sequence in reply.sequences:
        fields = {field.name: field_values(field) for field in sequence.fields}
        if any(fields.values()):
            key = sequence.key if sequence.name in keyed else 0
            assert (sequence.name, key) not in found, f"{sequence.name} twice"
            found[sequence.name, key] = (list(sequence.rows), fields)
    return found


def keyed_sequences(made):
    return {feature.name for feature in made.features.values() if feature.match or not feature.is_of_user}


def differences(reply, wanted, keyed, item_ids):
    """Sentences about what is not as it must be."""
    if list(reply.user_columns) != wanted.user_columns or list(reply.item_columns) != wanted.item_columns:
        yield f"columns {list(reply.user_columns)} {list(reply.item_columns)}, not {wanted.user_columns} {wanted.item_columns}"
        return
    if reply.user_present != wanted.user_present:
        yield f"user_present is {reply.user_present}"
    if list(reply.user_values) != wanted.user_values:
        for column, got, right in zip(wanted.user_columns, reply.user_values, wanted.user_values):
            if got != right:
                yield f"{column} is {got}, not {right}"
    if list(reply.item_present) != wanted.item_present:
        wrong = [item for item, got, right in zip(item_ids, reply.item_present, wanted.item_present) if got != right]
        yield f"item_present is wrong for items {wrong}"
    if len(reply.item_values) != len(wanted.item_values):
        yield f"{len(reply.item_values)} item values, not {len(wanted.item_values)}"
    elif list(reply.item_values) != wanted.item_values:
        cells = itertools.product(item_ids, wanted.item_columns)
        for (item, column), got, right in zip(cells, reply.item_values, wanted.item_values):
            if got != right:
                yield f"{column} of item {item} is {got}, not {right}"
    fields = {field.name: field_values(field) for field in reply.item_fields}
    if fields != wanted.item_fields:
        yield f"item_fields are {fields}, not {wanted.item_fields}"
    found = sequences_of(reply, keyed)
    for name in found.keys() | wanted.sequences.keys():
        if found.get(name) != wanted.sequences.get(name):
            yield f"sequence {name} is {found.get(name)}, not {wanted.sequences.get(name)}"


def batches(ids, size):
    for at in range(0, len(ids), size):
        yield ids[at : at + size]


def questions(events, users_every=1):
    """[(user, items)]: all items without a user, and every user with the items that it touched and one that nobody did."""
    items = sorted({event["item_id"] for event in events if event["item_id"]})
    asked = [(0, batch) for batch in batches([*items, UNKNOWN_ID, 0], ITEMS_MAX)]
    of_users = {}
    for event in events:
        if event["user_id"]:
            of_users.setdefault(event["user_id"], {})[event["item_id"]] = True
    for user in sorted(of_users)[::users_every]:
        asked.append((user, [*list(of_users[user])[: ITEMS_MAX - 1], UNKNOWN_ID]))
    return asked + [(UNKNOWN_ID, [])]


def requests_of(made, asked, later, names=()):
    """The same as messages, as of `later` ms after T."""
    as_of_ms = made.stream_time_ms + later if later else 0
    return [
        feature_pb2.GetFeaturesRequest(user_id=user, item_ids=items, as_of_ms=as_of_ms, features=names) for user, items in asked
    ]


def wanted_of(made, request):
    time_ms = request.as_of_ms or made.stream_time_ms
    return made.reply(request.user_id, list(request.item_ids), time_ms, names=list(request.features))


def check_replies(made, answered):
    """Each (request, what the oracle wants, reply of whichever client) agrees. Returns the number of values compared."""
    keyed = keyed_sequences(made)
    wrong, count = [], 0
    for request, wanted, reply in answered:
        assert reply.stream_time_ms == made.stream_time_ms
        count += len(reply.user_values) + len(reply.item_values)
        later = request.as_of_ms - made.stream_time_ms if request.as_of_ms else 0
        for sentence in differences(reply, wanted, keyed, request.item_ids):
            wrong.append(f"user {request.user_id} at T + {later}: {sentence}")
        if len(wrong) > 100:
            break
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:SHOWN]])
    return count


def check_values(node, made, asked, later_ms=LATER_MS, names=()):
    """Asks all of it at each time, over a kept connection, and compares. Returns the number of values compared."""
    pipeline = node_module.Pipeline(node.api)

    def answered():
        for later in later_ms:
            requests = requests_of(made, asked, later, names)
            for request, reply in zip(requests, pipeline.get_features(requests)):
                yield request, wanted_of(made, request), reply
            made.cache.clear()

    count = check_replies(made, answered())
    pipeline.close()
    return count


def recall_questions(made, events, every=1):
    """[(method, request, wanted)] at T: every list, scope and kind, every item's partners, with and without somebody's view."""
    time_ms, asked = made.stream_time_ms, []
    users = sorted({event["user_id"] for event in events if event["user_id"]})
    viewers = [0, *users[:: len(users) // 3 + 1]]
    items = sorted({event["item_id"] for event in events if event["item_id"]})[::every]
    for name, one in made.recall.lists.items():
        for scope, value in list(recall.scope_values(events, one.scopes))[::every]:
            for user_id in viewers:
                for limit in (0, 3, one.limit + 5):
                    request = recall_pb2.TrendingRequest(
                        list=name, scope=scope, scope_id=value, limit=limit, exclude_seen_by=user_id
                    )
                    asked.append(("Trending", request, made.recall.trending(name, scope, value, limit, time_ms, user_id)))
    for name in made.recall.covisits:
        for number, item_id in enumerate([*items, UNKNOWN_ID]):
            user_id, limit = viewers[number % len(viewers)], (0, 2)[number % 2]
            request = recall_pb2.RelatedRequest(item_id=item_id, feature=name, limit=limit, exclude_seen_by=user_id)
            asked.append(("Related", request, made.recall.related(name, item_id, limit, time_ms, user_id)))
    for kind, entity in (("rooms_live", "room_id"), ("creators_live", "room_id"), ("new_items", "item_id")):
        for user_id in viewers if made.entity_of(entity) else ():
            for limit in (1, 100):
                request = recall_pb2.RecentRequest(user_id=user_id, kind=kind, limit=limit)
                asked.append(("Recent", request, made.recall.recent(kind, limit, time_ms, user_id)))
    return asked


def check_recall(node, made, events, every=1):
    """Asks for candidates and compares. Returns the number of replies compared."""
    wrong, asked = [], recall_questions(made, events, every)
    for method, request, wanted in asked:
        reply = node.call(f"RecallService/{method}", request, recall_pb2.Candidates)
        assert reply.stream_time_ms == made.stream_time_ms
        for sentence in recall.differences(reply, wanted):
            wrong.append(f"{method} {str(request).replace(chr(10), ', ')}: {sentence}")
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:SHOWN]])
    return len(asked)

"""Mistakes in a configuration. '@@' stands before the token that the message must point at; `mend` must be in the message."""

HEAD = """entities:
  user: { key: [user_id] }
  item: { key: [item_id] }
"""
FEATURES = """features:
  likes: { entity: item, actions: [like], aggregate: count, windows: [1h] }
"""
GOOD = HEAD + FEATURES


def feature(text):
    """A configuration whose second feature is `text`."""
    return GOOD + f"  odd: {text}\n"


MISTAKES = {
    "unknown key at the top": (GOOD + "@@nodes: { lanes: 1 }\n", "node"),
    "unknown key of node": (GOOD + "node: { @@clok: wall }\n", "clock"),
    "unknown key of kafka": (GOOD + "kafka:\n  @@broker: embedded\n", "brokers"),
    "unknown key of a topic": (GOOD + "kafka: { topics: [ { name: a, @@fromat: json } ] }\n", "format"),
    "unknown key of store": (GOOD + "store: { @@pth: /tmp/x }\n", "path"),
    "unknown key of server": (GOOD + "server: { @@listn: '127.0.0.1:1' }\n", "listen"),
    "unknown key of an entity": (HEAD + "  room: { key: [room_id], @@retension: 1d }\n" + FEATURES, "retention"),
    "unknown key of a feature": (feature("{ entity: item, aggregate: count, @@window: [1h] }"), "windows"),
    "duplicate key": (GOOD + "node: { lanes: 1, @@lanes: 2 }\n", "lanes"),
    "duplicate section": (GOOD + "node: { lanes: 1 }\n@@node: { lanes: 2 }\n", "node"),
    "duplicate feature": (GOOD + "  @@likes: { entity: item, aggregate: count, windows: [1h] }\n", "likes"),
    "duplicate entity": (HEAD + "  @@item: { key: [item_id] }\n" + FEATURES, "item"),
    "text for a number": (GOOD + "node: { lanes: @@two }\n", "lanes"),
    "negative number": (GOOD + "node: { lanes: @@-1 }\n", "lanes"),
    "list for a text": (GOOD + "kafka: { group: @@[a, b] }\n", "group"),
    "text for a section": (GOOD + "node: @@fast\n", "node"),
    "text for kafka": (GOOD + "kafka: @@embedded\n", "kafka"),
    "list for a section": (GOOD + "server: @@[a]\n", "server"),
    "number for a section": (GOOD + "store: @@5\n", "store"),
    "text for a map": (GOOD + "node: { dedupe: @@x }\n", "dedupe"),
    "text for a list": (GOOD + "kafka: { topics: @@events }\n", "topics"),
    "text for an entity": ("entities:\n  user: @@user_id\n" + FEATURES.replace("item", "user"), "key"),
    "text for a key": ("entities:\n  item: { key: @@item_id }\n" + FEATURES, "[item_id]"),
    "text for a feature": (feature("@@count"), "entity"),
    "number out of range": (GOOD + "node: { lanes: @@0 }\n", "1"),
    "span out of range": (GOOD + "store: { epoch: @@0s }\n", "epoch"),
    "port out of range": (GOOD + "server: { listen: @@'127.0.0.1:99999' }\n", "server.listen"),
    "no address": (GOOD + "server: { operations: @@nonsense }\n", "server.operations"),
    "half of TLS": (GOOD + "server: { tls: @@{ certificate: /nowhere/a.pem } }\n", "name both"),
    "TLS of no file": (GOOD + "server: { tls: @@{ certificate: /nowhere/a.pem, key: /nowhere/a.key } }\n", "/nowhere/a.key"),
    "unknown key of tls": (GOOD + "server: { tls: { @@cert: a, key: b } }\n", "certificate"),
    "a list of nobody's taken back": (GOOD + "server: { tls: @@{ certificate: a, key: b, client_crl: c } }\n", "client_ca"),
    "a token in the file": (
        GOOD + "server: { tokens: [ { name: a, token: @@0123456789abcdef, groups: [read] } ] }\n", "${NAME}"),
    "a token of one word": (GOOD + "server: { tokens: [ { name: a, token: @@'${HOME}', groups: [read] } ] }\n", "openssl rand"),
    "neither token nor certificate": (GOOD + "server: { tokens: [ @@{ name: a, groups: [read] } ] }\n", "either a token"),
    "a certificate that nobody asks for": (
        GOOD + "server: { tokens: [ @@{ name: a, certificate: b, groups: [read] } ] }\n", "client_ca"),
    "a token without groups": (GOOD + "server: { tokens: [ @@{ name: a, token: '${HOME}' } ] }\n", "groups: [read]"),
    "an unknown group": (GOOD + "server: { tokens: [ { name: a, token: '${HOME}', groups: [@@write] } ] }\n", "admin"),
    "no list of tokens": (GOOD + "server: { tokens: @@{ name: a } }\n", "list"),
    "a host with a port": (GOOD + "server: { hosts: [@@'a:1'] }\n", "without a port"),
    "a burst without a rate": (GOOD + "server: { limits: { burst: @@5 } }\n", "rate"),
    "no watches at all": (GOOD + "server: { limits: { watches: @@0 } }\n", "use 1 to 10000"),
    "too many that wait": (GOOD + "server: { limits: { early_calls: @@1000000 } }\n", "use 1 to 100000"),
    "a rate of nothing": (GOOD + "server: { limits: { rate: @@0 } }\n", "rate"),
    "plaintext off loopback": (GOOD + "server: { listen: @@'0.0.0.0:7070' }\n", "server.plaintext"),
    "empty brokers": (GOOD + "kafka: { brokers: @@'' }\n", "brokers"),
    "empty path": (GOOD + "store: { path: @@'' }\n", "store.path"),
    "a topic twice": (GOOD + "kafka: { topics: [ { name: a }, @@{ name: a } ] }\n", "once"),
    "dead letters into a topic that is read": (GOOD + "kafka: { dead_letters: @@freshet.events }\n", "another"),
    "map for a list": (feature("{ entity: item, aggregate: count, windows: @@{ a: 1h } }"), "windows"),
    "span with a wrong unit": (GOOD + "node: { max_future: @@1x }\n", "max_future"),
    "span without a unit": (GOOD + "node: { dedupe: { horizon: @@10 } }\n", "horizon"),
    "checkpoints of one that stands alone": (GOOD + "store: { checkpoints: @@/tmp/x }\n", "freshet backup"),
    "checkpoints where the state is": (GOOD + "store: { path: /tmp/x, checkpoints: @@/tmp/x }\n", "all instances see"),
    "size with a wrong unit": (GOOD + "store: { memory: @@12parsecs }\n", "memory"),
    "unknown clock": (GOOD + "node: { clock: @@walls }\n", "wall"),
    "unknown start": (GOOD + "kafka: { start: @@earlier }\n", "earliest"),
    "unknown format": (GOOD + "kafka: { topics: [ { name: a, format: @@protobuff } ] }\n", "protobuf"),
    "unknown entity": (feature("{ entity: @@itme, aggregate: count, windows: [1h] }"), "item"),
    "unknown parent": ("entities:\n  user: { key: [user_id] }\n  item: { key: [item_id], parent: @@usr }\n" + FEATURES, "user"),
    "unknown key field": ("entities:\n  item: { key: [@@itm_id] }\n" + FEATURES, "item_id"),
    "unknown aggregate": (feature("{ entity: item, aggregate: @@cuont, windows: [1h] }"), "count"),
    "quantile beyond the last": (feature("{ entity: item, aggregate: quantile, q: @@90, windows: [1h] }"), "0 to 1"),
    "unknown action": (feature("{ entity: item, actions: [like, @@wach], aggregate: count, windows: [1h] }"), "watch"),
    "unknown field of a sequence": (
        feature("{ entity: user, aggregate: last, limit: 3, fields: [item_id, @@acton] }"),
        "action",
    ),
    "unknown field to sum": (feature("{ entity: item, aggregate: sum, of: @@valeu, windows: [1h] }"), "value"),
    "unknown field in where": (feature("{ entity: item, where: @@'valu >= 3', aggregate: count, windows: [1h] }"), "value"),
    "where that ends too early": (feature("{ entity: item, where: @@'value >=', aggregate: count, windows: [1h] }"), "where"),
    "window too short": (feature("{ entity: item, aggregate: count, windows: [1h, @@10s] }"), "24"),
    "window not of whole seconds": (feature("{ entity: item, aggregate: count, windows: [@@90500ms] }"), "second"),
    "a window twice": (feature("{ entity: item, aggregate: count, windows: [1h, @@1h] }"), "1h"),
    "no windows": (feature("{ entity: item, aggregate: count, windows: @@[] }"), "windows"),
    "no limit": (feature("{ entity: user, aggregate: last, limit: @@0, fields: [item_id] }"), "1"),
    "a field twice": (feature("{ entity: user, aggregate: last, limit: 3, fields: [item_id, @@item_id] }"), "item_id"),
    "a key field twice": ("entities:\n  item: { key: [item_id, @@item_id] }\n" + FEATURES, "item_id"),
    "a name with a dot": (GOOD + "  @@a.b: { entity: item, aggregate: count, windows: [1h] }\n", "letters"),
    "an unknown action in where": (
        feature("{ entity: item, where: @@'action = lik', aggregate: count, windows: [1h] }"),
        "like",
    ),
    "text beside a number in where": (
        feature("{ entity: item, where: @@'value > \"a\"', aggregate: count, windows: [1h] }"),
        "text",
    ),
    "a deep where": (feature("{ entity: item, where: @@'%s', aggregate: count, windows: [1h] }" % ("(" * 500)), "nested"),
    "windows missing": (GOOD + "  @@odd: { entity: item, aggregate: count }\n", "windows"),
    "entity missing": (GOOD + "  @@odd: { aggregate: count, windows: [1h] }\n", "entity"),
    "aggregate missing": (GOOD + "  @@odd: { entity: item, windows: [1h] }\n", "aggregate"),
    "limit missing": (GOOD + "  @@odd: { entity: user, aggregate: last, fields: [item_id] }\n", "limit"),
    "unknown feature in a set": (GOOD + "feature_sets: { a: { item: [@@likez] } }\n", "likes"),
    "unknown part of a set": (GOOD + "feature_sets: { a: { @@itms: [likes] } }\n", "item"),
}


def placed(text):
    """(text without the mark, line, column), both from 1."""
    before, _, after = text.partition("@@")
    return before + after, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

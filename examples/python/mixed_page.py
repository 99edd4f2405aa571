"""One page of livestreams, short videos and goods: python mixed_page.py HOST:PORT USER [PLACES]

Wants a node with examples/catalogues/mixed.yaml and the client: pip install ./clients/python

A candidate is an item in a scene. It is worth what one exposure of it there brings: a short video the seconds that it is watched, and the room that
it leads to; a room what somebody who enters leaves there; goods what is bought less what comes back. All by the node's own counters, in money.
A place is worth what exposures there bring beside others of its scene. Who is shown too little by the exposure ledger is worth more: by how far
the tier is below its target; and where nobody new is on the page, the last place is for one whose quota is not used up. Each scene has some places at least.
"""

import sys
from dataclasses import dataclass

import grpc
import numpy as np

import freshet
from freshet.v1 import feature_pb2, recall_pb2

LIVE, SHORT_VIDEO, MALL = 1, 2, 3
SCENES = {LIVE: "live", SHORT_VIDEO: "short video", MALL: "mall"}
SECOND = 0.01  # what a second of attention is worth, in money
ROOM = 0.5  # and an entry into a room, for comparing places: what it brings there is each creator's own
LEAST = 5  # each scene has one of so many places at least
FAIRNESS = 2.0  # how much a tier that has nothing of its target is lifted: (1 + FAIRNESS) times
COLUMNS = ["slot_value.1h", "slot_watch_mean.1h", "slot_transfer.1h"]


@dataclass
class Placed:
    """What the page has somewhere, and why."""

    scene: int
    item: int
    creator: int
    value: float  # of one exposure
    slot: float  # by how much that place is better than others
    lift: float  # because its creator's tier has too little
    is_new: bool = False  # there because its creator is new


def allowed(free, page, places):
    """Those of scenes that have too few places yet, once what is left of the page is only enough for these."""
    owed = {scene: max(places // LEAST - sum(one.scene == scene for one in page), 0) for scene in SCENES}
    return free if places - len(page) > sum(owed.values()) else [one for one in free if owed[one.scene] > 0]


class Mixer:
    def __init__(self, target, fairness=FAIRNESS):
        self.client, self.fairness = freshet.Client(target), fairness
        self.channel = grpc.insecure_channel(target)
        self.trending = self.channel.unary_unary(
            "/freshet.v1.RecallService/Trending", recall_pb2.TrendingRequest.SerializeToString, recall_pb2.Candidates.FromString
        )
        self.watch = self.channel.unary_stream(
            "/freshet.v1.FeatureService/WatchFeatures",
            feature_pb2.WatchFeaturesRequest.SerializeToString,
            feature_pb2.WatchFeaturesUpdate.FromString,
        )

    def slots(self, places):
        """{(scene, place): value of an exposure there}: the first update of each. A ranker keeps the stream open, and is told when they change."""
        keys = [(scene, place) for scene in SCENES for place in range(1, places + 1)]
        entities = [feature_pb2.EntityKey(entity="slot", key=key) for key in keys]
        stream, found = self.watch(feature_pb2.WatchFeaturesRequest(entities=entities, features=COLUMNS)), {}
        for update in stream:
            value, seconds, goes_over = (update.values[list(update.columns).index(name)] for name in COLUMNS)
            found[tuple(update.entity.key)] = value + SECOND * seconds + ROOM * goes_over
            if len(found) == len(keys):
                break
        stream.cancel()
        return found

    def factors(self, places):
        """{(scene, place): worth beside the mean place of the scene}."""
        slots, factors = self.slots(places), {}
        for scene in SCENES:
            mean = np.mean([slots[scene, place] for place in range(1, places + 1)])
            for place in range(1, places + 1):
                factors[scene, place] = float(slots[scene, place] / mean) if mean > 0 else 1.0
        return factors

    def candidates(self, user, limit=50):
        """{scene: what is hot there and the user has not seen}, and who is new with how many exposures left."""
        found = {}
        for scene in SCENES:
            asked = recall_pb2.TrendingRequest(list="hot", scope="scene", scope_id=scene, limit=limit, exclude_seen_by=user)
            found[scene] = list(self.trending(asked).ids)
        pool = self.trending(recall_pb2.TrendingRequest(list="new_creators"))
        return found, dict(zip(pool.ids, pool.scores))

    def judge(self, user, scene, items):
        """[Placed] of one scene, without a place yet."""
        if not items:
            return []
        known = self.client.get_features(user, items, feature_set="page", features=["item.creator_id"])
        live = known.column("live_value.24h")
        value = {
            LIVE: live,
            SHORT_VIDEO: SECOND * known.column("video_seconds.24h") + known.column("transfer_rate.24h") * live,
            MALL: known.column("mall_value.24h"),
        }[scene]
        lift = 1 + self.fairness * np.maximum(known.column("tier_share.24h.deficit"), 0)
        creators = known.item_fields["item.creator_id"]
        return [Placed(scene, int(items[i]), int(creators[i]), float(value[i]), 1.0, float(lift[i])) for i in range(len(items))]

    def page(self, user, places=10):
        """The best for each place in turn, no creator and no item twice; then somebody new, if there is nobody."""
        found, pool = self.candidates(user)
        judged = [one for scene, items in found.items() for one in self.judge(user, scene, items)]
        factors, page = self.factors(places), []
        for place in range(1, places + 1):
            items, creators = {one.item for one in page}, {one.creator for one in page}
            free = [one for one in judged if one.item not in items and one.creator not in creators]
            free = allowed(free, page, places) or free
            is_last = place == places and not any(one.creator in pool for one in page)
            fresh = [one for one in free if one.creator in pool] if is_last else []
            if not free:
                break
            for one in free:
                one.slot = factors[one.scene, place]
            page.append(max(fresh or free, key=lambda one: (one.value * one.slot * one.lift, -one.item)))
            page[-1].is_new = page[-1].creator in pool
        return page


def main(target, user, places=10):
    print("place scene        item       creator    per exposure  place  fair")
    for place, one in enumerate(Mixer(target).page(int(user), int(places)), 1):
        print(f"{place:5} {SCENES[one.scene]:12} {one.item:<10} {one.creator:<10} {one.value:12.4f} {one.slot:6.2f} {one.lift:5.2f}{'  new' * one.is_new}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])

"""People of the simulated world who answer a ranking of your own: their chances are what `freshet simulate --truth` tells.

Whether a user clicks on an item at one moment, and buys it, is drawn from the seed, the user, the item and the moment alone.
So two rankers that show the same item to the same user at the same moment see the same answer: what differs is what they show.
"""

import dataclasses
import json
import math
import statistics
import struct

import xxhash


@dataclasses.dataclass
class Answer:
    is_clicked: bool
    bought_after_s: float | None  # since the cart
    paid: float


class Crowd:
    def __init__(self, truth, seed):
        """`truth`: the file's lines."""
        told = [json.loads(line) for line in truth]
        self.world = told[0]
        self.items = {int(one["itemId"]): one for one in told if one["truth"] == "item"}
        self.tastes = {
            int(one["userId"]): {int(category): taste for category, taste in one["tastes"].items()}
            for one in told
            if one["truth"] == "user" and not one["isBot"]
        }
        self.seed = seed

    @property
    def users(self):
        return list(self.tastes)

    def category(self, item):
        return int(self.items[item]["categoryId"])

    def price(self, item):
        return self.items[item]["price"]

    def liking(self, user, item):
        return self.items[item]["charm"] * self.tastes[user].get(self.category(item), self.world["otherTaste"])

    def click_chance(self, user, item):
        return min(self.world["most"], self.world["click"] * self.liking(user, item))

    def buy_chance(self, user, item):
        """Once it is clicked."""
        return min(self.world["most"], self.world["cart"] * self.liking(user, item)) * self.world["buy"]

    def drawn(self, what, user, item, moment):
        """In [0, 1)."""
        bits = xxhash.xxh64_intdigest(what.encode() + struct.pack("<QQQ", user, item, moment), self.seed)
        return (bits >> 11) * 2.0**-53

    def answer(self, user, item, moment):
        is_clicked = self.drawn("click", user, item, moment) < self.click_chance(user, item)
        if not is_clicked or self.drawn("buy", user, item, moment) >= self.buy_chance(user, item):
            return Answer(is_clicked, None, 0.0)
        delay = self.world["purchaseDelay"]
        normal = statistics.NormalDist().inv_cdf(max(1e-12, self.drawn("delay", user, item, moment)))
        return Answer(True, min(delay["mostS"], delay["medianS"] * math.exp(delay["sigma"] * normal)), self.price(item))

"""Whose user is whose: an instance of a cluster has the users of its partitions, and a user's partition is that of its events."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from .v1 import admin_pb2

_MASK = 0xFFFFFFFF
_MIX = 0x5BD1E995
_SEED = 0x9747B28C


def partition_of(user_id: int, partitions: int) -> int:
    """Where Kafka's producers put the user's events: murmur2 of the id in decimal, made positive (Java's default partitioner)."""
    key = b"%d" % user_id
    whole = len(key) & ~3
    h = (_SEED ^ len(key)) & _MASK
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _MIX & _MASK
        h = h * _MIX & _MASK ^ (k ^ k >> 24) * _MIX & _MASK
    if len(key) != whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _MIX & _MASK
    h = (h ^ h >> 13) * _MIX & _MASK
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


LEARN_S = 1.0  # for one instance to say who has what, so that a dead one does not take all of a call's time


class Routes:
    """What a client knows of a cluster: instances, and who has which partitions, as the last one said that was asked."""

    def __init__(self, targets: Iterable[str], dial: Callable[[str], str]) -> None:
        if isinstance(targets, str):
            raise TypeError("targets: give a list, not one str")
        self._given = tuple(dict.fromkeys(targets))
        if not self._given:
            raise ValueError("targets: give one at least")
        self._known = self._given
        self._dial = dial
        self._owners: tuple[str, ...] | None = None  # by partition, "" where nobody is known; None: to be asked
        self._copies: dict[int, str] = {}  # by partition, an instance that said that it has a copy of another's

    def known(self) -> list[str]:
        """Those that were given, and those that have something, in an order of chance."""
        return random.sample(self._known, len(self._known))

    def take(self, reply: admin_pb2.ClusterResponse, asked: str) -> None:
        """`asked` is the target that answered: what is its own is there, whatever it calls itself."""
        apis = {member.instance: self._dial(member.api) for member in reply.members}
        owners = tuple(asked if one.here else apis.get(one.instance, "") for one in reply.partitions)
        self._known = tuple(dict.fromkeys((*self._given, asked, *filter(None, owners))))
        self._owners = owners
        copies = {number: target for number, target in self._copies.items() if target in self._known and target != asked}
        copies.update((one.partition, asked) for one in reply.partitions if one.standby)
        self._copies = copies

    def forget(self) -> None:
        """Who has what is to be asked again; the instances stay known."""
        self._owners = None

    def target_of(self, user_id: int) -> str | None:
        """Where to ask for the user, any instance for 0 and where nobody is known; None: who has what is to be asked first."""
        owners = self._owners
        if owners is None:
            return None
        owner = owners[partition_of(user_id, len(owners))] if user_id and owners else ""
        return owner or random.choice(self._known)

    def copy_of(self, user_id: int, but: str) -> str | None:
        """Where a copy of the user is, as far as is known, that is not `but`'s."""
        owners = self._owners
        copy = self._copies.get(partition_of(user_id, len(owners))) if user_id and owners else None
        return None if copy == but else copy

    def is_owner(self, target: str, user_id: int) -> bool:
        owners = self._owners
        return not owners or owners[partition_of(user_id, len(owners))] == target

"""
The consumer group as brokers and librdkafka play it: eager, with range assignment and static members. A change makes every member
stand still from its next heartbeat on until the last has come; then each has its share and restores what it lacks, for itself.
"""

import math

from model import CHECK_SECONDS, assign

PROCESS_SECONDS = 1.0


class Heartbeat:
    """
    When a member sends one: at the first moment that its client wakes once `heartbeat.interval.ms` are over. It wakes every half second from
    the last hand-over on, which is the same moment for all members, and every second from the start of its process on. So members hear of
    a change nearly all at once (seen in what librdkafka 2.0.2 logs: 300 ms between them are in truth 500, 3 s are 3 s).
    """

    def __init__(self, setting, now, dice):
        self.every = setting.heartbeat_seconds
        self.process, self.grid = dice.random() * PROCESS_SECONDS, now
        self.sent = now

    def handed_over(self, now, is_newcomer):
        self.grid = now
        self.sent = now if is_newcomer else self.sent
        self.wake(now)

    def wake(self, now):
        """The client has something to do: that a tail is opened, by which it asks where partitions end."""
        if now - self.sent >= self.every:
            self.sent = now

    def after(self, now):
        """The first one that is sent after `now`; those before it have been sent."""
        while True:
            due = self.sent + self.every - 1e-3  # clocks run late, not early
            next_one = min(
                origin + math.ceil((due - origin) / step) * step
                for origin, step in ((self.grid, CHECK_SECONDS), (self.process, PROCESS_SECONDS))
            )
            if next_one > now:
                return next_one
            self.sent = next_one


class Group:
    def __init__(self, kernel, setting, takes):
        """`takes`: (of who was there, of who comes) seconds from when the last stood still until events are applied, and among how many instances."""
        self.kernel, self.setting, self.settled = kernel, setting, set()
        nearest = min(abs(count - setting.on_one_machine) for _, _, count in takes)
        self.takes = [take for take in takes if abs(take[2] - setting.on_one_machine) == nearest]
        self.members, self.joined, self.expiries = {}, set(), {}
        self.is_preparing, self.rebalances = False, 0

    def begin(self, instances):
        """A group that is at rest: all have their share."""
        self.members = {one.name: one for one in instances}
        self.settled = set(self.members)
        for name, parts in assign(list(self.members), self.setting.partitions).items():
            self.members[name].begin(set(parts))

    def join(self, instance):
        """A new member, or one that is back. Whoever is back before the group missed it has what it had."""
        name, is_new = instance.name, instance.name not in self.members
        if name in self.expiries:
            self.expiries.pop(name).is_off = True
        self.members[name] = instance
        if not is_new and not self.is_preparing:
            instance.resume()
            return
        self.joined.add(name)
        self.prepare()

    def lose(self, instance):
        """It is silent from now on."""
        self.joined.discard(instance.name)
        if instance.name in self.members and instance.name not in self.expiries:
            self.expiries[instance.name] = self.kernel.after(self.setting.session_seconds, self._expire, instance.name)

    def leave(self, instance):
        """It says so: drained."""
        if self.members.pop(instance.name, None):
            self.joined.discard(instance.name)
            self.prepare()

    def _expire(self, name):
        self.expiries.pop(name, None)
        if self.members.pop(name, None):
            self.joined.discard(name)
            self.prepare()

    def prepare(self):
        if not self.is_preparing:
            self.is_preparing = True
            for name, member in self.members.items():
                if name not in self.joined:
                    self.kernel.after(member.heartbeat.after(self.kernel.now) - self.kernel.now, self._tell, member)
        self._look()

    def _tell(self, member):
        if self.is_preparing and self.members.get(member.name) is member and member.name not in self.joined:
            member.heartbeat.sent = self.kernel.now
            member.give_back(self._back)

    def _back(self, member):
        if self.is_preparing and self.members.get(member.name) is member:
            self.joined.add(member.name)
            self._look()

    def _look(self):
        if not self.is_preparing or set(self.members) - self.joined:
            return
        self.is_preparing = False
        self.rebalances += 1
        newcomers, self.joined = self.members.keys() - self.settled, set()
        self.settled = set(self.members)
        took = self.kernel.dice.choice(self.takes)  # of one that was measured: what is slow for one is for all
        for name, parts in assign(list(self.members), self.setting.partitions).items():
            self.members[name].heartbeat.handed_over(self.kernel.now, name in newcomers)
            self.members[name].assigned(set(parts), took[name in newcomers])

"""
The consumer group as brokers and librdkafka play it: eager, with range assignment and static members. A change makes every member
stand still from its next heartbeat on until the last has come; then each has its share and restores what it lacks, for itself.
"""

from model import assign


class Group:
    def __init__(self, kernel, setting):
        self.kernel, self.setting = kernel, setting
        self.members, self.joined, self.expiries = {}, set(), {}
        self.is_preparing, self.rebalances = False, 0

    def begin(self, instances):
        """A group that is at rest: all have their share."""
        self.members = {one.name: one for one in instances}
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
                    self.kernel.after(self.kernel.dice.random() * self.setting.heartbeat_seconds, self._tell, member)
        self._look()

    def _tell(self, member):
        if self.is_preparing and self.members.get(member.name) is member and member.name not in self.joined:
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
        self.joined = set()
        for name, parts in assign(list(self.members), self.setting.partitions).items():
            self.members[name].assigned(set(parts))

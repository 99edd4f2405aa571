"""
A cluster in simulated time: instances with their epochs, the topics between them, partitions that are handed over.

Events are a fluid: each partition has its rate, and what an instance takes in of them in an epoch is what came, or what its cores can
do. What an epoch costs is arithmetic on expectations (model.Costs); when things happen, and who waits for whom, is simulated.
"""

from group import Group, Heartbeat
from kernel import Kernel, Pipe
from model import DROP_SECONDS, TICK_SECONDS, Costs, assign, standby

DOWN, STILL, SERVING = "down", "still", "serving"


class Cluster:
    """With `is_accounted` false only hand-overs are simulated, no epochs: for hours of a hundred instances."""

    def __init__(self, setting, figures, is_accounted=True):
        self.kernel, self.setting, self.costs = Kernel(setting.seed), setting, Costs(figures, setting)
        self.is_accounted, self.group = is_accounted, Group(self.kernel, setting, self.costs.handover["takes"])
        self.restoring = Pipe(self.kernel, setting.broker_bytes * setting.brokers)
        self.rate = setting.rate / setting.partitions
        self.applied = [0.0] * setting.partitions
        self.owner, self.silent_since = [None] * setting.partitions, [None] * setting.partitions
        live = self.costs.live_records()
        initial = live * setting.changelog_factor if setting.initial_records is None else setting.initial_records / setting.partitions
        self.changelog = [initial] * setting.partitions
        self.changelog_most = max(live * setting.changelog_factor, initial) if setting.is_compacted else float("inf")
        self.last_epoch = [0.0] * setting.partitions  # records of the changelog that nobody can have read along before a hand-over
        self.load_from, self.load_until = 0.0, float("inf")
        self.told = 0.0  # deltas, of all
        self.stalled_until, self.leaderless = 0.0, set()
        self.stills = []  # (partition, from, to): nobody took in its events
        self.lag_most = 0.0
        self.count = {name: 0.0 for name in ("events", "copies", "deltas", "merged", "epochs", "cpu", "sent", "received", "restored")}
        self.instances = {f"i{number:04}": Instance(self, f"i{number:04}") for number in range(setting.instances)}
        self.group.begin(list(self.instances.values()))

    def run(self, seconds):
        self.kernel.run(self.kernel.now + seconds)
        return self

    def produced(self):
        """Events of a partition so far."""
        return self.rate * max(0.0, min(self.kernel.now, self.load_until) - self.load_from)

    def serve(self, partition, instance):
        assert self.owner[partition] is None, f"partition {partition} has two owners"
        self.owner[partition] = instance
        if self.silent_since[partition] is not None:
            self.stills.append((partition, self.silent_since[partition], self.kernel.now))
            self.lag_most = max(self.lag_most, self.kernel.now - self.silent_since[partition])
            self.silent_since[partition] = None

    def silence(self, partition):
        self.owner[partition] = None
        if self.silent_since[partition] is None:
            self.silent_since[partition] = self.kernel.now

    def add(self, name):
        """A new instance, or one that lost its disk."""
        self.instances[name] = Instance(self, name)
        self.instances[name].come()
        return self.instances[name]

    def lose_broker(self):
        """Its share of the partitions has no leader for a while; transactions need them all."""
        until = self.kernel.now + self.setting.failover_seconds
        self.stalled_until = until
        self.leaderless = set(range(0, self.setting.partitions, self.setting.brokers))
        lost = [(partition, self.kernel.now, until) for partition in self.leaderless if self.owner[partition]]
        self.stills += lost
        self.lag_most = max(self.lag_most, self.setting.failover_seconds)
        self.restoring.resize(self.setting.broker_bytes * (self.setting.brokers - 1))
        self.kernel.after(self.setting.failover_seconds, self.leaderless.clear)

    def bytes_of(self, records):
        return records * self.costs.bytes["copy"]


class Instance:
    def __init__(self, cluster, name):
        self.cluster, self.name, self.state = cluster, name, DOWN
        self.owned, self.had, self.has = set(), set(), set()  # had: until partitions were given back
        self.heartbeat = Heartbeat(cluster.setting, cluster.kernel.now, cluster.kernel.dice)
        self.flow, self.back, self.epoch_call, self.drop_call = None, None, None, None
        self.awaited = set()  # what will be its own when somebody comes who has said so
        self.reading, self.left = {}, {}  # records by partition: of what is read now, and of what was read in part
        self.is_busy, self.then = False, None  # in the group's callback: it answers when that is through
        self.epoch_began = cluster.kernel.now
        self.seen, self.own, self.copied_each = cluster.told, 0.0, 1.0

    # ---- coming and going ----

    def begin(self, parts):
        """As it is once everything is at rest."""
        self.has = parts | (self._standby(list(self.cluster.group.members)) if self.cluster.setting.standbys else set())
        self._serve(parts)
        self._next_epoch(self.cluster.kernel.dice.random() * self.cluster.setting.epoch_seconds)

    def _standby(self, names):
        return standby(self.name, names, self.cluster.setting.partitions)

    def come(self):
        """The process is up. Who is new reads what will be its own before it asks for it."""
        cluster = self.cluster
        if self.name in cluster.group.members or not cluster.group.members:
            return self._join()
        coming = assign([*cluster.group.members, self.name], cluster.setting.partitions)
        for name, member in cluster.group.members.items():  # the others hear of it, and read along what will be theirs
            member.awaited = set(coming[name])
            member._warm(member.awaited - member.has)
        self._restore(set(coming[self.name]), self._join)

    def _join(self):
        self.state = STILL
        self._next_epoch(self.cluster.setting.epoch_seconds)
        self.cluster.group.join(self)

    def stop(self, is_drained=False):
        """Ends, or is killed: the group knows only of one that was drained, once it has given its partitions back. Its disk stays."""
        took = self._stand_still()
        self.state = DOWN
        for call in (self.epoch_call, self.back, self.drop_call):
            if call:
                call.is_off = True
        self.epoch_call = self.back = self.drop_call = None
        self._stop_reading()
        self.is_busy, self.then = False, None
        if is_drained:
            self.cluster.kernel.after(took, self.cluster.group.leave, self)
        else:
            self.cluster.group.lose(self)

    def resume(self):
        """Back within the session: it owns what it had, and reads the changelog's rest, which is little."""
        self.heartbeat = Heartbeat(self.cluster.setting, self.cluster.kernel.now, self.cluster.kernel.dice)
        self.assigned(self._assigned(), self.cluster.costs.handover["new_seconds"])

    def _assigned(self):
        return set(assign(list(self.cluster.group.members), self.cluster.setting.partitions)[self.name])

    # ---- hand-over ----

    def give_back(self, done):
        """The group asks: drains its lanes, ends an epoch. What is being restored is gone on with after it."""
        if self.state == DOWN:
            return
        if self.is_busy:
            self.then = done
            return
        self._stop_reading()
        if self.back:
            self.back.is_off = True
        self.back = self.cluster.kernel.after(self._stand_still(), done, self)

    def assigned(self, parts, took):
        """`took`: seconds until what it has goes on, once the last epochs of what others had are read. What it lacks is restored beside that."""
        if self.state == DOWN:
            return  # it died as it was told
        took += self.cluster.costs.handover["seconds_per_record"] * sum(self.cluster.last_epoch[part] for part in (parts & self.has) - self.had)
        self.awaited = set()
        self._drop_later()
        self.is_busy = True
        self.back = self.cluster.kernel.after(took, self._go_on, parts)

    def _go_on(self, parts):
        self.is_busy, then, self.then = False, self.then, None
        self._serve(parts & self.has)
        if then:
            self.give_back(then)
        elif parts - self.has:
            self._restore(parts, lambda: self._take(parts))
        else:
            self._stand_by(parts)

    def _take(self, parts):
        """What is taken into use is in an epoch first."""
        self.back = self.cluster.kernel.after(self.cluster.costs.handover["far_seconds"], self._taken, parts)

    def _taken(self, parts):
        self._serve(parts - self.owned)
        self._stand_by(parts)

    def _stand_by(self, parts):
        if self.cluster.setting.standbys:
            self._warm(self._standby(list(self.cluster.group.members)) - parts - self.has)

    def _drop_later(self):
        """What is another's now may come back soon."""
        if self.drop_call:
            self.drop_call.is_off = True
        self.drop_call = self.cluster.kernel.after(DROP_SECONDS, self._drop)

    def _drop(self):
        self.drop_call = None
        if self.state != SERVING:
            self._drop_later()
            return
        self.left = {part: records for part, records in self.left.items() if part in self.reading}
        self.has &= self.owned | self.awaited | (self._standby(list(self.cluster.group.members)) if self.cluster.setting.standbys else set())

    def _warm(self, parts):
        """Standbys catch up beside serving; nobody waits for it."""
        if parts:
            records = sum(self.cluster.changelog[part] for part in parts)
            self.cluster.count["restored"] += records
            self.heartbeat.after(self.cluster.kernel.now)  # what was sent by now
            self.heartbeat.wake(self.cluster.kernel.now)
            size = self.cluster.bytes_of(records)
            self.cluster.restoring.send(size, self.cluster.costs.restore_rate(), lambda: self._warmed(parts))

    def _warmed(self, parts):
        """What it is to hold may be another's by now."""
        if self.state != DOWN:
            self.has |= parts & (self.owned | self.awaited | self._standby(list(self.cluster.group.members)))

    def _restore(self, parts, done):
        """The changelog of what it lacks, at its own rate or the brokers'."""
        cluster = self.cluster
        self.reading = {part: self.left.get(part, cluster.changelog[part]) for part in parts - self.has}
        records = sum(self.reading.values())

        def through():
            self.flow, self.reading = None, {}
            self.has |= parts
            for part in parts:
                self.left.pop(part, None)
            cluster.count["restored"] += records
            done()

        if records > 0:
            self.flow = cluster.restoring.send(cluster.bytes_of(records), cluster.costs.restore_rate(), through)
        else:
            through()

    def _stop_reading(self):
        """What was read of it stays read."""
        if not self.flow:
            return
        self.cluster.restoring.stop(self.flow)
        whole = sum(self.reading.values())
        part_left = min(1.0, self.flow.left / self.cluster.bytes_of(whole))
        self.left.update({part: records * part_left for part, records in self.reading.items()})
        self.cluster.count["restored"] += whole * (1 - part_left)
        self.flow, self.reading = None, {}

    def _serve(self, parts):
        self.state = SERVING
        self.has |= parts
        self.owned |= parts
        for part in parts:
            self.cluster.serve(part, self)

    def _stand_still(self):
        """Gives what it takes: an epoch of what was applied since the last one."""
        took = self._take_in() if self.owned and self.cluster.is_accounted else self.cluster.costs.epoch["seconds"]
        for part in self.owned:
            self.cluster.silence(part)
        self.had, self.owned = self.owned, set()
        self.state = STILL
        return took

    # ---- epochs ----

    def _next_epoch(self, seconds):
        if self.cluster.is_accounted:
            if self.epoch_call:
                self.epoch_call.is_off = True
            self.epoch_began = self.cluster.kernel.now
            self.epoch_call = self.cluster.kernel.after(seconds, self._epoch)

    def _epoch(self):
        self.epoch_call = None
        if self.state != DOWN:
            duration = self._take_in()
            ended = max(self.cluster.kernel.now + duration, self.cluster.stalled_until)
            tick = self.cluster.kernel.dice.random() * TICK_SECONDS
            self._next_epoch(ended - self.cluster.kernel.now + self.cluster.setting.epoch_seconds + tick)

    def _capacity(self, span, merged):
        """Events that its cores can do in so many seconds beside what must be done anyway."""
        cpu, fixed = self.cluster.costs.cpu, self.cluster.costs.cpu_of(0, 0, 0, merged)
        left = self.cluster.setting.cores * span - fixed - (cpu["idle"] + len(self.owned) * cpu["busy_part"]) * span
        return max(0.0, left / (cpu["event"] + self.copied_each))

    def _take_in(self):
        """What was applied since the last boundary, and what the epoch of it costs. Gives how long that takes."""
        cluster, count, costs = self.cluster, self.cluster.count, self.cluster.costs
        span = cluster.kernel.now - self.epoch_began
        merged = max(0.0, cluster.told - self.seen)
        self.seen = cluster.told
        readable = {part: cluster.produced() - cluster.applied[part] for part in self.owned - cluster.leaderless}
        waiting = sum(readable.values())
        events = min(waiting, self._capacity(span, merged)) if waiting > 0 else 0.0
        for part, behind in readable.items():
            cluster.applied[part] += behind * events / waiting if waiting > 0 else 0.0
        if waiting > 0 and waiting > events:
            cluster.lag_most = max(cluster.lag_most, (waiting - events) / (cluster.rate * len(readable)))
        copies, deltas = costs.copies(events, len(self.owned)), costs.deltas(events)
        if events > 0:
            self.copied_each = (costs.cpu["copy"] * copies + costs.cpu["delta"] * deltas) / events
            for part in self.owned:
                cluster.last_epoch[part] = copies / len(self.owned)
                cluster.changelog[part] = min(cluster.changelog_most, cluster.changelog[part] + copies / len(self.owned))
        cluster.told += deltas
        self.seen += deltas  # its own are not merged
        self._count(events, copies, deltas, merged, span)
        self.epoch_began = cluster.kernel.now
        return costs.duration(copies, deltas) if events > 0 else 0.0

    def _count(self, events, copies, deltas, merged, span):
        count, costs = self.cluster.count, self.cluster.costs
        size, now = costs.bytes, self.cluster.kernel.now
        busy = max(0.0, min(now, self.cluster.load_until) - max(now - span, self.cluster.load_from)) if events > 0 else 0.0
        count["events"] += events
        count["copies"] += copies
        count["deltas"] += deltas
        count["merged"] += merged
        count["epochs"] += events > 0
        count["cpu"] += costs.cpu_of(events, copies, deltas, merged) + costs.cpu["idle"] * span + costs.cpu["busy_part"] * len(self.owned) * busy
        parts = len(self.owned)
        count["sent"] += size["copy"] * copies + size["delta"] * deltas + size["transaction"] * (events > 0)
        count["sent"] += size["idle_sent"] * span + parts * (size["part_sent"] * span + size["busy_sent"] * busy)
        count["received"] += size["event"] * events + size["delta_read"] * (merged + deltas)
        count["received"] += size["idle_read"] * span + parts * (size["part_read"] * span + size["busy_read"] * busy)

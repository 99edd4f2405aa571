"""A hundred instances: deploys, and what is lost. Each gives the cluster after it, from which report.py takes its figures."""

import dataclasses

from model import Setting
from simulated import Cluster

HUNDRED = Setting(rate=1e5, users=1e8, items=2e6, creators=2e5, partitions=800, instances=100, cores=16, brokers=9, seed=3)
AWAY_SHORT, AWAY_LONG = 10.0, 60.0  # seconds without the process: a restart, another machine with an empty disk
PAUSE = 10.0  # before the next one, when instances have dropped what they gave away: sooner much of it would come back unread


class Deploy:
    """Instances one after the other, or so many at once; the next a pause after all partitions are served again."""

    def __init__(self, cluster, away, batch=1, is_drained=False, is_empty=False, some=slice(None)):
        self.cluster, self.away, self.batch = cluster, away, batch
        self.is_drained, self.is_empty = is_drained, is_empty
        self.left = sorted(cluster.instances)[some]
        self.ended = None
        cluster.kernel.after(10, self.next)

    def next(self):
        some, self.left = self.left[: self.batch], self.left[self.batch :]
        if not some:
            self.ended = self.cluster.kernel.now
            return
        for name in some:
            self.cluster.instances[name].stop(self.is_drained)
            self.cluster.kernel.after(self.away, self.back, name)
        self.cluster.kernel.after(self.away + 1, self.look)

    def back(self, name):
        instance = self.cluster.instances[name]
        if self.is_empty:
            self.cluster.add(name)
        else:
            instance.come()

    def look(self):
        whole = all(self.cluster.owner) and not self.cluster.group.is_preparing and not any(one.flow for one in self.cluster.instances.values())
        count = sum(one.state == "serving" for one in self.cluster.instances.values())
        if whole and count == len(self.cluster.instances):
            self.cluster.kernel.after(PAUSE if self.is_drained else 0.0, self.next)
        else:
            self.cluster.kernel.after(1, self.look)


def made(figures, standbys=False):
    return Cluster(dataclasses.replace(HUNDRED, standbys=standbys), figures, is_accounted=False)


def deploy(figures, seconds, standbys=False, **how):
    cluster = made(figures, standbys)
    cluster.deploy = Deploy(cluster, **how)
    return cluster.run(seconds)


def lose(figures, count, standbys=False, seconds=1800):
    """The last but nine of them, or every third: killed for good. Of a zone its broker goes, too."""
    cluster = made(figures, standbys)
    names = sorted(cluster.instances)
    for name in names[49:50] if count == 1 else names[::3]:
        cluster.kernel.after(10, cluster.instances[name].stop)
    if count > 1:
        cluster.kernel.after(10, cluster.lose_broker)
    return cluster.run(seconds)


def lose_broker(figures):
    cluster = made(figures)
    cluster.kernel.after(10, cluster.lose_broker)
    return cluster.run(60)


def all_of(figures):
    """(name, cluster), in the order in which they are told."""
    yield "restart, 10 s each, one by one", deploy(figures, 4000, away=AWAY_SHORT)
    yield "the same, ten at once", deploy(figures, 1000, away=AWAY_SHORT, batch=10)
    for standbys in (False, True):
        beside = ", standbys" if standbys else ""
        yield f"drained, 60 s away, empty disk, one by one{beside}", deploy(figures, 40_000, standbys, away=AWAY_LONG, is_drained=True, is_empty=True)
        yield f"one is lost for good{beside}", lose(figures, 1, standbys)
        yield f"a zone is lost: 34 instances, a broker{beside}", lose(figures, 34, standbys)
    yield "a broker is lost", lose_broker(figures)


def percentile(numbers, part):
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def row(name, cluster):
    """Stand-still is of one partition, one time."""
    spans = [end - begin for _, begin, end in cluster.stills]
    busiest = max((rate for _, rate in cluster.restoring.history), default=0.0)
    return {
        "what": name, "rebalances": f"{cluster.group.rebalances}",
        "stand-still p50, p99, longest, s": ", ".join(f"{number:.1f}" for number in (percentile(spans, 0.5), percentile(spans, 0.99), max(spans, default=0))),
        "of one partition in all, s": f"{sum(spans) / cluster.setting.partitions:.1f}",
        "restored": f"{cluster.bytes_of(cluster.count['restored']) / 1e9:,.0f} GB", "at most a second": f"{busiest / 1e6:,.0f} MB",
        "took": f"{(cluster.deploy.ended - 10) / 60:.0f} min" if getattr(cluster, "deploy", None) and cluster.deploy.ended else "",
    }  # fmt: skip

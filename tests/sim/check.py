#!/usr/bin/env python3
"""
What every run of the tests checks of the simulation, in a second or two and without a broker: that it says what was measured, from
measured.json, and what cannot be otherwise whatever the figures are.
"""
import dataclasses
import json
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import calibrate  # noqa: E402
import capacity  # noqa: E402
import draws  # noqa: E402
import fit  # noqa: E402
import group  # noqa: E402
import handovers  # noqa: E402
import report  # noqa: E402
import scenarios  # noqa: E402
import validate  # noqa: E402
from kernel import Kernel, Pipe  # noqa: E402
from model import FILE, Setting, assign, figures, standby  # noqa: E402
from simulated import Cluster  # noqa: E402

SMALL = Setting(rate=20_000, users=40_000, items=20_000, creators=2_000, partitions=16, instances=4, epoch_seconds=0.5, heartbeat_seconds=0.3, session_seconds=5)
IDLE_CORES = 0.3  # a machine that was busier says little of CPU seconds and of how long things take, but counts and bytes hold


class Measured(unittest.TestCase):
    def test_other_configurations_come_out_within_a_fifth_where_the_machine_let_it_be_measured(self):
        measured = json.loads(FILE.read_text())
        validation = measured["validation"]
        is_busy = max(validation["busy_cores"], measured["machine"]["busy_cores"]) > IDLE_CORES
        for instances, what, number, ours in validate.compare(validation, figures()):
            with self.subTest(instances=instances, what=what):
                if is_busy and any(one in what for one in ("stand-still", "CPU")):
                    self.skipTest("it was measured on a busy machine")
                self.assertLessEqual(abs(ours / number - 1), validate.OFF_MOST, f"measured {number:.3f}, simulated {ours:.3f}")

    def test_figures_are_those_of_what_was_measured(self):
        raw = json.loads(FILE.read_text())["raw"]
        self.assertLessEqual(set(calibrate.PARTS), set(raw), "calibrate.py fits nothing before it has all its parts")
        for group_of, found in calibrate.derive(raw).items():
            self.assertEqual(found.keys(), figures()[group_of].keys())
            for name, number in found.items():
                if name != "takes":
                    self.assertAlmostEqual(number / max(figures()[group_of][name], 1e-12), number and 1.0, 6, f"{group_of}.{name}")

    def test_docs_have_what_was_measured(self):
        self.assertEqual(report.behind(), [], "run tests/sim/report.py")


class Invariants(unittest.TestCase):
    def run_of(self, **changes):
        return Cluster(dataclasses.replace(SMALL, **changes), figures())

    def check_shared(self, cluster):
        """At rest, with all up: each partition has an owner (and never two: serve() asserts that), each instance its share."""
        self.assertTrue(all(cluster.owner))
        for name, share in assign(sorted(cluster.instances), SMALL.partitions).items():
            self.assertIs(cluster.group.members.get(name), cluster.instances[name])
            self.assertEqual(cluster.instances[name].owned, set(share))

    def test_events_are_conserved_through_joins_losses_and_a_broker_that_is_away(self):
        for seed in range(3):
            cluster = self.run_of(seed=seed)
            dice = random.Random(seed)
            for number in range(8):
                name = f"i{dice.randrange(6):04}"
                one = cluster.instances.get(name)
                cluster.lose_broker() if number == 4 else one.stop() if one and one.state != "down" else cluster.add(name)
                cluster.run(dice.random() * 8)
            for name in sorted(cluster.instances):  # whoever is down comes back
                if cluster.instances[name].state == "down":
                    cluster.add(name)
            cluster.load_until = cluster.kernel.now
            cluster.run(200)
            self.assertAlmostEqual(cluster.count["events"], sum(cluster.applied), delta=1)
            self.assertAlmostEqual(sum(cluster.applied), cluster.produced() * SMALL.partitions, delta=SMALL.partitions)
            self.check_shared(cluster)

    def test_more_load_costs_more_and_waits_longer(self):
        last = None
        for rate in (10_000, 40_000, 160_000, 3_000_000):
            cluster = self.run_of(rate=rate).run(20)
            found = [cluster.count[name] for name in ("cpu", "copies", "deltas", "sent", "received")] + [cluster.lag_most]
            if last:
                self.assertTrue(all(a <= b for a, b in zip(last, found)), (last, found))
            last = found
        self.assertGreater(last[-1], 0)  # cores cannot do the last one

    def test_the_same_seed_gives_the_same_run(self):
        first, second, other = (self.run_of(seed=seed).run(20).count for seed in (5, 5, 6))
        self.assertEqual(first, second)
        self.assertNotEqual(first, other)

    def test_a_restart_within_the_session_is_no_rebalance_and_a_longer_one_is_two(self):
        for away, wanted in ((2, 0), (9, 2)):
            cluster = self.run_of().run(5)
            cluster.instances["i0002"].stop()
            cluster.kernel.after(away, cluster.instances["i0002"].come)
            cluster.run(60)
            self.assertEqual(cluster.group.rebalances, wanted)
            self.check_shared(cluster)

    def test_standbys_have_whatever_any_one_other_leaves(self):
        for count in (2, 3, 10):
            names = [f"i{number}" for number in range(count)]
            for gone in names:
                for name, parts in assign([one for one in names if one != gone], 37).items():
                    self.assertLessEqual(set(parts) - set(assign(names, 37)[name]), standby(name, names, 37))

    def test_a_standby_shortens_a_takeover_of_much_state(self):
        longest = []
        for standbys in (False, True):
            cluster = Cluster(dataclasses.replace(scenarios.HUNDRED, standbys=standbys), figures(), is_accounted=False).run(5)
            cluster.instances["i0050"].stop(is_drained=True)
            longest.append(max(end - begin for _, begin, end in cluster.run(900).stills))
        self.assertGreater(longest[0], 3 * longest[1])


class Parts(unittest.TestCase):
    def test_a_hand_over_is_told_from_what_else_stood_still(self):
        gaps = [[(0, 9), (20.0, 20.3)], [(20.1, 20.4)], [(20.1, 20.3), (30, 31)], [(20.0, 20.6)]]
        found = handovers.of_one_moment(gaps)
        self.assertEqual(found, [(20.0, 20.3), (20.1, 20.4), (20.1, 20.3), (20.0, 20.6)])
        came = handovers.taken_apart({"a": range(2), "b": range(2, 4)}, {"a": range(2), "b": range(2, 3), "c": range(3, 4)}, found)
        self.assertEqual(came, {"standstill": 0.6, "spread": 0.0, "old": 0.4, "new": 0.6})
        went = handovers.taken_apart({"a": range(3), "b": range(3, 4)}, {"b": range(4)}, [(5.0, 6.0)] * 3 + [(5.5, 5.8)])
        self.assertEqual(went, {"standstill": 1.0, "spread": 0.5, "old": 0.5})

    def test_members_hear_of_a_change_at_one_moment_after_a_hand_over_and_no_sooner_than_heartbeats_are_sent(self):
        for every, wanted in ((0.3, [10.7, 11.2, 11.7]), (3.0, [13.2, 16.2, 19.2])):
            for seed in range(20):
                beat = group.Heartbeat(dataclasses.replace(SMALL, heartbeat_seconds=every), 0.0, random.Random(seed))
                beat.process = 0.3  # seconds after each full one its process wakes, too: too soon after the last
                beat.handed_over(10.2, False)
                beat.wake(10.3)
                found = [beat.after(10.3)]
                found += [beat.after(found[0]), beat.after(beat.after(found[0]))]
                self.assertEqual([round(at, 3) for at in found], wanted)

    def test_who_restores_keeps_nobody_waiting_and_goes_on_where_it_was(self):
        """One of four is drained, and while its partitions are restored another."""
        costs = figures()
        costs["handover"]["seconds_per_record"] = 1e-2
        cluster = Cluster(dataclasses.replace(SMALL, initial_records=16_000, is_compacted=False, users=100), costs, is_accounted=False).run(5)
        cluster.instances.pop("i0003").stop(is_drained=True)
        cluster.run(5)
        self.assertTrue(any(one.flow for one in cluster.instances.values()))
        self.assertEqual(sum(owner is not None for owner in cluster.owner), 4 + 2 + 1)  # what stayed is served
        cluster.instances.pop("i0000").stop(is_drained=True)
        cluster.run(3)
        self.assertEqual({part for part, records in cluster.instances["i0002"].reading.items() if records < 950}, {12, 13, 14, 15})
        cluster.run(200)
        self.assertTrue(all(cluster.owner))
        self.assertEqual(cluster.group.rebalances, 2)
        for name in ("i0001", "i0002"):  # each partition that moved was read once, however often it was begun
            self.assertEqual(cluster.instances[name].left, {})

    def test_a_pipe_is_shared_evenly_and_no_flow_is_faster_than_its_limit(self):
        kernel, ended = Kernel(), {}
        pipe = Pipe(kernel, 100)
        for name, size, limit in (("slow", 100, 10), ("fast", 450, 1000), ("also", 90, 1000)):
            pipe.send(size, limit, lambda name=name: ended.setdefault(name, kernel.now))
        kernel.run(100)
        self.assertAlmostEqual(ended["also"], 2)  # 45 of the 90 that the slow one leaves
        self.assertAlmostEqual(ended["fast"], 6)  # 90 by then, and 360 at 90
        self.assertAlmostEqual(ended["slow"], 10)
        self.assertAlmostEqual(pipe.total, 640)

    def test_expected_ids_are_those_that_are_drawn(self):
        dice, weights = random.Random(1), [1 / n**1.05 for n in range(1, 5001)]
        for count in (100, 20_000):
            drawn = len(set(dice.choices(range(5000), weights, k=count)))
            self.assertLess(abs(draws.distinct(5000, 1.05, count) / drawn - 1), 0.05)

    def test_costs_are_found_and_none_is_negative(self):
        rows = [{"a": a, "b": b, "c": 1, "sum": 2 * a + 5 * b} for a, b in ((1, 2), (3, 1), (4, 4), (0, 2))]
        found = fit.nonnegative(rows, ["a", "b", "c"], "sum")
        self.assertAlmostEqual(found["a"], 2, 4)
        self.assertAlmostEqual(found["b"], 5, 4)
        falling = fit.nonnegative([{**row, "sum": 9 - row["a"]} for row in rows], ["a", "b", "c"], "sum")  # exactly: a = -1, c = 9
        self.assertEqual(falling["a"], 0)
        self.assertTrue(all(number >= 0 for number in falling.values()))

    def test_a_line_is_found_beside_points_that_are_far_off(self):
        points = [(x, 0.5 + 3 * x) for x in range(1, 9)] + [(2, 90), (7, 80)]
        slope, at_zero = fit.line(points)
        self.assertAlmostEqual(slope, 3)
        self.assertAlmostEqual(at_zero, 0.5)
        self.assertEqual(fit.line([(x, 2 * x - 1) for x in (1, 2, 4)])[1], 0)  # no less than nothing

    def test_capacity_grows_with_load_and_with_cost_and_more_instances_merge_more(self):
        found = []
        for more in (["--events", "1e5"], ["--events", "1e6"], ["--events", "1e6", "--set", "cpu.merge=3e-5"]):
            args = capacity.options([*more, "--entities", "1e7"])
            figures_of = capacity.prepare(args)
            found.append(capacity.load_of(args, figures_of, 8).cpu)
            self.assertLess(capacity.load_of(args, figures_of, 8).merging, capacity.load_of(args, figures_of, 16).merging)
        self.assertTrue(found[0] < found[1] < found[2], found)


if __name__ == "__main__":
    unittest.main()

"""The status page in a headless Chromium: it shows what the node says, by keyboard, at phone width, in both themes, in every state."""

import json
import subprocess
import time
import urllib.parse

import pytest

import browser
import kafka
import settings
from conftest import missing
from node import Node, request, wait_for

USERS, ITEMS = 20, 7
CATALOGUE = {
    "entities": {
        "user": {"key": ["user_id"]},
        "item": {"key": ["item_id"], "parent": "creator"},
        "creator": {"key": ["creator_id"]},
        "room": {"key": ["room_id"]},
    },
    "features": {
        "item_watches": {"entity": "item", "actions": ["watch"], "aggregate": "count", "windows": ["5m", "1h", "24h"]},
        "item_heat": {"entity": "item", "actions": ["watch", "like"], "aggregate": "decayed", "half_life": "10m"},
        "creator_watches": {"entity": "creator", "actions": ["watch"], "aggregate": "count", "windows": ["1h"]},
        "creator_share": {"entity": "creator", "aggregate": "share", "of": "creator_watches", "windows": ["1h"], "targets": {"91": 0.4, "92": 0.6}},
        "creator_uneven": {"entity": "creator", "aggregate": "gini", "of": "user_id", "windows": ["1h"]},
        "creator_left": {"entity": "creator", "aggregate": "quota", "actions": ["watch"], "quota": 100, "newer_than": "1h"},
        "room_heat": {"entity": "room", "actions": ["watch"], "aggregate": "decayed", "half_life": "10m"},
        "room_pulse": {"entity": "room", "actions": ["watch", "like"], "aggregate": "series", "bin": "10s", "bins": 30},
        "user_watches": {"entity": "user", "actions": ["watch"], "aggregate": "count", "windows": ["1h"]},
        "user_recent": {"entity": "user", "actions": ["watch", "like"], "aggregate": "last", "limit": 50, "fields": ["item_id", "action", "ts_ms"]},
    },
    "lists": {
        "trending": {"of": "item", "rank": "item_heat", "scopes": ["global"], "limit": 20},
        "rooms": {"of": "room", "rank": "room_heat", "scopes": ["global"], "limit": 20},
        "new_creators": {"of": "creator", "rank": "creator_left", "scopes": ["global"], "limit": 20},
    },
    "feature_sets": {"rank": {"user": ["user_watches"], "item": ["item_watches", "item_heat"]}},
    "models": {"shop": {"feature_set": "rank", "tasks": {"like": {"actions": ["like"], "policy": "wait", "window": "1m"}}}},
}  # fmt: skip
# Text whose contrast to what lies behind it is below 4.5, as WCAG reckons it.
PALE = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => { for (; node; node = node.parentElement) { const c = rgb(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } };
  const pale = [];
  for (const node of document.body.querySelectorAll("*")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()) || !node.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.push(`${node.textContent.slice(0, 30)}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return pale;
})()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if not browser.program():
        missing("no Chromium here; ops/install --tests installs one")
    one = browser.Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


def event(number, now_ms):
    user, item = number % USERS + 1, number % ITEMS + 1
    made = {
        "eventId": number + 1,
        "tsMs": now_ms - number % 200,
        "userId": user,
        "itemId": item,
        "creatorId": 90 + item,
        "roomId": 500 + item % 3,
    }
    return str(user).encode(), json.dumps(made | {"action": "like" if number % 10 == 9 else "watch", "value": 5}).encode()


@pytest.fixture(scope="module")
def node(binary, tmp_path_factory):
    configuration = settings.configuration("embedded", format="json", clock="wall", catalogue=CATALOGUE)
    one = Node(binary, configuration, tmp_path_factory.mktemp("page")).start()
    now_ms = int(time.time() * 1000)
    kafka.produce(one.brokers, "freshet.events", [event(number, now_ms) for number in range(400)] + [(b"1", b"no event")])
    one.wait_applied(401)
    yield one
    one.kill()


@pytest.fixture
def page(chromium, node):
    one = chromium.open(f"http://{node.operations}/")
    one.wait("document.body.dataset.state === 'ready' && document.querySelectorAll('#items li').length === 7")
    return one


def lookup(node, path="lookup", **query):
    status, _, body = node.page(f"/{path}?{urllib.parse.urlencode(query)}")
    return status, json.loads(body)


def text(page, selector):
    return page.eval(f"document.querySelector({json.dumps(selector)}).textContent")


# ---- The exposure ledger ----


def test_it_shows_who_has_how_much_against_targets_and_what_is_left_of_quotas(page, node):
    page.wait("!document.getElementById('ledger-section').hidden && document.querySelectorAll('#pools tbody tr').length === 1")
    rows = page.eval("[...document.querySelectorAll('#ledger tbody tr')].map((tr) => [...tr.cells].map((td) => td.textContent))")
    told = node.status()["ledger"]
    assert [row[:2] for row in rows] == [[one["column"], one["name"]] for one in told] and len(told) == 4
    for row, one in zip(rows, told):
        is_share = one["column"] == "creator_share.1h"
        shown = [f"{100 * one[key]:.1f} %" for key in ("value", "target", "deficit")] if is_share else [f"{one['value']:.3f}", "", ""]
        assert row[2:] == shown
    new, left = page.eval("[...document.querySelector('#pools tbody tr').cells].slice(1, 3).map((td) => td.textContent)")
    code, pool = lookup(node, "top", list="new_creators", scope="global")
    assert code == 200 and (int(new), int(left)) == (len(pool["ids"]), sum(pool["scores"])) and len(pool["ids"]) == 7


# ---- What the page asks ----


def test_a_look_up_answers_as_the_services_do(node):
    asked = {"userId": "3", "itemIds": ["4", "5"], "features": ["user_watches", "user_recent", "item_watches"]}
    code, found = lookup(node, user=3, item="4,5", features="user_watches,user_recent,item_watches")
    wanted = node.call_json("FeatureService/GetFeatures", asked)
    stable = ("userColumns", "userValues", "itemColumns", "itemValues", "itemPresent", "sequences")
    assert code == 200 and [found[name] for name in stable] == [wanted[name] for name in stable]
    columns = lookup(node, item=4)[1]["itemColumns"]
    assert columns[:3] == ["item_watches.5m", "item_watches.1h", "item_watches.24h"] and "creator_watches.1h" in columns
    assert lookup(node, room=501)[1]["itemColumns"] == ["room_heat"]
    explained = lookup(node, "explain", entity="item", key=4, feature="item_watches.1h")[1]
    assert sum(pane["value"] for pane in explained["panes"]) == explained["values"][0] > 0
    top = lookup(node, "top", list="trending", scope="global", limit=3)[1]
    assert top["ids"] == node.call_json("RecallService/Trending", {"list": "trending", "scope": "global", "limit": 3})["ids"]


def test_a_look_up_that_makes_no_sense_says_what_would(node):
    for path, query, said in (
        ("lookup", {}, "name a user, items or a room"),
        ("lookup", {"item": "4", "features": "item_watchs"}, "did you mean 'item_watches'"),
        ("top", {"list": "trendin", "scope": "global"}, "did you mean 'trending'"),
        ("explain", {"entity": "item", "feature": "item_watches"}, "name an entity, its key and a feature"),
    ):
        code, body = lookup(node, path, **query)
        assert code == 400 and body["code"] == "invalid_argument" and said in body["message"], (path, body)
    logged = lookup(node, user=3, item=4, log="true", log_items=4)[1]
    assert logged["userColumns"], "what a link cannot ask for is passed over"
    assert "freshet_served_total 0" in node.page("/metrics")[2].decode()


def test_pages_let_nothing_in_from_elsewhere(node):
    for path in ("/", "/page.js", "/status", "/lookup?user=1"):
        status, headers, _ = node.page(path)
        policy = headers["content-security-policy"]
        assert status == 200 and policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy, headers
        assert request(node.operations, "GET", path, headers={"Host": "evil.example"})[0] == 421
        assert request(node.operations, "POST", path, b"")[0] == 405


# ---- The page ----


def test_it_shows_what_the_status_says_and_asks_nobody_else(page, node):
    status = node.status()
    assert text(page, "#n-rate") == "401 finished" and text(page, "#v-lag") == "0" and text(page, "#v-stale") == "0ms"
    shown = page.eval(
        "[...document.querySelectorAll('#partitions tbody tr')].map((row) => [row.cells[1].textContent, row.cells[3].textContent])"
    )
    wanted = [[f"{int(one['nextOffset']):,}", one["lagEvents"]] for one in status["partitions"]]
    assert shown == wanted
    counts = "Object.fromEntries([...document.querySelectorAll('%s tbody tr')].map((row) => [row.cells[0].textContent, row.cells[3].textContent]))"
    assert page.eval(counts % "#actions") == {"watch": "360", "like": "40"}
    outcomes = page.eval(counts % "#outcomes")
    assert outcomes["applied"] == "400" and outcomes["bad json"] == outcomes["dead letters sent"] == "1"
    ranked = page.eval("[...document.querySelectorAll('#items button')].map((one) => one.textContent)")
    assert ranked == node.call_json("RecallService/Trending", {"list": "trending", "scope": "global", "limit": 10})["ids"]
    assert page.eval("document.querySelectorAll('#rooms button').length") == 3
    assert "shop · like" in text(page, "#models")
    page.wait("Number(document.querySelector('#epochs [data-key=\"last epoch\"]').textContent) >= 1")
    page.wait("document.querySelector('#s-rate .stroke').getAttribute('d').length > 10")
    assert page.complaints() == []
    assert {urllib.parse.urlsplit(url).netloc for url in page.requested() if not url.startswith("data:")} == {node.operations}


def test_a_fresh_page_knows_the_minutes_before(page, node):
    history = json.loads(node.page("/history")[2])
    assert len({len(column) for name, column in history.items() if name != "tasks"}) == 1
    assert history["applied"][-1] == 401 and history["deadLetters"][-1] == 1 and history["lagEvents"][-1] == 0
    wait_for(lambda: len(json.loads(node.page("/history")[2])["atMs"]) >= 3, "a sample a second")
    assert page.eval("series.get('applied')[0][0]") <= history["atMs"][-1] + 2000


def test_a_look_up_needs_no_mouse(page, node):
    page.key("/")
    assert page.eval("document.activeElement.id") == "find-id"
    page.type("3")
    page.key("Enter")
    page.wait("document.querySelector('.sequences [data-key^=user_recent] tbody')")
    recent = node.call_json("FeatureService/GetFeatures", {"userId": "3", "features": ["user_recent"]})["sequences"][0]
    items = next(field["ids"] for field in recent["fields"] if field["name"] == "item_id")
    assert page.eval("[...document.querySelectorAll('.sequences tbody tr')].map((row) => row.cells[0].textContent)") == items
    for _ in range(20):
        page.key("Tab")
        if page.eval("document.activeElement.matches('.sequences button')"):
            break
    assert page.eval("getComputedStyle(document.activeElement).outlineStyle") != "none", "where the keyboard is can't be seen"
    page.key("Enter")
    page.wait("document.querySelector('.charts [data-key=item_watches] rect')")
    assert page.eval("document.querySelector('input[name=kind]:checked').value") == "item"
    wanted = node.call_json(
        "FeatureService/GetFeatures", {"itemIds": [items[0]], "features": ["item_watches", "creator_watches"]}
    )
    shown = page.eval("[...document.querySelectorAll('.charts .windows b')].map((one) => Number(one.textContent))")
    assert shown[:4] == wanted["itemValues"]
    assert page.eval("document.querySelector('.remembered').textContent").startswith(f"creator {90 + int(items[0])}")
    page.eval("look('user', 'nobody')")
    page.wait("document.getElementById('found-say').textContent.includes('No user nobody is known')")
    assert page.complaints() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_readable_and_fits_a_phone(page, theme):
    page.theme(theme)
    page.eval("look('item', 4)")
    page.wait("document.querySelector('.charts rect')")
    assert page.eval(PALE) == []
    for width in (1280, 700, 375):
        page.resize(width, 812)
        assert page.eval("document.documentElement.scrollWidth") <= width
    dark = page.eval("getComputedStyle(document.documentElement).backgroundColor") == "rgb(15, 22, 27)"
    assert dark == (theme == "dark")


def test_nothing_jumps_as_numbers_change(page):
    page.eval(
        "window.moved = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) moved += one.value; })"
        ".observe({ type: 'layout-shift' })"
    )
    rounds = page.eval("round")
    page.wait(f"round >= {rounds + 3}")
    assert page.eval("moved") < 0.01


# ---- When something is wrong ----


def test_it_says_what_is_wrong(chromium, make_node):
    """Not ready for want of a broker, then behind (as told by a status that was changed on its way), then gone."""
    node = make_node(settings.configuration("127.0.0.1:1", clock="wall", catalogue=CATALOGUE)).start(is_ready=False)
    page = chromium.open(f"http://{node.operations}/")
    page.wait("document.body.dataset.state === 'unready'")
    assert text(page, "#notice").startswith("Not ready: no broker answers")
    assert page.eval("document.title").startswith("not ready")
    assert "No partition is assigned yet." in text(page, "#partitions")
    page.eval(
        "globalThis.fetched = fetch; fetch = async (path, ...more) => path === '/status' ? new Response(JSON.stringify({"
        "...(await (await fetched(path, ...more)).json()), ready: true, staleMs: '65000' })) : fetched(path, ...more)"
    )
    page.wait("document.body.dataset.state === 'stale'")
    assert text(page, "#notice").startswith("65 s behind Kafka") and text(page, "#v-stale") == "65s"
    assert page.eval(PALE) == []
    page.eval(
        "fetch = async (path, ...more) => path === '/status' ? new Response(JSON.stringify({"
        "...(await (await fetched(path, ...more)).json()), ready: true, staleMs: '0', clockTrouble: 'this clock is wrong' })) : fetched(path, ...more)"
    )
    page.wait("document.getElementById('notice').textContent === 'This clock is wrong.'")
    assert text(page, "#state") == "clock"
    node.kill()
    page.wait("document.body.dataset.state === 'gone'")
    assert "does not answer; last seen at" in text(page, "#notice") and text(page, "#n-rate") == "0 finished"


def test_from_elsewhere_it_asks_for_a_token(chromium, make_node, tmp_path):
    address = next(iter(subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()), None)
    if not address:
        pytest.skip("this machine has no address but the loopback")
    token = tmp_path / "token"
    token.write_text("administrator-0123456789")
    token.chmod(0o600)
    configuration = settings.configuration("embedded", format="json", clock="wall", catalogue=CATALOGUE)
    anywhere = {"plaintext": "anywhere", "listen": "127.0.0.1:0", "operations": "0.0.0.0:0"}
    guarded = make_node(
        {**configuration, "server": {**anywhere, "tokens": [{"name": "ops", "token": f"file:{token}", "groups": ["admin"]}]}}
    )
    page = chromium.open(f"http://{address}:{guarded.start().operations.rpartition(':')[2]}/")
    page.wait("document.body.dataset.state === 'closed' && !document.getElementById('door').hidden")
    assert page.eval(PALE) == []
    for typed, state in (("wrong", "closed"), (token.read_text(), "ready")):
        page.eval("document.getElementById('token').focus()")
        page.type(typed)
        page.key("Enter")
        page.wait(f"round > 0 && document.body.dataset.state === '{state}' || '{state}' === 'closed' && token === '{typed}'")
    page.eval("look('user', 3)")
    page.wait("document.getElementById('found-say').textContent.startsWith('No user 3 is known')")
    open_node = make_node({**configuration, "server": anywhere})
    page = chromium.open(f"http://{address}:{open_node.start().operations.rpartition(':')[2]}/")
    page.wait("document.body.dataset.state === 'ready'")
    page.eval("look('user', 3)")
    page.wait("document.getElementById('found-say').textContent.startsWith('this page is for administrators')")

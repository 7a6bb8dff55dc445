"""The page in headless Chromium: it renders without a word on the console, sorts, filters, and works by keyboard.

Skipped where there is no Chromium, but not where CI=true: `.ci/run` installs it.
"""

import json
import os
import shutil

import pytest

from clis_core.jobs.report import report
from clis_core.report import SilentReporter
from tests.draw import draw_lvis
from tests.jobs.evaluated import evaluated_run

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
NAME = "</script><b onmouseover=alert(1)>odd"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    data = draw_lvis(folder / "data", val=24, classes=8)
    for split in ("train", "val"):
        file = data / f"lvis_v1_{split}.json"
        content = json.loads(file.read_text())
        content["categories"][0]["name"] = NAME
        content["categories"][1]["frequency"] = "c"
        content["categories"][2]["frequency"] = "f"
        file.write_text(json.dumps(content))
    runs = [evaluated_run(folder / name, data, seed=n) for n, name in enumerate(("first", "second"))]
    report([str(run) for run in runs], folder / "report.html", pictures=12, reporter=SilentReporter())
    return folder / "report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if not CHROMIUM or not DRIVER:
        missing = "there is no Chromium with its chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def shown(chromium, page):
    """The page, freshly loaded, 1,280 pixels wide, light."""
    look(chromium, 1280, dark=False)
    chromium.get_log("performance")
    chromium.get(page.as_uri())
    yield chromium
    assert chromium.get_log("browser") == [], "nothing on the console"


def look(browser, width, *, dark):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def run(browser, script, *values):
    return browser.execute_script(script, *values)


def column(browser, table, n):
    """Values of the cells, as they stand."""
    script = (
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map(r => r.cells[arguments[1]].dataset.v)"
    )
    return [None if v is None else float(v) for v in run(browser, script, table, n)]


def names(browser, selector):
    return run(browser, "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
                        ".map(e => e.textContent)", selector)  # fmt: skip


def one(browser, selector):
    return browser.find_element("css selector", selector)


def test_it_renders_and_fetches_nothing(shown, page):
    assert run(shown, "return document.querySelector('h1').textContent") == "first / second"
    images = "return [...document.images].map(i => {i.loading = 'eager'; return i.decode().then(() => i.naturalWidth)})"
    widths = shown.execute_async_script(
        f"const done = arguments[0]; Promise.all((() => {{{images}}})()).then(done, e => done(String(e)))"
    )
    assert len(widths) == 12
    assert min(widths) > 0
    sent = [json.loads(entry["message"])["message"] for entry in shown.get_log("performance")]
    asked = [m["params"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    mine = {
        m["request"]["url"] for m in asked if m["documentURL"] == page.as_uri()
    }  # not those of Chromium's own pages
    assert {url for url in mine if not url.startswith("data:")} == {page.as_uri()}
    heights = run(shown, "return [...document.querySelectorAll('section')].map(s => s.offsetHeight)")
    assert len(heights) == 10
    assert min(heights) > 60


def test_what_is_not_its_own_does_not_run(shown):
    run(shown, "const s = document.createElement('script'); s.setAttribute('id', 'alien'); document.body.append(s);"
               "window.alien = 0;")  # fmt: skip
    with pytest.raises(Exception, match="TrustedScript"):
        run(shown, "document.getElementById('alien').textContent = 'window.alien = 1'")
    assert run(shown, "return window.alien") == 0
    assert run(shown, "return fetch('data:,x').then(() => 'fetched', () => 'refused')") == "refused"
    seen = shown.get_log("browser")
    assert seen
    assert all("Content Security Policy" in entry["message"] or "TrustedScript" in entry["message"] for entry in seen)


def test_tables_sort_both_ways_with_what_is_missing_last(shown):
    run(shown, "document.querySelector('#class-table tbody tr').cells[3].removeAttribute('data-v')")
    button = one(shown, "#class-table thead th:nth-child(4) button")
    button.click()
    assert one(shown, "#class-table thead th:nth-child(4)").get_attribute("aria-sort") == "descending"
    values = column(shown, "class-table", 3)
    assert values[-1] is None
    assert values[:-1] == sorted(values[:-1], reverse=True)
    button.click()
    assert one(shown, "#class-table thead th:nth-child(4)").get_attribute("aria-sort") == "ascending"
    values = column(shown, "class-table", 3)
    assert values[-1] is None
    assert values[:-1] == sorted(values[:-1])
    one(shown, "#class-table thead th:first-child button").click()
    sorted_by = "return [...document.querySelectorAll('#class-table [aria-sort]')].map(h => h.cellIndex)"
    assert run(shown, sorted_by) == [0]
    listed = names(shown, "#class-table tbody th")
    assert listed == sorted(listed, key=str.casefold)


def test_the_class_filter(shown):
    every = names(shown, "#class-table tbody th")
    assert len(every) == 8
    one(shown, "#filter").send_keys("RED")
    wanted = [n for n in every if "red" in n]
    assert 0 < len(wanted) < 8
    assert names(shown, "#class-table tbody th") == wanted
    assert one(shown, "#matching").text == f"{len(wanted)} of 8 classes"
    places = run(shown, "return [...document.querySelectorAll('.picture')].filter(e => e.checkVisibility())"
                        ".map(e => e.dataset.c.split(' ').map(Number))")  # fmt: skip
    data = json.loads(run(shown, "return document.getElementById('data').textContent"))
    red = {n for n, name in enumerate(data["names"]) if "red" in name}
    assert all(red & set(place) for place in places)
    marks = run(shown, "return document.querySelector('#counts .marked').getAttribute('d')")
    assert marks.count("M") == len(
        [c for c in red if data["train"][c] and data["runs"][0]["classes"][c][0] is not None]
    )
    one(shown, "#filter").clear()
    one(shown, "#filter").send_keys("nothing of this name")
    assert names(shown, "#class-table tbody th") == names(shown, "#pictures h3") == []
    one(shown, "#filter").clear()
    one(shown, "#filter").send_keys(" ", Keys.BACKSPACE)
    assert names(shown, "#class-table tbody th") == every
    one(shown, "#filters input[value=r]").click()
    groups = names(shown, "#class-table tbody td:nth-child(2)")
    assert groups
    assert "rare" not in groups


def test_a_class_has_a_view_of_its_own_by_keyboard(shown):
    button = one(shown, "#class-table button.class")
    name = run(shown, "return arguments[0].textContent", button)
    button.send_keys(Keys.ENTER)
    assert run(shown, "return document.getElementById('detail').open")
    assert one(shown, "#detail-title").text == name
    assert run(shown, "return document.activeElement.textContent") == "Close"
    lines = run(shown, "return [...document.querySelectorAll('#detail .chart .line')].map(l => l.getAttribute('d'))")
    assert len(lines) == 2
    assert all(line.count("L") == 100 for line in lines)
    figures = names(shown, "#detail tbody tr:first-child td")
    row = names(shown, "#class-table tbody tr:first-child > *")
    assert figures[0] == row[2]
    shown.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not run(shown, "return document.getElementById('detail').open")
    assert run(shown, "return document.activeElement === arguments[0]", button), "focus comes back"


def test_boxes_are_switched_by_run_and_one_by_one(shown):
    def drawn(n):
        return run(
            shown,
            f"const all = [...document.querySelectorAll('.photo .r{n}')];"
            "return all.filter(e => getComputedStyle(e).display !== 'none').length",
        )

    assert drawn(0) == 0
    assert drawn(1) == 24
    one(shown, "#boxes-0").click()
    assert drawn(0) == 24
    assert drawn(1) == 0
    box = one(shown, ".picture .objects input")
    look_at = (
        "return [...document.querySelectorAll(`[data-of='${arguments[0]}']`)].map(e => getComputedStyle(e).visibility)"
    )
    name = box.get_attribute("data-box")
    assert run(shown, look_at, name) == ["visible", "visible"]
    box.send_keys(Keys.SPACE)
    assert run(shown, look_at, name) == ["hidden", "hidden"]
    box.send_keys(Keys.SPACE)
    assert run(shown, look_at, name) == ["visible", "visible"]


def test_dots_tell_their_names(shown):
    data = json.loads(run(shown, "return document.getElementById('data').textContent"))
    run(
        shown,
        """
        const svg = document.querySelector('figure[data-run="0"] svg'); svg.scrollIntoView({block: 'center'});
        const [, x, y] = svg.querySelector('.dots').getAttribute('d').match(/M(\\S+) (\\S+)h0/).map(Number);
        const frame = svg.getBoundingClientRect();
        svg.dispatchEvent(new PointerEvent('pointermove', {clientX: frame.left + x / 340 * frame.width,
                                                           clientY: frame.top + y / 230 * frame.height}));""",
    )
    tip = one(shown, "#tip").text
    assert any(tip.startswith(f"{name}: AP ") for name in data["names"])


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_scrolls_one_way_alone(shown, width):
    look(shown, width, dark=True)
    assert run(shown, "return document.documentElement.scrollWidth") <= width
    assert run(shown, "return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    small = run(
        shown, "return [...document.querySelectorAll('.chart text')].map(t => t.getBoundingClientRect().height)"
    )
    assert min(small) > 10.9, "pixels of the screen"
    acting = "button, input, summary, nav a"
    targets = run(
        shown,
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
        ".map(e => (e.closest('label') || e).getBoundingClientRect().height)",
        acting,
    )
    assert min(targets) >= 24, "can be hit with a finger (WCAG 2.2, 2.5.8)"


def test_everything_that_acts_can_be_reached_by_tab(shown):
    script = """return [...document.querySelectorAll('button, a[href], input, summary, .frame')]
        .filter(e => e.checkVisibility() && (e.tabIndex < 0 || e.disabled)).length"""
    assert run(shown, script) == 0
    one(shown, "body").send_keys(Keys.TAB)
    assert run(shown, "return document.activeElement.className") == "skip"
    assert run(shown, "return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_it_can_be_read_without_javascript(chromium, page):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get(page.as_uri())
        tables = chromium.find_elements("css selector", "#class-table tbody tr")
        assert len(tables) == 8
        assert not one(chromium, "#filters").is_displayed()
        assert one(chromium, ".photo .r1").is_displayed()
        one(chromium, "#boxes-0").click()
        assert one(chromium, ".photo .r0").is_displayed()
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

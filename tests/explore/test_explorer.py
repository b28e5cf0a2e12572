"""The explorer in a headless Chromium, by keys and by mouse, against what Python computes."""

import csv
import itertools
import json
import re
import time

import pytest

from flightnn_jax.explore import costs, fronts, members, page
from flightnn_jax.explore.page import records
from tests.support import browser, sweeps

PROGRAM = sweeps.PROGRAM
STYLES = ("engine", "hardwired", "array")
HOSTILE = "</script><img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sweep")
    sweeps.write(directory)
    return members.find(directory)[0]


@pytest.fixture(scope="module")
def text(sweep):
    return page.page(HOSTILE, sweep, [sweeps.BOARD], STYLES, PROGRAM, ["a note & <b>more</b>"])


@pytest.mark.quick(0)
def test_the_file_stands_alone(text):
    assert len(text.encode()) < 2_000_000
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|href)=\"(?!#)", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert text.count("</script>") == 2
    assert page.page(HOSTILE, [], [sweeps.BOARD], STYLES, PROGRAM).count("</script>") == 2


@pytest.mark.exhaustive
@pytest.mark.quick(0)
def test_designs_that_are_alike_are_one_where_a_page_would_be_too_large(sweep, monkeypatch):
    whole = page.page("t", sweep, [sweeps.BOARD], STYLES, PROGRAM)
    monkeypatch.setattr(page, "MAX_BYTES", len(whole.encode()) - 2000)
    less = page.page("t", sweep, [sweeps.BOARD], STYLES, PROGRAM)
    assert len(less.encode()) <= page.MAX_BYTES
    assert re.search(r"designs alike within \d+ % in speed, latency and share are one", less)
    monkeypatch.setattr(page, "MAX_BYTES", 5000)
    with pytest.raises(ValueError, match="give fewer devices or styles, or a part of the sweep"):
        page.page("t", sweep, [sweeps.BOARD], STYLES, PROGRAM)


def test_steps_and_picks_are_the_layers_of_the_designs(sweep):
    member = next(m for m in sweep if m.lowered)
    sheets = records.costed([member], [sweeps.BOARD], STYLES)
    own = records.Sweep([member], sheets, [sweeps.BOARD], STYLES, PROGRAM, [])
    (record,) = records.of(own, 0.0)["members"]
    for sheet, told in zip(sheets[0], record["sheets"], strict=True):
        assert STYLES[told["style"]] == sheet.style
        assert told.get("count", 0) == len(sheet.designs)
        for i, design in enumerate(sheet.designs):
            speed = told["ips"][i] if isinstance(told["ips"], list) else told["ips"]
            assert speed == pytest.approx(design.images_per_s.value, rel=1e-4)
            for row, layer in enumerate(design.layers):
                picks = told["picks"][row]
                step = told["steps"][row][picks[i] if isinstance(picks, list) else picks]
                assert step[1] == pytest.approx(layer.cycles.value, rel=1e-4)
                if layer.resources:
                    assert step[2] == layer.resources["LUT"].value
    assert [layer["widths"] for layer in record["layers"]] == list(member.widths.values())


# What follows needs a browser. One is started, and all tests share a tab.


@pytest.fixture(scope="module")
def session():
    if browser.CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with browser.started() as started:
        yield started


@pytest.fixture(scope="module")
def tab(session, text, tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    (directory / "explorer.html").write_text(text)
    tab = session.page()
    tab.size(1500, 1000)
    tab.address = (directory / "explorer.html").as_uri()
    tab.go(tab.address)
    tab.files = tmp_path_factory.mktemp("saved")
    session.downloads(tab.files)
    yield tab
    assert tab.complaints == []  # of the policy, or an exception


VISITS = itertools.count()


def visit(tab, hash_):
    """Changes the address, also where the page has not yet written what was chosen since."""
    tab.run(f"location.hash = {json.dumps(f'#{hash_}&visit={next(VISITS)}')}")


@pytest.fixture
def at(tab):
    """Opens the page with something chosen, such as at("x=kb&point=lightnn1-s0")."""

    def go(hash_=""):
        tab.size(1500, 1000)
        visit(tab, hash_)
        tab.run("scrollTo(0, 0)")
        tab.settle()
        return tab

    return go


def rows(tab):
    """The table as a list of dictionaries."""
    script = """[...document.querySelectorAll("#table tr")].map(
        row => [...row.cells].map(cell => cell.textContent))"""
    head, *body = tab.run(script)
    names = [name.removesuffix(" ▼").removesuffix(" ▲") for name in head]
    return [dict(zip(names, row, strict=True)) for row in body]


def title(tab):
    return tab.run("document.getElementById('panel-title').textContent")


def focused(tab):
    return tab.run("document.activeElement.getAttribute('aria-label') || document.activeElement.id")


def test_the_front_is_that_of_python(at, sweep):
    shown = {row["network"]: row for row in rows(at("x=nj"))}
    own = [costs.of(member, sweeps.BOARD) for member in sweep]
    points = fronts.points(sweep, own, costs.UNITS[1])
    front = {sweep[i].name for i in fronts.front(list(points.values()))}
    assert set(shown) == {member.name for member in sweep}
    assert {name for name, row in shown.items() if row["front"] == "yes"} == front
    for member, cost in zip(sweep, own, strict=True):
        assert float(shown[member.name]["nJ"]) == pytest.approx(cost["nj"].value, rel=0.005)
        assert shown[member.name]["test (%)"] == f"{100 * member.run.top1:.2f}"


def test_keys_alone_do_everything(at, tab):
    at("x=nj")
    tab.run("document.activeElement.blur()")
    for _ in range(60):  # to the chart; all controls lie before it
        tab.press("Tab")
        if tab.run("document.activeElement.closest('#points') !== null"):
            break
    front = [row["network"] for row in rows(tab) if row["front"] == "yes"]
    energy = {row["network"]: float(row["nJ"]) for row in rows(tab)}
    ordered = sorted(front, key=energy.get)
    tab.press("Home")
    assert focused(tab).startswith(f"{ordered[0]}, ")
    visited = [title(tab)]
    for _ in ordered[1:]:
        tab.press("PageDown")
        visited.append(title(tab))
    assert visited == ordered
    tab.press("PageUp")
    assert title(tab) == ordered[-2]
    tab.press("End")
    assert title(tab) == ordered[-1]
    tab.press("ArrowLeft")
    assert energy[title(tab)] < energy[ordered[-1]]
    tab.press("Home", "Enter")
    assert focused(tab) == "panel-title"
    tab.press("c", "Escape", "End")
    assert title(tab) == f"A {ordered[0]} and B {ordered[-1]}"
    assert "B to A" in tab.run("document.getElementById('panel').textContent")
    tab.press("c", " ")
    assert title(tab) == ordered[-1]
    assert tab.run("document.getElementById('what-is-saved').textContent") == "saves the 1 marked"
    tab.press(" ", "?")
    assert tab.run("document.getElementById('help').open")
    tab.press("Escape")
    assert not tab.run("document.getElementById('help').open")
    tab.press("Home")
    assert title(tab) == ordered[0]


@pytest.mark.parametrize("axes", ["x=nj", "x=DSP&y=validation"])  # several at one place
@pytest.mark.slow
def test_arrows_reach_every_point(at, tab, axes):
    at(f"{axes}&hide=full")
    tab.click("#table tbody tr button")
    names = {row["network"] for row in rows(tab)}
    tab.run("document.querySelector('#points [tabindex]').focus()")
    reached, waiting = {title(tab)}, [title(tab)]
    while waiting and reached != names:
        name = waiting.pop()
        for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
            visit(tab, f"{axes}&hide=full&point={name}")
            tab.settle()
            tab.press(key)
            if title(tab) not in reached:
                reached.add(title(tab))
                waiting.append(title(tab))
    assert reached == names


def test_the_mouse_chooses_points_and_designs(at, tab, sweep):
    at("x=nj")
    every = "[...document.querySelectorAll('#points path')]"
    place = tab.run(f"{every}.findIndex(node => node.classList.contains('best'))")
    tab.click(f"#points path:nth-child({place + 1})", dx=3, dy=3)
    chosen = next(member for member in sweep if member.name == title(tab))
    panel = tab.run("document.getElementById('panel').textContent")
    assert f"{100 * chosen.run.top1:.2f} % on the test split" in panel
    assert "launch.train" in panel
    sheet = costs.sheet(chosen.work, sweeps.BOARD, "engine")
    assert f"Design 1 of {len(sheet.designs)} on small" in panel
    tab.press("[")
    assert "Design 2 of" in tab.run("document.getElementById('panel').textContent")
    tab.click("#keep")
    other = next(row["network"] for row in rows(tab) if row["network"] != chosen.name)
    tab.run(f"document.querySelector('[data-id^=\"{other}@\"]').scrollIntoView()")
    tab.click(f'[data-id^="{other}@"]')
    assert title(tab) == f"A {chosen.name} and B {other}"
    tab.click("#keep")
    assert title(tab) == other


def test_budgets_leave_what_meets_them(at, tab, sweep):
    at("x=nj")
    tab.click("#number-nj")
    for key in "14":
        tab.press(key)
    able = {m.name for m in sweep if costs.of(m, sweeps.BOARD)["nj"].value <= 14}
    assert 0 < len(able) < len(sweep)
    assert {row["network"] for row in rows(tab)} == able
    status = tab.run("document.getElementById('status').textContent")
    best = max((m for m in sweep if m.name in able), key=lambda m: m.judged)
    assert status.startswith(f"{len(able)} of {len(sweep)} networks meet the budget")
    assert f"best by validation: {best.name}" in status
    tab.click("#reset")
    assert len(rows(tab)) == len(sweep)
    tab.run("document.getElementById('range-ips').focus()")
    tab.press(*["PageUp"] * 8)
    bound = float(tab.run("document.getElementById('number-ips').value"))
    fast = {
        member.name
        for member in sweep
        for design in costs.sheet(member.work, sweeps.BOARD, "engine").designs
        if design.images_per_s.value >= bound
    }
    assert 0 < len(fast) < len(sweep)
    assert {row["network"] for row in rows(tab)} == fast
    tab.click("#fit")
    hidden = tab.run("document.querySelectorAll('#points [hidden]').length")
    assert hidden == len(sweep) - len(fast)
    tab.click("#all")
    assert all(float(row["images/s"].replace(",", "")) >= bound * 0.99 for row in rows(tab))


def test_every_design_is_a_point(at, tab, sweep):
    at("x=LUT&all=1")
    designs = [
        design
        for member in sweep
        for design in costs.sheet(member.work, sweeps.BOARD, "engine").designs
    ]
    assert tab.run("document.querySelectorAll('#points path').length") == len(designs)
    at("x=LUT&all=1&hide=flightnn&hide=full&hide=fp4&hide=lightnn2")
    shown = {(row["network"], float(row["images/s"].replace(",", ""))) for row in rows(tab)}
    assert {name for name, _ in shown} == {"lightnn1-s0", "lightnn1-s1"}
    at("x=kb&all=1")
    assert "do not differ on this axis" in tab.run("document.getElementById('status').textContent")
    at("x=DSP")  # a logarithm has no place for 0
    assert tab.run("document.querySelectorAll('#points path').length") == len(sweep)
    at("x=nj&style=hardwired&point=full-s0")
    panel = tab.run("document.getElementById('panel').textContent")
    assert "weights of the format 'full' cannot be hard-wired" in panel
    at("x=LUT&style=hardwired")
    assert "have no design in this style" in tab.run(
        "document.getElementById('status').textContent"
    )


def saved(tab, name):
    path = tab.files / name
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{name} was not saved"
        time.sleep(0.02)
    text = path.read_text()
    path.unlink()
    return text


def test_a_selection_is_saved(at, tab, sweep):
    at("x=nj&mark=lightnn1-s0%400&mark=flightnn-1.5-s1%402")
    tab.click("#json")
    told = json.loads(saved(tab, "points.json"))
    assert [row["name"] for row in told] == ["lightnn1-s0", "flightnn-1.5-s1"]
    member = next(m for m in sweep if m.name == "flightnn-1.5-s1")
    design = costs.sheet(member.work, sweeps.BOARD, "engine").designs[2]
    assert told[1]["LUT"] == design.resources["LUT"].value
    assert told[1]["ips"] == pytest.approx(design.images_per_s.value, rel=1e-4)
    assert told[1]["rounds"] == " ".join(map(str, design.design.folding))
    assert (told[1]["device"], told[1]["style"]) == ("small", "engine")
    at("x=nj")
    tab.click("#csv")
    table = list(csv.DictReader(saved(tab, "points.csv").splitlines()))
    assert {row["name"] for row in table} == {m.name for m in sweep}
    quoted = next(row for row in table if row["name"] == "flightnn-1.25-s0")
    assert quoted["scheme"] == "FL, budget 1.25"


def test_the_address_holds_what_is_chosen(at, tab):
    at("x=ips&y=validation&style=array&theme=dark&budget_kb=0.9&hide=fp4&point=lightnn1-s1&fit=1")
    assert title(tab) == "lightnn1-s1"
    before = rows(tab)
    address = tab.run("location.href")
    at("x=kb")
    assert rows(tab) != before
    tab.run(f"location.href = {json.dumps(address)}")
    tab.settle()
    assert rows(tab) == before
    assert tab.run("document.getElementById('number-kb').value") == "0.9"
    at("x=nonsense&device=none&point=nobody&budget_kb=x&theme=pink")
    assert title(tab) == "No point is chosen"


def test_everything_has_a_name(at, tab):
    at("x=nj&point=lowered/seed0&all=1")
    told = tab.names()
    for role, name in told:
        if role in ("button", "checkbox", "slider", "spinbutton", "combobox", "link", "dialog"):
            assert name.strip(), role
    roles = {role for role, _ in told}
    assert {"main", "complementary", "form", "status", "table", "columnheader", "region"} <= roles
    live = "document.querySelector('[aria-live=polite]').textContent"
    assert tab.run(live).startswith("lowered/seed0: 99.00 % test accuracy")
    ids = tab.run("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_points_stand_out(at, tab, theme):
    tab.media(prefers_color_scheme=theme)
    at("x=nj&point=lightnn1-s0")
    style = "getComputedStyle(document.querySelector({!r})).{}"
    paper = tab.run(style.format("body", "backgroundColor"))
    assert (luminance(paper) < 0.1) == (theme == "dark")
    for selector, part, least in [
        ("body", "color", 7),
        (".hint", "color", 4.5),
        ("#table td button", "color", 4.5),
        *((f"#schemes .s{i}", "fill", 3) for i in (0, 2, 3, 4)),
    ]:
        assert contrast(tab.run(style.format(selector, part)), paper) >= least, selector
    tab.media()
    other = {"light": "dark", "dark": "light"}[theme]
    at(f"theme={other}")
    assert tab.run(style.format("body", "backgroundColor")) != paper


def test_on_paper_there_are_no_controls(at, tab):
    at("x=nj&point=lightnn1-s0&theme=dark")
    tab.media(medium="print")
    visible = "document.querySelector({!r}).checkVisibility()"
    expected = {"#controls": False, "#chart": True, "#panel": True, "#csv": False}
    for selector, seen in expected.items():
        assert tab.run(visible.format(selector)) == seen
    style = "getComputedStyle(document.body).backgroundColor"
    assert luminance(tab.run(style)) == pytest.approx(1)
    tab.media()


def test_a_narrow_window_has_no_sideways_scroll(at, tab):
    at("x=nj&point=lightnn1-s0")
    for width in (360, 700, 1100):
        tab.size(width, 800)
        assert tab.run("document.documentElement.scrollWidth") <= width


def test_data_is_never_markup(at, tab):
    at()
    assert tab.run("document.title") == HOSTILE
    assert tab.run("document.querySelectorAll('img, #notes b').length") == 0
    assert tab.run("document.getElementById('notes').textContent") == "a note & <b>more</b>"


@pytest.mark.slow
def test_ten_thousand_points_are_shown(session, tmp_path):
    (tmp_path / "many.html").write_text(sweeps.many())
    tab = session.page()
    tab.size(1500, 1000)
    tab.go((tmp_path / "many.html").as_uri() + "#x=LUT&all=1")
    assert tab.run("document.querySelectorAll('#points path').length") == 10_000
    assert len(rows(tab)) == 50
    tab.click("#after")
    assert tab.run("document.getElementById('rows').textContent") == "rows 51 to 100 of 10,000"
    tab.run("document.querySelector('#points [tabindex]').focus()")
    tab.press("ArrowRight")
    assert title(tab) != "No point is chosen"
    assert tab.complaints == []

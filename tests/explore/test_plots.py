"""Pictures show the numbers of the files, can be read in grey, and are the same every time."""

import dataclasses
import itertools
import re
import struct
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import explore
from launch import compare
from tests.support import finished

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from flightnn_jax.explore import plots

RUNS = {
    "budget": {},
    "thresholds": {"layers": 8, "epochs": 160, "every": 5, "thresholds": "layer"},
    "shared": {"layers": 8, "epochs": 12, "thresholds": "network"},
    "long": {"layers": 20, "epochs": 160, "thresholds": "layer"},
    "one": {"epochs": 1, "thresholds": "layer"},
    "full": {"label": "Full", "scheme": "full"},
    "fp4": {"label": "FP 4W8A", "scheme": "fp4", "epochs": 160},
    "lightnn1": {"label": "L-1 4W8A", "scheme": "lightnn1", "layers": 8},
    "a_run_whose_directory_has_a_very_long_name_that_no_legend_has_room_for": {"epochs": 3},
}
ALWAYS = {"training"}
OF_SHIFTS = {"training", "k_by_layer", "k_over_training"}
NAMES = {
    "budget": OF_SHIFTS,
    "thresholds": OF_SHIFTS | {"thresholds"},
    "shared": OF_SHIFTS | {"thresholds"},
    "long": OF_SHIFTS | {"thresholds"},
    "one": OF_SHIFTS | {"thresholds"},
    "full": ALWAYS,
    "fp4": ALWAYS,
    "lightnn1": OF_SHIFTS,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """{name of a run: its workdir, its rows as they were written}."""
    root = tmp_path_factory.mktemp("runs")
    return {name: (root / name, finished.write_run(root / name, **of)) for name, of in RUNS.items()}


@pytest.fixture(scope="module")
def drawn(rows):
    """{name of a run, or "all": its pictures}."""
    figures = {name: plots.pictures([explore.read(rows[name][0])]) for name in NAMES}
    figures["all"] = plots.pictures(explore.read_all([workdir for workdir, _ in rows.values()]))
    for figure in itertools.chain(*(of.values() for of in figures.values())):
        FigureCanvasAgg(figure).draw()
    return figures


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def points(rows, *path):
    """[n, 2] epochs and numbers, from the rows."""
    kept = []
    for row in rows:
        value = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else value and value[key]
        if value is not None:
            kept.append((row["epoch"], value))
    return np.array(kept).reshape(-1, 2)


@pytest.mark.quick(0)
def test_every_run_has_its_pictures(drawn):
    assert {name: set(drawn[name]) for name in NAMES} == NAMES
    assert set(drawn["all"]) == OF_SHIFTS | {"accuracy_and_storage"}


@pytest.mark.parametrize("name", NAMES)
def test_curves_are_those_of_the_rows(rows, drawn, name):
    accuracy, loss = drawn[name]["training"].axes
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy (%)")
    assert loss.get_ylabel() == "loss (nats)"
    of = rows[name][1]
    for split, key in (("train", "accuracy"), ("validation", "top1")):
        assert_allclose(lines(accuracy)[split], points(of, split, key) * [1, 100])
        assert_array_equal(lines(loss)[split], points(of, split, "loss"))


@pytest.mark.parametrize("name", [name for name in NAMES if "k_by_layer" in NAMES[name]])
def test_bars_and_maps_are_those_of_the_layers(rows, drawn, name):
    of = rows[name][1]
    layers = of[-1]["layers"]
    (axes,) = drawn[name]["k_by_layer"].axes
    shares = np.array([[bar.get_width() for bar in bars] for bars in axes.containers])
    assert_allclose(shares.T, [100 * np.array(layer["share"]) for layer in layers.values()])
    ends = np.array([[bar.get_x() + bar.get_width() for bar in bars] for bars in axes.containers])
    assert_allclose(ends, np.cumsum(shares, axis=0))
    labels = [f"{n.split('/')[0]} ({layer['filters']})" for n, layer in layers.items()]
    assert [label.get_text() for label in axes.get_yticklabels()] == labels
    assert axes.yaxis_inverted()  # the image is above
    means = [text.get_text() for text in axes.texts][:-1]
    assert means == [f"{layer['mean_k']:.2f}" for layer in layers.values()]
    curves, cells, _ = drawn[name]["k_over_training"].axes
    assert_array_equal(lines(curves)["mean over filters"], points(of, "mean_k"))
    assert_array_equal(lines(curves)["mean over weights"], points(of, "mean_k_of_weights"))
    assert ("budget" in lines(curves)) == (name == "budget")
    (mesh,) = cells.findobj(QuadMesh)
    expected = [points(of, "layers", layer, "mean_k")[:, 1] for layer in layers]
    assert_array_equal(mesh.get_array(), expected)
    epochs = points(of, "mean_k")[:, 0]
    edges = mesh.get_coordinates()[0, :, 0]
    assert np.all((edges[:-1] < epochs) & (epochs < edges[1:]))


@pytest.mark.parametrize("name", ["thresholds", "long", "one", "shared"])
def test_thresholds(rows, drawn, name):
    of = rows[name][1]
    layers = of[-1]["layers"]
    assert len(drawn[name]["thresholds"].axes) == 2
    for term, axes in enumerate(drawn[name]["thresholds"].axes):
        shown = lines(axes)
        expected = {n.split("/")[0]: points(of, "layers", n, "thresholds", term) for n in layers}
        if name == "shared":
            expected = {"all layers": expected["conv1"]}
        assert set(shown) == set(expected)
        for label, want in expected.items():
            assert_array_equal(shown[label], want)


@pytest.mark.parametrize("rounding", ["log", "linear"])
def test_penalty(tmp_path, rounding):
    """Each point, by the power of two that is nearest in logarithm or in value."""
    finished.write_run(tmp_path, epochs=1)
    run = explore.read(tmp_path)
    assert "penalty" not in plots.pictures([run])
    config = {**run.config, "lambda1": 3e-5, "lambda0": None, "rounding": rounding}
    figure = plots.pictures([dataclasses.replace(run, config=config)])["penalty"]
    of_whole, of_rest, both = lines(figure.axes[0]).values()
    powers = 2.0 ** np.arange(-40, 2)
    for (w, whole), (_, rest), (_, total) in zip(
        of_whole[::7], of_rest[::7], both[::7], strict=True
    ):
        scale = (lambda x: x) if rounding == "linear" else np.log2
        nearest = powers[np.argmin(np.abs(scale(powers) - scale(max(abs(w), 1e-12))))]
        assert whole == pytest.approx(1e-5 * abs(w))
        assert rest == pytest.approx(3e-5 * abs(abs(w) - nearest), abs=1e-15)
        assert total == pytest.approx(whole + rest)


def test_comparisons(rows, drawn):
    names = [run.name for run in explore.read_all([workdir for workdir, _ in rows.values()])]
    numbers = dict(zip(names, (of for _, of in rows.values()), strict=True))
    accuracy, loss = drawn["all"]["training"].axes
    assert list(lines(accuracy)) == list(lines(loss)) == names
    (storage,) = drawn["all"]["accuracy_and_storage"].axes
    (means,) = drawn["all"]["k_over_training"].axes
    (layers,) = drawn["all"]["k_by_layer"].axes
    for name, of in numbers.items():
        assert_allclose(lines(accuracy)[name], points(of, "validation", "top1") * [1, 100])
        assert_array_equal(lines(loss)[name], points(of, "validation", "loss"))
        assert_allclose(lines(storage)[name], [[of[-1]["storage_bits"] / 8000, 90]])
        if of[-1]["mean_k"] is not None:
            assert_array_equal(lines(means)[name], points(of, "mean_k"))
            k = [layer["mean_k"] for layer in of[-1]["layers"].values()]
            assert_allclose(lines(layers)[name], np.stack([np.arange(len(k)), k], axis=1))
    assert not {"Full", "FP 4W8A"} & {*lines(means), *lines(layers)}


def shown_texts(figure):
    """Every text that is seen; ticks beyond the ends of an axis are not."""
    hidden = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = figure.findobj(lambda part: isinstance(part, Text) and part.get_visible())
    return [text for text in texts if text.get_text().strip() and id(text) not in hidden]


EVERY = [(run, name) for run, names in NAMES.items() for name in sorted(names)]
EVERY += [("all", name) for name in sorted(OF_SHIFTS | {"accuracy_and_storage"})]


@pytest.mark.parametrize(("run", "name"), EVERY)
def test_all_text_can_be_read(drawn, run, name):
    figure = drawn[run][name]
    boxes = {text: text.get_window_extent() for text in shown_texts(figure)}
    assert len(boxes) > 5
    for text, box in boxes.items():
        assert min(box.x0, box.y0, *(figure.bbox.max - box.max)) >= 0, text
        assert text.get_fontsize() >= 7.5
    for (one, box), (other, beside) in itertools.combinations(boxes.items(), 2):
        if one.get_rotation() in (0, 90) and other.get_rotation() in (0, 90):
            assert not box.overlaps(beside), (one, other)
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(axes.get_window_extent()) for axes in figure.axes)
    for axes in figure.axes:
        assert axes.get_ylabel() or axes.get_yticklabels()
        assert axes.get_xlabel() or axes.get_label() == "<colorbar>"


@pytest.mark.parametrize(("run", "name"), EVERY)
def test_grey_tells_things_apart(drawn, run, name):
    for axes in drawn[run][name].axes:
        shown = [line for line in axes.get_lines() if line.get_label() != "budget"]
        if axes.get_label() != "<colorbar>":
            looks = {(line.get_marker(), str(line.get_linestyle())) for line in shown}
            assert len(looks) == len(shown)
        areas = {(bars[0].get_hatch(), bars[0].get_facecolor()) for bars in axes.containers}
        greys = sorted(grey(colour) for _, colour in areas)
        assert np.all(np.diff(greys) > 0.2)
        assert len({hatch for hatch, _ in areas}) == len(axes.containers)
        for mesh in axes.findobj(QuadMesh):
            assert np.all(np.diff([grey(c) for c in mesh.cmap(np.linspace(0, 1, 64))]) < 0)


def grey(colour):
    return np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722])


@pytest.mark.exhaustive
@pytest.mark.slow
def test_files_are_the_same_every_time(rows, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for directory in (one, two):
        paths = plots.save(plots.pictures([explore.read(rows["thresholds"][0])]), directory)
        assert sorted(paths) == sorted(directory.iterdir())
    stems = sorted(NAMES["thresholds"])
    names = [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert [path.name for path in sorted(paths)] == names
    for path in paths:
        assert path.read_bytes() == (one / path.name).read_bytes(), path.name
        if path.suffix == ".png":
            data = path.read_bytes()
            assert data[:8] == b"\x89PNG\r\n\x1a\n"
            width, height = struct.unpack(">II", data[16:24])
            assert width == 1400
            assert 450 < height < 1400


SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.quick(0)
def test_the_svg_shows_the_numbers(rows, tmp_path):
    """Each curve is a path of the file, up to the scale and the place of the axes."""
    workdir, of = rows["budget"]
    plots.save(plots.pictures([explore.read(workdir)]), tmp_path)
    text = (tmp_path / "training.svg").read_text()
    assert "dc:date" not in text
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    paths = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("clip-path")]
    drawn = [np.array(re.findall(r"[-\d.]+", d), float).reshape(-1, 2) for d in paths]
    for path in (["train", "accuracy"], ["validation", "top1"], ["train", "loss"]):
        want = points(of, *path)
        assert sum(len(p) == len(want) and affine(p, want) for p in drawn) == 1
    other = points(of, "validation", "top5")
    assert not any(len(p) == len(other) and affine(p, other) for p in drawn)


def affine(drawn, want):
    """Whether points are others scaled and moved along each axis, upwards being less."""
    for i, sign in ((0, 1), (1, -1)):
        scale, place = np.polyfit(want[:, i], drawn[:, i], 1)
        if sign * scale <= 0 or np.abs(scale * want[:, i] + place - drawn[:, i]).max() > 1e-3:
            return False
    return True


def compared(workdirs, out=None):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(out=None if out is None else str(out)):
        compare.main([str(workdir) for workdir in workdirs])


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ["k_by_layer"]),
        ('{"epoch": 1, "train": {"loss": 1}}\n{"epo', ["k_by_layer", "training"]),
        ('{"epoch": 1, "mean_k": 1.5}', ["k_by_layer", "k_over_training"]),
    ],
)
def test_damaged_metrics_are_smaller_pictures(tmp_path, text, names, capsys):
    finished.write_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    compared([tmp_path], tmp_path / "out")
    assert [path.stem for path in sorted((tmp_path / "out").glob("*.svg"))] == names
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"pictures: {tmp_path / 'out'}"
    assert any("metrics.jsonl" in line for line in out) == ("mean_k" not in (text or ""))


def test_nothing_to_draw_is_told(tmp_path, capsys):
    finished.write_run(tmp_path, "Full", "full")
    (tmp_path / "metrics.jsonl").unlink()
    compared([tmp_path])
    lines = capsys.readouterr().out.splitlines()
    assert "metrics.jsonl does not exist" in lines[-2]
    assert lines[-1] == "no pictures: there is nothing to draw"
    assert not (tmp_path / "plots").exists()


@pytest.mark.quick(0)
def test_where_pictures_go(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    for workdir in (first, second):
        finished.write_run(workdir, "Full")
    for workdirs, place in (([first, second], "plots/compared"), ([first], "plots")):
        place = first / place
        compared(workdirs)
        assert capsys.readouterr().out.splitlines()[-1] == f"pictures: {place}"
        assert (place / "training.png").is_file()
    assert not (second / "plots").exists()
    blocked = second / "metrics.jsonl"
    compared([second], blocked)
    out = capsys.readouterr().out
    assert "Full" in out
    assert out.splitlines()[-1].startswith("no pictures: ")
    assert str(blocked) in out.splitlines()[-1]
    assert "choose a directory by --out" in out


def test_without_matplotlib_a_line_tells(tmp_path, monkeypatch, capsys):
    finished.write_run(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it is then an error
    monkeypatch.delitem(sys.modules, "flightnn_jax.explore.plots")
    monkeypatch.delattr(explore, "plots")
    compared([tmp_path])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("model")
    assert lines[-1] == (
        "no pictures: matplotlib is not installed: pip install 'flightnn-jax[plots]', and give "
        f"the command compare {tmp_path}"
    )
    assert not (tmp_path / "plots").exists()

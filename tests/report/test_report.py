"""The report: means and paired differences by hand, figures, overlays, a page that stands alone."""

import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet import report
from fsdet.errors import InputError
from fsdet.report import confusion, figures, svg
from fsdet.report.drawing import palette
from fsdet.report.lettering import letters_of

NOVEL = ("gear", "heart", "tee")
BASE = ("arrow", "bolt", "cross", "star")


def row(method, shots, seed, value, protocol="novel", **more):
    """A row of `results.json` whose nAP50 is `value`."""
    known = {"method": method, "data": "shapes", "split": "shapes1", "shots": shots, "seed": seed}
    return known | {"protocol": protocol, "nAP50": value, "adapt_seconds": 0.1} | more


def rows_of_a_run(methods=("maml", "cosine", "prototype"), seeds=10):
    """What a whole run writes: methods x 4 shot counts x seeds x 2 protocols, and 0 shots."""
    random = np.random.default_rng(0)
    hard = random.normal(0, 2, (seeds, 11))
    rows = []
    for place, method in enumerate(methods):
        for shots in (1, 3, 5, 10):
            for seed in range(seeds):
                novel = 75 + 7 * math.log(shots) - 1.5 * place + hard[seed, shots] / shots
                novel += random.normal(0, 0.4)
                for protocol in ("novel", "all"):
                    names = NOVEL if protocol == "novel" else NOVEL + BASE
                    more = {"nAP": novel * 0.6, "AP50": novel, "AP": novel * 0.6}
                    more["per_class"] = {name: novel + random.normal(0, 3) for name in names}
                    if protocol == "all":
                        more |= {"bAP50": 85 + random.random(), "bAP": 55.0}
                    among = novel - (protocol == "all")  # base categories stand in the way
                    rows.append(row(method, shots, seed, among, protocol, **more))
    rows.append(row("maml", 0, 0, None, "all", bAP50=86.4))
    return rows


def records_of_training():
    return [
        {"step": step, "stage": stage, "loss_classifier": 1 / (1 + step), "loss": 2 / (1 + step)}
        for stage in ("base", "meta")
        for step in range(100)
    ]


@pytest.fixture(scope="module")
def rows():
    return rows_of_a_run()


def test_summary_is_the_mean_and_students_interval():
    rows = [row("maml", 1, seed, value) for seed, value in enumerate([80.0, 82.0, 84.0])]
    rows += [row("maml", 5, seed, value) for seed, value in enumerate([90.0, 90.0, 96.0])]
    one, five, mean = report.summary(rows)
    assert [group["shots"] for group in (one, five, mean)] == [1, 5, "mean"]
    assert one["seeds"] == 3 and one["nAP50"].mean == pytest.approx(82)
    assert one["nAP50"].half == pytest.approx(4.302653 * 2 / math.sqrt(3))
    assert mean["nAP50"].mean == pytest.approx(87)  # of 85, 86 and 90
    assert mean["nAP50"].half == pytest.approx(4.302653 * math.sqrt(7 / 3))
    assert math.isnan(one["bAP50"].mean)


def test_later_rows_replace_earlier_ones_and_null_is_left_out():
    rows = [row("maml", 1, 0, 10.0), row("maml", 1, 0, 50.0), row("maml", 1, 1, None)]
    group = report.summary(rows)[0]
    assert group["nAP50"].mean == 50 and math.isnan(group["nAP50"].half)


def test_differences_are_paired_by_split_and_seed():
    rows = []
    for seed, (ours, theirs) in enumerate([(60, 59), (80, 78.5), (90, 89.5)]):
        rows += [row("maml", 1, seed, ours), row("cosine", 1, seed, theirs, split="shapes1")]
    rows += [row("maml", 1, 7, 0.0), row("cosine", 1, 0, 0.0, split="shapes2")]  # without a partner
    found = report.differences(rows)[0]
    assert found["seeds"] == 3 and found["difference"].mean == pytest.approx(1)
    assert found["difference"].half == pytest.approx(4.302653 * 0.5 / math.sqrt(3))
    assert found["verdict"] == "tie"  # 1 ± 1.24
    swapped = report.differences(rows, baseline="maml")[0]
    assert swapped["difference"].mean == pytest.approx(-1)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [((1.0, 1.2, 0.9), "better"), ((-1.0, -1.2, -0.9), "worse"), ((1.0, -1.0, 0.1), "tie"),
     ((0.0, 0.0, 0.0), "tie"), ((1.0,), "")],
)  # fmt: skip
def test_verdicts(gains, verdict):
    rows = [row("cosine", 5, seed, 80.0) for seed in range(len(gains))]
    rows += [row("maml", 5, seed, 80.0 + gain) for seed, gain in enumerate(gains)]
    assert {found["verdict"] for found in report.differences(rows)} == {verdict}


def test_the_mean_over_shots_is_of_seeds_that_have_them_all():
    rows = [row("maml", shots, seed, 10.0 * shots) for shots in (1, 3) for seed in (0, 1)]
    rows += [row("maml", 3, 2, 99.0)]
    assert report.summary(rows)[-1]["seeds"] == 2
    assert report.summary(rows)[-1]["nAP50"].mean == pytest.approx(20)


def test_a_row_that_does_not_say_what_it_measured_is_an_input_error():
    with pytest.raises(InputError, match="row 1: expected 'seed'"):
        report.summary([row("maml", 1, 0, 1.0), {"method": "maml", "data": "d", "split": "s",
                                                 "shots": 1, "protocol": "all"}])  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "titles"),
    [
        ({}, []),
        ({"nAP50_voc07": 61.4}, ["nAP50 as VOC 2007 counts it (11 points)"]),
        ({"APr": 61.4, "APf": None}, ["AP of rare categories (LVIS)"]),
    ],
)
def test_what_the_evaluation_of_the_data_says_has_tables(numbers, titles, tmp_path):
    rows = [row("maml", 1, seed, 50.0, "all", nAP=30.0, **numbers) for seed in range(3)]
    words = report.text(rows)
    assert max(map(len, words.splitlines())) <= 100
    for title in report.compare.OWN.values():
        assert (title in words) == (title in titles)
    assert ("61.4 ± 0.0" in words) == bool(titles)
    assert "nAP, base and novel" in words and "30.0 ± 0.0" in words
    page = report.write(tmp_path, rows, [], [], "", {}).read_text()
    assert [name for name in report.compare.OWN if f">{name}<" in page] == [
        name for name, value in numbers.items() if value
    ]


@pytest.mark.parametrize("counts", [(1, 3, 5, 10), (1, 2, 3, 5, 10), (1, 2, 3, 4, 5, 10, 20, 30)])
def test_text_fits_a_terminal_and_says_every_number(counts):
    name = "a method with a name that is much too long"
    rows = [
        row(method, shots, seed, 70 + shots + seed + 10 * (method == name), bAP50=80.0)
        for method in (name, "cosine")
        for shots in counts
        for seed in (0, 1)
    ]
    text = report.text(rows)
    assert max(map(len, text.splitlines())) <= 100
    for shots in counts:
        assert f"{80.5 + shots:.1f} ± 6.4" in text and f" {shots} shot" in text
    assert "+10.0 ± 0.0" in text and "better" in text and "2 seeds" in text


def test_label_spaces_with_the_same_numbers_are_shown_once(rows):
    same = [
        one | {"protocol": p}
        for one in rows
        if one["protocol"] == "novel"
        for p in ("novel", "all")
    ]
    once, twice = report.text(same), report.text(rows)
    assert once.count("nAP50, ") == 1 and twice.count("nAP50, ") == 2
    assert "base and novel categories together (the same with novel categories only)" in once
    assert len([s for s in report.headline(same) if "nAP50" in s]) == 1
    assert list(figures.curves(same)) == ["all"] and list(figures.curves(rows)) == ["novel", "all"]


def test_tables_and_words_of_a_run(rows):
    text = report.text(rows)
    assert (
        "novel categories only" in text
        and "(before: 86.4, MAML)" in text
        and "TFA (cosine)" in text
    )
    first, together, base = report.headline(rows)
    assert "MAML reaches an nAP50 of" in first and "at 5 shots" in first and "above TFA" in first
    assert "base and novel categories together" in together
    assert base.startswith("Base categories have a bAP50 of 86.4 before")
    tables = report.markdown(rows).split("\n\n")
    for table in tables[1:-1:2]:
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize(
    "rows", [[], [row("maml", 0, 0, None)], [row("maml", 5, 0, None, adapt_seconds=None)]]
)
def test_nothing_scored_is_said(rows, tmp_path):
    assert "nothing was scored" in report.text(rows)
    assert report.write(tmp_path, rows, [], [], "", {}).is_file()


def test_one_seed_of_one_method_has_a_report(tmp_path):
    rows = [row("prototype", 1, 0, 70.0)]
    assert "70.0" in report.text(rows) and "nan" not in report.text(rows)
    page = report.write(tmp_path, rows, [], [], "", {}).read_text()
    assert "70.0" in page and "nan" not in page.lower()


def test_figures_are_small_and_keep_pyplot_out(rows):
    import matplotlib

    settings_before = dict(matplotlib.rcParams)
    made = figures.curves(rows) | figures.losses(records_of_training())
    made["bars"] = figures.bars(rows, "maml", 5, NOVEL)
    assert set(made) == {"novel", "all", "base", "meta", "bars"}
    for name, figure in made.items():
        drawn = svg.svg(figure, name)
        ET.fromstring(drawn.replace("xlink:", ""))
        assert len(drawn) < 100_000
        assert drawn == svg.svg(figure, name)
    assert dict(matplotlib.rcParams) == settings_before


def test_a_curve_goes_through_the_means(rows):
    axes = figures.curves(rows)["novel"].axes[0]
    means = [g["nAP50"].mean for g in report.summary(rows)[:4]]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), means)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "3", "5", "10"]
    names = [text.get_text() for text in axes.texts]
    assert names == ["MAML", "TFA (cosine)", "prototype"]


def test_names_at_line_ends_do_not_overlap():
    rows = [row(f"method {n}", shots, 0, 80.0) for n in range(6) for shots in (1, 5)]
    places = sorted(text.get_position()[1] for text in figures.curves(rows)["novel"].axes[0].texts)
    assert min(np.diff(places)) > 0.07 and places[0] >= 0 and places[-1] <= 1


def test_bars_put_novel_categories_first_and_keep_them_among_hundreds():
    scores = {f"base {n}": float(n % 90) for n in range(200)} | {"gear": 50.0, "tee": 60.0}
    axes = figures.bars([row("maml", 5, 0, 1.0, per_class=scores)], "maml", 5, NOVEL, "novel").axes
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels[:2] == ["★ tee", "★ gear"] and len(labels) == 60 and "base 0" in labels
    assert figures.bars([row("maml", 5, 0, 1.0)], "maml", 5, NOVEL) is None


def test_smoothing_keeps_a_constant_and_the_length():
    np.testing.assert_allclose(figures.smoothed(np.full(7, 3.0), 2), 3.0)
    np.testing.assert_allclose(figures.smoothed(np.array([0.0, 3.0, 6.0]), 1), [1.5, 3.0, 4.5])


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    boxes=st.lists(st.tuples(*[st.floats(-400, 700)] * 4), max_size=5),
    text=st.text(max_size=40),
)
def test_anything_is_drawn_on_any_image(size, boxes, text):
    image = np.full((*size, 3), 90, np.uint8)
    out = report.draw(image, boxes, [text] * len(boxes), [(0, 158, 230)] * len(boxes))
    assert out.shape == image.shape and out.dtype == np.uint8 and (image == 90).all()
    assert out.any() and (bool(boxes) or (out == image).all())


@pytest.mark.parametrize("size", [(64, 64), (480, 640), (2000, 3000)])
def test_text_stays_in_the_picture_and_grows_with_it(size):
    height, width = size
    boxes = [[0, 0, 20, 20], [width - 15, height - 10, width, height], [width - 5, 0, width, 9]]
    image = np.zeros((height, width, 3), np.uint8)
    colour = (240, 200, 30)
    plain = report.draw(image, boxes, [""] * 3, [colour] * 3)
    whole = letters_of("gear 0.91", max(9, round(min(height, width) / 26)), width, height).shape
    for n, box in enumerate(boxes):
        texts = ["" if k != n else "gear 0.91" for k in range(3)]
        changed = (report.draw(image, boxes, texts, [colour] * 3) != plain).any(2)
        # The whole plate is there, but for what it shares with its box's lines.
        seen = [np.ptp(places) + 1 for places in np.nonzero(changed)]
        shared = 2 + 2 * round(min(height, width) / 200)
        assert np.abs(np.subtract(whole, seen)).max() <= shared, box
    assert whole[0] > min(height, width) / 26


def test_a_box_is_where_it_says():
    image = np.zeros((100, 100, 3), np.uint8)
    out = report.draw(image, [[20, 30, 60, 80]], [""], [(255, 0, 0)])
    ys, xs = np.nonzero(out[..., 0] > 200)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [20, 30, 60, 80],
                               atol=1)  # fmt: skip
    assert not out[40:70, 30:50].any()


def test_a_trace_goes_where_it_says():
    image = np.zeros((100, 100, 3), np.uint8)
    paths = [[(20, 30), (60, 30), (60, 80)], [], [(5, 90)]]
    out = report.trace(image, paths, [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    expected = np.zeros((100, 100), bool)
    expected[30, 20:61] = expected[30:81, 60] = True
    red = out[..., 0] > 60
    assert (np.abs(np.argwhere(red)[:, None] - np.argwhere(expected)).max(2).min(1) <= 1).all()
    assert red[29:31].any(0)[20:60].all() and red[:, 59:61].any(1)[30:80].all()
    assert not out[..., 1:].any() and not image.any()


def test_beside_leaves_out_what_is_unsure_and_scales():
    image = np.full((60, 120, 3), 128, np.uint8)
    boxes = np.array([[10, 10, 50, 50], [60, 10, 110, 50]], float)
    known = {"novel": {"gear"}, "side": 240}

    def shown(scores):
        return report.beside(image, (boxes, ["gear", "star"]), (boxes, ["gear", "star"], scores),
                             **known)  # fmt: skip

    both, one, none = shown([0.9, 0.8]), shown([0.9, 0.2]), shown([0.1, 0.2])
    assert both.shape == one.shape and both.shape[1] >= 480 and both.shape[0] > 120
    left, right = np.split(both[:, : 2 * (both.shape[1] // 2)], 2, axis=1)
    assert (one[:, :240] == both[:, :240]).all() and (one[:, 240:] != both[:, 240:]).any()
    assert (none[-120:, -238:] == 128).all() and left.shape == right.shape
    empty = report.beside(image, (np.zeros((0, 4)), []), (np.zeros((0, 4)), [], []))
    assert (empty[-100:, :300] == 128).all()


@pytest.mark.parametrize(
    ("image", "texts", "said"),
    [(np.zeros((9, 9), np.uint8), ["a"], "uint8 image"), (np.zeros((9, 9, 3)), ["a"], "float64"),
     (np.zeros((9, 9, 3), np.uint8), [], "a text and a colour for each of 1 boxes")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_an_input_error(image, texts, said):
    with pytest.raises(InputError, match=said):
        report.draw(image, [[1, 1, 5, 5]], texts, [(0, 0, 0)])


def test_a_palette_is_stable_and_tells_names_apart():
    names = [f"category {n}" for n in range(18)]
    assert len(set(palette(names).values())) == 18
    assert palette(names).items() <= palette([*names, "another"]).items()


class Page(HTMLParser):
    """What a browser would load, and the words it would show."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), "a script in an attribute"
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.filterwarnings("error")
def test_the_page_stands_alone_and_escapes_what_users_wrote(rows, tmp_path):
    evil = '<script>alert("x")</script>$\\frac$&\x00|猫'
    named = [dict(r, method=evil, data=evil) if r["method"] == "prototype" else r for r in rows]
    named = [
        r | {"per_class": {evil: 50.0, **r["per_class"]}} if "per_class" in r else r for r in named
    ]
    losses = [{"step": n, "stage": evil, evil: 1.0 + n} for n in range(5)]
    picture = np.zeros((40, 1500, 3), np.uint8)
    run = tmp_path / "my run <b>"
    path = report.write(run, named, losses, [(evil, picture)], evil, {evil: evil, "command": evil})
    page = Page()
    written = path.read_text(encoding="utf-8")
    page.feed(written)
    assert "script" not in page.tags and page.tags.count("img") == 1 and page.tags.count("svg") == 5
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not re.search(r"https?:|@import|url\((?!#)", written)
    assert "".join(page.words).count('<script>alert("x")') >= 5
    ids = re.findall(r'\bid="([^"]*)"', written)
    assert len(ids) == len(set(ids)) and set(re.findall(r"url\(#([^)]*)\)", written)) <= set(ids)
    assert "<script" not in (run / "report.md").read_text(encoding="utf-8").split("```")[0]


def test_the_page_says_what_one_needs(rows, tmp_path):
    facts = {"torch": "2.14.1", "hardware": "2 CPU cores", "base training": "131 s"}
    config = "run: runs/x\nseed: 0\n"
    path = report.write(tmp_path / "x", rows, records_of_training(), [], config, facts)
    page = path.read_text(encoding="utf-8")
    for words in (*facts.values(), config, "x/config.yaml", *report.headline(rows), "86.4 before"):
        assert words in page
    assert "x/config.yaml" in (path.parent / "report.md").read_text(encoding="utf-8")
    assert page.count("<svg") == 6 and len(page) < 500_000


def test_a_write_that_fails_leaves_the_old_report(rows, tmp_path, monkeypatch):
    path = report.write(tmp_path, rows, [], [], "first", {})
    before = path.read_text()

    def power_cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", power_cut)
    with pytest.raises(KeyboardInterrupt):
        report.write(tmp_path, rows, [], [], "second", {})
    assert path.read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.md"]


def of_a_test(names=BASE + NOVEL, novel=NOVEL, **more):
    """A test of 5 seeds, 10 boxes of each category, eight of them found."""
    n = len(names)
    counts = np.zeros((n + 2, n + 1), int)
    counts[np.arange(1, n + 1), np.arange(1, n + 1)] = 8
    counts[1:-1, 0] = 2
    curve = np.repeat([1.0, 0.5, 0.0], [50, 30, 21])  # its mean is 65 / 101
    picture = np.zeros((30, 40, 3), np.uint8)
    square = np.zeros((20, 20, 3), np.uint8)
    finds = [report.Find(square, 0.91, ""), report.Find(square, 0.9, names[0])]
    values = {
        "method": "maml", "shots": 5, "seed": 0, "threshold": 0.5, "names": names, "novel": novel,
        "precision": {name: np.tile(curve, (5, 1)) for name in novel}, "counts": counts,
        "best": [("best.jpg", picture)], "worst": [("worst.jpg", picture)],
        "galleries": {name: report.Gallery([square], finds, finds[1:]) for name in novel},
    }  # fmt: skip
    return report.Tested(**values | more)


def test_precision_figures_are_of_seeds_and_best_first():
    lines = {"gear": np.array([np.full(101, 0.4), np.full(101, 0.8)]),
             "tee": np.full((2, 101), 0.9), "heart": np.full((2, 101), np.nan)}  # fmt: skip
    made = figures.precision_recall(lines)
    assert list(made) == ["tee", "gear"]
    everyone, mine = made["gear"].axes[0].lines
    np.testing.assert_allclose(mine.get_ydata(), 60)
    np.testing.assert_allclose(everyone.get_ydata(), 75)
    np.testing.assert_allclose(mine.get_xdata(), np.arange(101), atol=1e-9)
    band = made["gear"].axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0, 100)  # 60 ± 254, cut
    assert figures.precision_recall({}) == {}


def test_a_matrix_of_many_categories_keeps_the_novel_and_what_they_are_confused_with():
    names = [f"base{n}" for n in range(40)] + ["new1", "new2"]
    counts = np.zeros((44, 43), int)
    counts[np.arange(1, 43), np.arange(1, 43)] = 5
    counts[1 + 7, 1 + 41] = 1  # base7 taken for new2
    counts[1 + 40, 1 + 30] = 2  # new1 taken for base30
    counts[1 + 3, 1 + 4] = 9  # among base categories: does not count
    titles, of = confusion.lines(counts, names, {"new1", "new2"}, most=4)
    assert titles == ["★ new1", "★ new2", "base7", "base30", "38 other base"]
    assert (
        of[[40, 41, 7, 30]].tolist() == [1, 2, 3, 4] and (np.delete(of, [40, 41, 7, 30]) == 5).all()
    )
    titles, of = confusion.lines(counts, names, {*names[:3], "new1"}, most=2)
    assert titles == ["★ base0", "★ new1", "2 other novel", "38 other base"]
    titles, of = confusion.lines(counts, names, {"new1", "new2"}, most=42)
    assert titles == ["★ new1", "★ new2", *names[:40]] and sorted(of) == list(range(1, 43))


def test_a_matrix_says_every_count_and_its_share():
    names = ("gear", "a <b>")
    counts = np.array([[0, 3, 0], [1, 6, 3], [20_000, 0, 5], [0, 0, 2]])
    page = Page()
    table = confusion.table(counts, names, {"gear"})
    page.feed(table)
    shown = "|".join(word.strip() for word in page.words if word.strip())
    assert "★ gear|6|3|1|10|a <b>|5|20k|20k|found already|2|2|background|3|3" in shown
    assert 'title="★ gear → a &lt;b&gt;: 3 of 10, 30%"' in table
    assert table.count("class=right") == 2 and table.count("class=mistake") == 5
    said = list(confusion.words(counts, names, {"gear"}))
    assert said[0].startswith("Of 10 boxes of novel categories 60% were found, 30% taken for")
    assert said[1] == "Most often taken for another: gear for a <b> (3)."
    assert list(confusion.words(counts, names, ())) == []


def test_a_crop_holds_its_box_in_the_middle_and_is_grey_outside():
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 100:120] = 250
    square = report.crop(image, np.array([100, 40, 120, 60]), (255, 0, 0), side=120)
    assert square.shape == (120, 120, 3) and (square[60, 60] == 250).all()
    assert (square[30:90, 30:90].min(axis=2) > 200).all() and not square[:15].any()
    ys, xs = np.nonzero((square[..., 0] > 200) & (square[..., 1] < 60))
    assert np.abs(np.array([xs.min(), xs.max(), ys.min(), ys.max()]) - [20, 99, 20, 99]).max() <= 2
    rim = report.crop(image, np.array([0, 0, 20, 20]), (255, 0, 0), side=60)
    assert (rim[:6] == 128).all() and (rim[:, :6] == 128).all() and not rim[-8:, -8:].any()


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    box=st.tuples(*[st.floats(0, 300)] * 4),
    side=st.integers(16, 200),
)
def test_anything_is_cut_out_of_any_image(size, box, side):
    x1, x2, y1, y2 = (*sorted(box[:2]), *sorted(box[2:]))
    square = report.crop(
        np.zeros((*size, 3), np.uint8), np.array([x1, y1, x2, y2]), (9, 9, 9), side
    )
    assert square.shape == (side, side, 3) and square.dtype == np.uint8


@pytest.mark.filterwarnings("error")
def test_the_pictures_of_a_test_are_in_the_page_and_what_users_named_is_escaped(rows, tmp_path):
    evil = '<script>alert("x")</script>$\\frac$&\x00|猫'
    tested = of_a_test(("arrow", evil, "猫", "狗"), (evil, "猫", "狗"))
    path = report.write(tmp_path, rows, [], [], "", {}, tested=tested)
    page, written = Page(), path.read_text(encoding="utf-8")
    page.feed(written)
    assert "script" not in page.tags and page.tags.count("img") == 2 + 3 * 4
    for title in report.tested.pictured(tested):
        assert f"<h2>{title}</h2>" in written
    words = " ".join(page.words)
    assert "MAML at 5 shots, seed 0" in words and "64.4 ± 0.0" in words
    assert "✓ 0.91" in words and "✗ 0.90 arrow" in words and "best.jpg" in words
    assert "Of 30 boxes of novel categories 80% were found, 0% taken for another" in words
    ids = re.findall(r'\bid="([^"]*)"', written)
    assert len(ids) == len(set(ids))


def test_what_was_not_tested_has_no_section(rows, tmp_path):
    tested = of_a_test(precision={}, counts=np.zeros((9, 8), int), best=[], worst=[], galleries={})
    page = report.write(tmp_path, rows, [], [], "", {}, tested=tested).read_text()
    assert not [title for title in report.tested.pictured(tested) if f"<h2>{title}" in page]


def test_what_was_lost_is_told_without_a_row_of_the_baseline_before():
    """A novel stage has no row of 0 shots; it started from the same base detector as those that have one."""
    rows = [
        row("prototype", 0, 0, None, "all", bAP50=80.0),
        row("prototype", 1, 0, 5.0, "all", bAP50=79.0),
    ]
    rows += [row("stage", 1, seed, 7.0, "all", bAP50=70.0 + seed) for seed in (0, 2)]
    lost = {found["method"]: found["difference"].mean for found in report.compare.forgetting(rows)
            if found["shots"] == 1}  # fmt: skip
    assert lost == pytest.approx({"prototype": -1.0, "stage": -9.0})
    own = row("cosine", 0, 0, None, "all", bAP50=60.0)
    lost = {found["method"]: found["difference"].mean for found in report.compare.forgetting([*rows, own])
            if found["shots"] == 1}  # fmt: skip
    assert lost == pytest.approx({"prototype": -1.0, "stage": 11.0})
    title = next(
        grid.title for grid in report.table.grids(rows) if "after registering" in grid.title
    )
    assert title.endswith("(before: 80.0, prototype)")

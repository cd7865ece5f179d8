import html.parser
import itertools
import json
import re

import numpy as np
import pytest

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler
from sngan_tf.modes import report as report_mode
from sngan_tf.runs import fields
from sngan_tf.runs import page as page_lib
from sngan_tf.runs import workdir as workdir_lib

EVIL = '<script>alert("1")</script>&"\''


class Page(html.parser.HTMLParser):
    """What is on a page: headings, cells of tables, links, alt texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.alts, self.ids = [], [], [], []
        self.headings, self.tables, self.texts = [], [], []
        self._inside = []
        self.feed(text)
        assert self._inside == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.links += [attrs[k] for k in ("src", "href") if k in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "img":
            self.alts.append(attrs["alt"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in HEADINGS:
            self.headings.append((tag, ""))
        if tag not in ("meta", "img"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        assert self._inside.pop() == tag

    def handle_data(self, data):
        inside = self._inside[-1] if self._inside else ""
        self.texts.append((inside, data))
        if inside in HEADINGS:
            self.headings[-1] = inside, self.headings[-1][1] + data
        if {"td", "th"} & {*self._inside}:
            self.tables[-1][-1][-1] += data

    def table_with(self, text):
        """Returns the rows of the first table that has a cell."""
        for table in self.tables:
            if any(text in cell for row in table for cell in row):
                return table
        raise AssertionError(text)


HEADINGS = ("h1", "h2", "h3")


def make(path, **changes):
    """Makes the workdir of a run that was trained for 20 updates."""
    config = fields.defaults()
    values = {"data.image_size": 16, "updates": 20, **changes}
    config.update_from_flattened_dict(values)
    run = workdir_lib.Workdir(path)
    run.prepare(config)
    for step in (10, 20):
        row = {
            "step": step,
            "d_loss": 2.0 / step,
            "g_loss": -0.25,
            "d_penalty": 0.0,
            "images_per_second": 100.0 * step,
            "steps_per_second": 2.0,
            "spectral_norms": {"conv_1": 0.5 * step, "dense": 1.0},
        }
        files.append_row(run.train_log, row)
        row = {
            "step": step,
            "spectral_norms": {"conv_1": 1.0},
            "effective_ranks": {"conv_1": 7.5},
        }
        files.append_row(run.spectral_norms, row)
        images = np.full((4, 16, 16, 1), 9 * step, np.uint8)
        sampler.save_grid(run.samples / f"step_{step:08d}.png", images)
    return run


def score(run, metric, step, value, **changes):
    row = {
        "step": step,
        "metric": metric,
        "value": value,
        "std": None,
        "protocol": "quick",
        "num_real": 1797,
        "num_fake": 5000,
        "reference": "digits/all",
        "features": "classifier-abc",
        "resize": "none",
    }
    files.append_row(run.scores, {**row, **changes})


def page_of(*runs):
    return Page(report_mode.report(None, *runs).read_text())


def labels(page):
    """Returns the titles of the charts."""
    return [
        text.strip()
        for tag, text in page.texts
        if tag == "figcaption" and text.strip()
    ]


def test_page_needs_nothing_else(tmp_path):
    run = make(tmp_path)
    page = page_of(run)
    assert run.report.is_file()
    assert page.links
    for link in page.links:
        assert link.startswith(("data:image/", "#")), link[:80]
        assert link[0] != "#" or link[1:] in page.ids
    assert {"script", "link", "iframe", "form"} & {*page.tags} == set()
    # Nor by a style.
    assert not re.search(r"url\(|@import", run.report.read_text())
    assert len({*page.ids}) == len(page.ids)


def test_headings_are_in_order_and_pictures_have_words(tmp_path):
    page = page_of(make(tmp_path / "a"), make(tmp_path / "b"))
    levels = [int(tag[1]) for tag, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert all(page.alts)
    assert "Generated pictures after 20 updates" in page.alts


def test_losses_kernels_and_speed_are_drawn(tmp_path):
    page = page_of(make(tmp_path))
    # The penalty is 0 throughout.
    assert labels(page) == [
        "d_loss",
        "g_loss",
        "norm in effect, exact",
        "effective rank in effect",
        "sigma by u, before normalization",
        "real pictures a second",
        "updates a second",
    ]
    text = (tmp_path / "report.html").read_text()
    assert "d_loss over generator updates." in text
    assert ": from 0.2 to 0.1, at least 0.1, at most 0.2." in text
    assert "conv_1: from 5 to 10, at least 5, at most 10." in text


def test_scores_stand_with_counts_and_real_ones(tmp_path):
    run = make(tmp_path)
    score(run, "classifier_score", 10, 1.5, num_real=0)
    score(run, "classifier_score", 20, 2.5, num_real=0, std=0.25)
    score(run, "frechet_classifier_distance", 20, 3.0)
    score(run, "real_classifier_score", 20, 9.0, num_real=0, num_fake=900)
    score(run, "classifier_score", 20, 7.0, num_real=0, protocol="paper")
    run.best.mkdir(parents=True)
    (run.best / "step-10.index").touch()
    page = page_of(run)
    assert page.tables[0] == [
        ["metric", "last, update 20", "best, update 10", "real pictures"],
        [
            "classifier_score (higher is better)",
            "2.5 ± 0.25 5,000 / -",
            "1.5 5,000 / -",
            "9 900 / -",
        ],
        [
            "frechet_classifier_distance (lower is better)",
            "3 5,000 / 1,797",
            "",
            "",
        ],
    ]
    assert page.tables[1][1][1] == "7 5,000 / -"
    by = "real pictures of digits/all, by classifier-abc (resize: none)"
    assert [text for tag, text in page.headings if tag == "h3"] == [
        f"Scores, protocol quick: {by}",
        f"Scores, protocol paper: {by}",
    ]
    # A single value makes no curve.
    drawn = [label for label in labels(page) if "classifier" in label]
    assert drawn == ["classifier_score (higher is better), 5,000 / -"]


def test_scores_of_other_counts_are_drawn_apart(tmp_path):
    runs = [make(tmp_path / name) for name in "ab"]
    for run, count in zip(runs, (5000, 1000)):
        for step in (10, 20):
            score(run, "classifier_recall", step, 0.5, num_fake=count)
    page = page_of(*runs)
    assert [label for label in labels(page) if "recall" in label] == [
        f"classifier_recall (higher is better), {count} / 1,797"
        for count in ("5,000", "1,000")
    ]
    assert page.tables[0] == [
        ["metric", "a, last, update 20", "b, last, update 20", "real pictures"],
        [
            "classifier_recall (higher is better)",
            "0.5 5,000 / 1,797",
            "0.5 1,000 / 1,797",
            "",
        ],
    ]


def test_run_has_one_color_and_its_name_everywhere(tmp_path):
    runs = [make(tmp_path / name) for name in "ab"]
    for step in (10, 20):
        score(runs[1], "classifier_recall", step, 0.5)
    page = page_of(*runs)
    assert page.tables[0][0][1] == "b, last, update 20"
    text = (runs[0].path / "comparison.html").read_text()
    (drawn,) = (x for x in text.split("<figure") if "recall (" in x)
    drawn = drawn.partition("</figure>")[0]
    assert "color-1" in drawn
    assert "color-0" not in drawn
    assert re.search(r"</svg> b</li>", drawn)


def test_fields_of_the_config_that_differ_come_first(tmp_path):
    chosen = {"method": "weight_norm", "optimizer.beta_1": 0.0}
    runs = make(tmp_path / "a", **chosen), make(tmp_path / "b", updates=40)
    page = page_of(*runs)
    assert runs[0].path / "comparison.html" == report_mode.report(None, *runs)
    assert page.headings[0] == ("h1", "Comparison of 2 runs")
    changed, everything = (t for t in page.tables if t[0][0] == "field")
    assert changed == [
        ["field", "default", "a", "b"],
        ["method (differs)", "spectral_norm", "weight_norm", "spectral_norm"],
        ["updates (differs)", "100000", "20", "40"],
        ["optimizer.beta_1 (differs)", "0.5", "0.0", "0.5"],
        ["data.image_size", "32", "16", "16"],
    ]
    assert len(everything) == 1 + len(fields.FIELDS)
    rows = {row[0]: row[1:] for row in everything}
    assert rows["generator_batch_size"] == ["as data.batch_size", "64", "64"]


def test_sessions_are_told(tmp_path):
    run = make(tmp_path)
    row = {"began": "2030-01-02 03:04:05+00:00", "start": 0, "step": 20}
    files.append_row(run.sessions, {**row, "keras": "3.99", "commit": "abc"})
    table = page_of(run).table_with("2030")
    found = dict(zip(*table))
    assert found["began (UTC)"] == "2030-01-02 03:04:05+00:00"
    assert found["updates"] == "0 to 20"
    assert found["Keras"] == "3.99"
    assert found["NumPy"] == ""


def test_spectra_are_drawn_where_they_were_measured(tmp_path):
    run = make(tmp_path)
    kernel = {"singular_values": [4.0, 1.0], "effective_rank": 1.5}
    network = {"kernels": {"conv_1": kernel}, "lipschitz_refused": "odd"}
    run.spectra.mkdir()
    (run.spectra / "spectra.json").write_text(
        json.dumps({"step": 20, "networks": {"discriminator": network}})
    )
    page = page_of(run)
    title = "discriminator, update 20: Lipschitz constant not bounded (odd)"
    assert ("h3", title) in page.headings
    assert page.table_with("conv_1")[1] == [
        *("conv_1", "1.5 of 2", "4", "not bounded")
    ]
    text = run.report.read_text()
    assert "conv_1: from 1 to 0.25, at least 0.25, at most 1." in text


def test_names_may_hold_anything(tmp_path):
    folders = [tmp_path / f"{i}{EVIL.replace('/', '')}" for i in "ab"]
    runs = [make(folder, **{"start_from": EVIL}) for folder in folders]
    score(runs[0], f"m{EVIL}", 20, 1.0, reference=f"folder:{EVIL}")
    page = page_of(*runs)
    assert "script" not in page.tags
    assert ("h3", runs[0].path.name) in page.headings
    assert page.tables[0][1][0] == f"m{EVIL}"
    assert page.table_with("start_from")[1][2] == EVIL
    # A name that is no text.
    odd = workdir_lib.Workdir(tmp_path / "c\udcff")
    odd.prepare(fields.defaults())
    assert b"c?" in page_lib.write([odd], odd.report).read_bytes()


def test_new_run_has_a_page(tmp_path):
    run = workdir_lib.Workdir(tmp_path)
    run.prepare(fields.defaults())
    page = page_of(run)
    text = " ".join(text for _, text in page.texts)
    for words in ("None were made", "None were kept", "Nothing was logged"):
        assert words in text
    assert "0 of 100,000 updates" in text


def test_same_run_twice_is_one(tmp_path):
    run = make(tmp_path)
    other = workdir_lib.Workdir(tmp_path / ".." / tmp_path.name)
    assert report_mode.report(None, run, other) == run.report


def test_folder_without_a_run_is_refused(tmp_path):
    run = make(tmp_path / "a")
    empty = workdir_lib.Workdir(tmp_path / "b")
    with pytest.raises(UserError, match="There is no run in .*b, as"):
        report_mode.report(None, run, empty)
    assert not (tmp_path / "a" / "comparison.html").exists()


def test_page_is_small(tmp_path):
    run = make(tmp_path, **{"data.image_size": 64})
    random = np.random.default_rng(0)
    for step in range(30):
        images = random.integers(0, 256, (25, 64, 64, 3), np.uint8)
        sampler.save_grid(run.samples / f"step_{step:08d}.png", images)
    for step in range(1000):
        row = {"step": 20 + step, "d_loss": random.normal(), "g_loss": 1.0}
        row["spectral_norms"] = {f"k{i}": 1.0 + i for i in range(20)}
        files.append_row(run.train_log, row)
    path = report_mode.report(None, run)
    # Noise is what compresses worst.
    assert path.stat().st_size < 3_000_000

"""The studies of configs/studies, and what docs/results.md shows of them."""

import importlib
import pathlib
import re

import pytest
from PIL import Image

from sngan_tf import networks
from sngan_tf.errors import UserError
from sngan_tf.modes import study as study_mode
from sngan_tf.runs import build
from sngan_tf.studies import results
from sngan_tf.studies import sizes

ROOT = pathlib.Path(__file__).parents[2]
NAMES = sorted(
    path.stem for path in (ROOT / "configs" / "studies").glob("*.py")
)
TABLES = sorted((ROOT / "docs" / "results").glob("*.csv"))


def get_config(name, size=""):
    module = importlib.import_module(f"configs.studies.{name}")
    return module.get_config(size)


def study_of(table):
    """Returns the `Study` that a table is of."""
    for size in sizes.NAMES:
        name = table.stem.removesuffix(f"_{size}") if size else table.stem
        if name in NAMES and sizes.named(name, size) == table.stem:
            return get_config(name, size).study
    raise AssertionError(f"{table} is of no study")


@pytest.mark.parametrize("size", sizes.NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_can_be_run(name, size):
    config = get_config(name, size)
    study = config.study
    assert study.name == sizes.named(name, size)
    names = [cell.name for cell in study.cells]
    assert len({*names}) == len(names)
    for cell in study.cells:
        # Names of folders, and parts of --cells.
        assert re.fullmatch(r"[\w.-]+", cell.name)
        cell_config = cell.config(config)
        build.check(cell_config)
        assert cell_config.updates % cell_config.evaluate_every in (
            0,
            cell_config.updates % config.evaluate_every,
        )
        networks.check(
            cell_config.network.name,
            (cell_config.data.image_size,) * 2 + (1,),
            last_width=cell_config.network.last_width,
        )


@pytest.mark.parametrize("name", NAMES)
def test_full_size_is_that_of_the_paper(name):
    config = get_config(name, "full")
    assert config.network.width == 1
    # Fig. 11 alone is of fewer.
    updates = 10_000 if name == "discriminator_steps" else 100_000
    assert config.updates == updates
    assert config.evaluation.features == "inception"
    assert config.evaluation.protocol == "paper"
    assert config.data.name == ("stl10" if name == "width" else "cifar10")


def test_other_size_is_refused():
    with pytest.raises(UserError, match="digits, full, or none. Received: big"):
        get_config("gradient", "big")


def test_pairs_of_the_gradient_differ_in_the_method_alone():
    config = get_config("gradient")
    cells = config.study.cells
    assert len(cells) == 4 * 2 * 5
    for cell in cells:
        others = {k: v for k, v in cell.overrides.items() if k != "method"}
        twins = [
            other
            for other in cells
            if {k: v for k, v in other.overrides.items() if k != "method"}
            == others
        ]
        assert {t.overrides["method"] for t in twins} == {
            "spectral_norm",
            "detached_spectral_norm",
            "keras_spectral_norm",
            "none",
        }


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_what_is_shown_is_drawn_from_the_table(table, tmp_path):
    study = study_of(table)
    page = tmp_path / "results.md"
    shown = (ROOT / "docs" / "results.md").read_text()
    page.write_text(shown)
    copy = tmp_path / table.name
    copy.write_bytes(table.read_bytes())
    drawn = study_mode.draw(study, tmp_path, page)
    assert page.read_text() == shown
    for path in drawn:
        if path == page:
            continue
        committed = table.with_name(path.name)
        with Image.open(committed) as image:
            assert image.info["Source"] == results.digest(table)
        assert f"results/{path.name}" in shown


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_rows_say_what_they_are_of(table):
    rows = results.read(table)
    known = {cell.name for cell in study_of(table).cells}
    for row in rows:
        assert row["cell"] in known or row["cell"].startswith("real ")
        on_jax = row["command"].startswith("python examples/train_full_size.py")
        if not on_jax:
            assert row["command"].startswith("python main.py --mode=study")
            assert row["gflops"] > 0
        assert row["commit"]
        if row["num_fake"]:
            assert row["protocol"]
            assert row["reference"]
            assert row["features"]
    networks_used = {row["features"] for row in rows if row["features"]}
    per_reference = {
        (row["reference"], row["features"]) for row in rows if row["features"]
    }
    assert len(networks_used) == len(per_reference)

import pytest

from sngan_tf.errors import UserError
from sngan_tf.runs import arguments
from sngan_tf.runs import fields
from sngan_tf.studies import by_seed
from sngan_tf.studies import grid
from sngan_tf.studies import study

CELLS = grid(
    seeds=2,
    method={"none": {"method": "none"}, "plain": {"method": "weight_norm"}},
    setting={name: arguments.setting(name) for name in "CF"},
)


def test_grid_has_every_combination_seeds_last():
    assert [cell.name for cell in CELLS] == [
        "none-C-0",
        "none-F-0",
        "plain-C-0",
        "plain-F-0",
        "none-C-1",
        "none-F-1",
        "plain-C-1",
        "plain-F-1",
    ]
    assert CELLS[3].factors == {"method": "plain", "setting": "F"}
    # Table 1.
    assert CELLS[3].overrides == {
        "method": "weight_norm",
        "optimizer.learning_rate": 1e-3,
        "optimizer.beta_1": 0.9,
        "optimizer.beta_2": 0.999,
        "discriminator_steps": 5,
        "seed": 0,
    }


def test_cell_overrides_what_cells_have_in_common():
    common = fields.defaults()
    common.updates = 7
    common.data.class_names = ("a", "b")
    common.study = study.Study("some", CELLS)
    config = CELLS[-1].config(common)
    assert (config.updates, config.seed) == (7, 1)
    assert config.optimizer.beta_1 == 0.9
    assert config.data.class_names == ("a", "b")
    assert common.seed == 0
    fields.check(config)
    assert "study" not in config


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_shares_are_the_whole_and_meet_nowhere(count):
    shares = [study.chosen(CELLS, f"{k}/{count}") for k in range(1, count + 1)]
    names = [cell.name for share in shares for cell in share]
    assert sorted(names) == sorted(cell.name for cell in CELLS)
    sizes = [*map(len, shares)]
    assert max(sizes) - min(sizes) <= 1


def test_cells_are_chosen_by_name():
    chosen = study.chosen(CELLS, "plain-F-1,none-C-0")
    assert [cell.name for cell in chosen] == ["plain-F-1", "none-C-0"]
    assert study.chosen(CELLS, "") == [*CELLS]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "none-C-0,nobody", "1/"])
def test_other_cells_are_refused(text):
    with pytest.raises(UserError, match="`cells` must be K/N.* Received: "):
        study.chosen(CELLS, text)


def test_grids_are_joined_by_seed():
    other = grid(seeds=2, network={"cnn": {}})
    assert [cell.name for cell in by_seed(other + CELLS[:1])] == [
        "cnn-0",
        "none-C-0",
        "cnn-1",
    ]
    both = study.Study("some", by_seed(other + CELLS))
    assert both.factors == ["network", "method", "setting"]

import pytest

from sngan_tf.metrics import protocols

COUNTS = {
    # App. B.1: 5,000 pictures, 10 times; 5,000 against 10,000 real ones.
    "paper": (True, 10_000, 5_000, 50_000, 10, True),
    "50k": (False, 50_000, 50_000, 50_000, 10, True),
    "quick": (False, 321, 321, 321, 1, False),
}


def test_names_are_those_that_can_be_had():
    assert sorted(protocols.NAMES) == sorted(COUNTS)


@pytest.mark.parametrize("name", [*COUNTS])
def test_counts_are_those_of_the_name(name):
    protocol = protocols.get(name, 321)
    assert protocol.name == name
    assert (
        protocol.held_out,
        protocol.num_real,
        protocol.num_fake,
        protocol.num_scored,
        protocol.splits,
        protocol.exact,
    ) == COUNTS[name]


@pytest.mark.parametrize("name", [*COUNTS])
def test_splits_are_equal(name):
    protocol = protocols.get(name, 321)
    assert protocol.num_scored % protocol.splits == 0


def test_paper_scores_5000_pictures_at_a_time():
    protocol = protocols.get("paper", 321)
    assert protocol.num_scored // protocol.splits == 5_000


@pytest.mark.parametrize("name", ["paper", "50k"])
def test_quick_samples_change_no_other_protocol(name):
    assert protocols.get(name, 4) == protocols.get(name, 9_999)


@pytest.mark.parametrize("name", ["fid", "", "Paper"])
def test_unknown_name_is_an_error(name):
    message = f"one of quick, paper, 50k.*evaluation.protocol={name}$"
    with pytest.raises(ValueError, match=message):
        protocols.get(name, 321)

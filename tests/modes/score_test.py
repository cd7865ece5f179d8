import numpy as np
import pytest
from PIL import Image

from sngan_tf import files
from sngan_tf import metrics
from sngan_tf.errors import UserError
from sngan_tf.metrics import features
from sngan_tf.modes import score as score_mode
from sngan_tf.runs import fields
from sngan_tf.runs import summary
from sngan_tf.runs import workdir as workdir_lib

SIZE = 6
COUNT = 12


@pytest.fixture
def config(inception, monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "cache"))
    config = fields.defaults()
    config.evaluation.features = "inception"
    config.evaluation.inception = str(inception)
    config.evaluation.samples = COUNT
    return config


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "scores")


def pictures(seed, count=COUNT, size=(SIZE, SIZE), channels=3, most=256):
    """Returns uint8 `(count, *size, channels)`."""
    random = np.random.default_rng(seed)
    return random.integers(0, most, (count, *size, channels), np.uint8)


def save(folder, images, names=None):
    """Writes pictures; returns the name of the folder as a data set's."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        name = names[i] if names else f"{i:03d}"
        Image.fromarray(image.squeeze()).save(folder / f"{name}.png")
    return f"folder:{folder}"


def values(rows):
    return {row["metric"]: row["value"] for row in rows}


def test_scores_are_those_of_the_metrics(config, run, inception, tmp_path):
    images = {"a": pictures(0), "b": pictures(1, most=200)}
    real, fake = (save(tmp_path / k, images[k]) for k in "ab")
    rows = score_mode.score(config, run, real, fake)
    network = features.load_inception(str(inception))
    found = {name: network(kept) for name, kept in images.items()}
    of = [found[name][0] for name in "ab"]
    precision, recall = metrics.precision_recall(*of)
    expected = {
        "inception_score": metrics.inception_score(found["b"][1], 1)[0],
        "frechet_inception_distance": metrics.frechet_distance(*of),
        "kernel_inception_distance": metrics.kernel_distance(*of)[0],
        "inception_precision": precision,
        "inception_recall": recall,
    }
    assert values(rows) == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert expected["frechet_inception_distance"] > 0.001
    for row in rows:
        assert row["step"] == 0
        assert row["protocol"] == "quick"
        assert row["reference"] == real
        assert row["fake"] == fake
        assert row["image_size"] == SIZE
        assert row["num_fake"] == COUNT
    assert files.read_rows(run.scores) == rows
    # Once more they are the same.
    score_mode.score(config, run, real, fake)
    assert files.read_rows(run.scores) == rows


def test_folder_is_as_good_as_itself(config, run, tmp_path):
    real = save(tmp_path / "a", pictures(0))
    found = values(score_mode.score(config, run, real, real))
    assert found["frechet_inception_distance"] == pytest.approx(0, abs=1e-9)
    assert found["inception_precision"] == 1
    assert found["inception_recall"] == 1


def test_order_does_not_matter(config, run, tmp_path):
    images = pictures(1)
    real = save(tmp_path / "a", pictures(0))
    names = [f"{i:03d}" for i in np.random.default_rng(5).permutation(COUNT)]
    folders = save(tmp_path / "b", images), save(tmp_path / "c", images, names)
    one, other = (score_mode.score(config, run, real, f) for f in folders)
    assert values(one) == pytest.approx(values(other), rel=1e-5, abs=1e-7)


def test_pictures_are_resized_only_if_asked(config, run, tmp_path):
    large = [np.kron(x, np.ones((2, 2, 1), np.uint8)) for x in pictures(1)]
    real = save(tmp_path / "a", pictures(0))
    fake = save(tmp_path / "b", large)
    message = (
        "`data.image_size` must be given where pictures are not squares of one "
        f"size.* --fake={fake}, of 6 x 6, 12 x 12$"
    )
    with pytest.raises(UserError, match=message):
        score_mode.score(config, run, real, fake)
    config.data.image_size = 6
    rows = score_mode.score(config, run, real, fake, own_size=False)
    assert {row["image_size"] for row in rows} == {6}
    rows = score_mode.score(config, run, fake, fake)
    assert {row["image_size"] for row in rows} == {12}


def test_pictures_that_are_no_squares_have_no_own_size(config, run, tmp_path):
    real = save(tmp_path / "a", pictures(0, size=(6, 8)))
    with pytest.raises(UserError, match=r"not squares.*of 8 x 6$"):
        score_mode.score(config, run, real, real)
    for side in (3, 4, 5, 6):
        save(tmp_path / "b", pictures(0, 1, (side, side)), [f"{side}"])
    fake = f"folder:{tmp_path / 'b'}"
    with pytest.raises(UserError, match=r"of 3 x 3, 4 x 4, 5 x 5, \.\.\.$"):
        score_mode.score(config, run, fake, fake)


def test_gray_pictures_beside_colour_are_read_as_such(config, run, tmp_path):
    gray = pictures(0, channels=1)
    colour = save(tmp_path / "b", gray.repeat(3, axis=-1))
    found = []
    for real in (save(tmp_path / "a", gray), colour):
        found.append(values(score_mode.score(config, run, real, colour)))
    assert found[0] == found[1]
    assert found[0]["inception_recall"] == 1


@pytest.mark.parametrize("names", ["pq", "pr"])
def test_classes_of_one_name_have_their_own_distance(
    config, run, tmp_path, names
):
    for name in "pq":
        save(tmp_path / "a" / name, pictures(ord(name)))
    for name in names:
        save(tmp_path / "b" / name, pictures(ord(name) + 9))
    config.evaluation.samples = 2 * COUNT
    real, fake = (f"folder:{tmp_path / name}" for name in "ab")
    found = values(score_mode.score(config, run, real, fake))
    name = "intra_class_frechet_inception_distance"
    assert (name in found) == (names == "pq")


def test_classifier_is_trained_on_the_real_ones(config, run, tmp_path):
    config.evaluation.features = "classifier"
    config.evaluation.classifier_updates = 1
    fake = save(tmp_path / "b", pictures(1, size=(8, 8)))
    for name in "pq":
        save(tmp_path / "a" / name, pictures(ord(name), size=(8, 8)))
    real = f"folder:{tmp_path / 'a'}"
    rows = score_mode.score(config, run, real, fake)
    assert [*values(rows)][-1] == "smallest_class_share"
    assert all(row["features"].startswith("classifier-") for row in rows)
    message = "labels of two classes or more, which evaluation.features=incept"
    with pytest.raises(UserError, match=message):
        score_mode.score(config, run, fake, real)


@pytest.mark.parametrize(
    ("protocol", "counts", "message"),
    [
        ("quick", (9, 11), "quick needs 12 generated.*Received: 11 in folder:"),
        ("quick", (9, 12), None),
        ("quick", (3, 12), "more than 3 real pictures. Received: 3 in folder"),
        ("paper", (9, 12), "needs 10,000 real pictures. Received: 9 in folder"),
        ("50k", (9, 12), "needs 50,000 real pictures. Received: 9 in folder"),
    ],
)
def test_too_few_pictures_are_refused(
    config, run, tmp_path, protocol, counts, message
):
    config.evaluation.protocol = protocol
    real, fake = (
        save(tmp_path / name, pictures(0, count))
        for name, count in zip("ab", counts)
    )
    if message:
        with pytest.raises(UserError, match=message):
            score_mode.score(config, run, real, fake)
        assert not run.path.exists()
        return
    for row in score_mode.score(config, run, real, fake):
        assert row["num_real"] in (0, 9)


@pytest.mark.parametrize(
    ("real", "message"),
    [
        ("folder:nowhere", "`real` can't be used. .*missing folder.*nowhere"),
        (".", "`real` must be folder:PATH or.*Received: --real=., where fold"),
        ("digits", "`data.image_size` must be given unless `real` and `fake`"),
    ],
)
def test_what_is_no_folder_of_pictures_is_refused(
    config, run, tmp_path, real, message
):
    with pytest.raises(UserError, match=message):
        score_mode.score(config, run, real, save(tmp_path / "b", pictures(0)))


def test_data_set_goes_by_its_name(config, run, tmp_path):
    config.data.image_size = 8
    fake = save(tmp_path / "b", pictures(0))
    rows = score_mode.score(config, run, "digits", fake, own_size=False)
    assert {row["reference"] for row in rows} == {"digits/all"}
    assert {row["image_size"] for row in rows} == {8}


def test_table_is_of_each_pair_and_no_run_is_told_of_them(
    config, run, tmp_path
):
    real = save(tmp_path / "a", pictures(0))
    fakes = [save(tmp_path / name, pictures(ord(name))) for name in "bc"]
    for fake in fakes:
        score_mode.score(config, run, real, fake)
    rows = files.read_rows(run.scores)
    assert summary.by_measure(rows) == {}
    blocks = summary.table(run).split("\n\n")
    assert len(blocks) == 2
    for block, fake in zip(blocks, fakes):
        caption, header, *lines = block.split("\n")
        assert caption.startswith(
            f"scores of {fake}, 6 x 6 pixels, protocol quick: real pictures of "
            f"{real}, by inception-"
        )
        assert header.split() == ["generated", "/", "real"]
        assert [line.split()[0] for line in lines] == [
            row["metric"] for row in rows if row["fake"] == fake
        ]
        assert lines[0].endswith("12 / -")

import numpy as np
import pytest
import small

from sngan_tf import GAN
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.modes import sample
from sngan_tf.networks import pretrained
from sngan_tf.runs import build
from sngan_tf.runs import workdir as workdir_lib

SHAPE = (8, 8, 1)


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path)


@pytest.fixture
def restored(monkeypatch):
    """Returns a function to which GAN a workdir has."""

    def restore(num_classes, step):
        networks = small.build("cnn", SHAPE, 4, 1.0, num_classes=num_classes)
        gan = GAN(*networks, num_classes=num_classes)
        gan.step.assign(step)
        monkeypatch.setattr(build, "restored_gan", lambda *_: gan)
        return gan

    return restore


def captions(monkeypatch):
    """Returns a list that the paragraphs of captions are added to."""
    said, captioned = [], sample._captioned

    def record(grid, paragraphs):
        said.append(paragraphs)
        return captioned(grid, paragraphs)

    monkeypatch.setattr(sample, "_captioned", record)
    return said


def test_name_and_caption_say_what_pictures_are_of(
    tiny_config, run, restored, monkeypatch
):
    said, config = captions(monkeypatch), tiny_config
    gan = restored(3, 300)
    config.data.class_names = ("ant", "bee", "cat")
    paths = [sample.sample(config, run)]
    config.sampling.count = 2
    paths.append(sample.sample(config, run))
    config.checkpoint, config.sampling.label = "best", 1
    paths.append(sample.sample(config, run))
    gan.step.assign(350)
    config.sampling.seed = 7
    config.data.class_names = ()
    paths.append(sample.sample(config, run))
    assert [path.name for path in paths] == [
        "last_step_00000300_seed_00000000_count_9.png",
        "last_step_00000300_seed_00000000_count_2.png",
        "best_step_00000300_seed_00000000_label_1_count_2.png",
        "best_step_00000350_seed_00000007_label_1_count_2.png",
    ]
    assert {*run.samples.iterdir()} == {
        *paths,
        *(path.with_suffix(".npy") for path in paths),
    }
    np.testing.assert_array_equal(
        np.load(paths[-1].with_suffix(".npy")), gan.sampler.many(7, 2, 1)
    )
    assert said == [
        ["update 300 (last), seed 0", "classes in turn: ant, bee, cat"],
        ["update 300 (last), seed 0", "classes in turn: ant, bee"],
        ["update 300 (best), seed 0", "class 1: bee"],
        ["update 350 (best), seed 7", "class 1: 1"],
    ]


def test_unconditional_sample_has_no_classes(
    tiny_config, run, restored, monkeypatch
):
    said = captions(monkeypatch)
    restored(None, 300)
    tiny_config.data.class_names = ("ant", "bee", "cat")
    sample.sample(tiny_config, run)
    assert said == [["update 300 (last), seed 0"]]


def test_pretrained_generator_needs_no_run(tiny_config, run, monkeypatch):
    said = captions(monkeypatch)
    tiny_config.pretrained = "digits"
    tiny_config.sampling.seed, tiny_config.sampling.count = 7, 5
    path = sample.sample(tiny_config, run)
    assert path == run.samples / "pretrained_digits_seed_00000007_count_5.png"
    array = path.with_suffix(".npy")
    assert {*run.path.rglob("*.*")} == {path, array}
    sampler = sampler_lib.Sampler(pretrained.pretrained("digits")[0])
    np.testing.assert_array_equal(np.load(array), sampler.many(7, 5))
    assert said == [["pretrained digits, seed 7"]]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pretrained", "digit", "`pretrained` must be empty or one of.*digits"),
        ("sampling.label", 3, "`sampling.label` must be -1 with.*label=3"),
        ("sampling.label", "bee", "`sampling.label` must be -1.*label=bee"),
    ],
)
def test_pretrained_generator_has_its_name_and_no_classes(
    tiny_config, run, field, value, message
):
    tiny_config.pretrained = "digits"
    tiny_config.data.class_names = ("ant", "bee")
    tiny_config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        sample.sample(tiny_config, run)
    assert not run.samples.exists()


def test_other_modes_refuse_a_pretrained_generator(tiny_config):
    tiny_config.pretrained = "digits"
    message = "^`pretrained` is for --mode=sample and --mode=serve. Received: "
    with pytest.raises(UserError, match=message):
        build.check(tiny_config)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [34, 340])
def test_caption_is_below_the_grid_and_inside(channels, width):
    grid = np.full((68, width, channels), 90, np.uint8)
    text = "in turn: " + ", ".join(f"class {i}" for i in range(40))
    picture = sample._captioned(grid, ["update 3", text])
    np.testing.assert_array_equal(picture[:68, :width], grid)
    assert (picture[:68, width:] == 255).all()
    assert picture.shape[1] <= max(width, 240)
    assert picture.shape[2] == channels
    # Ink, but none at the edges.
    caption = picture[68:]
    assert (caption < 50).any()
    edges = caption[[0, -1]], caption[:, [0, -1]]
    assert all((edge == 255).all() for edge in edges)
    # All lines: more text is more of them.
    assert len(sample._captioned(grid, [text, text])) > len(picture)
    # A long word makes it wider.
    assert sample._captioned(grid, ["m" * 99]).shape[1] > 400

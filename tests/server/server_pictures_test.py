"""Pictures that are served, against those of the sampler."""

import io

import keras
import numpy as np
import pytest
import served
import small
import tensorflow as tf
from PIL import Image

from sngan_tf import GAN
from sngan_tf import files
from sngan_tf import networks
from sngan_tf import noise
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.layers import fold
from sngan_tf.layers import singular_values
from sngan_tf.runs import workdir as workdir_lib
from sngan_tf.server import drawing
from sngan_tf.server import models
from sngan_tf.server.limits import Limits

SHAPE = (8, 8, 3)
NAMES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def gan():
    gan = GAN(
        *small.build("cnn", SHAPE, 4, 1.0, num_classes=3),
        num_classes=3,
        class_names=NAMES,
    )
    random = np.random.default_rng(3)
    for weight in gan.generator.weights + gan.discriminator.weights:
        if len(weight.shape) > 1:
            weight.assign(random.normal(size=weight.shape))
    gan.step.assign(300)
    return gan


@pytest.fixture(scope="module")
def run(gan, tmp_path_factory):
    """Returns the workdir of a run that was exported twice."""
    run = workdir_lib.Workdir(tmp_path_factory.mktemp("runs") / "mine")
    gan.export(run.generator / "9")
    gan.export(run.generator / "10")
    rows = [
        {"step": 300, "metric": "classifier_score", "value": 7.5},
        {"step": 200, "metric": "classifier_score", "value": 6.5},
        {"step": 200, "metric": "real_classifier_score", "value": float("nan")},
    ]
    files.write_rows(run.scores, rows)
    files.write_text(run.path / "export" / "README.md", "# Card")

    inputs = [
        tf.TensorSpec((None, *SHAPE), tf.uint8, "images"),
        tf.TensorSpec((None,), tf.int32, "labels"),
    ]

    @tf.function(input_signature=inputs)
    def judge(images, labels):
        # Not the discriminator's own, but one whose values are known.
        levels = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2, 3])
        return {"logits": (levels / 64 - tf.cast(labels, tf.float32))[:, None]}

    served.save(
        run.path / "export" / "discriminator" / "10", serving_default=judge
    )
    return run


@pytest.fixture(scope="module")
def client(run):
    with served.client_of(models.find(run)) as client:
        served.wait(lambda: client.service.judge.is_ready)
        yield client


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    run = workdir_lib.Workdir(tmp_path_factory.mktemp("none"))
    with served.client_of(models.find(run)) as client:
        served.wait(lambda: client.service.judge.is_ready)
        yield client


def pixels(answer):
    assert answer.status_code == 200, answer.text
    image = np.asarray(Image.open(io.BytesIO(answer.content)))
    return image if image.ndim == 3 else image[..., np.newaxis]


@pytest.mark.parametrize("query", ["", "&label=2"])
def test_sample_is_that_of_the_sampler(gan, client, query):
    found = pixels(client.get(f"/sample.png?seed=5&count=7{query}"))
    label = int(query.partition("=")[2] or -1)
    expected = sampler_lib.grid(gan.sampler.many(5, 7, label))
    np.testing.assert_array_equal(found, expected)


def test_pretrained_sample_is_that_of_the_sampler(digits):
    generator, _ = networks.pretrained.pretrained("digits")
    expected = sampler_lib.Sampler(generator).many(3, 25)
    found = pixels(digits.get("/sample.png?seed=3&count=25"))
    np.testing.assert_array_equal(found, sampler_lib.grid(expected))
    body = {"signature_name": "sample", "inputs": {"seed": 3, "count": 25}}
    answer = digits.post("/v1/models/digits:predict", json=body).json()
    np.testing.assert_array_equal(answer["outputs"], expected)


def test_columns_are_those_that_are_asked_for(client):
    found = pixels(client.get("/sample.png?count=6&columns=6"))
    assert found.shape == (34, 6 * 34, 3)


def test_truncation_shortens_the_latents(gan, client):
    plain, shorter = (
        client.get(f"/latents.json?seed=5&count=3&truncation={t}").json()
        for t in (1, 0.25)
    )
    expected = noise.normal((3, 4), noise.fold_in(5)).numpy()
    np.testing.assert_array_equal(np.float32(plain["latents"]), expected)
    np.testing.assert_array_equal(
        np.float32(shorter["latents"]), expected * np.float32(0.25)
    )
    found = pixels(client.get("/sample.png?seed=5&count=3&truncation=0.25"))
    images = gan.sampler.images(expected * 0.25, tf.constant([0, 1, 2]))
    np.testing.assert_array_equal(
        found, sampler_lib.grid(images["images"].numpy())
    )
    # One picture of each class is left.
    found = pixels(client.get("/sample.png?seed=5&count=6&truncation=0"))
    same = pixels(client.get("/sample.png?seed=8&count=6&truncation=0"))
    np.testing.assert_array_equal(found, same)


def test_predicted_rows_depend_on_those_beside_them_by_rounding(gan, client):
    latents = noise.normal((5, 4), noise.fold_in(1)).numpy()
    body = {"inputs": {"latents": latents.tolist(), "labels": [0, 1, 2, 0, 1]}}
    answer = client.post("/v1/models/mine:predict", json=body).json()
    expected = gan.sampler.images(latents, tf.constant([0, 1, 2, 0, 1]))
    difference = np.int32(answer["outputs"]) - np.int32(expected["images"])
    assert np.abs(difference).max() <= 1
    # One label for all, as the signature has it.
    body["inputs"]["labels"] = [2]
    answer = client.post("/v1/models/mine:predict", json=body).json()
    expected = gan.sampler.images(latents, tf.constant([2]))
    np.testing.assert_array_equal(answer["outputs"], expected["images"])


def test_labels_of_no_class_are_refused_in_the_words_of_the_model(client):
    body = {"inputs": {"latents": [[0.0] * 4], "labels": [3]}}
    answer = client.post("/v1/models/mine:predict", json=body)
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert said.startswith("`labels` must be in [0, 3), one for each")
    assert said.endswith("labels from 3 to 3")


@pytest.mark.parametrize("position", [0, 1])
def test_walk_ends_at_its_seeds(gan, client, position):
    found = pixels(
        client.get(f"/walk.png?start=4&end=6&position={position}&label=1")
    )
    (expected,) = gan.sampler.many((4, 6)[position], 1, 1)
    difference = np.int32(found[::32, ::32]) - np.int32(expected)
    assert found.shape == (256, 256, 3)
    assert np.abs(difference).max() <= 1


def test_way_is_on_a_circle():
    """In a plane, where its angle is known."""
    angles = np.deg2rad([20, 110])
    start, end = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    positions = np.array([0, 0.25, 0.5, 1])
    found = drawing.between(2 * start, 4 * end, positions)
    expected = np.deg2rad(20 + 90 * positions)
    np.testing.assert_allclose(
        np.arctan2(found[:, 1], found[:, 0]), expected, atol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1), 2 + 2 * positions, rtol=1e-6
    )


def test_way_without_an_angle_is_straight():
    one = np.float32([1, 2])
    for end in (one, 3 * one, -one, 0 * one):
        found = drawing.between(one, end, [0, 0.5, 1])
        np.testing.assert_allclose(found, [one, (one + end) / 2, end])


def test_animation_goes_there_and_back(client):
    answer = client.get("/walk.gif?start=4&end=6&frames=4&label=0")
    assert answer.headers["content-type"] == "image/gif"
    image = Image.open(io.BytesIO(answer.content))
    assert image.info["loop"] == 0
    frames = []
    for number in range(image.n_frames):
        image.seek(number)
        frames.append(np.int32(image.convert("RGB")))
    # PIL leaves out frames that change nothing, of which there are none.
    assert len(frames) == 6
    for there, back in ((1, 5), (2, 4)):
        assert np.abs(frames[there] - frames[back]).mean() < 4
    ends = [
        np.int32(pixels(client.get(f"/walk.png?start={seed}&end=0&label=0")))
        for seed in (4, 6)
    ]
    # But for the colours of a palette.
    for frame, expected in zip((frames[0], frames[3]), ends, strict=True):
        assert np.abs(frame - expected).mean() < 8
        assert np.abs(frame - expected[::-1]).mean() > 8


def png(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(image)).save(buffer, kind)
    return buffer.getvalue()


def test_picture_is_judged_beside_generated_ones(gan, client):
    image = np.full((40, 64, 3), 128)
    judged = client.post("/judge?label=1", content=png(image)).json()
    assert judged["logit"] == 1.0
    assert judged["score"] == pytest.approx(1 / (1 + np.exp(-1)))
    images = gan.sampler.many(0, 1_000)
    logits = images.mean((1, 2, 3)) / 64 - np.arange(1_000) % 3
    assert judged["of_generated"] == pytest.approx(
        np.mean(logits < 1.0), abs=0.002
    )
    assert 0.1 < judged["of_generated"] < 1
    # The class that suits it best.
    assert client.post("/judge", content=png(image)).json()["logit"] == 2.0


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_gray_picture_is_judged_as_a_colour_one(client, kind):
    judged = client.post(
        "/judge?label=0", content=png(np.full((9, 9), 64), kind)
    )
    assert judged.json()["logit"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "must be a PNG or JPEG that can be read. Received: 0 bytes"),
        (png(np.zeros((8, 8)))[:45], 400, "that can be read"),
        (png(np.zeros((8, 8)), "GIF"), 400, "must be a PNG or JPEG"),
        (b"<svg/>", 400, "must be a PNG or JPEG"),
        # A few kilobytes that would fill the memory.
        (png(np.zeros((8_000, 8_000))), 413, "may have 30,000,000 pixels"),
    ],
    ids=["nothing", "damaged", "gif", "svg", "bomb"],
)
def test_what_is_no_picture_is_not_judged(client, content, status, message):
    answer = client.post("/judge", content=content)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_discriminator_of_the_package_judges(digits):
    generator, discriminator = networks.pretrained.pretrained("digits")
    (image,) = sampler_lib.Sampler(generator).many(3, 1)
    judged = digits.post("/judge", content=png(image[..., 0])).json()
    logit = discriminator((image[np.newaxis] + 0.5) / 128 - 1, training=False)
    assert judged["logit"] == pytest.approx(float(logit[0, 0]), abs=1e-4)
    # Lighter noise is easily told from digits.
    noisy = np.random.default_rng(0).integers(0, 256, (16, 16))
    judged = digits.post("/judge", content=png(noisy)).json()
    assert judged["of_generated"] < 0.05


def test_export_without_discriminator_judges_nothing(run):
    folder = run.generator / "9"  # Beside which there is none.
    with served.client_of(lambda: models.exported(run, folder)) as client:
        answer = client.post("/judge", content=png(np.zeros((8, 8))))
        assert answer.status_code == 404
        said = answer.json()["error"]
        assert said == "mine was exported without its discriminator"
        about = client.get("/about.json").json()
        assert (about["judges"], about["spectrum"]) == (False, {})


def test_about_says_what_is_served(client):
    about = client.get("/about.json").json()
    spectrum = about.pop("spectrum")
    assert about == {
        "name": "mine",
        "version": "10",
        "step": 300,
        "image_shape": [*SHAPE],
        "latent_dim": 4,
        "class_names": [*NAMES],
        "card": "# Card",
        "scores": [
            {"step": 300, "metric": "classifier_score", "value": 7.5},
            {"step": 200, "metric": "real_classifier_score", "value": None},
        ],
        "judges": True,
        "max_count": 256,
        "max_frames": 60,
    }
    assert spectrum == {}  # Of the stand-in, which has no kernels.


def test_about_digits_has_a_spectrum(digits):
    about = digits.get("/about.json").json()
    assert "handwritten digits" in about["card"]
    _, discriminator = networks.pretrained.pretrained("digits")
    assert len(about["spectrum"]) == 8
    (kernel,) = (w for w in discriminator.weights if w.shape[1:] == (1,))
    (values,) = (
        values for values in about["spectrum"].values() if len(values) == 1
    )
    assert values[0] == pytest.approx(np.linalg.norm(kernel))


def test_spectrum_of_an_export_is_that_of_its_kernels(gan, tmp_path):
    folded = fold(gan.discriminator)
    archive = keras.export.ExportArchive()
    archive.track(folded)
    archive.add_endpoint(
        "serving_default",
        lambda images, labels: {"logits": folded([images, labels])},
        input_signature=[
            tf.TensorSpec((None, *SHAPE), tf.float32, "images"),
            tf.TensorSpec((None,), tf.int32, "labels"),
        ],
    )
    archive.write_out(str(tmp_path / "1"), verbose=False)
    found = models.load(tmp_path / "1", "discriminator")
    expected = singular_values(folded)
    spectrum = models.spectrum(found.kept)
    assert {*spectrum} == {*expected}
    for name, values in expected.items():
        np.testing.assert_allclose(spectrum[name], values, rtol=1e-5, atol=1e-6)


def test_larger_pictures_are_fewer():
    limits = Limits(pictures=256)
    assert limits.max_count(16) == limits.max_count(32) == 256
    assert limits.max_count(128) == 16

import json

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from sngan_tf import GAN
from sngan_tf import fold
from sngan_tf import images as images_lib
from sngan_tf.gan import serving

SHAPE = (8, 8, 1)
NAMES = ("ant", "bee", "cät")


def build(num_classes=None, **kwargs):
    networks = small.build("cnn", SHAPE, 4, 1.0, num_classes=num_classes)
    return GAN(*networks, num_classes=num_classes, **kwargs)


@pytest.fixture(scope="module")
def gan():
    gan = build(3, average_decay=0.9, class_names=NAMES)
    random = np.random.default_rng(3)
    for weight in gan.average_generator.weights:
        weight.assign(random.random(size=weight.shape))
    gan.step.assign(300)
    return gan


@pytest.fixture(scope="module")
def folder(gan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "new" / "generator"
    gan.export(folder)
    return folder


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


def test_served_pictures_are_those_of_the_sampler(gan, signatures):
    latents = tf.random.normal((3, 4))
    for labels in ([2, 0, 1], [1]):
        labels = tf.constant(labels)
        np.testing.assert_array_equal(
            signatures["serving_default"](latents=latents, labels=labels)[
                "images"
            ],
            gan.sampler.images(latents, labels)["images"],
        )
    asked = {"seed": tf.constant(5), "count": tf.constant(4)}
    np.testing.assert_array_equal(
        signatures["sample"](**asked)["images"], gan.sampler.many(5, 4)
    )
    for label in (-1, 2):
        np.testing.assert_array_equal(
            signatures["sample_class"](**asked, label=tf.constant(label))[
                "images"
            ],
            gan.sampler.many(5, 4, label),
        )


def test_served_pictures_are_of_the_averaged_generator(gan, signatures):
    latents, labels = tf.random.normal((3, 4)), tf.constant([2, 0, 1])
    served = signatures["serving_default"](latents=latents, labels=labels)
    expected = gan.average_generator([latents, labels], training=False)
    np.testing.assert_allclose(
        tf.cast(served["images"], tf.float32),
        (expected + 1) * 128,
        atol=1.01,
    )


def test_metadata_is_a_signature_and_a_file(folder, signatures):
    expected = {
        "step": 300,
        "latent_dim": 4,
        "image_shape": [8, 8, 1],
        "num_classes": 3,
        "class_names": [*NAMES],
    }
    file = folder / "assets.extra" / "metadata.json"
    assert json.loads(file.read_text()) == expected
    assert serving.read_metadata(folder) == expected
    found = {
        name: value.numpy().tolist()
        for name, value in signatures["metadata"]().items()
    }
    names = [name.encode() for name in NAMES]
    assert found == {**expected, "class_names": names}


def test_model_without_metadata_has_none(tmp_path):
    assert serving.read_metadata(tmp_path) == {}
    file = tmp_path / "assets.extra" / "metadata.json"
    file.parent.mkdir()
    file.write_text("{")
    assert serving.read_metadata(tmp_path) == {}


def test_unconditional_one_has_no_classes(tmp_path):
    build().export(tmp_path / "generator")
    signatures = tf.saved_model.load(str(tmp_path / "generator")).signatures
    assert {*signatures} == {"serving_default", "sample", "metadata"}
    assert signatures["metadata"]()["class_names"].shape == (0,)


def test_loaded_gan_exports_the_same(gan, folder, tmp_path):
    gan.compile(keras.optimizers.SGD(), keras.optimizers.SGD())
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    loaded.export(tmp_path / "generator")
    asked = {"seed": tf.constant(5), "count": tf.constant(4)}
    pictures = [
        tf.saved_model.load(str(path)).signatures["sample"](**asked)["images"]
        for path in (folder, tmp_path / "generator")
    ]
    np.testing.assert_array_equal(*pictures)
    file = "assets.extra/metadata.json"
    assert (tmp_path / "generator" / file).read_text() == (
        folder / file
    ).read_text()


def test_other_formats_and_names_are_refused(gan, tmp_path):
    message = "`format` must be tf_saved_model;.*Received: format=onnx$"
    with pytest.raises(ValueError, match=message):
        gan.export(tmp_path / "generator", format="onnx")
    message = "`class_names` must be as many as the classes, 3.* 2 names$"
    with pytest.raises(ValueError, match=message):
        build(3, class_names=NAMES[:2])
    with pytest.raises(ValueError, match="classes, 0. Received: 3 names$"):
        build(class_names=NAMES)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "num_classes"), [("cnn", None), ("cnn", 3), ("acgan_resnet", 3)]
)
def test_served_logits_are_those_of_inference(tmp_path, name, num_classes):
    networks = small.build(name, SHAPE, 4, 1.0, num_classes=num_classes)
    discriminator = GAN(*networks, num_classes=num_classes).discriminator
    random = np.random.default_rng(0)
    given = {"images": random.integers(0, 256, (5, *SHAPE), np.uint8)}
    inputs = images = images_lib.to_float(given["images"])
    if len(discriminator.inputs) == 2:
        given["labels"] = np.array([2, 0, 1, 1, 2], "int32")
        inputs = [images, tf.constant(given["labels"])]
    # As updates do it.
    for weight in discriminator.trainable_weights:
        weight.assign_add(random.normal(size=weight.shape))
    for _ in range(3):
        discriminator(inputs, training=True)
    expected = keras.tree.flatten(discriminator(inputs, training=False))[0]
    serving.save_discriminator(fold(discriminator), tmp_path / "new", step=300)
    model = tf.saved_model.load(str(tmp_path / "new"))
    served = model.signatures["serving_default"](
        **{name: tf.constant(value) for name, value in given.items()}
    )
    assert {*served} == {"logits"}
    assert served["logits"].dtype == tf.float32
    np.testing.assert_allclose(served["logits"], expected, rtol=1e-4, atol=1e-5)
    assert np.std(expected) > 0.01
    assert serving.read_metadata(tmp_path / "new") == {"step": 300}


def test_versions_are_whole_folders_by_number(tmp_path):
    assert serving.versions(tmp_path / "not_there") == []
    assert serving.newest(tmp_path) is None
    for name in ("9", "10", "0", "2x", ".11.tmp", "digits"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "12").mkdir()
    assert serving.versions(tmp_path) == [tmp_path / "9", tmp_path / "10"]
    assert serving.newest(tmp_path) == tmp_path / "10"

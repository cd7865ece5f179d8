"""From a config to what scores a run's pictures."""

import functools
import logging

from sngan_tf import data
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error
from sngan_tf.metrics import features
from sngan_tf.metrics import protocols
from sngan_tf.metrics import scorer as scorer_lib
from sngan_tf.runs import build

_LOGGER = logging.getLogger(__name__)


def scorer(config, pictures, protocol):
    """Returns the `metrics.scorer.Scorer` that a config asks for.

    Args:
        config: A checked config.
        pictures: `data.Pictures` that the GAN is trained on.
        protocol: Name of a protocol.

    Returns:
        None, with a warning, where scores would need labels that the data
        does not have.

    Raises:
        UserError: If the network or the real pictures can't be had.
    """
    make = maker(config, pictures, protocol)
    return make and make()


def maker(config, pictures, protocol):
    """Returns a function to the `scorer`, which takes its time once.

    What may be missing is looked for here; to train a classifier and to
    compute features of real pictures is left for when there is a first score
    to make.

    Args:
        config: As of `scorer`.
        pictures: As of `scorer`.
        protocol: As of `scorer`.

    Returns:
        As of `scorer`, None.

    Raises:
        UserError: As of `scorer`.
    """
    evaluation = config.evaluation
    is_trained = _is_trained(evaluation)
    if is_trained and len(pictures.class_names) < 2:
        _LOGGER.warning(
            "Not scored: a classifier needs two or more labels, which %s does "
            "not have; --config.evaluation.features=inception does without, as "
            "does a saved one, --config.evaluation.classifier",
            pictures.reference,
        )
        return None
    protocol = protocols.get(protocol, evaluation.samples)
    held_out = _held_out(config, pictures) if protocol.held_out else None
    scorer_lib.check(protocol, pictures, held_out)
    ready = None if is_trained else network(evaluation, pictures)

    @functools.cache
    def make():
        scored_by = ready or network(evaluation, pictures)
        say_accuracy(scored_by, pictures)
        return scorer_lib.Scorer(
            scored_by, protocol, pictures, held_out, evaluation.seed
        )

    return make


def network(evaluation, pictures):
    """Returns the `features.FeatureNetwork` that a config asks for.

    Args:
        evaluation: Its section.
        pictures: `data.Pictures`, with labels for a classifier to be trained.

    Raises:
        UserError: If it can't be had.
    """
    if evaluation.features == "inception":
        return features.load_inception(evaluation.inception)
    if _is_trained(evaluation):
        return features.load_classifier(pictures, evaluation.classifier_updates)
    return features.saved_classifier(evaluation.classifier, pictures)


def _is_trained(evaluation):
    """Returns whether scores are by a classifier that is not saved."""
    return evaluation.features == "classifier" and not evaluation.classifier


def say_accuracy(network, pictures):
    """Says how often a classifier is right, if it is one and there are labels.

    Args:
        network: `features.FeatureNetwork`.
        pictures: `data.Pictures`.
    """
    if network.kind != "classifier" or len(pictures.class_names) < 2:
        return
    of = "held-out pictures"
    if network.accuracy is None:
        network.accuracy = features.accuracy(network, pictures)
        # Which it may have been trained on, if in another order.
        of = "a fifth of the pictures"
    share = 100 * network.accuracy
    _LOGGER.info("%s is right on %.1f%% of %s", network.name, share, of)


def _held_out(config, pictures):
    """Returns the `data.Pictures` that distances are taken to."""
    name = config.evaluation.reference
    if not name:
        name = config.data.name
        if not data.has_splits(name):
            raise UserError(
                "`evaluation.reference` must name held-out pictures for the "
                f"protocol paper, as {name} has none. Received: "
                "evaluation.reference="
            )
    with as_user_error("`evaluation.reference` or its split can't be used. "):
        held_out = data.load(
            name,
            config.data.image_size,
            channels=pictures.images.shape[-1],
            background=config.data.background,
            split=config.evaluation.split,
            directory=config.data.directory or None,
            min_side=config.data.min_side,
            recursive=config.data.recursive and name.startswith("folder:"),
            on_bad_image=config.data.on_bad_image,
            progress=True,
        )
    if (
        build.is_conditional(config)
        and held_out.class_names != pictures.class_names
    ):
        raise UserError(
            "`evaluation.reference` must have the classes of the data. "
            f"Received: {held_out.reference} with "
            f"{len(held_out.class_names)} classes, {pictures.reference} with "
            f"{len(pictures.class_names)}"
        )
    return held_out

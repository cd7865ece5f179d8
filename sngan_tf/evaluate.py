"""`--mode=evaluate`: scores of a trained generator.

The scores come from a classifier of the data set's own labels and bear its
name: `classifier_score` is the Inception score's formula on its logits,
`frechet_classifier_distance` the FID's on its features. They compare only
with each other, on the same data and classifier.
"""

import logging

import numpy as np

from sngan_tf import experiment
from sngan_tf import features
from sngan_tf import metrics
from sngan_tf import sample

_LOGGER = logging.getLogger(__name__)


class Evaluation:
    """Scores generators against one data set.

    Args:
        pictures: `data.Pictures` with labels.
        samples: Number of pictures to generate.
        seed: Seed of their latents.
        classifier_updates: Updates to train the classifier for.
    """

    def __init__(self, pictures, samples, seed, classifier_updates):
        self.network = features.classifier(pictures, classifier_updates)
        self._samples = samples
        self._seed = seed
        self._reference = pictures.reference
        self._real_features, self._real_logits = self.network(pictures.images)

    def real(self, step):
        """Returns the rows of real pictures: the best values there are.

        The score is that of all of them, the distance that of two halves.
        """
        score, _ = metrics.inception_score(self._real_logits, splits=1)
        distance = metrics.frechet_distance(
            self._real_features[::2], self._real_features[1::2]
        )
        return [
            self._row(step, "real_classifier_score", score, 0),
            self._row(step, "real_frechet_classifier_distance", distance, 0),
        ]

    def generated(self, sampler, step):
        """Returns the rows of a `sample.Sampler`, one for each score.

        `smallest_class_share` is the share, 0..1, of the class that the
        generator makes least often.
        """
        images = sampler.many(self._seed, self._samples)
        fake_features, logits = self.network(images)
        score, _ = metrics.inception_score(logits, splits=1)
        distance = metrics.frechet_distance(self._real_features, fake_features)
        classes = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
        share = float(classes.min() / classes.sum())
        return [
            self._row(step, "classifier_score", score, len(images)),
            self._row(
                step, "frechet_classifier_distance", distance, len(images)
            ),
            self._row(step, "smallest_class_share", share, len(images)),
        ]

    def _row(self, step, metric, value, num_fake):
        return {
            "step": step,
            "metric": metric,
            "value": value,
            "num_real": len(self._real_features),
            "num_fake": num_fake,
            "reference": self._reference,
            "features": self.network.name,
        }


def from_config(config, pictures):
    """Returns the `Evaluation` that a config asks for, None without labels."""
    if len(pictures.class_names) < 2:
        _LOGGER.warning(
            "Not scored: scores come from a classifier of two or more labels, "
            "which %s does not have",
            pictures.reference,
        )
        return None
    return Evaluation(
        pictures,
        samples=config.evaluation.samples,
        seed=config.evaluation.seed,
        classifier_updates=config.evaluation.classifier_updates,
    )


def evaluate(config, workdir):
    """Scores the newest checkpoint and adds what is new to `scores.jsonl`.

    Returns:
        The rows, those of real pictures too; none if the data has no labels.
    """
    gan = experiment.restore_gan(config, workdir)
    evaluation = from_config(config, experiment.load_pictures(config))
    if evaluation is None:
        return []
    step = int(gan.step.numpy())
    sampler = sample.Sampler(gan.sampling_generator, gan.num_classes)
    rows = evaluation.generated(sampler, step) + evaluation.real(step)
    workdir.add_scores(rows)
    print(table(rows, evaluation.network.accuracy))
    return rows


def table(rows, accuracy):
    """Returns scores as lines of text, generated beside real."""
    values = {row["metric"]: row["value"] for row in rows}
    first = rows[0]
    lines = [
        f"{first['num_fake']} generated against {first['num_real']} real "
        f"pictures of {first['reference']}, by {first['features']} "
        f"(test accuracy {accuracy:.1%})",
        f"{'':30}{'generated':>12}{'real':>12}",
    ]
    for metric, value in values.items():
        if not metric.startswith("real_"):
            real = values.get(f"real_{metric}")
            real = "" if real is None else f"{real:.3f}"
            lines.append(f"{metric:30}{value:12.3f}{real:>12}")
    return "\n".join(lines)

"""Scores of a generator by one feature network under one protocol, as records.

A score is named after the network that it comes from. Only scores from
Inception are called IS and FID in the literature; those of a classifier bear
its name, and compare only with those of the same weights.
"""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np

from sngan_tf import metrics
from sngan_tf import types
from sngan_tf.errors import UserError
from sngan_tf.metrics import protocols
from sngan_tf.metrics import reference as reference_lib
from sngan_tf.metrics import sources

KINDS = ("inception", "classifier")
_REAL = "real_"


@dataclasses.dataclass(frozen=True)
class Pair:
    """What metrics are of.

    Attributes:
        real: `reference.Reference`.
        fake: The same, of generated pictures.
        scored: Logits of those that the score is of, `(n, classes)`.
        splits: Equal parts that it is the mean of.
    """

    real: reference_lib.Reference
    fake: reference_lib.Reference
    scored: np.ndarray
    splits: int

    @functools.cached_property
    def precision_recall(self) -> tuple[float, float]:
        return self.real.manifold.precision_recall(self.fake.manifold)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Attributes:
        name: What records call it, with `{}` for the kind of network.
        more_is_better: Whether it is.
        compute: Of a `Pair`, `(value, std)`, the latter None if it has none;
            or None where it can't be taken.
        of_real: Whether it is also taken of real pictures that stand for
            generated ones.
    """

    name: str
    more_is_better: bool
    compute: Callable[[Pair], tuple[float, float | None] | None]
    of_real: bool = True


def _score(pair):
    score, std = metrics.inception_score(pair.scored, pair.splits)
    return score, std if pair.splits > 1 else None


def _frechet_distance(pair):
    return pair.real.moments.frechet_distance(pair.fake.moments), None


def _kernel_distance(pair):
    return metrics.kernel_distance(pair.real.features, pair.fake.features)


def _precision(pair):
    return pair.precision_recall[0], None


def _recall(pair):
    return pair.precision_recall[1], None


def _intra_class_frechet_distance(pair):
    real, fake = pair.real, pair.fake
    if not _have_classes(real, fake):
        return None
    distance = metrics.intra_class_frechet_distance(
        real.features, real.labels, fake.features, fake.labels
    )
    return distance, None


METRICS = {
    "score": Metric("{}_score", True, _score),
    "frechet_distance": Metric("frechet_{}_distance", False, _frechet_distance),
    "kernel_distance": Metric("kernel_{}_distance", False, _kernel_distance),
    "precision": Metric("{}_precision", True, _precision),
    "recall": Metric("{}_recall", True, _recall),
    "intra_class_frechet_distance": Metric(
        "intra_class_frechet_{}_distance",
        False,
        _intra_class_frechet_distance,
        of_real=False,
    ),
}


def name_of(metric: str, kind: str) -> str:
    """Returns the name in records of a metric of `METRICS`."""
    return METRICS[metric].name.format(kind)


def beats(
    rows: Iterable[types.Row], known: Iterable[types.Row], metric: str
) -> bool:
    """Returns whether one GAN's records are better than another's.

    Args:
        rows: Its records.
        known: The other's; of comparable ones the best counts.
        metric: A name of `METRICS`.

    Returns:
        True also where there is no comparable record.
    """
    names = {name_of(metric, kind) for kind in KINDS}
    new = next(row for row in rows if row["metric"] in names)
    sign = 1 if METRICS[metric].more_is_better else -1
    return all(
        sign * new["value"] > sign * old["value"]
        for old in known
        if comparable(old, new)
    )


def comparable(a: types.Row, b: types.Row) -> bool:
    """Returns whether two records differ in step and value alone."""
    free = ("step", "value", "std")
    return all(
        a.get(key) == b.get(key)
        for key in a.keys() | b.keys()
        if key not in free
    )


class Scorer:
    """Scores generators against real pictures.

    Args:
        network: `features.FeatureNetwork`.
        protocol: `protocols.Protocol`.
        pictures: `data.Pictures` that the GAN is trained on.
        held_out: `data.Pictures` that it is not, for a protocol with such.
        seed: Seed of the latents.

    Raises:
        UserError: If there are fewer pictures than the protocol needs.
    """

    def __init__(
        self,
        network: sources.Network,
        protocol: protocols.Protocol,
        pictures: sources.Pictures,
        held_out: sources.Pictures | None = None,
        seed: int = 0,
    ):
        self.network = network
        self.protocol = protocol
        self._seed = seed
        source, chosen, others = check(protocol, pictures, held_out)
        self._reference = reference_lib.load(network, source, chosen)
        if protocol.held_out:
            others = reference_lib.choose(pictures, len(pictures), False)[0]
        self._pictures, self._others = pictures, others

    def generated(
        self, sampler: sources.Sampler, step: int, show: bool = False
    ) -> list[types.Row]:
        """Returns the records of a `gan.sampler.Sampler`, one for each metric.

        Args:
            sampler: The pictures' source.
            step: Generator updates that it has been trained for.
            show: Whether to show a progress bar.
        """
        count = max(self.protocol.num_fake, self.protocol.num_scored)
        features, logits = self.network.stream(
            sampler.batches(self._seed, count), count, show=show
        )
        return self._of_outputs(features, logits, sampler.labels(count), step)

    def kept(
        self, pictures: sources.Pictures, step: int = 0, show: bool = False
    ) -> list[types.Row]:
        """Returns the same records of generated pictures that are kept.

        A fixed random choice, if there are more than the protocol takes.

        Args:
            pictures: `data.Pictures` of the size and channels of the real
                ones, with their classes or without labels.
            step: As of `generated`.
            show: As of `generated`.

        Raises:
            UserError: If there are fewer than the protocol needs.
        """
        chosen = check_kept(self.protocol, pictures)
        features, logits = self.network(
            pictures.images, "generated pictures", show, chosen
        )
        labels = pictures.labels
        labels = None if labels is None else labels[chosen]
        return self._of_outputs(features, logits, labels, step)

    def _of_outputs(self, features, logits, labels, step):
        fake = reference_lib.Reference(features, logits, labels, "generated")
        rows = self._rows(
            step,
            self._reference,
            fake[: self.protocol.num_fake],
            logits[: self.protocol.num_scored],
        )
        if self.network.kind == "classifier":
            of = _smallest_share(logits), None, 0, len(logits)
            rows.append(self._row(step, "smallest_class_share", *of))
        return rows

    def real(self, step: int) -> list[types.Row]:
        """Returns the records of real pictures that stand for generated ones.

        They are others of the training set than those that distances are
        taken to; where too few are left, two halves of these are compared.
        The names begin with `real_`; what `num_fake` counts is real too.
        """
        protocol = self.protocol
        if len(self._others) >= protocol.num_fake:
            rows = self._others[: max(protocol.num_fake, protocol.num_scored)]
            standing = reference_lib.load(
                self.network,
                self._pictures,
                rows,
                statistics=metrics.NEIGHBOURS < len(rows) == protocol.num_fake,
            )
            real, fake = self._reference, standing[: protocol.num_fake]
        else:
            standing = self._reference
            half = len(standing) // 2
            real, fake = standing[:half], standing[half:]
        if min(len(real), len(fake)) <= metrics.NEIGHBOURS:
            return []
        scored = standing.logits[: protocol.num_scored]
        scored = scored[: len(scored) // protocol.splits * protocol.splits]
        return self._rows(step, real, fake, scored, _REAL)

    def _rows(self, step, real, fake, scored, prefix=""):
        pair = Pair(real, fake, scored, self.protocol.splits)
        rows = []
        for key, metric in METRICS.items():
            found = metric.compute(pair) if metric.of_real or not prefix else ()
            if not found:
                continue
            name = prefix + name_of(key, self.network.kind)
            counts = (len(real), len(fake))
            if key == "score":  # No real picture takes part.
                counts = (0, len(scored))
            rows.append(self._row(step, name, *found, *counts))
        return rows

    def _row(self, step, metric, value, std, num_real, num_fake):
        return {
            "step": step,
            "metric": metric,
            "value": value,
            "std": None if std is None or np.isnan(std) else std,
            "protocol": self.protocol.name,
            "num_real": num_real,
            "num_fake": num_fake,
            "reference": self._reference.name,
            "features": self.network.name,
            "resize": self.network.resize,
        }


def check(
    protocol: protocols.Protocol,
    pictures: sources.Pictures,
    held_out: sources.Pictures | None = None,
) -> tuple[sources.Pictures, np.ndarray, np.ndarray]:
    """Raises a UserError if there are fewer pictures than a protocol needs.

    Args:
        protocol: As of `Scorer`.
        pictures: As of `Scorer`.
        held_out: As of `Scorer`.

    Returns:
        The `data.Pictures` that distances are taken to, the numbers of those
        chosen, and of all others.

    Raises:
        ValueError: If a protocol of held-out pictures is given none.
    """
    source = held_out if protocol.held_out else pictures
    if source is None:
        raise ValueError(
            "`held_out` must be pictures with the protocol "
            f"{protocol.name}. Received: held_out=None"
        )
    chosen, others = reference_lib.choose(
        source, protocol.num_real, protocol.exact
    )
    if len(chosen) <= metrics.NEIGHBOURS:
        raise UserError(
            f"Scores need more than {metrics.NEIGHBOURS} real pictures. "
            f"Received: {len(chosen)} in {source.reference}"
        )
    return source, chosen, others


def check_kept(
    protocol: protocols.Protocol, pictures: sources.Pictures
) -> np.ndarray:
    """Returns row numbers of the generated pictures that a protocol takes.

    Args:
        protocol: As of `Scorer`.
        pictures: `data.Pictures` that were generated.

    Raises:
        UserError: If there are too few.
    """
    count = max(protocol.num_fake, protocol.num_scored)
    if len(pictures) < count:
        fewer = "" if protocol.exact else ", unless evaluation.samples is fewer"
        raise UserError(
            f"`evaluation.protocol` {protocol.name} needs {count:,} generated "
            f"pictures{fewer}. Received: {len(pictures):,} in "
            f"{pictures.reference}"
        )
    return reference_lib.choose(pictures, count, exact=True)[0]


def _smallest_share(logits):
    """Returns the share, 0..1, of the class that is made least often."""
    classes = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
    return float(classes.min() / classes.sum())


def _have_classes(real, fake):
    """Returns whether distances within each class can be taken."""
    if real.labels is None or fake.labels is None:
        return False
    counts = [np.unique(x.labels, return_counts=True) for x in (real, fake)]
    (real_classes, real_counts), (fake_classes, fake_counts) = counts
    return np.array_equal(real_classes, fake_classes) and (
        min(real_counts.min(), fake_counts.min()) > 1
    )

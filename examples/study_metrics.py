r"""Do the scores measure anything? Each under damage that grows.

    python examples/study_metrics.py docs/metrics_study --updates 9375 \
        --real folder:cifar/test --fake folder:cifar/train

The classifier is trained on four fifths of the second data set; its last fifth,
damaged, stands for generated pictures, and the first data set for real ones.
Writes FIGURE.jsonl and FIGURE.png, for which it needs matplotlib.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL import ImageFilter

from sngan_tf import data
from sngan_tf import files
from sngan_tf import metrics
from sngan_tf import progress
from sngan_tf.metrics import features

METRICS = (
    "score",
    "frechet_distance",
    "kernel_distance",
    "precision",
    "recall",
    "intra_class_frechet_distance",
)


@dataclasses.dataclass(frozen=True)
class Damage:
    """A way to damage pictures.

    Attributes:
        unit: What the levels are.
        levels: From none to the worst.
        share: Share of the pictures at hand that is damaged.
        apply: `(images, labels, level, rng) -> (images, labels)`.
        expected: For each of `METRICS`, whether it should rise (1) or fall
            (-1) from level to level; 0 where that is not clear.
        visible: Whether single pictures show it.
        draws: How often it is done and measured anew, for the mean of all.
    """

    unit: str
    levels: tuple
    share: float
    apply: Callable
    expected: tuple
    visible: bool = True
    draws: int = 1


def noise(images, labels, level, rng):
    noisy = images + rng.normal(scale=level, size=images.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), labels


def blur(images, labels, level, rng):
    blurred = [
        Image.fromarray(image.squeeze()).filter(ImageFilter.GaussianBlur(level))
        for image in images
    ]
    return np.stack(blurred).reshape(images.shape), labels


def drop_classes(images, labels, level, rng):
    rows = np.flatnonzero(labels < level)
    rows = rng.choice(rows, len(images) // 6, replace=False)
    return images[rows], labels[rows]


def repeat(images, labels, level, rng):
    distinct = rng.choice(
        len(images), round(level * len(images)), replace=False
    )
    rows = np.resize(distinct, len(images))
    return images[rows], labels[rows]


def fewer(images, labels, level, rng):
    count = round(level * len(images))
    return images[:count], labels[:count]


REAL = "real against real"
DAMAGES = {
    "noise": Damage(
        "deviation, gray levels",
        (0, 8, 16, 32, 64),
        0.5,
        noise,
        (-1, 1, 1, 0, -1, 1),
    ),
    "blur": Damage(
        "radius, pixels", (0, 0.5, 1, 1.5, 2), 0.5, blur, (-1, 1, 1, 0, -1, 1)
    ),
    "dropped classes": Damage(
        "classes left", (10, 8, 6, 4, 2), 1, drop_classes, (-1, 1, 1, 0, -1, 0)
    ),
    "repeated samples": Damage(
        "share that is distinct",
        (1, 0.2, 0.05, 0.01),
        0.5,
        repeat,
        (0, 1, 1, 0, -1, 0),
        visible=False,
        draws=10,  # Which few pictures are repeated matters much.
    ),
    # Both sets grow: the Frechet distance has a bias that falls, KID has none.
    REAL: Damage(
        "pictures of each set",
        (0.1, 0.2, 0.5, 1),
        1,
        fewer,
        (0, -1, 0, 0, 0, -1),
        visible=False,
    ),
}


def study(network, real, fake):
    """Returns a record for each damage, level and metric.

    Args:
        network: `features.FeatureNetwork`.
        real: `data.Pictures`.
        fake: `data.Pictures`, that the network has not seen either.
    """
    real, fake = shuffled(real), shuffled(fake)
    real_features, _ = network(real.images, show=True)
    records = []
    total = sum(len(damage.levels) for damage in DAMAGES.values())
    with progress.bar("study", total, unit=" levels") as bar:
        for name, damage in DAMAGES.items():
            count = round(damage.share * len(fake))
            for level in damage.levels:
                draws = []
                for seed in range(damage.draws):
                    images, labels = damage.apply(
                        fake.images[:count],
                        fake.labels[:count],
                        level,
                        np.random.default_rng(seed),
                    )
                    num_real = len(images) if name == REAL else len(real)
                    draws.append(
                        measure(
                            network,
                            real_features[:num_real],
                            real.labels[:num_real],
                            images,
                            labels,
                        )
                    )
                records += [
                    {
                        "damage": name,
                        "level": level,
                        "metric": metric,
                        "value": value,
                        "std": std,
                        "num_real": num_real,
                        "num_fake": len(images),
                        "reference": real.reference,
                        "features": network.name,
                    }
                    for metric, (value, std) in mean_of(draws).items()
                ]
                bar.update()
    return records


def mean_of(draws):
    """Returns what `measure` does for the mean of several of its results."""
    if len(draws) == 1:
        return draws[0]
    means = {}
    for metric in METRICS:
        values = [draw[metric][0] for draw in draws if metric in draw]
        if len(values) == len(draws):
            error = np.std(values, ddof=1) / np.sqrt(len(values))
            means[metric] = float(np.mean(values)), float(error)
    return means


def measure(network, real_features, real_labels, images, labels):
    """Returns `{metric: (value, standard error or None)}`."""
    fake_features, logits = network(images)
    pair = real_features, fake_features
    score, _ = metrics.inception_score(logits, splits=1)
    distance, error = metrics.kernel_distance(*pair)
    precision, recall = metrics.precision_recall(*pair)
    values = {
        "score": (score, None),
        "frechet_distance": (metrics.frechet_distance(*pair), None),
        "kernel_distance": (distance, None if np.isnan(error) else error),
        "precision": (precision, None),
        "recall": (recall, None),
    }
    # Within each class there is a distance only where all classes are.
    if np.all(np.bincount(labels, minlength=10) > 1):
        distance = metrics.intra_class_frechet_distance(
            real_features, real_labels, fake_features, labels
        )
        values["intra_class_frechet_distance"] = distance, None
    return values


def shuffled(pictures):
    rows = np.random.default_rng(1).permutation(len(pictures))
    return subset(pictures, rows)


def subset(pictures, rows):
    return dataclasses.replace(
        pictures, images=pictures.images[rows], labels=pictures.labels[rows]
    )


def violations(records):
    """Returns a line for each metric that does not move as expected.

    It must get from the first level to the last, and no step may go back by
    more than a twentieth of that way: faint damage drowns in sampling error.
    """
    lines = []
    for name, damage in DAMAGES.items():
        for metric, expected in zip(METRICS, damage.expected):
            values = [r["value"] for r in of(records, name, metric)]
            steps = np.diff(values) * expected
            way = np.sum(steps)
            if expected and not (way > 0 and np.all(steps >= -way / 20)):
                lines.append(f"{metric} under {name}: {values}")
    return lines


def of(records, damage, metric):
    """Returns the records of a damage and metric, by level."""
    return [
        r for r in records if (r["damage"], r["metric"]) == (damage, metric)
    ]


def draw(records, fake, path):
    """Draws every metric over every damage, below some damaged pictures."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1 + len(METRICS), len(DAMAGES), figsize=(15, 17), layout="constrained"
    )
    for panel, metric in zip(axes[1:, 0], METRICS):
        panel.set_ylabel(metric.replace("_", " "))
    for column, (name, damage) in zip(axes.T, DAMAGES.items()):
        column[0].set_title(name)
        column[0].axis("off")
        if damage.visible:
            column[0].imshow(strip(damage, shuffled(fake)), cmap="gray")
        ticks = damage.levels
        if name == REAL:
            ticks = [r["num_fake"] for r in of(records, name, METRICS[0])]
        for panel, metric in zip(column[1:], METRICS):
            found = of(records, name, metric)
            panel.errorbar(
                [damage.levels.index(record["level"]) for record in found],
                [record["value"] for record in found],
                [record["std"] or 0 for record in found],
                marker="o",
            )
            panel.set_xticks(range(len(damage.levels)), ticks)
            panel.set_xlim(-0.5, len(damage.levels) - 0.5)
            panel.grid(alpha=0.3)
            if metric in ("precision", "recall"):
                panel.set_ylim(-0.05, 1.05)
            else:
                bottom, top = panel.get_ylim()
                panel.set_ylim(min(0, bottom), 1.05 * top)
        column[-1].set_xlabel(damage.unit)
    figure.savefig(path, dpi=75)


def strip(damage, fake, rows=4):
    """Returns the first pictures under each level, a level a column."""
    columns = []
    for level in damage.levels:
        images, _ = damage.apply(
            fake.images, fake.labels, level, np.random.default_rng(0)
        )
        columns.append(np.concatenate(images[:rows]))
    return np.concatenate(columns, axis=1).squeeze()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("--real", required=True)
    parser.add_argument("--fake", required=True)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--image_size", type=int, default=32)
    arguments = parser.parse_args()
    real, fake = (
        dataclasses.replace(
            data.load(name, arguments.image_size, progress=True), reference=name
        )
        for name in (arguments.real, arguments.fake)
    )
    network = features.load_classifier(fake, arguments.updates)
    right = np.mean(network(real.images)[1].argmax(axis=1) == real.labels)
    print(f"{network.name} is right on {right:.1%} of {real.reference}")
    unseen, _ = features.split_rows(len(fake))
    fake = subset(fake, unseen)
    records = study(network, real, fake)
    files.write_rows(arguments.figure.with_suffix(".jsonl"), records)
    draw(records, fake, arguments.figure.with_suffix(".png"))
    print("\n".join(violations(records)) or "Every metric moves as expected.")


if __name__ == "__main__":
    main()

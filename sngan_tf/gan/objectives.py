"""What the two networks of a GAN minimise, in training and in inference.

All that is drawn is by `seeds`, a function of purpose and further integers to
the seed, `(2,)`, that belongs to them.
"""

import functools

import tensorflow as tf

from sngan_tf import noise
from sngan_tf.gan import losses
from sngan_tf.gan import passes
from sngan_tf.gan import penalties
from sngan_tf.layers import power_iteration

# What is drawn in a step; each has a seed of its own.
LATENTS, AUGMENTATION, LABELS, MIX, REAL_AUGMENTATION = range(5)
# And what layers draw, such as dropout, in each call of a network.
_FAKES, _REAL_PASS, _FAKE_PASS, _GENERATOR_PASS, _MIX_PASS = range(5, 10)
DEQUANTIZATION = 10  # Last, so that what the others draw stays as it is.


class Objectives:
    """The losses of a generator and a discriminator.

    Args:
        generator: As of `GAN`.
        discriminator: As of `GAN`.
        loss: `losses.Loss`.
        num_classes: As of `GAN`.
        gradient_penalty: As of `GAN`.
        zero_centered_penalty: As of `GAN`.
        auxiliary_weights: As of `GAN`.
        separate: Whether the discriminator sees real and fake images in
            separate calls, as batch normalization needs.
    """

    def __init__(
        self,
        generator,
        discriminator,
        loss,
        num_classes,
        gradient_penalty,
        zero_centered_penalty,
        auxiliary_weights,
        separate,
    ):
        self.made = passes.signature(generator, "generator")
        self.judged = passes.signature(discriminator, "discriminator")
        self._networks = generator, discriminator
        self._loss = loss
        self._num_classes = num_classes
        self._gradient_penalty = gradient_penalty
        self._zero_centered_penalty = zero_centered_penalty
        self._auxiliary_weights = auxiliary_weights
        self._separate = separate

    def fakes(self, count, seeds, training=True):
        """Returns `(images, labels)`, labels None if unconditional."""
        latent_dim = self.made.inputs[0][-1]
        inputs = noise.normal((count, latent_dim), seeds(LATENTS))
        labels = None
        if self._num_classes:
            labels = noise.integers(
                (count,), seeds(LABELS), 0, self._num_classes - 1
            )
            inputs = [inputs, labels]
        generator, _ = self._networks
        if training:
            seed = functools.partial(seeds, _FAKES)
            images = passes.training(generator, inputs, seed)
        else:
            images = generator(inputs, training=False)
        return tf.cast(images, tf.float32), labels

    def of_discriminator(self, images, labels, seeds, training=True):
        """Returns the parts of its loss, on real images followed by fake."""
        judge = self._judge_both if training else self._judge
        logits, class_logits = judge(images, labels, seeds)
        _, discriminator = self._networks
        parts = {
            "d_loss": self._loss.discriminator(*tf.split(logits, 2)),
            # Before another call clears the losses of this one.
            "d_penalty": sum(discriminator.losses, tf.zeros(())),
        }
        if self._gradient_penalty:
            parts["d_penalty"] += self._gradient_penalty * (
                self._penalty_between(images, labels, seeds, training)
            )
        if self._zero_centered_penalty:
            parts["d_penalty"] += self._zero_centered_penalty * (
                self._penalty_there(images, labels, seeds, training)
            )
        if class_logits is not None:
            loss = losses.classification_loss(
                tf.split(labels, 2)[0], tf.split(class_logits, 2)[0]
            )
            parts["d_classification"] = self._auxiliary_weights[0] * loss
        return parts

    def of_generator(self, images, labels, seeds, training=True, real=None):
        """Returns the parts of its loss, on fake images.

        Args:
            images: The fake ones.
            labels: Theirs, or None.
            seeds: As the module has them.
            training: Whether it is; else in inference.
            real: Real images and their labels, which a paired loss takes in
                turn until each fake image has one.
        """
        judge = self._judge_unchanged if training else self._judge
        logits, class_logits = judge(images, labels, seeds, _GENERATOR_PASS)
        pairs = (logits,)
        if self._loss.paired:
            real_logits, _ = judge(*real, seeds, _REAL_PASS)
            turns = tf.range(tf.shape(logits)[0]) % tf.shape(real_logits)[0]
            pairs += (tf.gather(real_logits, turns),)
        parts = {"g_loss": self._loss.generator(*pairs)}
        if class_logits is not None:
            loss = losses.classification_loss(labels, class_logits)
            parts["g_classification"] = self._auxiliary_weights[1] * loss
        return parts

    def _penalty_between(self, images, labels, seeds, training):
        real_images, fake_images = tf.split(images, 2)
        ones = (1,) * (len(images.shape) - 1)
        mix = noise.uniform((tf.shape(real_images)[0], *ones), seeds(MIX))
        images = penalties.interpolate(real_images, fake_images, mix)
        labels = split_or_none(labels, 2)[0]
        judge = self._judge_unchanged if training else self._judge
        return penalties.gradient_penalty(
            _gradients(judge, images, labels, seeds, _MIX_PASS)
        )

    def _penalty_there(self, images, labels, seeds, training):
        # Of the very logits that the loss has, dropout and all.
        again = functools.partial(self._judge_both, call=passes.unchanged)
        judge = again if training else self._judge
        return penalties.zero_centered_penalty(
            _gradients(judge, images, labels, seeds)
        )

    def _judge_both(self, images, labels, seeds, call=passes.training):
        """Returns logits and class logits of real images followed by fake.

        By `passes.training` the one pass that advances `u`.
        """
        _, discriminator = self._networks
        seed = functools.partial(seeds, _REAL_PASS)
        if not self._separate:
            inputs = self._inputs(images, labels)
            return _pair(call(discriminator, inputs, seed))
        halves = zip(tf.split(images, 2), split_or_none(labels, 2))
        real, fake = (self._inputs(*half) for half in halves)
        real = call(discriminator, real, seed)
        with power_iteration.paused():
            seed = functools.partial(seeds, _FAKE_PASS)
            fake = call(discriminator, fake, seed)
        return _pair(
            tf.nest.map_structure(lambda *both: tf.concat(both, 0), real, fake)
        )

    def _judge_unchanged(self, images, labels, seeds, purpose):
        """Returns those of training, changing no variable."""
        _, discriminator = self._networks
        return _pair(
            passes.unchanged(
                discriminator,
                self._inputs(images, labels),
                functools.partial(seeds, purpose),
            )
        )

    def _judge(self, images, labels, seeds, purpose=None):
        """Returns those of inference."""
        _, discriminator = self._networks
        inputs = self._inputs(images, labels)
        return _pair(discriminator(inputs, training=False))

    def _inputs(self, images, labels):
        return [images, labels] if len(self.judged.inputs) == 2 else images


def _gradients(judge, images, *args):
    """Returns those of each image's logits, summed, in the image."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits, _ = judge(images, *args)
    return tape.gradient(logits, images)


def split_or_none(labels, parts):
    """Returns labels in equal parts, Nones for None."""
    return [None] * parts if labels is None else tf.split(labels, parts)


def _pair(outputs):
    """Returns `(logits, class_logits)`, the latter None if there are none."""
    return outputs if isinstance(outputs, (list, tuple)) else (outputs, None)

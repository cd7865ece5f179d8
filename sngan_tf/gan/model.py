"""The GAN step: Algorithm 1 around any generator and discriminator."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Literal

import keras
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf import noise
from sngan_tf import types
from sngan_tf.gan import checks
from sngan_tf.gan import execution
from sngan_tf.gan import kernel_gradients
from sngan_tf.gan import losses
from sngan_tf.gan import objectives
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import serving
from sngan_tf.gan import trainer
from sngan_tf.layers import kernels


@keras.saving.register_keras_serializable("sngan_tf")
class GAN(trainer.Trainer):
    """A generator and a discriminator that train each other.

    One `train_step` does `discriminator_steps` discriminator updates, each on
    fresh real images and fresh latents, then one generator update. In a
    discriminator update real and fake images are one batch, so that `u` of
    spectral normalization advances once per update (Algorithm 1); in the
    generator update no variable of the discriminator changes. (The authors'
    code advances `u` in every training call.) There and in gradient penalties
    dropout is on as in any training, sigma is that of `u` as it is, and
    batch normalization uses statistics of the batch, which it does not keep.
    A discriminator with batch normalization sees real and fake images in
    separate calls, of which the first advances `u`.

    What is minimised is `d_loss`, the adversarial loss, plus `d_penalty`,
    gradient penalties and losses of the discriminator's own such as those of
    regularizers; and `g_loss`. An auxiliary classifier adds
    `d_classification` and `g_classification`.

    `evaluate` and `validation_data` report the same losses on held-out images,
    of the generator that is trained, in inference mode.

    `fit` takes batches of float images in [-1, 1], or of uint8 ones, which each
    step makes floats of by `images.dequantize`. For a conditional GAN they are
    pairs of images and integer labels.

    Under a `tf.distribute` strategy a batch is that of all replicas, and each
    has its share. Latents, labels, noise and augmentations are rows of what one
    replica alone would draw; what layers draw, such as dropout, differs between
    replicas. Losses are reported as means over replicas.

    Args:
        generator: Built Keras model, latents `(batch, latent_dim)` to images
            `(batch, height, width, channels)` in [-1, 1]. A conditional one
            takes int32 labels `(batch,)` as a second input.
        discriminator: Built Keras model, images to logits `(batch, 1)`, or
            `(batch, height, width, 1)` of patches, over which the loss is a
            mean. A conditional one takes labels as a second input, or has
            class logits `(batch, num_classes)` of an auxiliary classifier as a
            second output.
        loss: Name in `losses.LOSSES`, or a `losses.Loss`. One that is paired
            compares image by image: in the generator update with the real
            images of the last discriminator update, augmented anew, taken in
            turn where they are fewer. With labels a pair may be of two classes.
        discriminator_steps: Discriminator updates per generator update, n_dis.
        generator_batch_size: Fake images per generator update, over all
            replicas; None for as many as real ones per discriminator update.
        num_classes: Number of classes if the generator is conditional, else
            None. Labels of fake images are uniform over them.
        gradient_penalty: Factor lambda of the gradient penalty (Eq. 30), 0
            for none. Between a real and a fake image it is taken with the
            label of the real one, and of the sum of an image's logits where
            they are of patches.
        zero_centered_penalty: Factor gamma of R1 and R2, each gamma / 2 times
            the mean squared norm of that gradient, at the real images and at
            the fake ones (Mescheder et al., 2018); 0 for none.
        auxiliary_weights: Factors of the auxiliary classifier's loss, which
            the discriminator has on real images and the generator on fake
            ones. The paper does not state them; these are those of the
            AC-WGAN-GP that it builds on (Gulrajani et al., 2017).
        augmentation: Function `(images, seed) -> images` applied to whatever
            the discriminator sees, real and fake alike, or None. What it draws
            by `noise` from the seed is the same on any number of replicas.
            To be saved it must be one that Keras can serialize, such as
            `augmentation.RandomShift`.
        average_decay: Decay per update of an exponential moving average of
            the generator's weights, in [0, 1); 0 keeps none, as the paper.
        average_warmup: Whether the decay is at most `(1 + n) / (10 + n)` after
            n updates, so that the first images are not of the initial weights.
        seed: Latents, augmentations and the noise of `images.dequantize` are
            functions of this, the step and the place in the batch.
        class_names: Name of each class, for who gets an `export`; empty if
            not known.

    Call arguments:
        latents: `(batch, latent_dim)`, float32; a conditional GAN takes a
            pair of latents and labels. Returns the images of
            `sampling_generator` in inference mode.

    Raises:
        ValueError: On an argument out of range, on models that are mismatched
            or not built, and in `fit` on images that are neither float in
            [-1, 1] nor uint8, or not of the generator's shape, on labels that
            are not integers in [0, num_classes), and on batches whose static
            size `discriminator_steps` doesn't divide. What floats are is
            looked at in the first batch alone.

    Example:
        >>> gan = GAN(*networks.build("cnn", (32, 32, 3)))
        >>> gan.compile(
        ...     generator_optimizer=keras.optimizers.Adam(2e-4, 0.5),
        ...     discriminator_optimizer=keras.optimizers.Adam(2e-4, 0.5),
        ... )
        >>> gan.fit(dataset)  # discriminator_steps * batch_size images each
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        loss: str | losses.Loss = "hinge",
        discriminator_steps: int = 1,
        generator_batch_size: int | None = None,
        num_classes: int | None = None,
        gradient_penalty: float = 0.0,
        zero_centered_penalty: float = 0.0,
        auxiliary_weights: Sequence[float] = (1.0, 0.1),
        augmentation: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        average_decay: float = 0.0,
        average_warmup: bool = True,
        seed: int = 0,
        class_names: Sequence[str] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        checks.arguments(
            discriminator_steps,
            generator_batch_size,
            average_decay,
            gradient_penalty=gradient_penalty,
            zero_centered_penalty=zero_centered_penalty,
        )
        self.adversarial_loss = losses.get(loss)
        self._objectives = objectives.Objectives(
            generator,
            discriminator,
            self.adversarial_loss,
            num_classes,
            gradient_penalty,
            zero_centered_penalty,
            auxiliary_weights,
            separate=any(
                isinstance(layer, keras.layers.BatchNormalization)
                for layer in kernels.sublayers(discriminator)
            ),
        )
        checks.networks(
            self._objectives.made, self._objectives.judged, num_classes
        )
        self.generator = generator
        self.discriminator = discriminator
        self.discriminator_steps = discriminator_steps
        self.generator_batch_size = generator_batch_size
        self.num_classes = num_classes
        self.gradient_penalty = gradient_penalty
        self.zero_centered_penalty = zero_centered_penalty
        self.auxiliary_weights = tuple(auxiliary_weights)
        self.augmentation = augmentation
        self.average_decay = average_decay
        self.average_warmup = average_warmup
        self.average_generator = None
        if average_decay:
            self.average_generator = keras.models.clone_model(generator)
            self.average_generator.set_weights(generator.get_weights())
            self.average_generator.trainable = False
            self.average_generator.name = f"average_{generator.name}"
        self.seed = seed
        self.class_names = checks.class_names(class_names, num_classes)
        self.step = self.add_weight(
            name="step",
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
        )
        names = ["d_loss", "g_loss", "d_penalty"]
        if len(self._objectives.judged.outputs) == 2:
            names += ["d_classification", "g_classification"]
        self.keep_means(names)
        # Otherwise Keras calls the model on a batch of images to build it.
        self.built = True

    @property
    def latent_dim(self) -> int:
        return self._objectives.made.inputs[0][-1]

    @property
    def sampling_generator(self) -> keras.Model:
        """The averaged generator if there is one, else the generator."""
        return self.average_generator or self.generator

    @functools.cached_property
    def sampler(self) -> sampler_lib.Sampler:
        """The `Sampler` of `sampling_generator`, one graph for all its uses."""
        return sampler_lib.Sampler(self.sampling_generator, self.num_classes)

    def export(
        self,
        filepath: types.Path,
        format: Literal["tf_saved_model"] = "tf_saved_model",
        verbose: bool = False,
    ) -> None:
        """Writes `sampling_generator` as a SavedModel; see `serving.save`.

        Args:
            filepath: The folder; one that is there is replaced as a whole.
            format: `"tf_saved_model"`.
            verbose: Whether to print what is saved.

        Raises:
            ValueError: On another format.
        """
        if format != "tf_saved_model":
            raise ValueError(
                "`format` must be tf_saved_model; `sampling_generator.export` "
                f"writes others. Received: format={format}"
            )
        step = int(keras.ops.convert_to_numpy(self.step))
        serving.save(self.sampler, filepath, self.class_names, step, verbose)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        names = {id(loss): name for name, loss in losses.LOSSES.items()}
        loss = self.adversarial_loss
        return {
            **super().get_config(),
            "generator": serialize(self.generator),
            "discriminator": serialize(self.discriminator),
            "loss": names.get(id(loss)) or serialize(loss),
            "discriminator_steps": self.discriminator_steps,
            "generator_batch_size": self.generator_batch_size,
            "num_classes": self.num_classes,
            "gradient_penalty": self.gradient_penalty,
            "zero_centered_penalty": self.zero_centered_penalty,
            "auxiliary_weights": self.auxiliary_weights,
            "augmentation": serialize(self.augmentation),
            "average_decay": self.average_decay,
            "average_warmup": self.average_warmup,
            "seed": self.seed,
            "class_names": self.class_names,
        }

    @classmethod
    def from_config(cls, config):
        for key in ("generator", "discriminator", "loss", "augmentation"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)

    def call(self, inputs):
        return self.sampling_generator(inputs, training=False)

    def batch(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns images and labels as a step takes them, once checked."""
        return checks.batch(
            data, self._objectives.judged.inputs[0], self.num_classes
        )

    def train_step(self, data):
        images, labels = self.batch(data)
        for i, real in enumerate(self._split(images, labels)):
            d_losses = self._discriminator_step(*real, draw=i)
        g_losses = self._generator_step(
            self._generator_images(real[0]), self.discriminator_steps, *real
        )
        self._update_average()
        self.step.assign_add(1)
        return self.report(d_losses | g_losses)

    def test_step(self, data):
        """Returns the losses on held-out images, in inference mode.

        Latents are functions of the seed, the step and the number of batches
        before. No augmentation; the metrics alone change.
        """
        images, labels = self.batch(data)
        # Training draws by numbers that are not negative.
        draw = -1 - tf.cast(self.metrics[0].count.value, tf.int64)
        images, labels = self._with_fakes(images, labels, draw)
        d_losses = self._objectives.of_discriminator(
            images, labels, self._seeds(draw), training=False
        )
        real_images, fake_images = tf.split(images, 2)
        real_labels, fake_labels = objectives.split_or_none(labels, 2)
        g_losses = self._objectives.of_generator(
            fake_images,
            fake_labels,
            self._seeds(draw),
            training=False,
            real=(real_images, real_labels),
        )
        return self.report(d_losses | g_losses)

    def kernel_gradients(
        self, data: Any
    ) -> dict[str, kernel_gradients.KernelGradient]:
        """Returns what `kernel_gradients.measure` says of -d_loss (Eq. 12).

        On a batch of real images and as many fake ones, a function of the
        seed and the step, in inference mode. No augmentation, and no variable
        changes.

        Args:
            data: As `fit` takes them, of one discriminator update.
        """
        draw = -1  # As of the first images of `test_step`.
        images, labels = self._with_fakes(*self.batch(data), draw)

        def objective():
            parts = self._objectives.of_discriminator(
                images, labels, self._seeds(draw), training=False
            )
            return -parts["d_loss"]

        # Those of float16 would be lost otherwise.
        scale = self.discriminator_optimizer.scale_loss(tf.ones(()))
        return kernel_gradients.measure(self.discriminator, objective, scale)

    def _discriminator_step(self, real_images, real_labels, draw):
        real_images = self._floats(real_images, draw)
        count = tf.shape(real_images)[0]
        fake_images, fake_labels = self._fakes(count, draw)
        images = tf.concat(
            [
                self._augment(real_images, draw, objectives.REAL_AUGMENTATION),
                self._augment(fake_images, draw),
            ],
            0,
        )
        labels = _joined(real_labels, fake_labels)
        with execution.tape_of(self.discriminator) as tape:
            parts = self._objectives.of_discriminator(
                images, labels, self._seeds(draw)
            )
            loss = execution.scaled(
                sum(parts.values()), self.discriminator_optimizer
            )
        execution.apply(
            self.discriminator_optimizer,
            tape,
            loss,
            self.discriminator.trainable_variables,
        )
        return parts

    def _generator_step(
        self, batch_size, draw, real_images=None, real_labels=None
    ):
        if self.adversarial_loss.paired:
            real_images = self._augment(
                self._floats(real_images, draw),
                draw,
                objectives.REAL_AUGMENTATION,
            )
        with execution.tape_of(self.generator) as tape:
            images, labels = self._fakes(batch_size, draw)
            images = self._augment(images, draw)
            parts = self._objectives.of_generator(
                images,
                labels,
                self._seeds(draw),
                real=(real_images, real_labels),
            )
            loss = execution.scaled(
                sum(parts.values()), self.generator_optimizer
            )
        execution.apply(
            self.generator_optimizer,
            tape,
            loss,
            self.generator.trainable_variables,
        )
        return parts

    def _floats(self, images, draw):
        if images.dtype != tf.uint8:
            return images
        seed = self._seed(draw, objectives.DEQUANTIZATION)
        return images_lib.dequantize(images, seed)

    def _fakes(self, count, draw, training=True):
        return self._objectives.fakes(count, self._seeds(draw), training)

    def _with_fakes(self, images, labels, draw):
        """Returns real images and as many fake ones of inference; labels."""
        images = self._floats(images, draw)
        count = tf.shape(images)[0]
        fakes, fake_labels = self._fakes(count, draw, training=False)
        return tf.concat([images, fakes], 0), _joined(labels, fake_labels)

    def _split(self, images, labels):
        size = images.shape[0]
        if size is not None and size % self.discriminator_steps:
            raise ValueError(
                "The images of a batch must be divisible by "
                "`discriminator_steps`, whose updates share them. Received: "
                f"{size} images, discriminator_steps={self.discriminator_steps}"
            )
        return zip(
            tf.split(images, self.discriminator_steps),
            objectives.split_or_none(labels, self.discriminator_steps),
        )

    def _generator_images(self, real_images):
        """Returns the number of fake images of a replica's generator step."""
        if self.generator_batch_size is None:
            return tf.shape(real_images)[0]
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if self.generator_batch_size % replicas:
            raise ValueError(
                "`generator_batch_size` must be divisible by the number of "
                "replicas. Received: generator_batch_size="
                f"{self.generator_batch_size}, {replicas} replicas"
            )
        return self.generator_batch_size // replicas

    def _update_average(self):
        if not self.average_decay:
            return
        rate = 1 - self.average_decay
        if self.average_warmup:
            updates = tf.cast(self.step.value, tf.float32)
            rate = tf.maximum(rate, 9.0 / (10.0 + updates))
        pairs = zip(self.average_generator.weights, self.generator.weights)
        for average, weight in pairs:
            average.assign_add(rate * (weight - average))

    def _augment(self, images, draw, purpose=objectives.AUGMENTATION):
        if not self.augmentation:
            return images
        return self.augmentation(images, self._seed(draw, purpose))

    def _seed(self, *keys):
        """Returns a seed of (seed, step, draw, purpose)."""
        return noise.fold_in(self.seed, self.step.value, *keys)

    def _seeds(self, draw):
        return functools.partial(self._seed, draw)


def _joined(one, other):
    return None if one is None else tf.concat([one, other], 0)

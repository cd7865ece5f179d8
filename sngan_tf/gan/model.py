"""The GAN step: Algorithm 1 around any generator and discriminator."""

import functools

import keras
import tensorflow as tf

from sngan_tf import noise
from sngan_tf.gan import execution
from sngan_tf.gan import losses
from sngan_tf.gan import penalties
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import serving
from sngan_tf.layers import kernels

# What is drawn in a step; each has a seed of its own.
_LATENTS, _AUGMENTATION, _LABELS, _MIX, _REAL_AUGMENTATION = range(5)


@keras.saving.register_keras_serializable("sngan_tf")
class GAN(keras.Model):
    """A generator and a discriminator that train each other.

    One `train_step` does `discriminator_steps` discriminator updates, each on
    fresh real images and fresh latents, then one generator update. In a
    discriminator update real and fake images are one batch, so that `u` of
    spectral normalization advances once per update (Algorithm 1); in the
    generator update no variable of the discriminator changes. (The authors'
    code advances `u` in every training call.) A discriminator with batch
    normalization sees real and fake images in separate calls, and in the
    generator update the statistics of the batch, which it does not keep.

    What is minimised is `d_loss`, the adversarial loss, plus `d_penalty`, the
    gradient penalty and losses of the discriminator's own such as those of
    regularizers; and `g_loss`. An auxiliary classifier adds
    `d_classification` and `g_classification`.

    Under a `tf.distribute` strategy a batch is that of all replicas, and each
    has its share. Latents, labels and augmentations are rows of what one
    replica alone would draw; losses are reported as means over replicas.

    Args:
        generator: Model, latents `(batch, latent_dim)` to images
            `(batch, height, width, channels)` in [-1, 1]. A conditional one
            takes labels `(batch,)` as a second input.
        discriminator: Model, images to logits `(batch, 1)`. A conditional one
            takes labels as a second input, or has class logits
            `(batch, num_classes)` of an auxiliary classifier as a second
            output.
        loss: Name in `losses.LOSSES`.
        discriminator_steps: Discriminator updates per generator update, n_dis.
        generator_batch_size: Fake images per generator update, over all
            replicas; None for as many as real ones per discriminator update.
        num_classes: Number of classes if the generator is conditional, else
            None. Labels of fake images are uniform over them.
        gradient_penalty: Factor lambda of the gradient penalty (Eq. 30), 0
            for none. Between a real and a fake image it is taken with the
            label of the real one.
        auxiliary_weights: Factors of the auxiliary classifier's loss, which
            the discriminator has on real images and the generator on fake
            ones. The paper does not state them; these are those of the
            AC-WGAN-GP that it builds on (Gulrajani et al., 2017).
        augmentation: Function `(images, seed) -> images` applied to whatever
            the discriminator sees, real and fake alike, or None. What it draws
            by `noise` from the seed is the same on any number of replicas.
        average_decay: Decay per update of an exponential moving average of
            the generator's weights, in [0, 1); 0 keeps none, as the paper.
        seed: Latents and augmentations are functions of this, the step and
            the place in the batch.

    Call arguments:
        latents: `(batch, latent_dim)`, float32; a conditional GAN takes a
            pair of latents and labels. Returns the images of
            `sampling_generator` in inference mode.

    Raises:
        ValueError: On an argument out of range, on mismatched models, and in
            `fit` on batches whose static size `discriminator_steps` doesn't
            divide.

    Example:
    >>> gan = GAN(*networks.build("cnn", (32, 32, 3)))
    >>> gan.compile(generator_optimizer=keras.optimizers.Adam(2e-4, 0.5),
    ...             discriminator_optimizer=keras.optimizers.Adam(2e-4, 0.5))
    >>> gan.fit(dataset)  # batches of discriminator_steps * batch_size images
    """

    def __init__(
        self,
        generator,
        discriminator,
        loss="hinge",
        discriminator_steps=1,
        generator_batch_size=None,
        num_classes=None,
        gradient_penalty=0.0,
        auxiliary_weights=(1.0, 0.1),
        augmentation=None,
        average_decay=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _check_arguments(
            discriminator_steps,
            generator_batch_size,
            gradient_penalty,
            average_decay,
        )
        _check_models(generator, discriminator, num_classes)
        self.generator = generator
        self.discriminator = discriminator
        self.loss_name = loss
        self.adversarial_loss = losses.get(loss)
        self.discriminator_steps = discriminator_steps
        self.generator_batch_size = generator_batch_size
        self.num_classes = num_classes
        self.gradient_penalty = gradient_penalty
        self.auxiliary_weights = tuple(auxiliary_weights)
        self.augmentation = augmentation
        self.average_decay = average_decay
        self.average_generator = None
        if average_decay:
            self.average_generator = keras.models.clone_model(generator)
            self.average_generator.set_weights(generator.get_weights())
            self.average_generator.trainable = False
        self.seed = seed
        self.step = self.add_weight(
            name="step",
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
        )
        self._has_batch_norm = any(
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in kernels.sublayers(discriminator)
        )
        names = ["d_loss", "g_loss", "d_penalty"]
        if len(discriminator.outputs) == 2:
            names += ["d_classification", "g_classification"]
        self._means = {name: execution.Mean(name) for name in names}
        # Otherwise Keras calls the model on a batch of images to build it.
        self.built = True

    @property
    def latent_dim(self):
        return self.generator.inputs[0].shape[-1]

    @property
    def metrics(self):
        return list(self._means.values())

    @property
    def sampling_generator(self):
        """The averaged generator if there is one, else the generator."""
        return self.average_generator or self.generator

    @functools.cached_property
    def sampler(self):
        """The `Sampler` of `sampling_generator`, one graph for all its uses."""
        return sampler_lib.Sampler(self.sampling_generator, self.num_classes)

    def export(
        self, filepath, format="tf_saved_model", verbose=False, class_names=()
    ):
        """Writes `sampling_generator` as a SavedModel; see `serving.save`.

        Args:
            filepath: The folder; one that is there is replaced as a whole.
            format: `"tf_saved_model"`.
            verbose: Whether to print what is saved.
            class_names: Name of each class, if conditional and known.

        Raises:
            ValueError: On another format, or names for other classes.
        """
        if format != "tf_saved_model":
            raise ValueError(
                "`format` must be tf_saved_model; `sampling_generator.export` "
                f"writes others. Received: format={format}"
            )
        step = int(keras.ops.convert_to_numpy(self.step))
        serving.save(self.sampler, filepath, class_names, step, verbose)

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Sets the optimizers; other arguments are those of Keras.

        With `steps_per_execution` an execution ends where `step` is a multiple
        of it, and the data must not end within one.
        """
        super().compile(optimizer=None, **kwargs)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "generator": serialize(self.generator),
            "discriminator": serialize(self.discriminator),
            "loss": self.loss_name,
            "discriminator_steps": self.discriminator_steps,
            "generator_batch_size": self.generator_batch_size,
            "num_classes": self.num_classes,
            "gradient_penalty": self.gradient_penalty,
            "auxiliary_weights": self.auxiliary_weights,
            "augmentation": serialize(self.augmentation),
            "average_decay": self.average_decay,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        for key in ("generator", "discriminator", "augmentation"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)

    def get_compile_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "generator_optimizer": serialize(self.generator_optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
        }

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def call(self, inputs):
        return self.sampling_generator(inputs, training=False)

    def train_step(self, data):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        if self.num_classes and labels is None:
            raise ValueError(
                "A conditional GAN needs batches of (images, labels). "
                "Received: batches of images alone"
            )
        for i, real in enumerate(self._split(images, labels)):
            d_losses = self._discriminator_step(*real, draw=i)
        g_losses = self._generator_step(
            self._generator_images(real[0]), draw=self.discriminator_steps
        )
        self._update_average()
        self.step.assign_add(1)
        update_losses = execution.mean_over_replicas(d_losses | g_losses)
        for name, loss in update_losses.items():
            self._means[name].update_state(loss)
        return {name: mean.result() for name, mean in self._means.items()}

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.train_function = execution.train_function(self)

    def _discriminator_step(self, real_images, real_labels, draw):
        fake_images, fake_labels = self._fakes(tf.shape(real_images)[0], draw)
        images = tf.concat(
            [
                self._augment(real_images, draw, _REAL_AUGMENTATION),
                self._augment(fake_images, draw),
            ],
            0,
        )
        labels = None
        if self.num_classes:
            labels = tf.concat([real_labels, fake_labels], 0)
        with tf.GradientTape() as tape:
            logits, class_logits = self._judge_real_and_fake(images, labels)
            parts = {
                "d_loss": self.adversarial_loss.discriminator(
                    *tf.split(logits, 2)
                ),
                # Before another call clears the losses of this one.
                "d_penalty": sum(self.discriminator.losses, tf.zeros(())),
            }
            if self.gradient_penalty:
                parts["d_penalty"] += self.gradient_penalty * (
                    self._gradient_penalty(images, labels, draw)
                )
            if class_logits is not None:
                loss = losses.classification_loss(
                    real_labels, tf.split(class_logits, 2)[0]
                )
                parts["d_classification"] = self.auxiliary_weights[0] * loss
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

    def _generator_step(self, batch_size, draw):
        with tf.GradientTape() as tape:
            fake_images, labels = self._fakes(batch_size, draw)
            images = self._augment(fake_images, draw)
            logits, class_logits = self._judge_unchanged(images, labels)
            parts = {"g_loss": self.adversarial_loss.generator(logits)}
            if class_logits is not None:
                loss = losses.classification_loss(labels, class_logits)
                parts["g_classification"] = self.auxiliary_weights[1] * loss
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

    def _fakes(self, batch_size, draw):
        """Returns `(images, labels)`, labels None if unconditional."""
        latents = noise.normal(
            (batch_size, self.latent_dim), self._seed(draw, _LATENTS)
        )
        if not self.num_classes:
            return self.generator(latents, training=True), None
        labels = noise.integers(
            (batch_size,), self._seed(draw, _LABELS), 0, self.num_classes - 1
        )
        return self.generator([latents, labels], training=True), labels

    def _judge_real_and_fake(self, images, labels):
        """Returns training logits and class logits, real before fake."""
        if not self._has_batch_norm:
            return _pair(
                self.discriminator(self._inputs(images, labels), training=True)
            )
        halves = zip(tf.split(images, 2), _split_or_none(labels, 2))
        outputs = [
            self.discriminator(self._inputs(*half), training=True)
            for half in halves
        ]
        return _pair(
            tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *outputs)
        )

    def _judge_unchanged(self, images, labels):
        """Returns logits and class logits, changing no variable."""
        inputs = self._inputs(images, labels)
        if not self._has_batch_norm:
            return _pair(self.discriminator(inputs, training=False))
        outputs, _ = self.discriminator.stateless_call(
            [v.value for v in self.discriminator.trainable_variables],
            [v.value for v in self.discriminator.non_trainable_variables],
            inputs,
            training=True,
        )
        return _pair(outputs)

    def _gradient_penalty(self, images, labels, draw):
        real_images, fake_images = tf.split(images, 2)
        mix = noise.uniform(
            (tf.shape(real_images)[0], 1, 1, 1), self._seed(draw, _MIX)
        )
        images = penalties.interpolate(real_images, fake_images, mix)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits, _ = self._judge_unchanged(
                images, _split_or_none(labels, 2)[0]
            )
        return penalties.gradient_penalty(tape.gradient(logits, images))

    def _inputs(self, images, labels):
        takes_labels = len(self.discriminator.inputs) == 2
        return [images, labels] if takes_labels else images

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
            _split_or_none(labels, self.discriminator_steps),
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
        pairs = zip(self.average_generator.weights, self.generator.weights)
        for average, weight in pairs:
            average.assign_add((1 - self.average_decay) * (weight - average))

    def _augment(self, images, draw, purpose=_AUGMENTATION):
        if not self.augmentation:
            return images
        return self.augmentation(images, self._seed(draw, purpose))

    def _seed(self, draw, purpose):
        """Returns a seed of (seed, step, draw, purpose)."""
        return noise.fold_in(self.seed, self.step.value, draw, purpose)


def _pair(outputs):
    """Returns `(logits, class_logits)`, the latter None if there are none."""
    return outputs if isinstance(outputs, (list, tuple)) else (outputs, None)


def _split_or_none(labels, parts):
    return [None] * parts if labels is None else tf.split(labels, parts)


def _check_arguments(
    discriminator_steps, generator_batch_size, gradient_penalty, average_decay
):
    if discriminator_steps < 1:
        raise ValueError(
            "`discriminator_steps` must be positive. Received: "
            f"discriminator_steps={discriminator_steps}"
        )
    if generator_batch_size is not None and generator_batch_size < 1:
        raise ValueError(
            "`generator_batch_size` must be positive. Received: "
            f"generator_batch_size={generator_batch_size}"
        )
    if not 0 <= gradient_penalty < float("inf"):
        raise ValueError(
            "`gradient_penalty` must be 0 or more and finite. Received: "
            f"gradient_penalty={gradient_penalty}"
        )
    if not 0 <= average_decay < 1:
        raise ValueError(
            "`average_decay` must be in [0, 1). Received: "
            f"average_decay={average_decay}"
        )


def _check_models(generator, discriminator, num_classes):
    made, taken = generator.outputs[0].shape, discriminator.inputs[0].shape
    if made != taken:
        raise ValueError(
            "The generator must make what the discriminator takes. "
            f"Received: images of shape {made}, {taken}"
        )
    conditional = len(generator.inputs) == 2
    if conditional != bool(num_classes):
        raise ValueError(
            "`num_classes` must be given if the generator takes labels, and "
            f"only then. Received: num_classes={num_classes}, a generator of "
            f"{len(generator.inputs)} inputs"
        )
    uses_labels = len(discriminator.inputs) + len(discriminator.outputs) > 2
    if conditional != uses_labels:
        raise ValueError(
            "Generator and discriminator must both be conditional, or neither. "
            f"Received: {len(generator.inputs)} inputs of the generator, "
            f"{len(discriminator.inputs)} inputs and "
            f"{len(discriminator.outputs)} outputs of the discriminator"
        )

"""The GAN step: Algorithm 1 around any generator and discriminator."""

import keras
import tensorflow as tf

from sngan_tf import losses
from sngan_tf import noise


@keras.saving.register_keras_serializable("sngan_tf")
class GAN(keras.Model):
    """A generator and a discriminator that train each other.

    One `train_step` does `discriminator_steps` discriminator updates, each on
    fresh real images and fresh latents, then one generator update. In a
    discriminator update real and fake images are one batch, so that `u` of
    spectral normalization advances once per update (Algorithm 1); in the
    generator update the discriminator runs in inference mode and no variable
    of it changes. (The authors' code advances `u` in every training call.)

    Args:
        generator: Model, latents `(batch, latent_dim)` to images
            `(batch, height, width, channels)` in [-1, 1].
        discriminator: Model, images to logits `(batch, 1)`.
        loss: Name in `losses.LOSSES`.
        discriminator_steps: Discriminator updates per generator update, n_dis.
        augmentation: Function `(images, seed) -> images` applied to whatever
            the discriminator sees, real and fake alike, or None.
        average_decay: Decay per update of an exponential moving average of
            the generator's weights, in [0, 1); 0 keeps none, as the paper.
        seed: Latents and augmentations are functions of this, the step and
            the replica.

    Call arguments:
        latents: `(batch, latent_dim)`, float32. Returns the images of
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
        augmentation=None,
        average_decay=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if discriminator_steps < 1:
            raise ValueError(
                "`discriminator_steps` must be positive. Received: "
                f"discriminator_steps={discriminator_steps}"
            )
        if not 0 <= average_decay < 1:
            raise ValueError(
                "`average_decay` must be in [0, 1). Received: "
                f"average_decay={average_decay}"
            )
        if generator.output_shape != discriminator.input_shape:
            raise ValueError(
                "The generator must make what the discriminator takes. "
                f"Received: output_shape={generator.output_shape}, "
                f"input_shape={discriminator.input_shape}"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.loss_name = loss
        self.adversarial_loss = losses.get(loss)
        self.discriminator_steps = discriminator_steps
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
        self.d_loss = keras.metrics.Mean(name="d_loss")
        self.g_loss = keras.metrics.Mean(name="g_loss")
        # Otherwise Keras calls the model on a batch of images to build it.
        self.built = True

    @property
    def latent_dim(self):
        return self.generator.input_shape[-1]

    @property
    def sampling_generator(self):
        """The averaged generator if there is one, else the generator."""
        return self.average_generator or self.generator

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Sets the optimizers; other arguments are those of Keras."""
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

    def call(self, latents):
        return self.sampling_generator(latents, training=False)

    def train_step(self, data):
        real_images = keras.utils.unpack_x_y_sample_weight(data)[0]
        for i, batch in enumerate(self._split(real_images)):
            d_loss = self._discriminator_step(batch, draw=i)
        g_loss = self._generator_step(
            tf.shape(batch)[0], draw=self.discriminator_steps
        )
        self._update_average()
        self.step.assign_add(1)
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}

    def _discriminator_step(self, real_images, draw):
        latents_seed, augmentation_seed = self._seeds(draw)
        fake_images = self.generator(
            self._latents(tf.shape(real_images)[0], latents_seed), training=True
        )
        with tf.GradientTape() as tape:
            images = tf.concat([real_images, fake_images], axis=0)
            images = self._augment(images, augmentation_seed)
            logits = self.discriminator(images, training=True)
            real_logits, fake_logits = tf.split(logits, 2)
            loss = self.adversarial_loss.discriminator(real_logits, fake_logits)
            scaled_loss = _share_of_replica(loss)
        variables = self.discriminator.trainable_variables
        self.discriminator_optimizer.apply_gradients(
            zip(tape.gradient(scaled_loss, variables), variables)
        )
        return loss

    def _generator_step(self, batch_size, draw):
        latents_seed, augmentation_seed = self._seeds(draw)
        latents = self._latents(batch_size, latents_seed)
        with tf.GradientTape() as tape:
            fake_images = self.generator(latents, training=True)
            images = self._augment(fake_images, augmentation_seed)
            fake_logits = self.discriminator(images, training=False)
            loss = self.adversarial_loss.generator(fake_logits)
            scaled_loss = _share_of_replica(loss)
        variables = self.generator.trainable_variables
        self.generator_optimizer.apply_gradients(
            zip(tape.gradient(scaled_loss, variables), variables)
        )
        return loss

    def _split(self, real_images):
        size = real_images.shape[0]
        if size is not None and size % self.discriminator_steps:
            raise ValueError(
                "The images of a batch must be divisible by "
                "`discriminator_steps`, whose updates share them. Received: "
                f"{size} images, discriminator_steps={self.discriminator_steps}"
            )
        return tf.split(real_images, self.discriminator_steps)

    def _update_average(self):
        if not self.average_decay:
            return
        pairs = zip(self.average_generator.weights, self.generator.weights)
        for average, weight in pairs:
            average.assign_add((1 - self.average_decay) * (weight - average))

    def _augment(self, images, seed):
        return self.augmentation(images, seed) if self.augmentation else images

    def _latents(self, batch_size, seed):
        return noise.normal((batch_size, self.latent_dim), seed)

    def _seeds(self, draw):
        """Returns two seeds, functions of `(seed, step, replica, draw)`."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = (self.seed, self.step.value, replica, draw)
        return noise.fold_in(*seed, 0), noise.fold_in(*seed, 1)


def _share_of_replica(loss):
    # The optimizers sum gradients over replicas; a mean is meant.
    return loss / tf.distribute.get_strategy().num_replicas_in_sync

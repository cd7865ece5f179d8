"""The GAN: its two steps, what they minimise, and how pictures are drawn.

Nothing here knows networks, data, files of a run or a config. Losses,
penalties, methods, their callbacks and schedules run on any Keras backend.
"""

import keras


def __getattr__(name):
    if name == "GAN":  # Trains on TensorFlow, so it is imported when asked for.
        if (backend := keras.backend.backend()) != "tensorflow":
            raise ImportError(
                "`GAN` trains on the backend tensorflow alone. "
                f"Received: KERAS_BACKEND={backend}"
            )
        from sngan_tf.gan.model import GAN

        return GAN
    raise AttributeError(f"module 'sngan_tf.gan' has no attribute {name!r}")

"""A Keras callback that counts generator updates."""

import keras
from keras import ops


class StepCallback(keras.callbacks.Callback):
    """Knows the step without asking the device for it each time.

    For it no loss is read after an update, which would wait for that.
    """

    reads_logs = False

    def on_train_begin(self, logs=None):
        self.step = int(ops.convert_to_numpy(self.model.step))

    def on_epoch_begin(self, epoch, logs=None):
        step = int(ops.convert_to_numpy(self.model.step))
        # The first execution of a GAN ends at a multiple of this.
        per_execution = getattr(self.model, "steps_per_execution", 1)
        self._origin = step // per_execution * per_execution

    def on_train_batch_end(self, batch, logs=None):
        self.step = self._origin + batch + 1

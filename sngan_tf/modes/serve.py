"""`--mode=serve`: a run's generator as a server, or the pretrained digits."""

from sngan_tf.runs import build
from sngan_tf.runs import fields
from sngan_tf.server import models
from sngan_tf.server import run


def serve(config, workdir, host, port):
    """Serves the newest exported version until SIGTERM or Ctrl-C.

    Where nothing has been trained, the pretrained digits; where the config
    names a pretrained generator, that.

    Args:
        config: A config; its `pretrained` and threads count.
        workdir: `workdir.Workdir`.
        host: As of `run.run`.
        port: As of `run.run`.

    Raises:
        UserError: If the run has not been exported, or nobody can listen there.
    """
    # Nothing else counts, and nothing is run of a run's extensions.
    fields.check(config, ["pretrained", "operation_threads", "deterministic"])
    load = models.find(workdir, config.pretrained)
    build.set_up(config)
    run.run(load, host, port)

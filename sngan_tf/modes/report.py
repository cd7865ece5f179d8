"""`--mode=report`: a page on a run, or on several side by side."""

from sngan_tf.runs import page


def report(config, workdir, *others):
    """Writes `report.html`, or of several runs `comparison.html`.

    It is made of what the workdirs hold, whatever the config, in the first of
    them.

    Returns:
        The path.

    Raises:
        UserError: If there is no run in one of them, or the disk refuses.
    """
    runs = {run.path.resolve(): run for run in (workdir, *others)}
    path = workdir.report
    if len(runs) > 1:
        path = path.with_name("comparison.html")
    return page.write([*runs.values()], path)

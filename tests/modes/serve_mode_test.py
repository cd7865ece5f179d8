import contextlib
import socket

import pytest

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.gan import serving
from sngan_tf.modes import serve
from sngan_tf.runs import workdir as workdir_lib
from sngan_tf.server import run


@pytest.fixture
def workdir(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run", "digits")


@pytest.fixture
def loaded(monkeypatch):
    """Returns a list of the models that are served."""
    models = []
    monkeypatch.setattr(
        run, "run", lambda load, host, port: models.append(load())
    )
    return models


@pytest.mark.parametrize("name", ["", "digits"])
def test_digits_are_served_where_nothing_is_trained(
    tiny_config, workdir, loaded, name
):
    tiny_config.pretrained = name
    serve.serve(tiny_config, workdir, "127.0.0.1", 0)
    (model,) = loaded
    assert (model.name, model.version) == ("digits", 1)
    assert model.image_shape == (16, 16, 1)
    assert not workdir.path.exists()


@pytest.mark.parametrize("made", ["config.json", "export/generator/saved.pb"])
def test_run_is_to_be_exported_first(tiny_config, workdir, loaded, made):
    files.write_text(workdir.path / made, "{}")
    message = (
        f"no exported version in {workdir.generator}; export first: python "
        f"main.py --mode=export --config=digits --workdir={workdir.path}$"
    )
    with pytest.raises(UserError, match=message):
        serve.serve(tiny_config, workdir, "127.0.0.1", 0)
    # Digits are served all the same where they are asked for.
    tiny_config.pretrained = "digits"
    serve.serve(tiny_config, workdir, "127.0.0.1", 0)
    assert loaded[0].name == "digits"


def test_newest_whole_version_is_by_number(tmp_path):
    assert serving.newest(tmp_path / "none") is None
    for name in ("9", "10", "11", ".12.tmp", "newer"):
        (tmp_path / name).mkdir()
    for name in ("9", "10", ".12.tmp", "newer"):
        (tmp_path / name / "saved_model.pb").touch()
    assert serving.newest(tmp_path) == tmp_path / "10"


def test_address_that_is_taken_is_one_line():
    with contextlib.closing(run.listening("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = (
            "`host` and `port` must be an address of this machine that is "
            "free .*in use.*. Received: --host=127.0.0.1 "
            f"--port={port}"
        )
        with pytest.raises(UserError, match=message):
            run.run(lambda: None, "127.0.0.1", port)


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "192.0.2.1", "a b", "a..b", "a" * 64]
)
def test_address_of_others_is_one_line(host):
    with pytest.raises(UserError, match=f"Received: --host={host} --port=0$"):
        run.listening(host, 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_address_may_be_of_version_6():
    try:
        listener = run.listening("::1", 0)
    except UserError:
        pytest.skip("no IPv6 loopback here")
    with listener:
        assert listener.family == socket.AF_INET6


def test_model_that_fails_to_load_ends_the_server():
    def load():
        raise UserError("no model")

    with pytest.raises(UserError, match="^no model$"):
        run.run(load, "127.0.0.1", 0)

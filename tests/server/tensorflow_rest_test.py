"""The requests of TensorFlow Serving's documentation, and others."""

import base64
import json
import sys

import numpy as np
import pytest
import served
import tensorflow as tf

from sngan_tf.errors import UserError
from sngan_tf.server import json_tensors
from sngan_tf.server import models
from sngan_tf.server.problems import Problem

PATH = "/v1/models/half_plus_two"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = served.half_plus(2, tmp_path_factory.mktemp("half") / "123")
    with served.client_of(
        lambda: models.load(folder, "half_plus_two")
    ) as client:
        yield client


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A client of a model with inputs and outputs of many kinds."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.string, "tag"),
            tf.TensorSpec((None, 5), tf.int32, "signal"),
            tf.TensorSpec((None, 2, 2), tf.float32, "sensor"),
        ]
    )
    def default(tag, signal, sensor):
        return {
            "tag": tag,
            "tag_bytes": tag,
            "total": tf.reduce_sum(signal, axis=1),
            "half": sensor / 2,
        }

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64, "n")])
    def counted(n):
        return {"numbers": tf.range(n), "n": n}

    @tf.function(input_signature=[])
    def about():
        return {"step": tf.constant(7, tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def any_shape(x):
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.bool, "x")])
    def negated(x):
        return {"y": ~x}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.uint8, "x")])
    def levels(x):
        return {"y": x}

    folder = served.save(
        tmp_path_factory.mktemp("several") / "1",
        serving_default=default,
        counted=counted,
        about=about,
        any_shape=any_shape,
        negated=negated,
        levels=levels,
    )
    with served.client_of(lambda: models.load(folder, "several")) as client:
        yield client


def asked(client, content, path=PATH, status=200):
    answer = client.post(f"{path}:predict", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize("path", [PATH, f"{PATH}/versions/123"])
def test_status_of_the_documentation(client, path):
    assert client.get(path).json() == {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


@pytest.mark.parametrize("path", [PATH, f"{PATH}/versions/123"])
def test_predict_of_the_documentation(client, path):
    """As `curl -d` sends it, without the type of JSON."""
    rows = asked(client, '{"instances": [1.0, 2.0, 5.0]}', path)
    assert rows == {"predictions": [2.5, 3.0, 4.5]}
    columns = asked(client, '{"inputs": [1.0, 2.0, 5.0]}', path)
    assert columns == {"outputs": [2.5, 3.0, 4.5]}


def test_single_input_may_be_named(client):
    rows = '{"instances": [{"x": 1.0}, {"x": 4}]}'
    assert asked(client, rows) == {"predictions": [2.5, 4.0]}
    columns = '{"signature_name": "serving_default", "inputs": {"x": [1, 4]}}'
    assert asked(client, columns) == {"outputs": [2.5, 4.0]}


@pytest.mark.parametrize("path", [PATH, f"{PATH}/versions/123"])
def test_metadata_of_the_documentation(client, path):
    def info(name, size):
        return {
            "dtype": "DT_FLOAT",
            "tensor_shape": {
                "dim": [{"size": size, "name": ""}],
                "unknown_rank": False,
            },
            "name": name,
        }

    answer = client.get(f"{path}/metadata").json()
    assert answer["model_spec"] == {
        "name": "half_plus_two",
        "signature_name": "",
        "version": "123",
    }
    assert answer["metadata"]["signature_def"]["signature_def"] == {
        "serving_default": {
            "inputs": {"x": info("serving_default_x:0", "-1")},
            "outputs": {"y": info("serving_default_y:0", "-1")},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
    }


def test_models_are_listed(client):
    listed = client.get("/v1/models").json()["models"]
    assert listed == [{"name": "half_plus_two", "version": "123"}]


@pytest.mark.parametrize(
    ("method", "path", "which"),
    [
        ("POST", "/v1/models/half:predict", "Latest(half)"),
        ("POST", f"{PATH}/versions/5:predict", "Specific(half_plus_two, 5)"),
        ("GET", "/v1/models/half", "Latest(half)"),
        ("GET", f"{PATH}/versions/124", "Specific(half_plus_two, 124)"),
        ("GET", "/v1/models/half/metadata", "Latest(half)"),
        ("GET", f"{PATH}/versions/5/metadata", "Specific(half_plus_two, 5)"),
    ],
)
def test_unknown_model_is_the_error_of_the_documentation(
    client, method, path, which
):
    answer = client.request(method, path, json={"instances": [1.0, 5.0]})
    assert answer.status_code == 404
    assert answer.json()["error"].startswith(
        f"Servable not found for request: {which}"
    )


# The inputs of the documentation's three named ones.
ROWS = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]
COLUMNS = {
    "tag": ["foo", "bar"],
    "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
    "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
}


def test_several_named_inputs_in_rows_and_columns(several):
    path = "/v1/models/several"
    columns = asked(several, json.dumps({"inputs": COLUMNS}), path)["outputs"]
    in_base64 = [
        {"b64": base64.b64encode(tag).decode()} for tag in (b"foo", b"bar")
    ]
    assert columns == {
        "tag": ["foo", "bar"],
        "tag_bytes": in_base64,
        "total": [15, 15],
        "half": (np.array(COLUMNS["sensor"]) / 2).tolist(),
    }
    rows = asked(several, json.dumps({"instances": ROWS}), path)["predictions"]
    assert rows == [
        {name: values[i] for name, values in columns.items()} for i in (0, 1)
    ]


def test_bytes_are_base64(several):
    content = bytes(range(256))
    row = {**ROWS[0], "tag": {"b64": base64.b64encode(content).decode()}}
    body = json.dumps({"instances": [row]})
    (found,) = asked(several, body, "/v1/models/several")["predictions"]
    # Not UTF-8, so that it can be no string under either name.
    assert found["tag"] == found["tag_bytes"] == row["tag"]


def test_other_signatures_are_asked_by_name(several):
    def ask(name, inputs):
        body = json.dumps({"signature_name": name, "inputs": inputs})
        return asked(several, body, "/v1/models/several")["outputs"]

    assert ask("counted", {"n": 3}) == {"numbers": [0, 1, 2], "n": 3}
    assert ask("counted", 2) == {"numbers": [0, 1], "n": 2}
    assert ask("about", {}) == 7
    assert ask("any_shape", [[1, 2], [3, 4]]) == 10
    assert ask("any_shape", 5) == 5
    assert ask("negated", [True, False]) == [False, True]
    assert ask("levels", [0, 255]) == [0, 255]
    assert ask("levels", []) == []


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("counted", {"n": 3.5}, "`n` must be int64. Received: 3.5"),
        ("counted", {"n": 2**63}, "`n` must be numbers that int64 can hold"),
        ("counted", {"n": [3]}, "`n` must be of shape (). Received: (1)"),
        ("counted", {"m": 3}, "Inputs must be n. Received: m"),
        ("about", [1], "Inputs must be named, none. Received: [1]"),
        ("any_shape", [[1, 2], [3]], "lists of one length side by side"),
        ("any_shape", [1, [3]], "`x` must have values of one depth"),
        ("any_shape", [[1], 3], "lists of one length side by side"),
        ("any_shape", 1e39, "`x` must be numbers that float32 can hold"),
        ("any_shape", 10**400, "`x` must be numbers that float32 can hold"),
        ("any_shape", True, "`x` must be float32. Received: true"),
        ("any_shape", None, "`x` must be float32. Received: null"),
        ("any_shape", "1", "`x` must be float32. Received: 1"),
        ("negated", [1], "`x` must be bool. Received: 1"),
        (
            "serving_default",
            {**COLUMNS, "tag": ["foo", "\ud800"]},
            "`tag` must be strings, or bytes",
        ),
        ("levels", [256], "`x` must be numbers that uint8 can hold"),
        ("levels", [-1], "`x` must be numbers that uint8 can hold"),
        ("levels", [0] * 257, "rows of `x` must be at most 256. Received: 257"),
    ],
)
def test_wrong_inputs_are_named(several, name, inputs, message):
    body = json.dumps({"signature_name": name, "inputs": inputs})
    said = asked(several, body, "/v1/models/several", 400)["error"]
    assert message in said


def test_outputs_without_rows_are_no_predictions(several):
    body = json.dumps({"signature_name": "any_shape", "instances": [1, 2]})
    said = asked(several, body, "/v1/models/several", 400)["error"]
    assert said == (
        "`inputs` must be asked by, not `instances`, of a signature whose "
        "outputs have no row for each. Received: signature_name=any_shape"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"instances": [1], "inputs": [1]}', "Received: both"),
        ("{}", "either `instances` or `inputs`. Received: none of them"),
        ('{"instances": [NaN]}', "Numbers must be finite. Received: NaN"),
        ('{"instances": [1e999]}', "numbers that float32 can hold"),
        ('{"instances": [1.0', "The body must be JSON. Expecting"),
        ("[1.0]", "The body must be a JSON object. Received: [1.0]"),
        ("[" * 100_000, "The body is nested too deeply"),
        (b'{"instances": ["\xff"]}', "The body must be JSON."),
        ('{"instances": []}', "`instances` must be a list with one or more"),
        ('{"instances": 1}', "`instances` must be a list with one or more"),
        ('{"instances": [1, {"x": 1}]}', "must all be objects, or none"),
        ('{"instances": [{"y": 1}]}', "Inputs must be x. Received: y"),
        ('{"instances": [{}]}', "Inputs must be x. Received: none"),
        ('{"instance": [1]}', "inputs. Received: instance"),
        (
            '{"signature_name": "half", "instances": [1]}',
            'Serving signature name: "half" not found in signature def; '
            "there are serving_default",
        ),
        ('{"signature_name": 0, "instances": [1]}', "must be a string"),
        ('{"signature_name": null, "instances": [1]}', "must be a string"),
    ],
)
def test_wrong_body_is_told_what_is_wrong(client, content, message):
    assert message in asked(client, content, status=400)["error"]
    assert asked(client, '{"instances": [1.0]}') == {"predictions": [2.5]}


@pytest.mark.parametrize("body", [b"%s", b'{"signature_name": %s}'])
def test_any_depth_is_told_what_is_wrong(body):
    for depth in range(1, sys.getrecursionlimit() + 1):
        nested = b"[" * depth + b"]" * depth
        with pytest.raises(Problem) as raised:
            json_tensors.Request(body % nested, {})
        assert raised.value.status == 400


def test_other_verbs_are_refused(client):
    answer = client.post(f"{PATH}:regress", json={"examples": [{"x": 1.0}]})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Models can be asked to predict alone. Received: "
        "half_plus_two:regress"
    }


def test_float32_has_its_shortest_decimals(client):
    (found,) = asked(client, '{"instances": [0.2]}')["predictions"]
    assert found == 2.1
    assert np.float32(found) == np.float32(0.2) / 2 + 2


def test_model_of_others_makes_no_pictures(client):
    for path in ("/sample.png", "/about.json", "/walk.gif"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "half_plus_two is no generator" in answer.json()["error"]


def test_folder_that_is_no_model_is_one_line(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(UserError, match="must be a SavedModel that TensorFlow"):
        models.load(tmp_path / "1", "damaged")

"""What a server refuses, and that it serves the next one all the same."""

import pathlib
import sys

import pytest
import served

from sngan_tf.server import models

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import bad_requests


@pytest.fixture(scope="module")
def client():
    with served.client_of(lambda: models.of_package("digits")) as client:
        served.wait(lambda: client.service.judge.is_ready)
        yield client


def test_there_are_a_hundred_kinds():
    requests = dict(bad_requests.kinds())
    assert len(requests) == len(bad_requests.kinds()) >= 100
    assert len({*requests.values()}) == len(requests)


def test_each_is_refused_in_words_and_the_next_is_served(client):
    good = "/sample.png?seed=7&count=4"
    expected = client.get(good).content
    failed = []
    for what, content in bad_requests.kinds():
        status, said = bad_requests.ask(client.port, content)
        if not 400 <= status < 500 or {*said} != {"error"} or not said["error"]:
            failed.append((what, status, said))
        assert client.get(good).content == expected, what
    assert not failed


@pytest.mark.parametrize("what", ["10,000 scans", "a gigapixel"])
def test_picture_that_takes_long_is_told_to_be_too_large(client, what):
    content = dict(bad_requests.kinds())[f"judge: {what}"]
    status, said = bad_requests.ask(client.port, content)
    assert status == 413
    assert "may have" in said["error"]


def test_address_with_a_slash_more_is_no_other(client):
    answer = client.get("/health/", headers={"Host": "elsewhere.invalid"})
    assert answer.status_code == 404

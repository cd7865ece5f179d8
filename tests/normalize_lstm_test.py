"""What the example measures of an LSTM, and that its norms stand at bounds."""

import bands
import digits
import keras
import normalize_lstm as example
import numpy as np
import pytest
from matplotlib import pyplot as plt

from sngan_tf import images as images_lib

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def few():
    return [(x[:200, ..., 0], labels[:200]) for x, labels in digits.load()]


@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_recurrent_kernel_stays_at_its_bound(few, bound):
    model = example.network(bound, units=8, seed=0)
    found = example.measured(model, *few, learning_rate=1e-3, epochs=2)
    assert len(found["norm"]) == 1 + len(found["accuracy"]) == 3
    # `u` follows the kernel by a step for each update.
    np.testing.assert_allclose(found["norm"][0], bound, rtol=0.05)
    np.testing.assert_allclose(found["norm"], bound, rtol=0.2)


def test_plain_kernel_leaves_the_norm_that_it_starts_with(few):
    model = example.network(None, units=8, seed=0)
    found = example.measured(model, *few, learning_rate=1e-2, epochs=2)
    # Keras starts it orthogonal.
    np.testing.assert_allclose(found["norm"][0], 1.0, rtol=1e-5)
    assert found["norm"][-1] > 1.1
    logits = model.predict_on_batch(few[1][0])[1]
    right = np.mean(np.argmax(logits, -1) == few[1][1])
    assert found["stream"][0] == pytest.approx(right)
    assert found["accuracy"][-1] == pytest.approx(right)


def test_streams_end_with_the_digit_itself():
    rows = np.arange(3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8)
    shown = example.streams(rows, 3)
    assert shown.shape == (3, 24, 8)
    np.testing.assert_array_equal(shown[:, -8:], rows)
    np.testing.assert_array_equal(shown[0, :8], rows[1])
    np.testing.assert_array_equal(shown[0, 8:16], rows[2])


def test_travel_is_that_of_a_recurrence_worked_out_by_hand():
    inputs = keras.Input((None, 8))
    recurrent = keras.layers.SimpleRNN(
        8,
        activation=None,
        kernel_initializer="identity",
        recurrent_initializer=lambda shape, dtype: 0.5 * np.eye(*shape),
        return_sequences=True,
    )(inputs)
    model = keras.Model(inputs, [recurrent, recurrent])
    rows = np.random.default_rng(0).normal(size=(5, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(
        example.travel(model, rows), [1.0, 0.5, 0.25, 0.125], rtol=1e-4
    )


def test_band_goes_from_the_least_to_the_most():
    _, axes = plt.subplots()
    bands.draw(axes, [1, 2], [[0.0, 2.0], [1.0, 4.0]], "curve")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.5, 3.0])
    corners = axes.collections[0].get_paths()[0].vertices
    for x, least, most in ((1, 0.0, 1.0), (2, 2.0, 4.0)):
        heights = corners[corners[:, 0] == x, 1]
        assert (heights.min(), heights.max()) == (least, most)
    plt.close()


def test_whole_example_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(example, "METHODS", {"bound 1": 1.0})
    figure = tmp_path / "lstm.png"
    flags = [str(figure), "--units=8", "--epochs=1", "--seeds=2"]
    monkeypatch.setattr("sys.argv", ["normalize_lstm.py", *flags])
    example.main()
    said = capsys.readouterr().out
    norms = said[said.index("|U|") :].split()[1:3]
    np.testing.assert_allclose([float(norm) for norm in norms], 1.0, rtol=0.3)
    assert images_lib.read_png(figure).std() > 5

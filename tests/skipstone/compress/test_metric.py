"""Accuracy by other metrics than top-1, values in place of classes, and a training loop of the user's."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.compress.auto import auto
from skipstone.compress.recipe import parse_recipe
from skipstone.compress.run import compress
from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_array_scores, float_scores
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from tests.skipstone.compress.small import TEST, TRAIN, float_network, invoke, labelled_data, small_place

PRUNED = {"step": [{"do": "prune", "amount": 0.5}]}
TUNED = {"step": [{"do": "prune", "amount": 0.5}, {"do": "fine_tune", "epochs": 2, "batch": 32, "learning_rate": 0.05}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_place(tmp_path_factory.mktemp("metric"))


@pytest.fixture(scope="module")
def values(place):
    """The network without its Softmax, ``regression.onnx``, and its scores with a little noise as values to learn."""
    model = onnx.load(place / "small.onnx")
    del model.graph.node[-1]
    model.graph.output[0].name = "g"
    onnx.save(model, place / "regression.onnx")
    images = np.load(place / "data.npz")
    rng = np.random.default_rng(3)
    labels = {
        f"{part}_labels": (
            float_scores(load(place / "regression.onnx"), images[f"{part}_images"]) + rng.normal(0, 0.01, (count, 4))
        ).astype(np.float32)
        for part, count in (("train", TRAIN), ("test", TEST))
    }
    return str(labelled_data(place / "values.npz", **labels))


def done(place, recipe, data="data.npz", out="out", **keys):
    network = "regression.onnx" if data == "values.npz" else "small.onnx"
    return compress(place / network, parse_recipe(recipe), str(place / data), out=place / out, **keys)


def worst_class(scores, labels):
    right = scores.argmax(axis=1) == labels
    return min(right[labels == each].mean() for each in np.unique(labels))


@pytest.mark.parametrize("metric", ["top-2", worst_class])
def test_it_measures_floats_and_integers(place, metric):
    result = done(place, PRUNED, out=f"measure-{metric}", metric=metric)
    arrays = np.load(place / "data.npz")
    images, labels = arrays["test_images"], arrays["test_labels"]

    def by_hand(scores):
        if metric is worst_class:
            return worst_class(scores, labels)
        return np.mean(
            [label in np.argsort(-row, kind="stable")[:2] for row, label in zip(scores, labels, strict=True)]
        )

    integers = reference.class_scores(result.network, reference.quantize_input(result.network, images))
    assert result.result.float_accuracy == by_hand(float_array_scores(float_network(place), images))
    assert result.result.steps[0].accuracy_after == by_hand(float_array_scores(result.graph, images))
    assert result.result.accuracy == by_hand(integers)
    assert result.result.metric == (metric if isinstance(metric, str) else "worst_class")
    assert result.result.metric_is_share == isinstance(metric, str)


def test_a_step_done_before_is_measured_by_the_metric_of_now(place):
    first = done(place, PRUNED, out="again")
    heard: list[str] = []
    second = done(place, PRUNED, out="again", metric="top-2", progress=heard.append)
    assert any("done before" in text for text in heard)
    fresh = done(place, PRUNED, out="fresh", metric="top-2")
    assert second.result.steps[0].accuracy_after == fresh.result.steps[0].accuracy_after
    assert second.result.steps[0].accuracy_after != first.result.steps[0].accuracy_after
    assert second.result.steps[0].accuracy_before == fresh.result.steps[0].accuracy_before


def test_values_in_place_of_classes(place, values):
    result = done(place, PRUNED, "values.npz", "values").result
    assert result.metric == "mean-squared-error"
    assert -0.0002 < result.float_accuracy < 0
    assert result.accuracy < result.float_accuracy
    assert result.loss_points == result.float_accuracy - result.accuracy
    with pytest.raises(SkipstoneError, match="top-1 needs a class"):
        done(place, PRUNED, "values.npz", "none", metric="top-1")
    assert not (place / "none").exists()


def test_values_are_learned(place, values):
    pytest.importorskip("torch")

    def error(*steps):
        return -done(place, {"step": [*PRUNED["step"], *steps]}, "values.npz", "learned").result.accuracy

    training = {**TUNED["step"][1], "epochs": 30}
    untrained = error()
    for distillation in ("none", "labels", "teacher"):
        assert error({**training, "distillation": distillation}) < 0.5 * untrained


def test_values_behind_a_softmax_are_refused(place, values):
    with pytest.raises(SkipstoneError, match="network 'small' ends in a Softmax, which the host computes"):
        compress(place / "small.onnx", parse_recipe(PRUNED), values, out=place / "none")
    assert not (place / "none").exists()


def test_steps_that_need_classes_say_so(place, values):
    pytest.importorskip("torch")
    recipe = {"step": [{"do": "prune", "amount": 0.5, "criterion": "taylor"}]}
    with pytest.raises(SkipstoneError, match=r"step 1 \(prune\): dataset 'values': this needs a class \(an integer\)"):
        done(place, recipe, "values.npz", "none")


def test_auto_keeps_to_the_metrics_unit(place, values):
    found = auto(place / "regression.onnx", values, out=place / "auto", max_loss=1e-3, max_epochs=0)
    assert found.result.metric == "mean-squared-error"
    assert "lost, " in found.result.decisions[0]
    assert "points" not in found.result.decisions[0]
    assert found.result.sparsity > 0.2


def test_from_the_command_line(place, values):
    recipe = place / "pruned.toml"
    recipe.write_text('[[step]]\ndo = "prune"\namount = 0.5\n')
    out = place / "line"
    run = CliRunner().invoke(
        app,
        [
            *("compress", str(place / "regression.onnx"), "--recipe", str(recipe), "--data", values),
            *("--metric", "mean-absolute-error", "--out", str(out)),
        ],
    )
    assert run.exit_code == 0, run.output
    assert "(mean-absolute-error, 40 images)" in run.stdout
    assert "points" not in run.stdout
    result = json.loads((out / "compression.json").read_text())
    assert (result["metric"], result["metric_is_share"]) == ("mean-absolute-error", False)
    wrong = invoke(place, "--recipe", recipe, "--data", place / "data.npz", "--metric", "f1", "--out", place / "none")
    assert wrong.exit_code == 2
    assert "no metric 'f1'" in wrong.output


def test_a_training_loop_of_the_users(place):
    torch = pytest.importorskip("torch")
    calls = []

    def loop(module, batches, options):
        assert module.training
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        seen = []
        for _ in range(options.epochs):
            for images, labels in batches:
                seen.append(images.numpy().tobytes())
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(images), labels).backward()
                optimizer.step()
        calls.append((options.epochs, options.batch, len(batches), len(seen), len(set(seen))))

    by_loop = done(place, TUNED, out="loop", train=loop)
    assert calls == [(2, 32, 3, 6, 6)]
    pruned = load(place / "loop" / "compressed.onnx")
    dense = done(place, PRUNED, out="masks").graph
    for before, after in zip(dense.convs, pruned.convs, strict=True):
        assert ((before.weights == 0) == (after.weights == 0)).all()
        assert (before.weights != after.weights).any()
    ours = done(place, TUNED, out="ours").graph
    assert any((one.weights != two.weights).any() for one, two in zip(ours.convs, by_loop.graph.convs, strict=True))
    # What a function does is not known from its name, so its steps are done again.
    done(place, TUNED, out="loop", train=loop)
    assert len(calls) == 2


def test_what_a_loop_of_the_users_can_not_do(place):
    torch = pytest.importorskip("torch")

    def diverges(module, batches, options):
        with torch.no_grad():
            next(module.parameters()).fill_(float("inf"))

    with pytest.raises(SkipstoneError, match="your training loop left weights that are not finite"):
        done(place, TUNED, out="diverged", train=diverges)
    for step in (
        {"do": "gradual_prune", "amount": 0.5},
        {"do": "dynamic_sparse"},
        {"do": "lottery_ticket", "amount": 0.5},
        {"do": "fine_tune", "regularizer": "l1"},
    ):
        with pytest.raises(SkipstoneError, match=rf"step 1 \({step['do']}\): .* a training loop of your own"):
            done(place, {"step": [step]}, out="none", train=diverges)
    assert not (place / "none").exists()

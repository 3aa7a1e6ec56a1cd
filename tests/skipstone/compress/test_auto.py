"""The automatic recipe decides by what it measured, keeps within the allowed loss, and never looks at test images."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from skipstone.compress import auto as automatic
from skipstone.compress.auto import Decision, auto
from skipstone.compress.keys import Training
from skipstone.compress.recipe import load_recipe, parse_recipe, recipe_names
from skipstone.compress.run import compress
from skipstone.errors import SkipstoneError
from skipstone.hw.design import load_design
from skipstone.models.data.datasets import load_dataset
from skipstone.models.quantization import reference
from tests.skipstone.compress.small import answered_data, float_network, invoke, labelled_data, outputs, small_place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = small_place(tmp_path_factory.mktemp("auto"))
    answered_data(place / "data.npz", place / "small.onnx")
    return place


@pytest.fixture(scope="module")
def design(place):
    return load_design(str(place / "small.toml"))


@pytest.fixture(autouse=True)
def _short(monkeypatch, request):
    monkeypatch.setattr(automatic, "AMOUNTS", (0.3, 0.7))
    monkeypatch.setattr(automatic, "EPOCHS", 1)
    if "torch" not in request.fixturenames:
        # Recipes that train are left out anyway; of the others two are enough.
        monkeypatch.setattr(automatic, "recipe_names", lambda: dict.fromkeys(("int8", "post-training-50")))
    if "torch" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "torch", None)


def search(place, out, max_loss=12.0, data="data.npz", design=None, **keys):
    return auto(place / "small.onnx", str(place / data), out=place / out, max_loss=max_loss, design=design, **keys)


@pytest.mark.parametrize("with_design", [False, True])
def test_the_written_recipe_gives_the_same_result(place, design, with_design):
    chosen = design if with_design else None
    out = f"search-{with_design}"
    done = search(place, out, design=chosen)
    decisions = done.result.decisions
    assert decisions[0].startswith("8 bits, symmetric for each channel: ")
    assert ("cycles" in decisions[0]) == with_design
    recipe = load_recipe(place / out / "recipe.toml")
    again = compress(place / "small.onnx", recipe, str(place / "data.npz"), out=place / f"{out}-again", design=chosen)
    searched, repeated = outputs(place / out), outputs(place / f"{out}-again")
    assert searched["quantized.onnx"] == repeated["quantized.onnx"]
    assert searched["compressed.onnx"] == repeated["compressed.onnx"]
    assert again.result.key == done.result.key
    assert again.result.accuracy == done.result.accuracy
    assert recipe.held_back == 12


@pytest.mark.parametrize("max_loss", [0.0, 15.0, 100.0])
def test_the_allowed_loss_holds_on_validation_images(place, max_loss):
    done = search(place, f"within-{max_loss:g}", max_loss)
    split = load_dataset(str(place / "data.npz")).split_validation(12, 1)
    first = float(done.result.decisions[0].split(": ")[1].split(" points")[0])
    checked = [decision for decision in done.result.decisions if decision.startswith("checked on 6 other images")]
    if first <= max_loss and checked[-1].endswith("; kept"):
        for half in (0, 1):
            images, labels = split.validation_images[half::2], split.validation_labels[half::2]
            assert 100 * (1 - reference.accuracy(done.network, images, labels)) <= max_loss + 1e-9
    if max_loss == 100:
        assert done.result.sparsity >= 0.6


def test_test_images_change_nothing(place):
    arrays = dict(np.load(place / "data.npz"))
    other = (arrays["test_labels"] + 1) % (int(arrays["train_labels"].max()) + 1)
    labelled_data(place / "other.npz", **arrays | {"test_labels": other})
    first, second = search(place, "test-one"), search(place, "test-two", data="other.npz")
    assert (place / "test-one" / "recipe.toml").read_bytes() == (place / "test-two" / "recipe.toml").read_bytes()
    assert first.result.decisions[:-1] == second.result.decisions[:-1]
    assert first.result.decisions[-1] != second.result.decisions[-1]
    assert first.result.accuracy != second.result.accuracy


def test_without_labels_classes_are_compared_with_the_float_network(place):
    arrays = dict(np.load(place / "data.npz"))
    np.savez(place / "images.npz", calibration_images=arrays["train_images"])
    heard: list[str] = []
    done = search(place, "no-labels", data="images.npz", progress=heard.append)
    assert done.result.accuracy is None
    assert any("agreement with the float network on calibration images, 96 of them" in text for text in heard)
    assert "no step will train: the data has no training images" in heard
    answers = reference.predict(done.network, arrays["train_images"])
    from skipstone.models.data.float_execution import float_scores

    expected = float_scores(float_network(place), arrays["train_images"]).argmax(axis=1)
    assert 100 * np.mean(answers != expected) <= 12


def test_a_loss_that_nothing_meets_is_reported(place, monkeypatch):
    monkeypatch.setattr(automatic._Search, "_lost", lambda self, network, part: 3.0)
    done = search(place, "over", 1.0)
    tried = [decision.split(":")[0] for decision in done.result.decisions]
    assert tried[:2] == ["8 bits, symmetric for each channel", "equalized, learned rounding, corrected biases"]
    assert done.result.decisions[2] == "zeros: 3.00 points lost; none: 8 bits alone are over; the best found stays"
    assert [step.do for step in done.result.steps] == ["quantize"]


def test_images_held_back_neither_train_nor_calibrate(place):
    dataset = load_dataset(str(place / "data.npz"))
    seen, split = dataset.holding_back(9, 1)
    held = {image.tobytes() for image in split.validation_images}
    assert len(seen.train_images) == len(dataset.train_images) - 9
    assert not held & {image.tobytes() for image in (*seen.train_images, *seen.calibration())}
    assert seen.test_images is dataset.test_images


@pytest.fixture
def torch():
    """PyTorch, which is hidden from tests that do not ask for it."""
    return pytest.importorskip("torch")


def test_it_trains_where_accuracy_falls(place, design, torch, monkeypatch):
    """8 bits lose nothing. The first share of zeros loses 9 points, which training brings back; at the next share it does
    not."""
    losses = iter([0.0, 9.0, 0.5, 9.0, 9.0, 0.5])
    monkeypatch.setattr(automatic._Search, "_lost", lambda self, network, part: next(losses))
    monkeypatch.setattr(automatic, "recipe_names", dict)
    heard: list[str] = []
    done = search(place, "trained", 1.0, design=design, progress=heard.append)
    assert any("it is trained" in decision for decision in done.result.decisions)
    assert "fine_tune" in [step.do for step in done.result.steps]
    assert any("epoch 1/1" in text for text in heard)


STOCK = ("unstructured-80", "post-training-50", "2-4", "w4a8", "ternary")


@pytest.mark.parametrize("with_design", [False, True])
def test_no_stock_recipe_within_the_loss_is_better(place, design, torch, monkeypatch, with_design):
    """Each recipe run on its own, with as many images held back, loses too much on the validation images or costs no less."""
    monkeypatch.setattr(automatic, "recipe_names", lambda: dict.fromkeys(STOCK))
    monkeypatch.setattr(automatic, "AMOUNTS", (0.3,))
    max_loss, chosen, out = 34.0, design if with_design else None, place / f"stock-{with_design}"
    heard: list[str] = []
    done = search(place, out.name, max_loss, design=chosen, progress=heard.append)
    assert any(decision.startswith("recipe ") and decision.endswith("; kept") for decision in done.result.decisions)
    split = load_dataset(str(place / "data.npz")).split_validation(12, 1)
    images, labels = split.validation_images[::2], split.validation_labels[::2]
    if not any(decision.startswith("checked") and decision.endswith("checked") for decision in done.result.decisions):
        for name in STOCK:
            recipe = parse_recipe(load_recipe(name).model_dump(exclude_unset=True) | {"held_back": 12}, name)
            by_recipe = compress(place / "small.onnx", recipe, str(place / "data.npz"), out=out / name, design=chosen)
            if 100 * (1 - reference.accuracy(by_recipe.network, images, labels)) <= max_loss:
                costs = [
                    each.result.encoded_bytes if each.result.cost is None else each.result.cost.cycles
                    for each in (done, by_recipe)
                ]
                assert costs[0] <= costs[1], name


def test_what_fails_on_other_images_steps_back(place, monkeypatch):
    """Everything is fine on the images that decide; on those that check, only 8 bits are."""
    monkeypatch.setattr(automatic, "recipe_names", dict)
    sparse = 0.05

    def lost(self, network, part):
        zeros = 1 - sum(layer.nnz for layer in network.array_layers) / sum(
            layer.weights.size for layer in network.array_layers
        )
        return 5.0 if part is self._check and zeros > sparse else 0.0

    monkeypatch.setattr(automatic._Search, "_lost", lost)
    done = search(place, "back", 1.0)
    assert [step.do for step in done.result.steps] == ["quantize"]
    checked = [decision for decision in done.result.decisions if decision.startswith("checked")]
    assert len(checked) == 3
    assert all("too much, so the one before it is checked" in decision for decision in checked[:2])
    assert checked[2].endswith("; kept")


def test_it_says_when_test_images_are_over_the_loss(place, monkeypatch):
    """70% zeros without training, where the images held back would lose nothing."""
    monkeypatch.setattr(automatic._Search, "_lost", lambda self, network, part: 0.0)
    done = search(place, "over-on-test", 1.0)
    lost = done.result.loss_points
    assert lost > 1
    assert (
        done.result.decisions[-1] == f"test images, looked at once: {lost:.2f} points lost, OVER the 1 that may be lost"
    )


def test_epochs_are_bounded(place, torch):
    heard: list[str] = []
    done = search(place, "bounded", 0.0, max_epochs=0, progress=heard.append)
    assert all(step.do not in ("fine_tune", "quantization_aware_training") for step in done.result.steps)
    assert any("not trained, 1 epochs are more than the 0 left" in text for text in heard)
    with pytest.raises(SkipstoneError, match="max_epochs must be 0 or more, not -1"):
        search(place, "bounded", max_epochs=-1)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_without_its_training_leaves_the_same_masks(name):
    """Its steps are a recipe, and none of them trains."""
    steps = [step for each in load_recipe(name).step if (step := automatic.without_training(each)) is not None]
    if steps:
        recipe = parse_recipe({"step": steps})
        assert not any(isinstance(step, Training) for step in recipe.step)


def test_a_decision_in_words():
    assert str(Decision("half", 0.125, 1234, "kept")) == "half: 0.12 points lost, 1,234 cycles; kept"
    assert str(Decision("half", 1, None, "too much")) == "half: 1.00 points lost; too much"
    assert str(Decision("a", 0.5, 7, "kept", "encoded bytes", False)) == "a: 0.5 lost, 7 encoded bytes; kept"


def test_an_interrupted_search_resumes(place):
    def stop(text: str) -> None:
        if text.startswith("measured: 30% zeros"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(place, "stopped", progress=stop)
    heard: list[str] = []
    search(place, "stopped", progress=heard.append)
    search(place, "straight")
    assert any("done before" in text for text in heard)
    assert outputs(place / "stopped") == outputs(place / "straight")


def test_from_the_command_line(place):
    done = invoke(place, "--recipe", "auto", "--max-loss", 12, "--data", place / "data.npz", "--out", place / "line")
    assert done.exit_code == 0, done.output
    result = json.loads((place / "line" / "compression.json").read_text())
    shown = " ".join(done.stdout.split())
    for decision in result["decisions"]:
        assert decision.split(":")[0] in shown
    assert (place / "line" / "recipe.toml").exists()


def test_a_negative_loss_is_refused(place):
    with pytest.raises(SkipstoneError, match="max_loss must be 0 or more percentage points, not -1"):
        search(place, "none", -1)
    assert not (place / "none").exists()

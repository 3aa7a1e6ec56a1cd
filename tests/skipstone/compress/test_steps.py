"""Every kind of step on a small network: the network that it returns is the one that it reports."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from skipstone.compress.recipe import step_kinds
from skipstone.errors import SkipstoneError
from skipstone.hw.design import load_design
from tests.skipstone.compress.small import float_network, labelled_data, run, small_place

TRAINED = {"epochs": 1, "batch": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_place(tmp_path_factory.mktemp("steps"))


@pytest.fixture(scope="module")
def design(place):
    return load_design(str(place / "small.toml"))


def zeros(graph) -> dict[str, float]:
    return {layer.name: float(np.mean(layer.weights == 0)) for layer in graph.convs}


def shapes(graph) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.weights.shape for layer in graph.convs}


def last(done):
    return done.result.steps[-1]


SIZES = {"first": 90, "second": 225, "dense": 20}
"""Weights: 5 x 2 x 3 x 3, 5 x 5 x 3 x 3 and 4 x 5."""


@pytest.mark.parametrize("do", ["prune", "prune_second_order"])
def test_half_of_each_layer(place, do):
    done = run(place, {"do": do, "amount": 0.5})
    for name, share in zeros(done.graph).items():
        assert share == pytest.approx(round(0.5 * SIZES[name]) / SIZES[name])
    assert last(done).sparsity == pytest.approx(
        1 - sum(np.count_nonzero(layer.weights) for layer in done.graph.convs) / 335
    )
    assert [layer.nnz <= layer.weights - round(0.5 * layer.weights) for layer in done.result.layers] == [True] * 3


def test_amounts_and_skip(place):
    done = run(place, {"do": "prune", "amount": 0.5, "amounts": {"second": 0.8}, "skip": ["dense"]})
    assert zeros(done.graph) == pytest.approx({"first": 0.5, "second": 0.8, "dense": 0})


def test_two_of_four_notes_layers_with_few_channels(place):
    """With two channels, one weight of each two stays; with five, two of the first four stay, and one more."""
    done = run(place, {"do": "prune", "granularity": "nm", "pattern": "2:4"})
    weights = {layer.name: layer.weights for layer in done.graph.convs}
    assert (np.count_nonzero(weights["first"], axis=1) == 1).all()
    assert (np.count_nonzero(weights["second"][:, :4], axis=1) == 2).all()
    assert any("'first'" in note for note in last(done).notes)


@pytest.mark.parametrize("granularity", ["block", "kernel", "stripe", "shape", "input_channel", "filter"])
def test_structures(place, granularity):
    done = run(place, {"do": "prune", "granularity": granularity, "amount": 0.4, "skip": ["dense"]})
    second = next(layer.weights for layer in done.graph.convs if layer.name == "second") != 0
    groups = {
        "block": second[:4].any(axis=0),
        "kernel": second.any(axis=(2, 3)),
        "stripe": second.any(axis=1),
        "shape": second.any(axis=0),
        "input_channel": second.any(axis=(0, 2, 3)),
        "filter": second.any(axis=(1, 2, 3)),
    }[granularity]
    # Blocks of 4 filters leave the fifth by itself.
    count = second[4:].any(axis=0).size + groups.size if granularity == "block" else groups.size
    remaining = groups.sum() + (second[4:].any(axis=0).sum() if granularity == "block" else 0)
    assert remaining == count - round(0.4 * count)


def test_pruning_by_statistics_and_at_random(place):
    for criterion in ("wanda", "random", "lamp", "l2"):
        done = run(place, {"do": "prune", "amount": 0.4, "criterion": criterion})
        assert zeros(done.graph)["second"] == pytest.approx(0.4)


def test_thinet_leaves_a_smaller_tensor(place):
    done = run(place, {"do": "prune_by_reconstruction", "amount": 0.4, "skip": ["first", "dense"], "shrink": False})
    second = next(layer.weights for layer in done.graph.convs if layer.name == "second")
    assert second.any(axis=(0, 2, 3)).sum() == 3


def test_removed_filters_shrink_all_coupled_layers(place):
    before = float_network(place)
    done = run(place, {"do": "remove_filters", "amount": 0.4})
    shape_of = shapes(done.graph)
    # The residual Add ties both layers' filters, and with them the inputs of second and dense.
    assert shape_of["first"][0] == shape_of["second"][0] == shape_of["second"][1] == shape_of["dense"][1] == 3
    assert last(done).macs == sum(done.graph.macs.values()) < sum(before.macs.values())
    assert last(done).weights == sum(int(np.prod(shape)) for shape in shape_of.values())


def test_a_share_of_macs_is_kept(place):
    before = sum(float_network(place).macs.values())
    done = run(place, {"do": "remove_filters", "macs": 0.5})
    assert 0.2 < last(done).macs / before <= 0.6


def test_a_block_is_removed(place):
    done = run(place, {"do": "remove_blocks", "amount": 0.99})
    assert [layer.name for layer in done.graph.convs] == ["first", "dense"]
    with pytest.raises(SkipstoneError, match=r"step 1 \(remove_blocks\): .*'x'"):
        run(place, {"do": "remove_blocks", "blocks": ["x"]}, out="refused")


@pytest.mark.parametrize("method", ["svd", "tucker", "cp"])
def test_low_rank(place, method):
    rank = [2, 2] if method == "tucker" else [2]
    done = run(place, {"do": "factorize", "method": method, "ranks": {"second": rank}})
    assert len(done.graph.convs) > 3
    assert last(done).weights < 335
    assert last(done).measured["layers"]["second"]["parts"]


@pytest.mark.parametrize("kind", ["depthwise_separable", "bottleneck"])
def test_compact_filters(place, kind):
    done = run(place, {"do": "compact", "filter": kind, "layers": ["second"]})
    assert len(done.graph.convs) > 3
    if kind == "depthwise_separable":
        assert any(layer.groups == 5 for layer in done.graph.convs)


def test_equalized_network_computes_the_same(place):
    from skipstone.models.data.float_execution import float_scores

    done = run(place, {"do": "equalize"})
    images = np.load(place / "data.npz")["test_images"]
    np.testing.assert_allclose(
        float_scores(done.graph, images), float_scores(float_network(place), images), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("keys", "code", "bits"),
    [
        ({}, "linear", 8),
        ({"weight_bits": 4}, "linear", 4),
        ({"weight_code": "ternary", "weight_bits": 2}, "ternary", 2),
        ({"weight_code": "codebook", "codebook_entries": 4}, "codebook", 8),
        ({"activations": "symmetric", "weights": "per_tensor"}, "linear", 8),
    ],
)
def test_codes_and_bits(place, keys, code, bits):
    network = run(place, {"do": "quantize", **keys}).network
    assert (network.weight_code, network.weight_bits) == (code, bits)
    for layer in network.array_layers[:2]:
        values = set(np.unique(layer.weights).tolist())
        assert max(map(abs, values)) <= {"ternary": 1}.get(code, 2 ** (bits - 1) - 1)
        assert code != "codebook" or len(values - {0}) <= 4
    if keys.get("activations") == "symmetric":
        assert all(tensor.zero_point == 0 for tensor in network.tensors.values())


def test_bits_of_single_layers(place):
    done = run(place, {"do": "quantize", "layer_bits": {"second": 3}})
    bits = {layer.name: layer.bits for layer in done.result.layers}
    assert bits == {"first": 8, "second": 3, "dense": 8}
    assert np.abs(next(layer.weights for layer in done.network.array_layers if layer.name == "second")).max() <= 3
    mixed = run(place, {"do": "quantize", "mean_bits": 4.0})
    chosen = last(mixed).measured["layer_bits"]
    assert sum(chosen[name] * size for name, size in SIZES.items()) <= 4 * 335


def test_learned_rounding_corrected_biases_and_best_ranges_leave_grids(place):
    step = {"do": "quantize", "weight_bits": 3, "weight_range": "mse", "rounding": "adaptive", "bias_correction": True}
    done = run(place, step)
    assert all(layer.grid is not None and layer.grid.bits == 3 for layer in done.graph.convs)
    again = run(place, step, {"do": "quantize", "weight_bits": 8})
    assert "integers already, which stay as they are: the weights of first, second, dense" in last(again).notes
    pruned = run(place, step, {"do": "prune", "amount": 0.5})
    assert any("no integers any more" in note for note in last(pruned).notes)
    with pytest.raises(SkipstoneError, match=r"step 2 \(quantize\): mean_bits comes too late"):
        run(place, step, {"do": "quantize", "mean_bits": 4.0})


def test_pruned_weights_stay_zero_in_integers(place):
    done = run(place, {"do": "prune", "amount": 0.6}, {"do": "quantize", "weight_bits": 4, "bias_correction": True})
    for layer in done.graph.convs:
        integers = next(
            array_layer.weights for array_layer in done.network.array_layers if array_layer.name == layer.name
        )
        assert np.count_nonzero(integers) <= np.count_nonzero(layer.weights)


def test_steps_with_a_design(place, design):
    aware = {"do": "cycle_aware_prune", "amount": 0.5, "images": 32}
    done = run(place, aware, {"do": "balance_rows"}, {"do": "prune_words", "amount": 0.1}, design=design)
    measured = [step.measured for step in done.result.steps]
    assert measured[0]["cost"] <= measured[0]["uniform_cost"]
    assert measured[0]["loss"] <= measured[0]["uniform_loss"]
    assert measured[1]["cycles"][1] <= measured[1]["cycles"][0]
    assert measured[2]["cycles"][1] <= measured[2]["cycles"][0]
    assert done.result.cost is not None
    assert done.result.cost.cycles < done.result.cost.dense_cycles


def test_gating_measures_and_changes_nothing(place, design):
    done = run(place, {"do": "gate", "threshold": 0.2}, design=design)
    assert last(done).measured["images"] == 40
    assert set(last(done).measured) >= {"accuracy", "gated_accuracy", "saved_macs_share", "words"}
    assert "words" not in last(run(place, {"do": "gate", "threshold": 0.2})).measured
    for old, new in zip(float_network(place).convs, done.graph.convs, strict=True):
        np.testing.assert_array_equal(old.weights, new.weights)


class TestTraining:
    @pytest.fixture(autouse=True)
    def _torch(self):
        pytest.importorskip("torch")

    @pytest.mark.parametrize("distillation", ["none", "labels", "teacher"])
    def test_fine_tuning_keeps_zeros(self, place, distillation):
        done = run(place, {"do": "prune", "amount": 0.5}, {"do": "fine_tune", **TRAINED, "distillation": distillation})
        pruned = run(place, {"do": "prune", "amount": 0.5})
        for before, after in zip(pruned.graph.convs, done.graph.convs, strict=True):
            assert not after.weights[before.weights == 0].any()
            assert (after.weights != before.weights).any()

    @pytest.mark.parametrize("regularizer", ["l1", "group_lasso", "batch_norm_scale"])
    def test_regularizers(self, place, regularizer):
        run(place, {"do": "fine_tune", **TRAINED, "regularizer": regularizer, "strength": 1e-3})

    def test_gradual_and_iterative_pruning_reach_their_amount(self, place):
        for step in (
            {"do": "gradual_prune", "every": 1, **TRAINED},
            {"do": "iterative_prune", "rounds": 2, "criterion": "taylor", **TRAINED},
            {"do": "lottery_ticket", "rounds": 1, **TRAINED},
        ):
            done = run(place, {**step, "amount": 0.6})
            assert zeros(done.graph)["second"] == pytest.approx(0.6)

    def test_dynamic_sparse_training_keeps_the_share_and_moves_places(self, place):
        pruned = run(place, {"do": "reinitialize"}, {"do": "prune", "amount": 0.5})
        rigl = {"do": "dynamic_sparse", **TRAINED, "epochs": 2, "every": 1, "until": 0.5}
        done = run(place, {"do": "reinitialize"}, {"do": "prune", "amount": 0.5}, rigl)
        assert zeros(done.graph) == pytest.approx(zeros(pruned.graph), abs=0.02)
        moved = [
            (a.weights == 0) != (b.weights == 0) for a, b in zip(pruned.graph.convs, done.graph.convs, strict=True)
        ]
        assert any(mask.any() for mask in moved)

    @pytest.mark.parametrize("estimator", ["straight_through", "learned_step"])
    def test_quantization_aware_training_leaves_integers(self, place, estimator):
        step = {"do": "quantization_aware_training", **TRAINED, "weight_bits": 3, "estimator": estimator}
        done = run(place, {"do": "prune", "amount": 0.5}, step)
        assert all(layer.grid is not None and layer.grid.bits == 3 for layer in done.graph.convs)
        assert min(zeros(done.graph).values()) >= 0.48
        assert done.network.weight_bits == 3
        trained = {layer.name: layer.grid.integers for layer in done.graph.convs if layer.grid is not None}
        for layer in done.network.array_layers:
            if layer.name in trained:
                np.testing.assert_array_equal(layer.weights.ravel(), trained[layer.name].ravel())

    def test_floats_trained_after_quantization_are_quantized_again(self, place):
        done = run(place, {"do": "quantization_aware_training", **TRAINED}, {"do": "fine_tune", **TRAINED})
        assert any("no integers any more" in note for note in last(done).notes)
        assert not done.graph.grids
        assert "training" not in done.network.calibration

    def test_pruning_by_gradients(self, place):
        for step in (
            {"do": "prune", "criterion": "snip", "amount": 0.4},
            {"do": "remove_filters", "criterion": "taylor", "amount": 0.4},
        ):
            assert last(run(place, step)).measured is not None

    def test_robust_accuracy_is_measured(self, place):
        done = run(place, {"do": "robust_accuracy", "steps": 2, "images": 16})
        measured = last(done).measured
        assert measured["images"] == 16
        assert 0 <= measured["robust"] <= 1
        assert measured["float_robust"] <= measured["float_clean"]


def test_every_kind_is_tested_here():
    text = Path(__file__).read_text()
    missing = [name for name in step_kinds() if f'"{name}"' not in text]
    assert not missing


STEPS_THAT_TRAIN = [
    {"do": "fine_tune"},
    {"do": "reinitialize"},
    {"do": "quantization_aware_training"},
    {"do": "robust_accuracy"},
    {"do": "prune", "amount": 0.5, "criterion": "snip"},
]


@pytest.mark.parametrize("step", STEPS_THAT_TRAIN, ids=lambda step: step["do"])
def test_without_pytorch_the_extra_is_named_before_any_step(place, step, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("skipstone.models.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SkipstoneError, match=r"step 2 \(\w+\): .* package torch, .*pip install 'skipstone\[train\]'"):
        run(place, {"do": "prune", "amount": 0.3}, step, out="no-torch")
    assert not (place / "no-torch").exists()


def test_after_training_steps_work_without_pytorch(place, monkeypatch, design):
    monkeypatch.setitem(sys.modules, "torch", None)
    second_order = {"do": "prune_second_order", "amount": 0.5}
    run(place, {"do": "equalize"}, second_order, {"do": "quantize", "rounding": "adaptive"}, out="plain", design=design)


def test_missing_data_and_unknown_layers_are_named_before_any_step(place):
    arrays = {"train_images": None, "train_labels": None, "calibration_images": np.zeros((4, 2, 9, 7), np.float32)}
    labelled_data(place / "test-only.npz", **arrays)
    images = np.random.default_rng(0).random((20, 2, 9, 7), dtype=np.float32)
    labelled_data(place / "unlabelled.npz", train_images=images, train_labels=None, test_labels=None)
    for data, step, message in (
        ("test-only", {"do": "fine_tune"}, "has no labelled training images"),
        ("unlabelled", {"do": "fine_tune"}, "has no labelled training images"),
        ("unlabelled", {"do": "gate", "threshold": 0.1}, "has no labelled test images"),
        ("unlabelled", {"do": "cycle_aware_prune", "amount": 0.5}, "counts cycles on a design; name one"),
        ("unlabelled", {"do": "prune", "amount": 0.5, "skip": ["third"]}, "skip names 'third'.* first, second, dense"),
        ("unlabelled", {"do": "quantize", "layer_bits": {"sum": 4}}, "layer_bits names 'sum'"),
    ):
        with pytest.raises(SkipstoneError, match=rf"step 2 \({step['do']}\): .*{message}"):
            run_on(place, data, {"do": "equalize"}, step)
    assert not (place / "refused").exists()


def run_on(place, data, *steps):
    from skipstone.compress.recipe import parse_recipe
    from skipstone.compress.run import compress

    recipe = parse_recipe({"step": list(steps)})
    return compress(place / "small.onnx", recipe, str(place / f"{data}.npz"), out=place / "refused")


def test_a_teacher_takes_the_place_of_labels(place):
    pytest.importorskip("torch")
    images = np.random.default_rng(0).random((20, 2, 9, 7), dtype=np.float32)
    labelled_data(place / "unlabelled.npz", train_images=images, train_labels=None, test_labels=None)
    step = {"do": "fine_tune", **TRAINED, "distillation": "teacher"}
    done = run_on(place, "unlabelled", {"do": "prune", "amount": 0.5}, step)
    assert done.result.accuracy is None
    assert last(done).accuracy_after is None

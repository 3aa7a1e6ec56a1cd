"""Interrupted runs resume and end with the files of an uninterrupted run; a failed run keeps the former files."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from skipstone.compress import run
from skipstone.compress.recipe import load_recipe, parse_recipe
from skipstone.errors import SkipstoneError
from tests.skipstone.compress.small import invoke, outputs, small_place, write_recipe

STEPS = [{"do": "equalize"}, {"do": "prune", "amount": 0.3}, {"do": "quantize", "bias_correction": True}]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = small_place(tmp_path_factory.mktemp("resume"))
    heard = compressed(place, "whole")
    assert not any("done before" in text for text in heard)
    return place


def compressed(place, out, steps=STEPS, stop="", error=KeyboardInterrupt):
    """Messages of a run, which raises ``error`` at the first message that contains ``stop``."""
    heard: list[str] = []

    def progress(text: str) -> None:
        heard.append(text)
        if stop and stop in text:
            raise error("stopped")

    recipe = parse_recipe({"name": "r", "step": steps})
    run.compress(place / "small.onnx", recipe, str(place / "data.npz"), out=place / out, progress=progress)
    return heard


@pytest.mark.parametrize(
    ("stop", "done"),
    [("step 1/3", 0), ("step 2/3, prune: measuring", 1), ("step 3/3", 2), ("quantizing", 3), ("writing", 3)],
)
def test_a_resumed_run_reuses_finished_steps(place, stop, done):
    out = f"at-{stop.replace(' ', '-').replace('/', '-')}"
    with pytest.raises(KeyboardInterrupt):
        compressed(place, out, stop=stop)
    assert not (place / out / "compression.json").exists()
    heard = compressed(place, out)
    assert sum("done before" in text for text in heard) == done
    assert outputs(place / out) == outputs(place / "whole")
    assert not list((place / out / "checkpoints").glob("*.training"))


def test_steps_before_a_changed_one_are_reused(place):
    compressed(place, "changed")
    assert sum("done before" in text for text in compressed(place, "changed", [*STEPS[:2], {"do": "quantize"}])) == 2
    assert not any("done before" in text for text in compressed(place, "changed", [STEPS[1], STEPS[0]]))


def test_a_step_with_a_damaged_checkpoint_is_repeated_with_a_note(place):
    compressed(place, "damaged")
    for checkpoint in (place / "damaged" / "checkpoints").glob("*.step"):
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 1
        checkpoint.write_bytes(content)
    heard = compressed(place, "damaged")
    assert sum("damaged; the step is done again" in text for text in heard) == 3
    assert outputs(place / "damaged") == outputs(place / "whole")


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_a_step_with_a_truncated_checkpoint_is_repeated(place, cut):
    compressed(place, "cut")
    checkpoint = sorted((place / "cut" / "checkpoints").glob("*.step"))[0]
    checkpoint.write_bytes(checkpoint.read_bytes()[:cut])
    assert any("is done again" in text for text in compressed(place, "cut"))
    assert outputs(place / "cut") == outputs(place / "whole")


def full_disk(monkeypatch, allowed):
    """Writing fails after ``allowed`` files, as on a full disk."""
    real, written = os.fsync, []

    def fsync(file):
        if stat.S_ISREG(os.fstat(file).st_mode):
            written.append(file)
            if len(written) > allowed:
                raise OSError(28, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("allowed", [0, 1, 3, 4])
def test_a_full_disk_keeps_the_former_files(place, monkeypatch, allowed):
    """The first files written are checkpoints; the three result files follow."""
    compressed(place, f"full-{allowed}", STEPS[1:])
    before = outputs(place / f"full-{allowed}")
    old = {path.name for path in (place / f"full-{allowed}" / "checkpoints").iterdir()}
    recipe = write_recipe(place, "\n".join(f'[[step]]\ndo = "{do}"' for do in ("equalize", "quantize", "equalize")))
    with monkeypatch.context() as patch:
        full_disk(patch, allowed)
        failed = invoke(place, "--recipe", recipe, "--data", place / "data.npz", "--out", place / f"full-{allowed}")
    assert failed.exit_code == 2
    assert "No space left on device" in failed.stderr
    assert str(place / f"full-{allowed}") in failed.stderr
    after = outputs(place / f"full-{allowed}")
    assert after["json"] == before["json"]
    assert allowed == 4 or after == before
    assert old <= {path.name for path in (place / f"full-{allowed}" / "checkpoints").iterdir()}
    assert not list((place / f"full-{allowed}").rglob(".*partial"))


TRAINING = [
    {"do": "prune", "amount": 0.5},
    {"do": "fine_tune", "epochs": 3, "batch": 32, "flip": True},
    {"do": "quantization_aware_training", "epochs": 2, "batch": 32},
]


@pytest.fixture(scope="module")
def trained(place):
    pytest.importorskip("torch")
    compressed(place, "trained", TRAINING)
    return outputs(place / "trained")


class TestTraining:
    @pytest.mark.parametrize(
        "stop", ["fine_tune: epoch 2/3", "training: epoch 1/2", "step 3/3, quantization_aware_training: m"]
    )
    def test_a_training_resumes_after_its_last_epoch(self, place, trained, stop):
        out = f"trained-{stop[-12:]}".replace("/", "-").replace(" ", "-")
        with pytest.raises(KeyboardInterrupt):
            compressed(place, out, TRAINING, stop=stop)
        compressed(place, out, TRAINING)
        assert outputs(place / out) == trained

    def test_a_damaged_training_file_repeats_only_its_epochs(self, place, trained):
        with pytest.raises(KeyboardInterrupt):
            compressed(place, "trained-damaged", TRAINING, stop="fine_tune: epoch 3/3")
        (checkpoint,) = (place / "trained-damaged" / "checkpoints").glob("*.training")
        checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
        heard = compressed(place, "trained-damaged", TRAINING)
        assert sum("fine_tune: epoch" in text for text in heard) == 3
        assert outputs(place / "trained-damaged") == trained

    def test_rounds_resume(self, place, trained):
        steps = [{"do": "iterative_prune", "amount": 0.5, "rounds": 2, "epochs": 2, "batch": 32}]
        compressed(place, "rounds", steps)
        with pytest.raises(KeyboardInterrupt):
            compressed(place, "rounds-stopped", steps, stop="round 2/2, epoch 2")
        assert len(list((place / "rounds-stopped" / "checkpoints").glob("*.training"))) == 2
        heard = compressed(place, "rounds-stopped", steps)
        assert not any("round 1/2" in text for text in heard)
        assert outputs(place / "rounds-stopped") == outputs(place / "rounds")

    def test_killed_in_the_middle_of_an_epoch(self, place, trained):
        """A separate process is killed (signal 9) some time after its first epoch."""
        text = "[[step]]\ndo = 'prune'\namount = 0.5\n[[step]]\ndo = 'fine_tune'\nepochs = 400\nbatch = 1\n"
        recipe = write_recipe(place, text)
        command = [sys.executable, "-m", "skipstone", "compress", str(place / "small.onnx"), "--recipe", str(recipe)]
        command += ["--data", str(place / "data.npz"), "--out", str(place / "killed")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        folder, deadline = place / "killed" / "checkpoints", time.monotonic() + 120
        while not list(folder.glob("*.training")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        heard: list[str] = []

        def progress(message: str) -> None:
            heard.append(message)
            if "epoch" in message:
                raise KeyboardInterrupt

        out, data = place / "killed", str(place / "data.npz")
        with pytest.raises(KeyboardInterrupt):
            run.compress(place / "small.onnx", load_recipe(recipe), data, out=out, progress=progress)
        assert any("prune: done before" in message for message in heard)
        assert not any("epoch 1/400" in message for message in heard)


def test_an_error_names_its_step_and_keeps_the_steps_before(place):
    steps = [{"do": "remove_filters", "amount": 0.4}, {"do": "remove_blocks", "blocks": ["sum", "dense"]}]
    with pytest.raises(SkipstoneError, match=r"step 2 \(remove_blocks\): .*'dense'"):
        compressed(place, "failed", steps)
    assert len(list((place / "failed" / "checkpoints").glob("*.step"))) == 1
    assert not (place / "failed" / "compression.json").exists()

"""What a worker says when it cannot start on its device: one error, with the numbers and what would help."""
import json
import re
import shutil
import struct
import subprocess

import pytest

from cluster import BIN, MODEL

STARTING_AGAIN_WILL_NOT_HELP = 78


def start(program, environment, *flags, model=MODEL):
    return subprocess.run([program, "--model", model, "--router", "127.0.0.1:1", "--log-format=json",
                           *flags],
                          capture_output=True, text=True, timeout=60, env=environment)


def refusal(run, code=STARTING_AGAIN_WILL_NOT_HELP):
    """The one error that a worker ended with."""
    output = run.stdout + run.stderr
    assert run.returncode == code, output
    errors = [line for line in output.splitlines() if json.loads(line)["level"] == "error"]
    assert len(errors) == 1, output
    return json.loads(errors[0])["msg"]


@pytest.fixture
def worker(gpu_programs):
    return gpu_programs / "baton-decode-worker"


@pytest.fixture
def model(tmp_path):
    """A copy of the demo model, to be spoiled."""
    return shutil.copytree(MODEL, tmp_path / "model")


@pytest.mark.parametrize("gpu, device, words", [
    ({"DRIVER": "12040"}, "cuda:0", ["knows CUDA 12.4", "needs 13.0 or newer", "update the driver"]),
    ({"DRIVER": "0"}, "cuda:0", ["no NVIDIA driver is installed"]),
    ({"COUNT": "0"}, "cuda:0", ["this machine has no NVIDIA GPU"]),
    ({"CAPABILITY": "75"}, "cuda:0", ["compute capability 75", "80 (Ampere) is the least"]),
    ({}, "cuda:3", ["cuda:3", "1 GPU"]),
])
def test_a_gpu_that_cannot_be_used_is_one_error(worker, gpu, device, words):
    environment = {f"STAND_IN_GPU_{name}": value for name, value in gpu.items()}
    error = refusal(start(worker, environment, "--device", device))
    for word in [f'device is "{device}"', *words, "device cpu computes without a GPU"]:
        assert word in error


def test_auto_takes_the_cpu_where_the_driver_is_too_old(worker):
    # Ends for another reason: nothing is left to pin the pool to.
    run = start(worker, {"STAND_IN_GPU_DRIVER": "12040"}, "--device", "auto", "--kv-blocks", "1")
    assert "kv_memory" in refusal(run) or "KV blocks" in refusal(run)
    assert "computing on the CPU" in run.stderr + run.stdout
    assert "knows CUDA 12.4" in run.stderr + run.stdout


def test_without_a_gpu_the_real_worker_says_what_is_missing():
    run = start(BIN / "baton-decode-worker", {}, "--device", "cuda:63")
    assert re.match(r'device is "cuda:63": .*(no CUDA|driver|GPU)', refusal(run))


@pytest.mark.parametrize("head_dim, reason", [(512, "at most 256"), (20, "a multiple of 8")])
def test_heads_that_the_device_cannot_compute_are_named_with_the_limit(worker, model, head_dim, reason):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"head_dim": head_dim}))
    error = refusal(start(worker, {}, "--device", "cuda:0", "--load-format", "random", model=model))
    for word in ["config.json", f"head_dim is {head_dim}", reason, "device cpu has no such limit"]:
        assert word in error


def test_weights_of_a_type_that_is_not_computed_are_named_with_those_that_are(worker, model):
    weights = model / "model.safetensors"
    data = weights.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = data[8:8 + size].replace(b'"BF16"', b'"I16" ')  # as long, and as many bytes a value
    weights.write_bytes(data[:8] + header + data[8 + size:])
    error = refusal(start(worker, {}, "--device", "cuda:0", model=model))
    for word in ["tensor model.", "model.safetensors", "dtype I16", "F32, F16, BF16"]:
        assert word in error


def test_weights_that_the_device_does_not_keep_are_named_with_those_that_it_does(worker):
    error = refusal(start(worker, {}, "--device", "cuda:0", "--quantize", "int8"))
    for word in ["weights in int8", "cuda:stand_in keeps"]:
        assert word in error


@pytest.mark.parametrize("free, code, words", [
    # Not even the weights: it may be free again when the worker is started again.
    (1 << 20, 1, ["parameters", "0.00 of 8.59 GB of memory free"]),
    # Not so many blocks.
    (600 << 20, STARTING_AGAIN_WILL_NOT_HELP, ["100000 KV blocks", "would fit"]),
])
def test_too_little_device_memory_is_one_error_with_the_numbers(worker, free, code, words):
    environment = {"STAND_IN_GPU_BYTES_FREE": str(free)}
    error = refusal(start(worker, environment, "--kv-blocks", "100000"), code)
    for word in words:
        assert word in error

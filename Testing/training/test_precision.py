"""Precision by what the processor can do, and said so."""

import pytest
import torch

from attention_unet_training.task.precision import choose_precision, cpu_has_bfloat16


def processor(monkeypatch, capability="AVX512", avx512_bf16=False, amx=False) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


@pytest.mark.parametrize(
    ("capability", "avx512_bf16", "amx", "fast"),
    [
        ("AVX512", True, False, True),
        ("AVX512", False, True, True),
        ("AVX512", False, False, False),
        ("AVX2", False, False, False),
        ("AVX2", True, False, False),  # PyTorch is told to leave AVX512 alone
        ("DEFAULT", False, False, False),  # ARM, Apple
    ],
)
def test_a_cpu_gets_bfloat16_only_where_it_computes_with_it(monkeypatch, capability, avx512_bf16, amx, fast):
    processor(monkeypatch, capability, avx512_bf16, amx)
    assert cpu_has_bfloat16() is fast
    precision, sentence = choose_precision(None, "cpu")
    assert precision == ("bf16-mixed" if fast else "32-true")
    assert sentence.startswith(f"precision {precision}: this CPU ")
    assert "\n" not in sentence


def test_a_slow_precision_that_is_asked_for_is_warned_about(monkeypatch):
    processor(monkeypatch, "AVX2")
    precision, sentence = choose_precision("bf16-mixed", "cpu")
    assert precision == "bf16-mixed"
    assert sentence.startswith("warning: precision bf16-mixed is many times slower than 32-true on this CPU")
    assert "warning" not in choose_precision("32-true", "cpu")[1]
    processor(monkeypatch, avx512_bf16=True)
    assert "warning" not in choose_precision("bf16-mixed", "cpu")[1]


def test_a_gpu_is_asked_what_it_can_do(monkeypatch):
    processor(monkeypatch, "AVX2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    for fast, precision in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, fast=fast: fast)
        assert choose_precision(None, "auto")[0] == choose_precision(None, "gpu")[0] == precision
        assert choose_precision(None, "cpu")[0] == "32-true"

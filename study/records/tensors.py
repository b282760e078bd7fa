"""Keep tensors and plain values in one file that begins with a digest of its content."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from study.records import store
from study.records.files import write_atomically


def save_tensors(path: Path, value: Any) -> None:
    """Write tensors and plain values to a file, atomically.

    The file begins with the SHA-256 (32 bytes) of the bytes that follow.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    payload = buffer.getvalue()
    write_atomically(path, hashlib.sha256(payload).digest() + payload)


def load_tensors(path: Path) -> Any | None:
    """Read what `save_tensors` wrote, to the CPU; None if the file is incomplete or altered."""
    content = store.read(path)
    digest, payload = content[:32], content[32:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)

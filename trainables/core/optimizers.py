"""Torch's optimizers, without torch's compiler.

Torch's own import the compiler, `torch._dynamo`, at their first use: only to tell it what to leave
alone. The import takes almost two seconds in each process, and nothing here is compiled.
"""

from __future__ import annotations

import inspect

import torch
from torch import optim

for _name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
    _method = inspect.unwrap(getattr(optim.Optimizer, _name))
    # Here torch's wrapper keeps what it calls, once it has asked the compiler for it.
    setattr(_method, "__dynamo_disable", _method)


class Adam(optim.Adam):
    step = torch.no_grad()(inspect.unwrap(optim.Adam.step))


class AdamW(optim.AdamW):
    step = torch.no_grad()(inspect.unwrap(optim.AdamW.step))

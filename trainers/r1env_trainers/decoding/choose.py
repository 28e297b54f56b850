"""Which way of decoding a model gets."""

from __future__ import annotations

import functools

from r1env_trainers.decoding.batch import Start
from r1env_trainers.decoding.llama import LlamaBatch
from r1env_trainers.decoding.lockstep import Lockstep, StartInStep
from r1env_trainers.decoding.transformers import TransformersBatch
from r1env_trainers.devices import has_triton
from r1env_trainers.llama.shape import Shape
from r1env_trainers.llama.support import is_llama
from r1env_trainers.models.load import LoadedModel

TILES = (16, 32, 64, 128, 256)
"""Head dimensions that the kernels can work on."""


def choose_decoding(loaded: LoadedModel, max_rows: int | None = None) -> Start:
    """The quickest way that is right for this model on its device.

    Args:
        max_rows: completions decoded at once; None for all of a batch, or on a GPU for as many as memory allows.
    """
    llama = is_llama(loaded.model)
    if llama and loaded.device.type == "cuda" and has_triton() and Shape.of(loaded.model.config).head_dim in TILES:
        from r1env_trainers.decoding.graphs import GraphDecoder  # imports Triton, which is only there beside a GPU

        return GraphDecoder(loaded.model, max_rows).start
    in_step: StartInStep = (
        functools.partial(LlamaBatch, loaded.model) if llama else functools.partial(TransformersBatch, loaded.model, loaded.pad)
    )
    return functools.partial(Lockstep, in_step, max_rows=max_rows)

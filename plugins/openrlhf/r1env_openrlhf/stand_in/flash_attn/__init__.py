"""Stands in for flash-attn's padding helpers, which OpenRLHF imports whatever the attention. No attention in here: use `sdpa`."""

__version__ = "0"

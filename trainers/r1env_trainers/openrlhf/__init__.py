"""The backend `openrlhf`: the same settings of GRPO and SFT, run by OpenRLHF on Ray, vLLM and DeepSpeed.

`backend` is the way in for GRPO, `sft.backend` for SFT. In our process: `command` and `flags` (settings to arguments), `installation` (what is
there, asked through `probe`), `prompts` (files), `stage`, `job`, `interruption` and `follow` (start, watch, stop). In the job's processes: `launch`
(starts Ray or ranks, and the unmodified command), `worker` and `rank` (our metrics file), `episodes` (plays and scores). `marked` finds
them all. `stand_in` and `cpu` are put on the job's path only where flash-attn or CUDA is missing.
"""

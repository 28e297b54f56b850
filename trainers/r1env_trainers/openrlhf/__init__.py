"""The backend `openrlhf`: the same GRPO settings, run by OpenRLHF on Ray, vLLM and DeepSpeed.

`backend` is the way in. In our process: `command` (settings to arguments), `installation` (what is there, asked through `probe`), `prompts`
(files), `job` and `follow` (start, watch, stop). In the job's processes: `launch` (starts Ray and the unmodified command), `worker`
(our logger), `episodes` (plays and scores). `stand_in` and `cpu` are put on the job's path only where flash-attn or CUDA is missing.
"""

"""The backend `openrlhf`: the same settings of GRPO and SFT, run by OpenRLHF on Ray, vLLM and DeepSpeed.

In our process: `backend` is the way in, with `sft` for SFT; `command` turns settings into OpenRLHF's arguments and files, `installation`
says what is there (asked through `probe`), `job` starts and stops the processes, `follow` reads what they write. In the job's processes:
`launch` starts Ray and the unmodified command, `rank` one process of torch's launcher, `hooks` changes parts of OpenRLHF after their
import, `episodes` plays and scores. `stand_in` and `cpu_site` are put on the job's path only where flash-attn or CUDA is missing.
"""

__version__ = "0.1.0"

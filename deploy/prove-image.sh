#!/usr/bin/env bash
# Builds the image and runs a whole job through it, as uid 10001 on a read-only root, without a container engine.
#
# Needs Debian with `apt-get install buildah mmdebstrap`, root, and .venv (as `make test` makes it).
# Arguments go to `buildah bud`, for example where pip has to be told of a mirror:
#     deploy/prove-image.sh --volume /etc/pip.conf:/etc/pip.conf:ro
#     deploy/prove-image.sh --build-arg LOCK=requirements-observability.lock
set -euo pipefail
cd "$(dirname "$0")/.."

base=localhost/talkbot-base image=localhost/talkbot
export BUILDAH_ISOLATION=chroot
work=$(mktemp -d)
container=
tidy() {
    if [ -n "$container" ]; then buildah rm "$container" >/dev/null; fi
    rm -rf "$work"
}
trap tidy EXIT

# --- a base, in the place of python:slim: Debian's own Python ---
if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    mmdebstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$work/base.tar"
    container=$(buildah from scratch)
    tar -C "$(buildah mount "$container")" -xf "$work/base.tar"
    buildah commit --rm "$container" "$base" >/dev/null
    container=
    rm "$work/base.tar"
fi

# --- the image; HEALTHCHECK is of Docker's format ---
buildah bud --format docker --network host --build-arg PYTHON_IMAGE="$base" --tag "$image" "$@" .
container=$(buildah from "$image")
root=$(buildah mount "$container")
describe() { buildah inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$image" | sed '/^$/d'; }
mapfile -t environment < <(describe Env)
mapfile -t command < <(describe Entrypoint; describe Cmd)
user=$(buildah inspect --type image --format '{{.Docker.Config.User}}' "$image")
echo "runs ${command[*]} as $user; $(du -sm "$root/venv" | cut -f1) MB of packages, $(du -sm "$root/app" | cut -f1) MB of ours"

# What a volume was mounted over is left as an empty file.
found=$(find "$root" -xdev \( -name '.env*' -o -name pip.conf -o -path "$root/app/bot/sandbox" \) -not -path "$root/usr/*" -not -empty)
if [ -n "$found" ]; then
    echo "this does not belong into the image: $found" >&2
    exit 1
fi

# --- its root, read-only, with /data writable, and a first process of its own ---
mkdir "$work/data"
chown "$user" "$work/data"
export root user data="$work/data"
# shellcheck disable=SC2016 # the inner shell expands it
inside='
    set -eu
    mount --bind "$root" "$root"
    mount --bind "$data" "$root/data"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -o remount,bind,ro "$root"
    if touch "$root/app/x" 2>/dev/null; then echo "the root is writable" >&2; exit 1; fi
    cd "$root"
    exec chroot --userspec="$user" --groups= "$root" /bin/sh -c '\''cd /app && exec "$@"'\'' sh "$@"
'
env "${environment[@]}" "$PWD/.venv/bin/python" deploy/prove_service.py \
    unshare --mount --pid --fork --kill-child /bin/sh -c "$inside" sh "${command[@]}"
echo "it wrote: $(cd "$work/data" && find . -type f | sort | tr '\n' ' ')"

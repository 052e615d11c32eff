#!/bin/sh
# Builds the image without a Docker daemon and without a registry: buildah in a chroot, on a base made by debootstrap.
# Needs root and Debian's packages buildah and debootstrap.
#
#   service/deploy/build_image.sh [TAG] [arguments of `buildah build`…]
#
# BASE_IMAGE   an image to start from in place of a new Debian one
# SUITE        Debian's release for the base; bookworm brings Python 3.11
# MIRROR       Debian's mirror, if not debootstrap's own
# PIP_CONFIG   pip's configuration for the build, handed over as a secret; it does not get into the image
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
tag=${1:-ait}
[ $# -eq 0 ] || shift
suite=${SUITE:-bookworm}
base=${BASE_IMAGE:-localhost/debian-python:$suite}
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"

if [ -z "${BASE_IMAGE:-}" ] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    chmod 755 "$folder"
    # shellcheck disable=SC2086  # no mirror is no argument
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$folder" ${MIRROR:-}
    rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/*
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder" / >/dev/null
    buildah commit --quiet --rm "$container" "$base" >/dev/null
fi

if [ -n "${PIP_CONFIG:-}" ]; then
    set -- --secret "id=pip,src=$PIP_CONFIG" "$@"
fi
# The format is Docker's, as OCI's has no health check; layers are not kept, as vfs copies every one whole.
buildah build --format docker --layers=false --build-arg "BASE_IMAGE=$base" --tag "$tag" "$@" "$root"

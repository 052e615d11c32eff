#!/bin/sh
# Starts an image that build_image.sh built, on a read-only root file system as the image's user, sends it an image,
# asks its health check, and stops it. Needs root, buildah and curl.
#
#   service/deploy/check_image.sh TAG IMAGE [PORT]
set -eu
tag=$1 image=$2 port=${3:-8080}
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
container=$(buildah from "$tag")
root=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    umount "$root/proc" "$root/dev" "$root" 2>/dev/null || true
    rmdir "$root"
    buildah rm "$container" >/dev/null
}
trap finish EXIT
mount --bind "$(buildah mount "$container")" "$root"
mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"  # without /dev/shm, which docker --read-only has: nothing may need it
settings=$(buildah inspect --format '{{range .Docker.Config.Env}}{{.}} {{end}}' "$container")
user=$(buildah inspect --format '{{.Docker.Config.User}}' "$container")
echo "user $user, health check: $(buildah inspect --format '{{.Docker.Config.Healthcheck.Test}}' "$container")"
# shellcheck disable=SC2086  # one word a variable
inside() { exec chroot --userspec="$user" "$root" env -i $settings PORT="$port" "$@"; }

inside python -m service &
server=$!
for _ in $(seq 300); do
    curl --silent --fail "localhost:$port/health/ready" >/dev/null && break
    kill -0 "$server"
    sleep 1
done
grep -E '^(Uid|Gid|VmRSS)' "/proc/$server/status"
(inside touch /opt/app/written) 2>/dev/null && { echo "the root file system can be written" >&2; exit 1; }
(inside python -m service.healthcheck)
echo "healthy"
curl --silent --show-error --fail --data-binary "@$image" "localhost:$port/v1/classify?top_k=3"
echo
kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
echo "SIGTERM: exit code $code"
exit "$code"

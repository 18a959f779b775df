#!/bin/bash
# Tests the image without a container engine: starts what the Dockerfile's last stage says, as the image would, asks
# for its health, writes and reads, and stops it.
#
#   docker/try.sh <root>      in the file system that docker/build.sh made, by chroot, read-only but for the volume, as an
#                             arbitrary uid (needs root)
#   docker/try.sh <binary>    quicker: a built server, in an empty directory
set -euo pipefail
[ $# = 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
what=$(readlink -f "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "docker/try.sh: $*" >&2; [ ! -s "$work/log" ] || tail -20 "$work/log" >&2; exit 1; }

# The words of an instruction in JSON form, one a line.
instruction() {
    awk '/^FROM /{last=NR} {line[NR]=$0} END {for (i=last; i<=NR; i++) print line[i]}' "$here/Dockerfile" |
        sed -n "s/^$1 .*\(\[.*\]\)\$/\1/p; s/^$1 \(\[.*\]\)\$/\1/p" | tail -1 | tr -d '[]"' | tr ',' '\n' | sed 's/^ *//'
}
mapfile -t entrypoint < <(instruction ENTRYPOINT)
mapfile -t healthcheck < <(instruction HEALTHCHECK)
[ ${#entrypoint[@]} -gt 0 ] && [ ${#healthcheck[@]} -gt 0 ] || fail "the Dockerfile says no ENTRYPOINT or HEALTHCHECK"
signal=$(sed -n 's/^STOPSIGNAL //p' "$here/Dockerfile")
mapfile -t environment < <(sed -n 's/^ENV //p' "$here/Dockerfile")

# A port nobody listens on now, below those that the kernel gives to outgoing connections: one of these may be taken
# although nobody listens on it.
port=$((10000 + RANDOM % 20000))
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
environment+=("SKULD_CONF_PORT=$port" "VALKEY_EXTRA_FLAGS=--maxclients 77")

# The uid is neither root's nor the image's: platforms choose their own, with group 0.
uid=23456
directory=$(sed -n 's/^WORKDIR //p' "$here/Dockerfile" | tail -1)
if [ -d "$what" ]; then
    [ "$(id -u)" = 0 ] || fail "chroot needs root"
    cp -a "$what" "$work/root"
    data=$work/volume
    cp -a "$work/root$directory" "$data"
    prefix=
    # In mounts of its own: the root read-only, the volume over its directory.
    enter='/bin/mount --bind "$0" "$0" && /bin/mount -o remount,bind,ro "$0" && /bin/mount --bind "$1" "$0$2" &&
        root=$0 directory=$2 uid=$3 && shift 3 && ! /bin/mkdir "$root/x" 2>/dev/null &&
        exec /usr/bin/unshare -R "$root" -w "$directory" -S "$uid" -G 0 "$@"'
    launch=(env -i "${environment[@]}" /usr/bin/unshare -m /bin/sh -c "$enter" "$work/root" "$data" "$directory" "$uid")
else
    data=$work$directory
    mkdir -m 0775 "$data"
    cp "$what" "$work/skuld-server"
    chmod 0755 "$work" "$work/skuld-server"
    prefix=$work
    launch=(env -i -C "$data" "${environment[@]}")
    [ "$(id -u)" != 0 ] || launch+=(/usr/bin/setpriv --reuid "$uid" --regid 0 --clear-groups)
fi
entrypoint[0]=$prefix${entrypoint[0]}
healthcheck[0]=$prefix${healthcheck[0]}

# Starts the entrypoint with the given arguments, until stopped as a container engine stops it.
try() {
    "${launch[@]}" "${entrypoint[@]}" "$@" >"$work/log" 2>&1 &
    server=$!
    local deadline=$((SECONDS + 20)) reply=
    until "${launch[@]}" "${healthcheck[@]}" >"$work/health" 2>&1; do
        kill -0 "$server" 2>/dev/null || fail "ended at start: ${*:-no arguments}"
        [ $SECONDS -lt $deadline ] || fail "not healthy after 20 s: $(cat "$work/health")"
        sleep 0.1
    done
    [ "$(id -u)" != 0 ] || [ "$(ps -o uid= -p "$server" | tr -d ' ')" = "$uid" ] || fail "runs as another user"
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    "${launch[@]}" "${healthcheck[@]}=ready" >"$work/health" 2>&1 || fail "not ready: $(cat "$work/health")"
    printf 'SET greeting hello\r\nSTRLEN greeting\r\nCONFIG GET dir\r\nCONFIG GET maxclients\r\n' >&3
    read -rt 5 -u 3 reply && [ "${reply%$'\r'}" = +OK ] || fail "SET answered $reply"
    read -rt 5 -u 3 reply && [ "${reply%$'\r'}" = :5 ] || fail "STRLEN answered $reply"
    for _ in 1 2 3 4 5; do read -rt 5 -u 3 reply || fail "CONFIG GET did not answer"; done
    [ "${reply%$'\r'}" = "$prefix$directory" ] || fail "works in $reply"
    for _ in 1 2 3 4 5; do read -rt 5 -u 3 reply || fail "CONFIG GET did not answer"; done
    [ "${reply%$'\r'}" = 77 ] || fail "VALKEY_EXTRA_FLAGS has no effect: $reply clients"
    exec 3>&-
    kill "-${signal#SIG}" "$server"
    wait "$server" || fail "stopped with status $?"
    server=
    ! "${launch[@]}" "${healthcheck[@]}" >/dev/null 2>&1 || fail "healthy although stopped"
}

# The forms of arguments that images of this kind take: nothing, flags, the server's name, a file.
echo "appendonly no" >"$data/x.conf"
try
try --maxmemory 100mb
try valkey-server --appendonly no
try x.conf
echo "docker/try.sh: started, healthy and stopped in all four ways"

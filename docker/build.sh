#!/bin/sh
# Builds the server as one static file and lays out the file system of the image in the directory given.
# What the Dockerfile runs; works on any Linux with a Rust toolchain and a C compiler (glibc's static library included).
set -eu
[ $# = 1 ] || { echo "usage: docker/build.sh <empty directory>" >&2; exit 2; }
mkdir -p "$1"
root=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

# Naming the target keeps the flag away from build scripts and procedural macros, which cannot be static.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --package skuld-actors --target "$host"
built=${CARGO_TARGET_DIR:-target}/$host/release/skuld-server
if ldd "$built" 2>/dev/null | grep -q '=>'; then
    echo "$built still needs shared libraries" >&2
    exit 1
fi

install -D -m 0755 "$built" "$root/skuld-server"
# Two thirds of the file are line numbers; the names of functions, which crash reports need, stay.
strip --strip-debug "$root/skuld-server"
mkdir -p "$root/usr/local/bin" "$root/etc" "$root/data"
for name in skuld-server valkey-server redis-server; do
    ln -sf /skuld-server "$root/usr/local/bin/$name"
done
install -m 0644 valkey.conf "$root/etc/valkey.conf"
echo 'skuld:x:10001:0:Skuld:/data:/skuld-server' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
# Writable for the image's user and for any other one of group 0, as platforms choose that start with a uid of their own.
chmod 0775 "$root/data"
[ "$(id -u)" != 0 ] || chown 10001:0 "$root/data"

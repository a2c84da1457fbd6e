#!/usr/bin/env bash
# Runs every fuzz target for a bounded number of inputs and 40 seconds at most, on stable and without sanitizers.
#   fuzz/run.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")"
runs="${1:-20000}"
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
for target in fuzz_targets/*.rs; do
  name=$(basename "$target" .rs)
  mkdir -p artifacts "corpus/$name"
  log="artifacts/$name.log"
  # What a failure prints: the panic, its input (also under artifacts/) and the seed of the run.
  cargo fuzz run -s none "$name" "corpus/$name" "seeds/$name" -- -runs="$runs" -max_total_time=40 -max_len=4096 -timeout=20 -rss_limit_mb=2048 >"$log" 2>&1 ||
    { grep -nE -A 12 'panicked|INFO: Seed' "$log" || true; tail -n 40 "$log"; exit 1; }
  printf '%s: ' "$name"
  tail -n 1 "$log"
done

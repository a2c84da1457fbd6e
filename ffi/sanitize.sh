#!/usr/bin/env bash
# Runs the tests of the C ABI that run programs in C and C++ (examples, misuse, threads) twice more: with the programs compiled
# for the address and undefined-behaviour sanitizers, and under valgrind. No finding is let pass; `tests/c/valgrind.supp` has
# what is none, with reasons. A handle that a program has not freed when it ends is a finding too.
#   ffi/sanitize.sh [TEST ...]   default: the tests of weir-ffi that run programs
set -euo pipefail
cd "$(dirname "$0")/.."
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(c cpp misuse threads filter_example)
for tool in cc:gcc valgrind:valgrind; do
  command -v "${tool%%:*}" >/dev/null || { apt-get update -qq && apt-get install -y -qq "${tool##*:}"; }
done
# glibc's symbols, without which valgrind does not start on some systems.
valgrind --quiet true || apt-get install -y -qq libc6-dbg
chosen=()
for test in "${tests[@]}"; do chosen+=(--test "$test"); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The leak sanitizer stops a process to look at it, which some containers forbid. Leaks are valgrind's then.
printf 'int main(void) { return 0; }' >"$work/empty.c"
cc -fsanitize=address "$work/empty.c" -o "$work/empty"
"$work/empty" 2>/dev/null || export ASAN_OPTIONS=detect_leaks=0
WEIR_C_RUNNER=asan cargo test --locked -p weir-ffi "${chosen[@]}"

mkdir "$work/logs"
if ! WEIR_C_RUNNER=valgrind WEIR_C_LOGS="$work/logs" cargo test --locked -p weir-ffi "${chosen[@]}"; then
  awk -v RS= '!/are still reachable in/ { print $0 "\n" }' <(sed -E 's/^==[0-9]+== ?//' "$work"/logs/*)
  exit 1
fi
# What handles stand for is still reachable for valgrind, since the table of handles is. The table itself may stay.
kept=$(sed -E 's/^==[0-9]+== ?//' "$work"/logs/* | awk -v RS= '/weir_ffi::handle::give/ && !/OnceLock|get_or_init/ { print $0 "\n" }')
if [ -n "$kept" ]; then
  printf 'handles that were not freed:\n%s\n' "$kept"
  exit 1
fi
printf '%s runs under valgrind, no findings\n' "$(find "$work/logs" -type f | wc -l)"

# shellcheck shell=dash disable=SC2034,SC2154  # variables of init
# Sourced by init: programs whose sampler is off, garbage collections, and mode auto. What comes out is judged by the
# host (tests/vm/test_sources.py), which knows how.

# start_ledger OBJECTS: a program that knows what it holds; file descriptors 5 and 6.
start_ledger() {
  mkfifo ledger-in ledger-out
  GOMAXPROCS=2 /programs/life_ledger "$1" 0 <ledger-in >ledger-out &
  ledger=$!
  exec 5>ledger-in 6<ledger-out
  ledger_answer
}

# The lines before the one that says ok.
ledger_answer() {
  while read -r line <&6 && [ "$line" != ok ]; do echo "$line"; done
}

ask_ledger() {
  echo "$1" >&5
  ledger_answer
}

# settle: collections of the ledger, each of which goheapd has looked at before the next; then its heap profile.
settle() {
  for _ in 1 2 3; do
    ask_ledger gc
    fetch "/targets/$ledger/debug/pprof/heap" spans.pb.gz
  done
}

# is_mode PORT PID MODE
is_mode() {
  wget -q -O targets.json "http://127.0.0.1:$1/api/v1/targets" && tr '{' '\n' <targets.json | grep "\"pid\":$2," | grep -q "\"mode\":\"$3\""
}

wait_for_mode() {
  for _ in $(seq 600); do
    if is_mode "$@"; then return; fi
    sleep 0.1
  done
  say "failed mode of $2 is not $3: $(cat targets.json)"
}

# ---- mode auto, at a port of its own, while the rest goes on: a program that allocates slowly is counted
at auto
mkfifo phases-in phases-out
GOMAXPROCS=1 /programs/phases <phases-in >phases-out &
phases=$!
exec 7>phases-in 8<phases-out
read -r answer <&8
echo "compute 50" >&7
read -r answer <&8
goheapd serve --pid "$phases" --web.listen-address 127.0.0.1:9787 2>serve-auto.log &
governed=$!

# ---- source spans, and collections
at spans
start_ledger 30000
mkfifo cycles-in cycles-out
GODEBUG=gctrace=1 GOMAXPROCS=2 /programs/gc_cycles 40 <cycles-in >cycles-out 2>gctrace-printed &
cycles=$!
exec 3>cycles-in 4<cycles-out
start_daemon sampled "$ledger" "$cycles"
wget -q -O sources.json http://127.0.0.1:9786/api/v1/targets
send sources.json
fetch "/targets/$ledger/debug/pprof/heap" spans.pb.gz # the books are open
ask_ledger "hold 0 30000"
ask_ledger "churn 1"
sleep 1
ask_ledger calm
settle
ask_ledger held >ledger-held
ask_ledger heap >heap-before
fetch "/targets/$ledger/metrics" go-metrics
ask_ledger heap >heap-after
for file in spans.pb.gz ledger-held heap-before go-metrics heap-after; do send "$file"; done
ask_ledger "drop 0 30000"
settle
mv spans.pb.gz dropped.pb.gz
send dropped.pb.gz
at collections
echo go >&3
read -r answer <&4
# The last cycle may still be ending when the program says that it is done.
for _ in $(seq 50); do
  fetch "/targets/$cycles/gctrace" gctrace-served
  grep '^gc ' gctrace-printed >gctrace-own
  if cmp -s gctrace-own gctrace-served; then break; fi
  sleep 0.1
done
send gctrace-own
send gctrace-served

# ---- the wall clock jumps ten days ahead, while programs run and a difference is taken
set_clock() {
  now=$(date +%s)
  date -s "@$((now + $1))" >/dev/null
  sleep 2
}
at jumps
wget -q -O before-jump.json http://127.0.0.1:9786/api/v1/targets
fetch "/targets/$ledger/debug/pprof/allocs?seconds=3" jump-delta.pb.gz &
delta=$!
sleep 1
set_clock 864000
wait "$delta"
ask_ledger "hold 0 20000"
settle
mv spans.pb.gz jump-heap.pb.gz
fetch "/api/v1/targets/$ledger/gc" jump-gc.json
fetch /api/v1/targets jump.json
fetch /metrics jump-metrics
ask_ledger held >jump-held
ask_ledger heap >jump-own
date +%s >jump-now
for file in before-jump.json jump-delta.pb.gz jump-heap.pb.gz jump-gc.json jump.json jump-metrics jump-held jump-own jump-now; do
  send "$file"
done
set_clock -864000

# ---- and after they have ended, ahead and back: what is kept for a while is kept by another clock
at clocks
exec 3>&- 4<&- 5>&- 6<&-
wait "$ledger" "$cycles"
set_clock 864000
set_clock -864000
for path in /-/healthy "/targets/$ledger/debug/pprof/heap"; do fetch "$path" answer; done
set_clock 864000
fetch "/targets/$ledger/debug/pprof/heap" answer
stop_daemon

# ---- mode auto, at its end, and a storm, from which it goes
at counted
wait_for_mode 9787 "$phases" exact
cp targets.json counted.json
send counted.json
kill "$governed"
wait "$governed" || say "failed serve: exit code $?"
exec 7>&- 8<&-
wait "$phases"
at storm
start_target 1
code code-before
ask "load 2"
start_daemon auto "$target"
wait_for_mode 9786 "$target" buckets
cp targets.json throttled.json
send throttled.json
ask stop
stop_daemon
code code-now
check_code auto
stop_target

#!/bin/bash
# Runs as a service in the virtual machine: the package in its default configuration, with real probes in a program of
# another user's. Results go to the console as tests/deploy/systemd/checks.sh writes them, files as in tests/vm/init.
# shellcheck disable=SC2016  # what is in single quotes is for another shell
result=/dev/ttyS0
# shellcheck source=tests/deploy/systemd/checks.sh
source /outside/checks.sh
# How probes have to be attached here.
method=$(sed -n 's/.* method=\([a-z_]*\).*/\1/p' /proc/cmdline)

say() { echo "@@ $*" >>"$result"; }
send() {
  say "file $(basename "$1")"
  base64 "$1" >>"$result"
  say end
}
# If something hangs, the host shall see what.
(
  sleep 1240
  say "failed hung"
  tail -n 40 /outside/log >>"$result"
  journalctl -q -u goheapd -o cat >>"$result"
  for task in /proc/"$(property MainPID)"/task/*; do
    echo "$task $(<"$task/comm"): $(tr '\n' ' ' <"$task/stack")" >>"$result"
  done
  systemctl poweroff -ff
) &

# ---- a program of another user's, told what to do by file descriptors 3 and 4
mkfifo /tmp/in /tmp/out
TARGET_PROFILE_RATE=1024 GOMAXPROCS=2 setpriv --reuid 12345 --regid 12345 --clear-groups /outside/target \
  </tmp/in >/tmp/out &
target=$!
exec 3>/tmp/in 4</tmp/out
read -r answer <&4
ask() {
  echo "$1" >&3
  read -r answer <&4
  [[ $answer == ok* ]] || { echo "$1: $answer"; return 1; }
}
# The executable part of the program in memory. Go's text begins at 0x401000.
code() { dd if=/proc/$target/mem bs=4096 skip=1025 count=128 status=none | cksum; }
row() { curl -sf --max-time 20 $url/api/v1/targets | tr '{' '\n' | grep "\"pid\":$target,"; }
attached() { row | grep -q '"state":"attached"' || { curl -s --max-time 20 $url/api/v1/targets; return 1; }; }
# By what the daemon that runs now says: in mode auto a load can make it take its probes out again within a second.
probed() {
  attached && journalctl -q -o cat _PID="$(property MainPID)" | grep -q "^level=info msg=\"pid $target .*: attached in mode sampled by $method\""
}
is_clean() { [[ $(code) == "$untouched" ]]; }
# A load goes on, and all that it computes is right.
works() {
  ask status
  local rounds errors before
  read -r _ before errors <<<"$answer"
  [[ $errors == 0 ]] || { echo "errors: $errors"; return 1; }
  for _ in {1..100}; do
    sleep 0.1
    ask status
    read -r _ rounds errors <<<"$answer"
    if ((rounds > before)); then return 0; fi
  done
  return 1
}
for scenario in direct garbage large; do ask "run $scenario 100"; done
untouched=$(code)

# ---- the unit as it is, with the capabilities of this kernel
say "kernel $(uname -r)"
check "installs" dpkg -i /outside/goheapd-1.deb
check "starts and is ready" within 300 alive
check "attaches" within 300 probed
check "has a probe in the program" bash -c '[[ $1 != "$2" ]]' - "$(code)" "$untouched"
check "has its default mode" bash -c '! grep -v "^#" /etc/goheapd/goheapd.yml | grep mode'

# Starting it this often is no failure of it.
restart() { systemctl reset-failed goheapd && systemctl restart goheapd; }

# Mode auto counts a program this slow after 10 s; then its own profile, which samples, is no longer ours.
profile_in_mode_sampled() {
  row | grep '"mode":"sampled"' && ask "run direct 300" && ask gc && ask gc && ask "profile /tmp/own.pb.gz" &&
    curl -sf --max-time 20 -o /tmp/served.pb.gz "$url/targets/$target/debug/pprof/heap" && row | grep '"mode":"sampled"'
}
again() { profile_in_mode_sampled || { restart && within 300 probed && profile_in_mode_sampled; }; }
check "serves the program's heap profile" within 400 again
send /tmp/own.pb.gz
send /tmp/served.pb.gz

# ---- the sandbox is there, and on
pid=$(property MainPID)
status_is() { grep -q "^$1:[[:space:]]*$2\$" "/proc/$pid/status" || { grep "^$1" "/proc/$pid/status"; return 1; }; }
# CAP_SYS_PTRACE 19, CAP_PERFMON 38, CAP_BPF 39; with the drop-in also CAP_DAC_READ_SEARCH 2, CAP_SYS_ADMIN 21 and
# CAP_SYS_RESOURCE 24.
capabilities=000000c000080000
dropin=/etc/systemd/system/goheapd.service.d/older-kernel.conf
if dpkg --compare-versions "$(uname -r)" lt 6.6; then
  capabilities=000000c001280004
  check "got the drop-in for older kernels" test -s $dropin
else
  check "got no drop-in" test ! -e $dropin
fi
check "has its capabilities and no more" status_is CapEff $capabilities
check "cannot gain others" status_is CapBnd $capabilities
check "is not root" test "$(stat -c %u "/proc/$pid")" -ge 61184
check "cannot gain privileges" status_is NoNewPrivs 1
check "has system calls filtered" status_is Seccomp 2
check "by the unit as well as by itself" bash -c 'systemctl show -P SystemCallFilter goheapd | grep -w process_vm_readv'
check "may not write to kernel tunables" bash -c '! nsenter -t "$1" -m bash -c "echo 1 >/proc/sys/kernel/panic"' - "$pid"
for name in MemoryDenyWriteExecute ProtectKernelTunables DynamicUser RestrictNamespaces PrivateDevices; do
  check "$name is on" property_is $name yes
done
group=/sys/fs/cgroup$(property ControlGroup)
check "has a memory limit" grep -qx $((512 << 20)) "$group/memory.max"

# ---- restarts while the program works
ask "load 2"
for _ in 1 2 3; do
  check "restarts under load" restart
  check "attaches again" within 300 probed
done
check "has not harmed the program" works

# ---- a daemon that hangs, and one that gets no more memory
mkdir -p /run/systemd/system/goheapd.service.d
conf=/run/systemd/system/goheapd.service.d/test.conf
printf '[Service]\nWatchdogSec=15\nRestartSec=0.2\n' >$conf
systemctl daemon-reload
check "restarts with a shorter watchdog" restart
check "attaches after that" within 300 probed
kill -STOP "$(property MainPID)"
check "is restarted when it hangs" within 300 property_is NRestarts 1
check "by the watchdog" bash -c 'journalctl -q -u goheapd -o cat | grep "Watchdog timeout"'
check "attaches after the watchdog" within 300 probed
check "has not harmed the program by hanging" works
# A machine as slow as this one may hang for long before its memory ends.
printf '[Service]\nWatchdogSec=600\nRestartSec=0.2\n' >$conf
systemctl daemon-reload
check "restarts with a longer watchdog" restart
check "attaches after that, too" within 300 probed
systemctl set-property --runtime goheapd MemoryMax=1M
check "is killed and restarted when its memory is short" within 300 bash -c \
  'journalctl -q -u goheapd -o cat | grep "Failed with result .oom-kill"'
systemctl set-property --runtime goheapd MemoryMax=512M
check "starts again" restart
check "attaches when there is memory" within 300 probed
check "has not harmed the program by being killed" works
rm -r /run/systemd/system/goheapd.service.d
systemctl daemon-reload

# ---- a newer version, while the program works
version() { curl -sf --max-time 20 $url/metrics | sed -n 's/^goheapd_build_info{.*version="\([^"]*\)".*/\1/p'; }
old=$(version)
systemctl reset-failed goheapd
check "upgrades" dpkg -i /outside/goheapd-2.deb
is_newer() { dpkg --compare-versions "$(version)" gt "$old"; }
check "runs the newer version" within 300 is_newer
check "attaches after the upgrade" within 300 probed
check "has not harmed the program by the upgrade" works

# ---- many programs stay below the memory limit
others=()
for _ in {1..40}; do
  GOMAXPROCS=1 setpriv --reuid 12345 --regid 12345 --clear-groups /outside/target < <(sleep 1000) >/dev/null &
  others+=($!)
done
all_attached() { (($(curl -sf --max-time 20 $url/api/v1/targets | grep -o '"state":"attached"' | wc -l) == 41)); }
check "attaches to 40 more" within 400 all_attached
group=/sys/fs/cgroup$(property ControlGroup)
say "memory $(cat "$group/memory.current")"
check "takes half of its memory at most" test "$(cat "$group/memory.current")" -lt $((256 << 20))
check "was never short of it" grep -qx 'oom_kill 0' "$group/memory.events"
kill "${others[@]}"

# ---- the end
began=$SECONDS
check "stops" systemctl stop goheapd
say "stopped in $((SECONDS - began)) s"
check "cleanly" property_is Result success
check "leaves nothing in the program" within 200 is_clean
check "has not harmed the program in all that" works
say "done"
systemctl poweroff -ff

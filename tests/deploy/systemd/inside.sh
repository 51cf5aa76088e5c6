#!/bin/bash
# Runs as a service in the booted container: installs the package, lives through what an operator does, purges it.
# One line per check in /outside/result: "ok NAME" or "FAILED NAME: what was seen". /outside/done marks the end.
# shellcheck disable=SC2016  # what is in single quotes is for another shell
result=/outside/result
# shellcheck source=tests/deploy/systemd/checks.sh
source /outside/checks.sh
metric_is() { curl -sf $url/metrics | grep -qx "$1 $2" || { curl -s $url/metrics | grep "^$1"; return 1; }; }

# ---- install
# The container has pids of its own, which eBPF events do not carry; so no probes here, but all the rest.
mkdir /etc/goheapd
echo 'mode: buckets' >/etc/goheapd/goheapd.yml
check "installs" dpkg -i --force-confold /outside/goheapd.deb
check "starts and is ready" within 30 alive
check "is enabled" systemctl is-enabled goheapd
check "says in its status where it serves" grep -q 'Serving on 127.0.0.1:9786' <(property StatusText)
check "is told to report" property_is WatchdogUSec 30s
pid=$(property MainPID)
check "is not root" test "$(stat -c %u /proc/"$pid")" -ge 61184
# CAP_PERFMON 38, CAP_BPF 39, CAP_SYS_PTRACE 19, and no others.
check "has three capabilities" grep -q '^CapEff:.*000000c000080000$' /proc/"$pid"/status
check "cannot gain more" grep -q '^CapBnd:.*000000c000080000$' /proc/"$pid"/status
check "may not write where it should not" bash -c '! nsenter -t "$1" -m touch /usr/x' - "$pid"
check "has its state directory" test -d /var/lib/private/goheapd
check "logs without time stamps of its own" bash -c 'journalctl -q -u goheapd -o cat | grep "^level=info msg=" && ! journalctl -q -u goheapd -o cat | grep "^ts="'

# ---- another user's program, read from outside
setpriv --reuid 12345 --regid 12345 --clear-groups /outside/prometheus --config.file=/dev/null \
  --storage.tsdb.path=/tmp/prometheus --web.listen-address=127.0.0.1:9999 &
printf 'mode: buckets\ninclude: ["prometheus$"]\n' >/etc/goheapd/goheapd.yml
check "reloads" systemctl reload goheapd
check "reads another user's program" within 20 metric_is 'goheapd_targets{state="attached"}' 1
target=$(pgrep -x prometheus)
check "serves its profile" curl -sf -o /tmp/profile "$url/targets/$target/debug/pprof/heap"
check "says that the reload succeeded" metric_is goheapd_config_last_reload_successful 1

# ---- a bad configuration
echo 'mood: sampled' >/etc/goheapd/goheapd.yml
check "survives a bad reload" systemctl reload goheapd
check "says that the reload failed" within 10 metric_is goheapd_config_last_reload_successful 0
check "keeps the old configuration" metric_is 'goheapd_targets{state="attached"}' 1
check "names the mistake" bash -c 'journalctl -q -u goheapd -o cat | grep "mood: unknown key (line 1)"'
check "gives the journal priorities" bash -c 'journalctl -q -u goheapd -p err -o cat | grep "^level=error.*mood" && ! journalctl -q -u goheapd -p warning -o cat | grep "^level=info"'
check "is the same process" property_is MainPID "$pid"
printf 'mode: buckets\n' >/etc/goheapd/goheapd.yml
check "reloads again" systemctl reload goheapd
check "says that it is well again" within 10 metric_is goheapd_config_last_reload_successful 1

# ---- TLS with a key that is private
tls_ready() { curl -sf --max-time 20 --cacert "/outside/$1.crt" https://localhost:9786/-/ready >/dev/null; }
give() { install -g goheapd -m 0640 "/outside/$1.$2" "/etc/goheapd/server.$2"; }
check "keeps the configuration to root and its group" test "$(stat -c %U:%G:%a /etc/goheapd)" = root:goheapd:750
give first crt
give first key
printf 'tls_server_config: {cert_file: server.crt, key_file: server.key}\n' >/etc/goheapd/web.yml
chown root:goheapd /etc/goheapd/web.yml
chmod 0640 /etc/goheapd/web.yml
printf 'mode: buckets\nweb.config.file: /etc/goheapd/web.yml\n' >/etc/goheapd/goheapd.yml
check "restarts with TLS" systemctl restart goheapd
check "serves by TLS with its group's key" within 20 tls_ready first
check "is still not root" test "$(stat -c %u /proc/"$(property MainPID)")" -ge 61184
# Read again for each connection, so a renewed one needs no restart.
give renewed crt
give renewed key
check "takes over a renewed key" within 10 tls_ready renewed
rm /etc/goheapd/web.yml /etc/goheapd/server.*
printf 'mode: buckets\n' >/etc/goheapd/goheapd.yml

# ---- a daemon that hangs, and one that is killed
mkdir -p /run/systemd/system/goheapd.service.d
printf '[Service]\nWatchdogSec=3\nRestartSec=0.2\n' >/run/systemd/system/goheapd.service.d/test.conf
systemctl daemon-reload
check "restarts" systemctl restart goheapd
check "is ready after a restart" within 20 alive
# Three times the watchdog's time.
sleep 9
check "is not restarted while it is well" property_is NRestarts 0
kill -STOP "$(property MainPID)"
check "is restarted when it hangs" within 40 property_is NRestarts 1
check "by the watchdog" bash -c 'journalctl -q -u goheapd -o cat | grep "Watchdog timeout"'
check "is ready after the watchdog" within 20 alive
kill -KILL "$(property MainPID)"
check "is restarted when it is killed" within 20 property_is NRestarts 2
check "is ready after the kill" within 20 alive
rm -r /run/systemd/system/goheapd.service.d
systemctl daemon-reload
check "has not harmed the program" curl -sf http://127.0.0.1:9999/-/healthy

# ---- stop, upgrade, remove, purge
began=$(date +%s%N)
check "stops" systemctl stop goheapd
check "within two seconds and a bit" test $((($(date +%s%N) - began) / 1000000)) -lt 3000
check "cleanly" property_is Result success
systemctl start goheapd
check "has a mistake that an administrator made" test -s /etc/goheapd/goheapd.yml
before=$(property MainPID)
# As if it had been installed under an older kernel.
dropin=/etc/systemd/system/goheapd.service.d/older-kernel.conf
install -D -m 0644 /usr/share/goheapd/systemd/older-kernel.conf $dropin
check "upgrades" dpkg -i --force-confold /outside/goheapd.deb
check "runs after the upgrade" within 20 alive
check "is another process after it" bash -c '[[ $1 != "$2" ]]' - "$before" "$(property MainPID)"
check "keeps what an administrator changed" grep -q '^mode: buckets' /etc/goheapd/goheapd.yml
if dpkg --compare-versions "$(uname -r)" ge 6.6; then kept=false; else kept=true; fi
check "takes back what this kernel does not need" test "$(test -e $dropin && echo true || echo false)" = $kept
mkdir -p "${dropin%/*}"
{ cat /usr/share/goheapd/systemd/older-kernel.conf; echo '# mine'; } >$dropin
check "upgrades again" dpkg -i --force-confold /outside/goheapd.deb
check "leaves a drop-in that somebody has changed" grep -qx '# mine' $dropin
check "removes" dpkg --remove goheapd
check "is stopped by that" bash -c '! systemctl is-active goheapd'
check "leaves the configuration" test -e /etc/goheapd/goheapd.yml
check "purges" dpkg --purge goheapd
check "leaves nothing" bash -c '! find / -xdev \( -path /proc -o -path /sys -o -path /outside -o -path /run/log -o -path /var/log -o -path /tmp \) -prune -o -name "*goheapd*" -print | grep .'
check "leaves no group" bash -c '! getent group goheapd'
check "leaves no failed unit" bash -c '! systemctl --failed --no-legend | grep goheapd'

kill %1
touch /outside/done
systemctl poweroff -ff

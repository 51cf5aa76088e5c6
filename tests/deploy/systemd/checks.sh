# shellcheck shell=bash
# Sourced by what runs as a service in a booted system: checks, one line each, into the file $result:
# "ok NAME" or "FAILED NAME: what was seen". What is done is written to /outside/log.
result=${result:?names the file for the verdicts}
url=http://127.0.0.1:9786
export DEBIAN_FRONTEND=noninteractive
exec >/outside/log 2>&1 </dev/null
# Away from what commands say, which checks quote.
exec 9>&1
BASH_XTRACEFD=9
set -x

check() {
  local name=$1 seen
  shift
  if seen="$("$@" 2>&1)"; then
    echo "ok $name" >>"$result"
  else
    echo "FAILED $name: $seen | $(journalctl -q -u goheapd -n 15 -o cat | tr '\n' ';')" >>"$result"
  fi
}
# within SECONDS COMMAND...: until it succeeds
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/tmp/within 2>&1; do
    if ((SECONDS >= deadline)); then
      cat /tmp/within
      return 1
    fi
    sleep 0.1
  done
}
property() { systemctl show -P "$1" goheapd; }
property_is() { [[ $(property "$1") == "$2" ]] || { echo "$1 is $(property "$1")"; return 1; }; }
ready() { curl -sf --max-time 20 $url/-/ready >/dev/null; }
alive() { property_is ActiveState active && ready; }

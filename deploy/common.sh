# Sourced by the scripts of deploy/ and tests/: where things are cached, and a private apt that can fetch a package
# from another Debian suite without installing it and without changing anything in /etc/apt or /var/lib/apt.
# shellcheck shell=bash

# Everything downloaded or unpacked lives here, outside the tree, and may be deleted at any time.
goheapd_cache() { printf '%s\n' "${GOHEAPD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/goheapd}"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# version_at_least HAVE WANT
version_at_least() { dpkg --compare-versions "$1" ge "$2"; }

# The prefix of the libbpf that install-deps unpacked; empty when the system's own is new enough.
libbpf_root() {
  local root
  root="$(goheapd_cache)/libbpf"
  if compgen -G "$root/usr/lib/*/libbpf.a" >/dev/null; then printf '%s\n' "$root"; fi
}

# One downloader at a time: several clones of one user share the cache. Released when the calling script ends.
lock_cache() {
  mkdir -p "$(goheapd_cache)"
  exec {goheapd_lock}>"$(goheapd_cache)/.lock"
  flock "$goheapd_lock" || die "cannot lock $(goheapd_cache)/.lock"
}

# The Debian archive that this machine's own apt uses, as "URI KEYRING". apt is asked rather than the files of
# /etc/apt read, so that .list, deb822 .sources, disabled entries and mirror methods all mean what they mean to apt.
debian_mirror() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg uri
  if [[ -n ${GOHEAPD_DEBIAN_MIRROR:-} ]]; then
    printf '%s %s\n' "$GOHEAPD_DEBIAN_MIRROR" "$keyring"
    return
  fi
  # A main archive is one whose suite is a plain release name: not NAME-security, NAME-updates or a third party's.
  # shellcheck disable=SC2016  # apt fills these in
  uri="$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 ~ /^(bookworm|trixie|forky|sid|stable|testing|unstable)$/ && $3 == "main" {print $1; exit}')"
  [[ -n $uri ]] || die "the apt sources of this machine name no Debian archive;" \
    "set GOHEAPD_DEBIAN_MIRROR to the URI of one (the part before /dists) and try again"
  printf '%s %s\n' "$uri" "$keyring"
}

# private_apt PROGRAM ARGS...: apt-get or apt-cache with lists and sources of our own.
# The suites are those of GOHEAPD_SUITES below. What apt works out of the lists is kept: images of containers switch that
# off, and each call takes some seconds then.
private_apt() {
  local program=$1 apt
  shift
  apt="$(goheapd_cache)/apt"
  "$program" -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt" -o Dir::Cache::pkgcache=pkgcache.bin \
    -o Dir::Cache::srcpkgcache=srcpkgcache.bin -o APT::Sandbox::User=root \
    -o Acquire::Retries=3 -o Acquire::Languages=none -o APT::Default-Release= "$@"
}

# Oldest first: a program is taken from the first suite that has it unless a suite is named.
GOHEAPD_SUITES=(bullseye bookworm bookworm-backports trixie trixie-backports sid)

# Fetches the package lists of those suites, at most once an hour.
private_apt_update() {
  local apt mirror keyring suite sources=
  apt="$(goheapd_cache)/apt"
  if [[ -n $(find "$apt/updated" -mmin -60 2>/dev/null) ]] &&
    [[ "$(<"$apt/updated")" == "${GOHEAPD_SUITES[*]}" ]]; then return; fi
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  read -r mirror keyring < <(debian_mirror) || exit 1
  [[ -f $keyring ]] || die "$keyring is missing: install the package debian-archive-keyring"
  for suite in "${GOHEAPD_SUITES[@]}"; do
    sources+="deb [signed-by=$keyring] $mirror $suite main"$'\n'
  done
  printf '%s' "$sources" >"$apt/sources.list"
  private_apt apt-get update || die "cannot read the package lists of $mirror"
  printf '%s' "${GOHEAPD_SUITES[*]}" >"$apt/updated"
}

# private_version PACKAGE [SUITE]: the newest version in that suite, or that of the oldest suite which has the package.
private_version() {
  local package=$1 suite rows
  rows="$(private_apt apt-cache madison "$package" | tr -d ' ')"
  for suite in ${2:-"${GOHEAPD_SUITES[@]}"}; do
    awk -F'|' -v suite="$suite/main" 'index($3, suite) {print $2; exit}' <<<"$rows" | grep . && return
  done
  return 1
}

# private_fetch PACKAGE VERSION: prints the path of the .deb, downloading it when it is not there yet.
private_fetch() {
  local package=$1 version=$2 debs
  debs="$(goheapd_cache)/debs"
  mkdir -p "$debs"
  if ! compgen -G "$debs/${package}_${version//:/%3a}_*.deb" >/dev/null; then
    (cd "$debs" && private_apt apt-get download "$package=$version" >&2) ||
      die "cannot download $package $version"
  fi
  compgen -G "$debs/${package}_${version//:/%3a}_*.deb" | sed -n 1p
}

#!/bin/sh
# What only tests and PDFs need of the system, as groups of Debian packages:
#   env/apt.sh browser tex slurm fetch hub    install what is missing of these where root or sudo allows;
#                                   otherwise say it in one line and exit with 1
#   env/apt.sh --look tex           only look; exit with 1 if something is missing
set -eu
PATH="$PATH:/usr/sbin:/sbin"

# Programs of a group, alternatives as a|b, and the packages that bring them.
group() {
  case $1 in
    browser)
      programs="chromium|chromium-browser|google-chrome|google-chrome-stable|chrome"
      packages="chromium" ;;
    tex)
      programs="xelatex latexmk rsvg-convert pdfinfo make"
      packages="texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended \
texlive-xetex latexmk fonts-texgyre fonts-texgyre-math lmodern fonts-freefont-otf \
fonts-dejavu-core librsvg2-bin poppler-utils make" ;;
    slurm)
      programs="slurmctld slurmd slurmdbd sacctmgr mariadbd mariadb-install-db munged ip tc"
      packages="slurm-wlm slurmdbd mariadb-server munge iproute2" ;;
    fetch)
      programs="rsync ssh"
      packages="rsync openssh-client" ;;
    hub)
      programs="configurable-http-proxy"
      packages="node-configurable-http-proxy" ;;
    *) echo "setup: $1 is no group of packages: browser, tex, slurm, fetch, hub" >&2; exit 2 ;;
  esac
}

# The first missing program of the group; nothing if all are there.
missing() {
  group "$1"
  for either in $programs; do
    here=""
    for program in $(echo "$either" | tr '|' ' '); do
      command -v "$program" >/dev/null 2>&1 && here=yes
    done
    [ -n "$here" ] || { echo "${either%%|*}"; return; }
  done
}

look=""
[ "${1:-}" != --look ] || { look=yes; shift; }
as=none
if [ -z "$look" ] && command -v apt-get >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ]; then as=""; elif sudo -n true 2>/dev/null; then as="sudo -n"; fi
fi

# apt-get, tried again for ten minutes while another package manager holds one of its locks: its own
# DPkg::Lock::Timeout waits for neither that of the lists nor that of the archives.
apt() {
  tries=120
  until $as env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get "$@" > "$log" 2>&1; do
    held=$(grep 'Could not get lock' "$log") && [ $tries -gt 0 ] || return 1
    [ $tries -lt 120 ] || echo "setup: waiting for another package manager: ${held#E: }"
    tries=$((tries - 1))
    sleep 5
  done
}

lacking="" line="" updated=""
for name; do
  gone=$(missing "$name")
  [ -n "$gone" ] || continue
  group "$name"
  if [ "$as" != none ]; then
    echo "setup: installing $packages (apt-get)"
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of packages
    { [ -n "$updated" ] || apt -q update; apt install -y --no-install-recommends $packages; } ||
      tail -3 "$log" >&2
    rm -f "$log"
    updated=yes
    gone=$(missing "$name")
    [ -n "$gone" ] || continue
  fi
  lacking="$lacking${lacking:+, }$gone" line="$line $packages"
done
[ -n "$lacking" ] || exit 0
[ -n "$look" ] ||
  echo "setup: missing: $lacking; install with: sudo apt-get install -y --no-install-recommends$line" >&2
exit 1

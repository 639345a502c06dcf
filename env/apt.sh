#!/bin/sh
# Install Debian packages where root or sudo allows: env/apt.sh COMMAND PACKAGE…
# Does nothing if COMMAND is there; otherwise says the line to run and exits with 1.
set -eu
command=$1; shift
command -v "$command" >/dev/null 2>&1 && exit 0
line="apt-get install -y --no-install-recommends $*"
if command -v apt-get >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ]; then as=""; elif sudo -n true 2>/dev/null; then as="sudo -n"; else as=none; fi
  if [ "$as" != none ]; then
    echo "setup: installing $* (apt-get)"
    log=$(mktemp)
    if { DEBIAN_FRONTEND=noninteractive $as apt-get -q update &&
         DEBIAN_FRONTEND=noninteractive $as $line; } > "$log" 2>&1 &&
       command -v "$command" >/dev/null 2>&1; then rm -f "$log"; exit 0; fi
    tail -3 "$log" >&2; rm -f "$log"
  fi
fi
echo "setup: $command is missing; install it with: sudo $line" >&2
exit 1

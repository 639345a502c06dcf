#!/bin/sh
# A JupyterHub whose users' servers are jobs of a small cluster (as root; book/hub.md):
#   env/hub.sh packages     install what it needs into .venv and, where root allows, the system
#   env/hub.sh up NAME      bring it up, and the small cluster NAME if that is not up
#   env/hub.sh down NAME    take it down; the cluster stays
# HUB_USER is the one account that may log in, with a password made for it; or HUB_GROUPS the groups
# whose members may, each with the password of the account. HUB_PORT is where (8000; the next one is
# taken, too), HUB_ENVIRONMENT the environment of the users' servers (.venv). What else
# env/jupyterhub/jupyterhub_config.py reads, such as HUB_TLS_CERTIFICATE, counts here, too.
set -eu
cd "$(dirname "$0")/.."
fail() { echo "hub: $*" >&2; exit 1; }

# Whether these packages are there for a Python, which a command starts.
has() {
  wanted=$1
  shift
  "$@" -c 'import sys, importlib.util as i
sys.exit(None in map(i.find_spec, sys.argv[1].split()))' "$wanted" 2>/dev/null
}

packages() {
  env/apt.sh hub || exit 1
  has "batchspawner jupyterhub nbgitpuller wrapspawner" .venv/bin/python ||
    .venv/bin/python -m pip -q --disable-pip-version-check install -c requirements.lock -e '.[hub]' ||
    fail "pip could not install the extra hub of pyproject.toml"
}

# Its process, where it is up.
running() {
  pid=$(cat "$HUB_STATE/hub.pid" 2>/dev/null) && grep -q jupyterhub "/proc/$pid/cmdline" 2>/dev/null
}

up() {
  [ "$(id -u)" = 0 ] || fail "it starts servers as other users, and needs root: run it with sudo"
  ! running || fail "$HUB_CLUSTER is up: env/hub.sh down $HUB_CLUSTER"
  HUB_GROUPS=${HUB_GROUPS:-}
  [ -n "$HUB_GROUPS" ] || HUB_USER=${HUB_USER:-${SUDO_USER:-}}
  case ${HUB_USER:+user}${HUB_GROUPS:+groups} in
    user)
      id "$HUB_USER" >/dev/null 2>&1 || fail "there is no account $HUB_USER: useradd -m $HUB_USER makes it"
      [ "$(id -u "$HUB_USER")" != 0 ] || fail "no server runs as root: name another account by HUB_USER" ;;
    groups)
      for group in $HUB_GROUPS; do
        getent group "$group" >/dev/null || fail "there is no group $group: groupadd $group makes it"
      done ;;
    usergroups) fail "HUB_USER names one account, HUB_GROUPS the members of groups: set one of them" ;;
    *) fail "name the account that is to log in: HUB_USER=NAME (useradd -m NAME makes one)" ;;
  esac
  HUB_ENVIRONMENT=${HUB_ENVIRONMENT:-$PWD/.venv} HUB_PORT=${HUB_PORT:-8000}
  case $HUB_PORT in *[!0-9]*) fail "HUB_PORT=$HUB_PORT: takes a number" ;; esac
  packages
  has "batchspawner jupyterlab" runuser -u "${HUB_USER:-nobody}" -- "$HUB_ENVIRONMENT/bin/python" ||
    fail "${HUB_USER:-another user} cannot run JupyterLab from $HUB_ENVIRONMENT: make one where every user may \
enter, with the system's Python (rm -rf .venv && make setup PYTHON=/usr/bin/python3), or name another by HUB_ENVIRONMENT"
  .venv/bin/minislurm env --name "$HUB_CLUSTER" >/dev/null 2>&1 ||
    .venv/bin/minislurm up --name "$HUB_CLUSTER" >/dev/null || exit 1
  . "/run/scalebook-$HUB_CLUSTER/env"
  HUB_ADDRESS=$(getent hosts "node1.$HUB_CLUSTER" | sed 's/\.11 .*/.254/')
  [ -n "$HUB_ADDRESS" ] || fail "node1.$HUB_CLUSTER has no address: /etc/hosts cannot be written"
  secret() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
  HUB_PASSWORD=$(secret 8) JPY_COOKIE_SECRET=$(secret 32) CONFIGPROXY_AUTH_TOKEN=$(secret 32)
  # A node that is not Debian's own does not look where Debian puts the proxy's modules.
  NODE_PATH=${NODE_PATH:+$NODE_PATH:}/usr/share/nodejs
  export HUB_USER HUB_GROUPS HUB_ENVIRONMENT HUB_PORT HUB_ADDRESS HUB_PASSWORD HUB_STATE HUB_CLUSTER NODE_PATH \
    JPY_COOKIE_SECRET CONFIGPROXY_AUTH_TOKEN
  umask 077
  rm -rf "$HUB_STATE"
  mkdir -p "$HUB_STATE"
  PATH=$PWD/.venv/bin:$PATH setsid .venv/bin/jupyterhub -f env/jupyterhub/small_cluster.py \
    > "$HUB_STATE/log" 2>&1 < /dev/null &
  hub=$!
  url=http${HUB_TLS_CERTIFICATE:+s}://127.0.0.1:$HUB_PORT tries=300
  until .venv/bin/python -c "import ssl, urllib.request as u
u.urlopen('$url/hub/health', context=ssl._create_unverified_context())" 2>/dev/null; do
    kill -0 $hub 2>/dev/null || fail "it did not come up: $(grep -v '^ ' "$HUB_STATE/log" | tail -1) ($HUB_STATE/log)"
    [ $tries -gt 0 ] || fail "nothing answers at $url ($HUB_STATE/log)"
    tries=$((tries - 1))
    sleep 0.3
  done
  echo "$url  ${HUB_USER:+user $HUB_USER  password $HUB_PASSWORD}${HUB_GROUPS:+for the accounts of $HUB_GROUPS}"
}

down() {
  running || { echo "$HUB_CLUSTER: no Hub was up"; return; }
  kill "$pid" # it ends the users' servers and its proxy
  tries=300
  while kill -0 "$pid" 2>/dev/null; do
    [ $tries -gt 0 ] || fail "$HUB_CLUSTER: process $pid does not end"
    tries=$((tries - 1))
    sleep 0.2
  done
  rm -rf "$HUB_STATE"
  echo "$HUB_CLUSTER: its Hub is down"
}

case ${1:-} in
  packages) packages ;;
  up|down)
    HUB_CLUSTER=${2:-default}
    HUB_STATE=$PWD/.scalebook/hub/$HUB_CLUSTER
    "$1" ;;
  *) fail "say: env/hub.sh packages, up NAME or down NAME" ;;
esac

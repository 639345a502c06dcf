"""JupyterHub in front of a Slurm cluster: a configuration to adopt. book/hub_site.md explains it.

What is secret, and what is of one site, comes from the environment: a file of `NAME=value` lines
that root alone may read, which the service loads. What may be chosen at login is in `profiles`.
"""

import os

from batchspawner import SlurmSpawner
from jupyterhub.spawner import LocalProcessSpawner

c = get_config()  # noqa: F821


def setting(name: str, why: str) -> str:
    """A setting without which the Hub does not start."""
    if not os.environ.get(name):
        raise SystemExit(f"jupyterhub: {name} is not set: {why}")
    return os.environ[name]


# --- secrets ---------------------------------------------------------------------------------
# JupyterHub reads both itself. One that it made up would be another after each restart.
for secret in ("JPY_COOKIE_SECRET", "CONFIGPROXY_AUTH_TOKEN"):
    setting(secret, "a secret: openssl rand -hex 32")

# --- who may come in -------------------------------------------------------------------------
# Accounts and passwords of the machine. Nobody is let in but members of these groups.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = set(os.environ.get("HUB_GROUPS", "").split())

# --- what the world and the nodes see --------------------------------------------------------
# Without a certificate it listens on this machine alone: a web server with TLS goes before it.
where, port = "http://127.0.0.1", "8000"
if os.environ.get("HUB_TLS_CERTIFICATE") or os.environ.get("HUB_TLS_KEY"):
    where, port = "https://", "443"
    c.JupyterHub.ssl_cert = setting("HUB_TLS_CERTIFICATE", "the certificate of HUB_TLS_KEY")
    c.JupyterHub.ssl_key = setting("HUB_TLS_KEY", "the key of HUB_TLS_CERTIFICATE")
c.JupyterHub.bind_url = f"{where}:{os.environ.get('HUB_PORT') or port}"
# Cookies travel by https alone, whoever does the TLS.
c.JupyterHub.tornado_settings = {"cookie_options": {"secure": True}}
# Each user's server under a name of its own, so that no page of one reads another's.
# It needs a wildcard in DNS and in the certificate.
c.JupyterHub.subdomain_host = os.environ.get("HUB_SUBDOMAINS_OF", "")
# Servers on the nodes speak to the Hub here: an address of the cluster's own network.
c.JupyterHub.hub_ip = setting("HUB_ADDRESS", "this host's address in the cluster's network")
c.JupyterHub.hub_connect_ip = c.JupyterHub.hub_ip

# --- what a user's server is -----------------------------------------------------------------
# Where JupyterLab and its parts are installed; every node, and every user, has to reach it.
# They run the notebooks in an environment of their own, through the kernel `scalebook`.
environment = setting("HUB_ENVIRONMENT", "folder of the environment of the users' servers")
c.Spawner.cmd = [f"{environment}/bin/jupyterhub-singleuser"]
c.SlurmSpawner.batchspawner_singleuser_cmd = f"{environment}/bin/batchspawner-singleuser"
c.Spawner.default_url = "/lab"
c.Spawner.notebook_dir = "~"
# A server that nobody uses ends, and its job with it. Jobs that it has submitted go on.
c.Spawner.args = ["--ServerApp.shutdown_no_activity_timeout=7200"]
# Of the Hub's own environment, a server gets no more than this: none of its secrets.
c.Spawner.env_keep = ["PATH", "LANG", "SLURM_CONF"]
# How the Hub, as root, runs Slurm's commands as the user.
c.SlurmSpawner.exec_prefix = "runuser -u {username} --"
# The server is the job itself, and no step of it: its terminals may use srun as any job may.
c.SlurmSpawner.req_srun = ""
c.SlurmSpawner.batch_script = """#!/bin/bash
#SBATCH --job-name=jupyter --no-requeue
#SBATCH --chdir={{homedir}}
#SBATCH --output={{homedir}}/.jupyter-%j.log
#SBATCH --export={{keepvars}}
#SBATCH --time={{runtime}} --mem={{memory}} --cpus-per-task={{nprocs}}
{% if partition %}#SBATCH --partition={{partition}}
{% endif %}{% if account %}#SBATCH --account={{account}}
{% endif %}{% if gres %}#SBATCH --gres={{gres}}
{% endif %}{% if options %}#SBATCH {{options}}
{% endif %}
{{prologue}}
exec {{cmd}}
"""
# How long a job may wait in the queue before the user is told that there was no place.
c.Spawner.start_timeout = 600
c.Spawner.http_timeout = 120

# Servers go on while the Hub is started anew, and it finds them again.
c.JupyterHub.cleanup_servers = False

# --- what is chosen at login -----------------------------------------------------------------
# On the login node no job bounds a server: each of its processes has 8 GB and an hour of a core.
bounded = ["nice", "prlimit", f"--data={8 << 30}", "--cpu=3600", *c.Spawner.cmd]
profiles = [
    ("Login node: look at results, submit jobs", "login", LocalProcessSpawner, {"cmd": bounded}),
    (
        "Job on processors: 2 cores, 8 GB, 8 hours",
        "cpu",
        SlurmSpawner,
        {"req_nprocs": "2", "req_memory": "8G", "req_runtime": "8:00:00"},
    ),
    (
        "Job with one GPU: 8 cores, 32 GB, 4 hours",
        "gpu",
        SlurmSpawner,
        {"req_gres": "gpu:1", "req_nprocs": "8", "req_memory": "32G", "req_runtime": "4:00:00"},
    ),
]
c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
c.ProfilesSpawner.profiles = profiles

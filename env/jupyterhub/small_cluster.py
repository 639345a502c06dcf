"""The Hub of jupyterhub_config.py on the small cluster; `make hub-up` starts it."""

import os

c = get_config()  # noqa: F821
load_subconfig("jupyterhub_config.py", os.path.dirname(__file__))  # noqa: F821

state, port = os.environ["HUB_STATE"], int(os.environ["HUB_PORT"])
c.JupyterHub.db_url = f"sqlite:///{state}/hub.sqlite"
c.JupyterHub.pid_file = f"{state}/hub.pid"
c.ConfigurableHTTPProxy.pid_file = f"{state}/proxy.pid"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{port + 1}"

# On this machine alone, http will do.
if not os.environ.get("HUB_TLS_CERTIFICATE"):
    c.JupyterHub.tornado_settings = {}

# One account, with a password of the Hub's own: in a container accounts have none.
if os.environ.get("HUB_USER"):
    c.JupyterHub.authenticator_class = "shared-password"
    c.SharedPasswordAuthenticator.user_password = os.environ["HUB_PASSWORD"]
    c.SharedPasswordAuthenticator.allowed_users = {os.environ["HUB_USER"]}

# Clusters beside this one have a node1, too.
c.SlurmSpawner.state_exechost_exp = rf"\1.{os.environ['HUB_CLUSTER']}"
c.Spawner.start_timeout = 120
c.JupyterHub.cleanup_servers = True


def small(title: str, profile: tuple) -> tuple:
    """A choice of the site's, of a size that fits."""
    size = {"req_nprocs": "1", "req_memory": "1500M", "req_runtime": "2:00:00"}
    return (title, *profile[1:3], {**profile[3], **size})


login, processors, gpu = c.ProfilesSpawner.profiles
c.ProfilesSpawner.profiles = [
    small("Job on processors: 1 core, 1.5 GB, 2 hours", processors),
    small("Job with one GPU, which is scheduled but not there", gpu),
    login,
]

"""Settings of Superset. Holds no secret: they are read from the folder into which the Secrets are mounted."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import sys
from pathlib import Path
from typing import Any

from sqlalchemy.engine.url import URL
from superset.utils.log import AbstractEventLogger

# The folder of this file, which Superset loads by its path.
sys.path.append(str(Path(__file__).parent))
from own_names import OwnNames

SECRETS = Path(os.environ["SUPERSET_RUN_DIR"])


def secret(path: str) -> str:
    """Return a value of a mounted Secret, ``<folder>/<key>``."""
    return (SECRETS / path).read_text(encoding="utf-8").strip()


def derived(purpose: str) -> str:
    """Return a key for one purpose, which tells nothing about the others."""
    return hmac.new(secret("keys/secret_key").encode(), purpose.encode(), hashlib.sha256).hexdigest()


SECRET_KEY = secret("keys/secret_key")
# Both features are off; their well-known defaults must not open anything.
GUEST_TOKEN_JWT_SECRET = derived("guest")
GLOBAL_ASYNC_QUERIES_JWT_SECRET = derived("async")

SQLALCHEMY_DATABASE_URI = URL.create(
    "postgresql+psycopg2",
    username=secret("metadata/username"),
    password=secret("metadata/password"),
    host=os.environ["SUPERSET_DB_HOST"],
    port=int(os.environ["SUPERSET_DB_PORT"]),
    database=os.environ["SUPERSET_DB_NAME"],
).render_as_string(hide_password=False)
SQLALCHEMY_ENGINE_OPTIONS = {
    "pool_size": 4,
    "max_overflow": 4,
    "pool_pre_ping": True,
    "connect_args": {"connect_timeout": 5, "application_name": "superset-metadata"},
}


def DB_CONNECTION_MUTATOR(  # noqa: N802 - Superset looks for this name
    uri: URL, params: dict[str, Any], username: str | None, security_manager: Any, source: Any
) -> tuple[URL, dict[str, Any]]:
    """Add the password of the read-only role to its connection, at the moment of connecting and for this host only.

    So it is neither in the assets nor in the metadata, and a new one counts as soon as the Secret is mounted anew.
    """
    if (uri.host, uri.username) == (os.environ["SUPERSET_DB_HOST"], secret("analytics/username")):
        uri = uri.set(password=secret("analytics/password"))
    return uri, params


class NoEvents(AbstractEventLogger):
    """Keeps no record of each request: with dashboards that refresh every 10 s the table of them would only grow."""

    def log(self, *arguments: Any, **fields: Any) -> None:
        """Forget the event."""


EVENT_LOGGER = NoEvents()
LOG_LEVEL = "INFO"
# What libraries tell their authors about an import.
logging.getLogger("py.warnings").setLevel(logging.ERROR)
# Said of every metric that is more than one function, at each refresh.
logging.getLogger("superset.utils.core").addFilter(lambda record: not str(record.msg).startswith("Unexpected metric expression"))

# Data are asked for anew each time. Superset keeps what it must remember between requests in its database.
CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
DASHBOARD_AUTO_REFRESH_MODE = "force"
DASHBOARD_AUTO_REFRESH_INTERVALS = [[0, "Don't refresh"], [10, "10 seconds"], [30, "30 seconds"], [60, "1 minute"], [300, "5 minutes"]]
SQLLAB_TIMEOUT = SUPERSET_WEBSERVER_TIMEOUT = 60
ROW_LIMIT = 10_000
# Nothing runs beside the requests: no Celery, no Redis.
CELERY_CONFIG = None
RESULTS_BACKEND = None

# Everybody signs in; nobody makes an account of his own.
# A role that may do nothing: without any, the sign-in page fails.
AUTH_ROLE_PUBLIC = "Public"
PUBLIC_ROLE_LIKE = None
AUTH_USER_REGISTRATION = False
FAB_API_SWAGGER_UI = False
RATELIMIT_ENABLED = True
RATELIMIT_STORAGE_URI = "memory://"
# For all that one client asks, whose dashboards come as many files; and for sign-ins.
RATELIMIT_APPLICATION = "300 per second"
AUTH_RATE_LIMITED = True
AUTH_RATE_LIMIT = "5 per second"

WTF_CSRF_ENABLED = True
WTF_CSRF_TIME_LIMIT = 43_200
SESSION_COOKIE_NAME = "superset"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# The loopback port speaks HTTP (SPEC 2.1, N3).
SESSION_COOKIE_SECURE = False
PERMANENT_SESSION_LIFETIME = 43_200
ENABLE_CORS = False
PREVENT_UNSAFE_DB_CONNECTIONS = True
CONTENT_SECURITY_POLICY_WARNING = False
TALISMAN_ENABLED = True
TALISMAN_CONFIG = {
    "content_security_policy": {
        "default-src": ["'self'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        # Charts set styles of elements as they draw.
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "frame_options": "DENY",
    "referrer_policy": "strict-origin",
    "force_https": False,
    "strict_transport_security": False,
    "session_cookie_secure": False,
    "session_cookie_http_only": True,
    "session_cookie_samesite": "Lax",
}
THEME_FONT_URL_ALLOWED_DOMAINS: list[str] = []
ADDITIONAL_MIDDLEWARE = [OwnNames]

FEATURE_FLAGS = {
    "CSS_TEMPLATES": False,
    "DRILL_BY": False,
    "EMBEDDABLE_CHARTS": False,
    "ALERTS_ATTACH_REPORTS": False,
    "SQLLAB_BACKEND_PERSISTENCE": False,
    # Off already; here because much hangs on it: queries hold no code.
    "ENABLE_TEMPLATE_PROCESSING": False,
}
APP_NAME = "Bookstore analytics"
MAPBOX_API_KEY = ""

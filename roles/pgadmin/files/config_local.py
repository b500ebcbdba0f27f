"""Settings of pgAdmin, which differ from its own. Holds no secret: keys are in its database on the volume."""

from __future__ import annotations

import os

DATA_DIR = os.environ["PGADMIN_DATA_DIR"]
SQLITE_PATH = f"{DATA_DIR}/pgadmin.db"
SESSION_DB_PATH = f"{DATA_DIR}/sessions"
STORAGE_DIR = f"{DATA_DIR}/storage"
KERBEROS_CCACHE_DIR = f"{DATA_DIR}/kerberos"
AZURE_CREDENTIAL_CACHE_DIR = f"{DATA_DIR}/azure"
# What counts is said on the console, too.
LOG_FILE = "/tmp/pgadmin.log"
LOG_ROTATION_SIZE = 1
LOG_ROTATION_MAX_LOG_FILES = 1

SERVER_MODE = True
DEFAULT_SERVER_PORT = int(os.environ["PGADMIN_PORT"])
# Nothing is asked of anybody outside.
UPGRADE_CHECK_ENABLED = False
SHOW_GRAVATAR_IMAGE = False
LLM_ENABLED = False
CHECK_EMAIL_DELIVERABILITY = False
CHECK_SUPPORTED_BROWSER = False

# One account, with the password of the Secret; nobody makes an account of his own.
AUTHENTICATION_SOURCES = ["internal"]
# The account's name is an address below a reserved domain.
ALLOW_SPECIAL_EMAIL_DOMAINS = ["test"]
PASSWORD_LENGTH_MIN = 16
MFA_ENABLED = False
# Locks for PGADMIN_LOCK_SECONDS (sign_in.py), not for ever: who knows the name must not keep its owner out.
MAX_LOGIN_ATTEMPTS = 5
MAX_SESSION_IDLE_TIME = 60
ENHANCED_COOKIE_PROTECTION = True
SESSION_COOKIE_SAMESITE = "Lax"
# The loopback port speaks HTTP (SPEC 2.1, N2).
SESSION_COOKIE_SECURE = False

# Passwords of databases are in a file beside (libpq_files.py); none is kept here, so no master password protects any.
MASTER_PASSWORD_REQUIRED = False
ALLOW_SAVE_PASSWORD = False
AUTO_DISCOVER_SERVERS = False
SUPPORT_SSH_TUNNEL = False
# Neither programs of the server nor its file system.
ENABLE_PSQL = False
ENABLE_SERVER_PASS_EXEC_CMD = False
ENABLE_BINARY_PATH_BROWSING = False

# No proxy stands in front whose headers were to be believed.
PROXY_X_FOR_COUNT = PROXY_X_PROTO_COUNT = PROXY_X_HOST_COUNT = PROXY_X_PORT_COUNT = PROXY_X_PREFIX_COUNT = 0
# Its tools are frames of its own.
X_FRAME_OPTIONS = "SAMEORIGIN"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'self';"
    " form-action 'self'; frame-ancestors 'self'"
)
WEB_SERVER = ""

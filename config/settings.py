"""Django's settings. What differs between machines comes from config/environment.py."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from django.utils.translation import gettext_lazy as _
from pydantic import ValidationError

from config.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    ENVIRONMENT = Environment()  # type: ignore[call-arg]
except ValidationError as error:
    lines = [
        f"  OHMWATCH_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
        for fault in error.errors()
    ]
    sys.exit(
        "Ohmwatch can't start: these settings are missing or wrong.\n"
        + "\n".join(lines)
        + "\n./ohmwatch sets them all; for a cluster they are listed in docs/configuration.md."
    )

SECRET_KEY = ENVIRONMENT.secret_key.get_secret_value()
SECRET_KEY_FALLBACKS = ENVIRONMENT.secret_key_fallbacks.get_secret_value().split()
DEBUG = False
DEMO = ENVIRONMENT.demo
BASE_DOMAIN = ENVIRONMENT.base_domain
ALLOWED_HOSTS = [f".{BASE_DOMAIN}"]
PUBLIC_URL = str(ENVIRONMENT.public_url).rstrip("/")

# --- apps and tenants -------------------------------------------------------------------------
# auth, contenttypes, sessions and allauth stand in both lists: a table that a tenant's schema
# lacks would be looked up in public through the search path, and show the platform's people.
_IN_BOTH = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "apps.accounts",
]
SHARED_APPS = [
    "apps.tenants",  # first: its create_tenant command stands in for django_tenants' own
    "django_tenants",
    "apps.partitions",
    "apps.platform",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "channels",
    "apps.telemetry",  # before the next one, whose search_index it forbids
    "django_elasticsearch_dsl",
    "django_htmx",
    "django_filters",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "phonenumber_field",
    *_IN_BOTH,
]
TENANT_APPS = [
    *_IN_BOTH,
    "apps.catalog",
    "apps.fleet",
    "apps.devices",
    "apps.quarantine",
    "apps.warning",
    "apps.alarms",
    "apps.notifications",
    "apps.portal",
    "apps.console",
    "apps.api",
    "apps.live",
]
INSTALLED_APPS = [*SHARED_APPS, *[app for app in TENANT_APPS if app not in SHARED_APPS]]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_LIMIT_SET_CALLS = True
SHOW_PUBLIC_IF_NO_TENANT_FOUND = False
PUBLIC_SCHEMA_URLCONF = "config.urls_platform"
ROOT_URLCONF = "config.urls_tenant"

MACHINE_URLCONF = "config.urls_machine"
NOT_READY_VIEW = "config.errors.unavailable"

MIDDLEWARE = [
    "apps.tenants.middleware.MachineMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.tenants.middleware.HostMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.accounts.second_factor.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.presentation.shell",
            ],
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "config.presentation",
                "config.words",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
WSGI_APPLICATION = None
ASGI_APPLICATION = "config.asgi.application"

# --- stores -----------------------------------------------------------------------------------
_postgres = urlsplit(str(ENVIRONMENT.postgres_url))
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": _postgres.path.lstrip("/"),
        "USER": _postgres.username,
        "PASSWORD": _postgres.password,
        "HOST": _postgres.hostname,
        "PORT": _postgres.port or 5432,
        "OPTIONS": {
            # A server that hangs refuses nothing: it must not hold whoever asks it for ever.
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            **(
                {"pool": {"min_size": 1, "max_size": 8, "timeout": 10}}
                if ENVIRONMENT.postgres_pool
                else {}
            ),
        },
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEST_RUNNER = "django.test.runner.DiscoverRunner"

_redis = str(ENVIRONMENT.redis_url)
_redis_base, _redis_database = _redis.rsplit("/", 1)
REDIS_BROKER_URL, REDIS_LAYER_URL, REDIS_LOG_URL, REDIS_CACHE_URL = (
    f"{_redis_base}/{int(_redis_database or 0) + offset}" for offset in range(4)
)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_CACHE_URL,
        "KEY_FUNCTION": "django_tenants.cache.make_key",
        "REVERSE_KEY_FUNCTION": "django_tenants.cache.reverse_key",
    }
}
LAYER_ANSWER_LIMIT_S = 15
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # An idle socket's read blocks for 5 s in Redis, which is also redis-py's own limit for
            # an answer: on a busy machine the limit came first and ended the page's socket.
            "hosts": [{"address": REDIS_LAYER_URL, "socket_timeout": LAYER_ANSWER_LIMIT_S}],
            "capacity": 1000,
            "expiry": 30,
        },
    }
}
ELASTICSEARCH_DSL = {"default": {"hosts": str(ENVIRONMENT.elasticsearch_url)}}
# Documents follow the outbox: a signal would fire inside the transaction and outlive a rollback.
ELASTICSEARCH_DSL_AUTOSYNC = False
ELASTICSEARCH_DSL_AUTO_REFRESH = False
ELASTICSEARCH_PREFIX = ENVIRONMENT.elasticsearch_prefix
ELASTICSEARCH_REPLICAS = ENVIRONMENT.elasticsearch_replicas
# How many days back readings are accepted. The demo writes a month of history through the door.
TELEMETRY_OPEN_DAYS = 35 if DEMO else 7
TELEMETRY_READINGS_PER_S = ENVIRONMENT.expected_readings_per_s

# --- Celery -----------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_BROKER_URL
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "upkeep"
CELERY_TASK_CREATE_MISSING_QUEUES = True
# A killed worker's task is due again after the longest time limit, and kombu looks each second.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
CELERY_TASK_TIME_LIMIT = 240
CELERY_TIMEZONE = "UTC"
# Public tasks that fan out to tenants by themselves; one that is late is worthless, so it expires.
CELERY_BEAT_SCHEDULE = {
    "backtest.sweep": {
        "task": "backtest.sweep",
        "schedule": 30.0,
        "options": {"queue": "backtest", "expires": 30},
    },
    "detection.sweep": {
        "task": "detection.sweep",
        "schedule": 2.0,
        "options": {"queue": "detection", "expires": 4},
    },
    "detection.clock": {
        "task": "detection.clock",
        "schedule": 60.0,
        "options": {"queue": "detection", "expires": 60},
    },
    "detection.judge_again": {
        "task": "detection.judge_again",
        "schedule": 60.0,
        "options": {"queue": "backtest", "expires": 60},
    },
    "detection.snapshots": {
        "task": "detection.snapshots",
        "schedule": 600.0,
        "options": {"queue": "upkeep", "expires": 600},
    },
    "devices.publish_credentials": {
        "task": "devices.publish_credentials",
        "schedule": 60.0,
        "options": {"queue": "upkeep", "expires": 60},
    },
    "notification.sweep": {
        "task": "notification.sweep",
        "schedule": 10.0,
        "options": {"queue": "notification", "expires": 10},
    },
    "upkeep.index_events": {
        "task": "upkeep.index_events",
        "schedule": 2.0,
        "options": {"queue": "upkeep", "expires": 4},
    },
    "upkeep.sync_changed_states": {
        "task": "upkeep.sync_changed_states",
        "schedule": 5.0,
        "options": {"queue": "upkeep", "expires": 10},
    },
    "upkeep.sync_all_states": {
        "task": "upkeep.sync_all_states",
        "schedule": 3600.0,
        "options": {"queue": "upkeep", "expires": 1800},
    },
    "upkeep.offline": {
        "task": "upkeep.offline",
        "schedule": 15.0,
        "options": {"queue": "upkeep", "expires": 15},
    },
    "upkeep.held_alarms": {
        "task": "upkeep.held_alarms",
        "schedule": 60.0,
        "options": {"queue": "upkeep", "expires": 60},
    },
    "upkeep.ageing": {
        "task": "upkeep.ageing",
        "schedule": 3600.0,
        "options": {"queue": "upkeep", "expires": 1800},
    },
    "upkeep.clocks": {
        "task": "upkeep.clocks",
        "schedule": 60.0,
        "options": {"queue": "upkeep", "expires": 60},
    },
    "upkeep.unwatched": {
        "task": "upkeep.unwatched",
        "schedule": 20.0,
        "options": {"queue": "upkeep", "expires": 20},
    },
    "upkeep.slices": {
        "task": "upkeep.slices",
        "schedule": 600.0,
        "options": {"queue": "upkeep", "expires": 600},
    },
    "acquisition.resume_replays": {
        "task": "acquisition.resume_replays",
        "schedule": 60.0,
        "options": {"queue": "upkeep", "expires": 60},
    },
    "upkeep.growth": {
        "task": "upkeep.growth",
        "schedule": 240.0,
        "options": {"queue": "upkeep", "expires": 60},
    },
    "upkeep.rollups": {
        "task": "upkeep.rollups",
        "schedule": 20.0,
        "options": {"queue": "upkeep", "expires": 20},
    },
    "upkeep.close_account": {
        "task": "upkeep.close_account",
        "schedule": 3600.0,
        "options": {"queue": "upkeep", "expires": 1800},
    },
    "upkeep.put_ledger_together": {
        "task": "upkeep.put_ledger_together",
        "schedule": 3600.0,
        "options": {"queue": "upkeep", "expires": 1800},
    },
}

# --- people -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
# The default key signs only the address's primary key with one salt: a key made at one tenant
# would confirm the address with the same key at another.
ACCOUNT_EMAIL_CONFIRMATION_HMAC = False
ACCOUNT_LOGOUT_ON_GET = False
REQUIRE_MFA = ENVIRONMENT.require_mfa
MFA_ADAPTER = "apps.accounts.second_factor.MfaAdapter"
MFA_TOTP_TOLERANCE = 1  # a phone's clock may be half a minute off
# People's addresses are entered by who invites them, not proved by a link.
MFA_ALLOW_UNVERIFIED_EMAIL = True
ACCOUNT_SESSION_REMEMBER = None

# --- security ---------------------------------------------------------------------------------
SESSION_COOKIE_NAME = "__Host-ohmwatch-session" if ENVIRONMENT.https else "ohmwatch-session"
CSRF_COOKIE_NAME = "__Host-ohmwatch-csrf" if ENVIRONMENT.https else "ohmwatch-csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_SERIALIZER = "apps.accounts.sessions.EncryptedSerializer"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENVIRONMENT.https else 0
SECURE_SSL_REDIRECT = False
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENVIRONMENT.https else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- API --------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    # The key first: its WWW-Authenticate makes "nobody" a 401 rather than a 403.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.api.authentication.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.api.permissions.MayRead"],
    "DEFAULT_THROTTLE_CLASSES": ["apps.api.permissions.CallerThrottle"],
    "DEFAULT_PAGINATION_CLASS": "apps.api.paging.CursorPages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "apps.api.problems.answer",
    "UNAUTHENTICATED_USER": None,
}
API_RATE = "1200/min"
SPECTACULAR_SETTINGS = {
    "TITLE": "Ohmwatch API",
    "DESCRIPTION": "Read access to vehicles, connectors, readings, alarms and rules; what "
    "workshops find at an alarm can be entered. All times are "
    "RFC 3339 in UTC, units are in the fields' names, failures are RFC 9457 problems.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_NO_READ_ONLY_REQUIRED": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.api.description.add_problems",
    ],
}

# --- language, time, files --------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LANGUAGE_COOKIE_NAME = "ohmwatch-language"
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = Path(ENVIRONMENT.static_dir)
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django_tenants.files.storage.TenantFileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MEDIA_ROOT = Path(ENVIRONMENT.data_dir) / "media"
MULTITENANT_RELATIVE_MEDIA_ROOT = "%s"

# --- mail, logs -------------------------------------------------------------------------------
_email = urlsplit(str(ENVIRONMENT.email_url))
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _email.hostname, _email.port or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email.username or "", _email.password or ""
EMAIL_USE_SSL = _email.scheme == "smtps"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENVIRONMENT.email_from

_processors: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
]
structlog.configure(
    processors=[
        *_processors,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": (
                structlog.processors.JSONRenderer()
                if ENVIRONMENT.log_format == "json"
                else structlog.dev.ConsoleRenderer(colors=False)
            ),
            "foreign_pre_chain": _processors,
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "elastic_transport": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}

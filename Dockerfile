# One image for every process of the product; docker-compose.yml says which one runs.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gettext \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/ohmwatch
RUN python -m venv /opt/venv
COPY requirements/product.txt requirements/product.txt
# Only wheels, only those of the lock: nothing of a package runs while it is installed.
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
    -r requirements/product.txt
COPY src src
COPY config config
COPY apps apps
COPY workers workers
COPY locale locale
COPY templates templates
COPY static static
COPY manage.py manage.py
RUN find locale -name '*.po' -execdir msgfmt --check-format -o django.mo '{}' ';'
# Settings must be there to collect assets; no value of these reaches the next stage.
RUN OHMWATCH_SECRET_KEY=only-to-collect-assets-0123456789ab \
    OHMWATCH_PUBLIC_URL=http://localhost OHMWATCH_DATA_DIR=/tmp OHMWATCH_STATIC_DIR=static-collected \
    OHMWATCH_POSTGRES_URL=postgresql://x:x@localhost/x OHMWATCH_REDIS_URL=redis://localhost/0 \
    OHMWATCH_ELASTICSEARCH_URL=http://localhost OHMWATCH_EMAIL_URL=smtp://localhost \
    OHMWATCH_MQTT_URL=mqtt://localhost OHMWATCH_MQTT_PASSWORD=x OHMWATCH_MQTT_DEVICE_URL=mqtt://localhost \
    PYTHONPATH=src /opt/venv/bin/python manage.py collectstatic --no-input

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 ohmwatch \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin ohmwatch \
    && install -d -o ohmwatch -g ohmwatch /var/lib/ohmwatch
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/ohmwatch /srv/ohmwatch
WORKDIR /srv/ohmwatch
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/ohmwatch/src:/srv/ohmwatch \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/lib/ohmwatch/compiled \
    DJANGO_SETTINGS_MODULE=config.settings
USER ohmwatch
CMD ["python", "-m", "uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000"]

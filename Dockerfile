# One image, one process: a node of Callboard. With CALLBOARD_DATABASE_URL and CALLBOARD_REDIS_URL it uses those
# servers; without them it runs its own PostgreSQL and Valkey in /data. See docs/deployment.md.
FROM python:3.13-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/callboard
WORKDIR /src

# Dependencies first: this layer changes with the two files that name them, and not with the source. Nothing is
# compiled; http-ece is plain Python and comes as source only.
COPY constraints.txt pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && /opt/callboard/bin/pip install --only-binary :all: --no-binary http-ece \
        --constraint constraints.txt --requirement requirements.txt

COPY LICENSE README.md ./
COPY server ./server
COPY templates ./templates
COPY static ./static
COPY piccolo_migrations ./piccolo_migrations
# Without what a running node never uses: the packages' own tests, and pip.
RUN /opt/callboard/bin/pip install --no-deps . \
    && /opt/callboard/bin/pip check \
    && find /opt/callboard/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/callboard/bin/pip uninstall --yes pip


FROM python:3.13-slim-bookworm

RUN groupadd --gid 10001 callboard \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /data --shell /usr/sbin/nologin callboard \
    && install --directory --owner=callboard --group=callboard --mode=0700 /data
COPY --from=build /opt/callboard /opt/callboard

ENV PATH=/opt/callboard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CALLBOARD_DATA=/data \
    CALLBOARD_HOST=0.0.0.0 \
    CALLBOARD_PORT=8000 \
    CALLBOARD_LOG_FORMAT=json

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

# Ready: this node reaches its database. Docker only shows the result; it restarts nothing because of it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['CALLBOARD_PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["callboard"]
CMD ["serve"]

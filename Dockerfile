# docker build --tag chat-socketserver .
# docker run --publish 127.0.0.1:3001:3001 --volume chat-data:/data --env WEBSOCKET_JWT_SECRET chat-socketserver
# docs/operations.md says more.

# The dependencies, in a virtual environment: exactly those that the tests ran with, by their hashes. `make lock` renews the
# list, and only then this layer is built anew. Add a digest to the tag if you want the same base image for ever.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY deploy/requirements.txt ./
RUN python -m venv --without-pip /venv && python -m pip --python /venv/bin/python install --require-hashes --only-binary :all: --requirement requirements.txt
COPY socketserver/ socketserver/
RUN python -m compileall -q socketserver && mkdir --mode=0700 data

# What runs: Python, the dependencies, the package. No compiler, no Node.js, no tests, and nothing that the user may
# write to but /data.
FROM python:3.11.14-slim-bookworm
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WEBSOCKET_HOST=0.0.0.0 \
    WEBSOCKET_STORE_URL=sqlite:////data/chat.db
# `python -m socketserver` is this package, and not the standard library's module, because it starts here.
WORKDIR /app
COPY LICENSE ./
COPY --from=build /venv /venv
COPY --from=build /build/socketserver socketserver/
COPY --from=build --chown=10001:10001 /build/data /data
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 3001
# Whether the process answers. Whether it can store messages is /readyz; a restart would not help there.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('WEBSOCKET_PORT') or os.environ.get('PORT') or 3001), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
# Without a shell, so that SIGTERM reaches the server.
CMD ["python", "-m", "socketserver"]

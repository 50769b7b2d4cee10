# st8d in a container: `docker build -t st8d .`
#
# Everything that is installed is named in uv.lock, with its digest.

FROM python:3.13-slim AS build
WORKDIR /src
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
COPY pyproject.toml uv.lock ./
RUN python -c "import tomllib; uv = next(p for p in tomllib.load(open('uv.lock', 'rb'))['package'] if p['name'] == 'uv'); print('uv==' + uv['version'], *('--hash=' + w['hash'] for w in uv['wheels']))" > /tmp/uv.txt \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/uv.txt
RUN UV_PROJECT_ENVIRONMENT=/opt/st8 uv sync --frozen --no-default-groups --extra postgres --no-install-project
RUN UV_PROJECT_ENVIRONMENT=/opt/build uv sync --frozen --only-group image
COPY README.md LICENSE ./
COPY src ./src
RUN uv build --wheel --no-build-isolation --python /opt/build/bin/python --out-dir /tmp/dist \
    && uv pip install --python /opt/st8/bin/python --no-index --no-deps /tmp/dist/*.whl
COPY deploy/docker/healthcheck.py /opt/st8/healthcheck.py

FROM python:3.13-slim
RUN groupadd --gid 65532 st8d \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /data --shell /usr/sbin/nologin st8d \
    && install -d -o 65532 -g 65532 -m 0700 /data
COPY --from=build /opt/st8 /opt/st8
ENV PATH=/opt/st8/bin:$PATH PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="st8d" \
      org.opencontainers.image.description="Versioned configuration and operational state" \
      org.opencontainers.image.licenses="Apache-2.0"
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# The state is where it is by default, in .st8d of this folder; no flag says so, and
# ST8D_STORE or ST8D_STATE_DIR can say otherwise.
WORKDIR /data
# A new volume takes over the owner of the folder.
VOLUME /data
EXPOSE 8748
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/opt/st8/healthcheck.py"]
ENTRYPOINT ["st8d"]

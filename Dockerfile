# Trunkline with its packet path compiled, as a user of its own. docs/operations/deploy.md
FROM python:3.12-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Each file of a package has the hash that it had when it was tested.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/trunkline \
    && /opt/trunkline/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock \
    && pip install --no-cache-dir --require-hashes --requirement requirements-build.lock
COPY pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY src src
# The last step fails where the packet path was not compiled.
RUN pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/trunkline/bin/pip install --no-cache-dir --no-index --no-deps dist/*.whl \
    && /opt/trunkline/bin/pip uninstall --yes pip \
    && cd / && /opt/trunkline/bin/python -c "import sys, trunkline.compiled as c; sys.exit(c.FALLBACK_REASON or 0)"

FROM python:3.12-slim-bookworm
# libseccomp2 confines what reads customers' files; espeak-ng speaks <Say>.
RUN apt-get update \
    && apt-get install -y --no-install-recommends espeak-ng libseccomp2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home trunkline \
    && install --directory --owner trunkline --mode 700 /var/lib/trunkline
COPY --from=build /opt/trunkline /opt/trunkline
COPY LICENSE NOTICE /usr/share/doc/trunkline/
ENV PATH=/opt/trunkline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TRUNKLINE_STORE__DIRECTORY=/var/lib/trunkline
USER trunkline
VOLUME /var/lib/trunkline
EXPOSE 8080/tcp 5060/udp 5060/tcp 5061/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["trunkline"]
CMD ["serve"]

# The command line with everything that surveys need; no compiler, no tests.
#
#   docker build -t specz-cnn --build-arg PIP_EXTRA_INDEX_URL=INDEX .
#   docker run --rm -v "$PWD":/data specz-cnn fit /data/spectra -o /data/z.ecsv
#
# INDEX is the index of PyTorch's builds for CPUs (https://pytorch.org/get-started): with those the image has a third of
# the size.
FROM python:3.13-slim

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1

COPY . /src
RUN pip install -c /src/constraints.txt "/src[dask]" \
    && rm -r /src \
    && useradd --create-home astronomer

USER astronomer
WORKDIR /data
# Fails the build, not the first run, if something is missing.
RUN specz-cnn models --verify

ENTRYPOINT ["specz-cnn"]
CMD ["--help"]

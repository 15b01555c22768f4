# kgrec serve in a container, from the wheel in dist/ (python -m build --wheel).
#   docker build -t kgrec .
#   docker run -p 8000:8000 -e KGREC_API_KEY=... -v "$PWD:/data:ro" kgrec
FROM python:3.12-slim

# More arguments for the installation of torch, for instance the index of its CPU builds: the build
# with CUDA takes several GB.
ARG TORCH_PIP_ARGS=
COPY dist/*.whl /tmp/
RUN pip install --no-cache-dir $TORCH_PIP_ARGS torch \
 && pip install --no-cache-dir "$(ls /tmp/kgrec-*.whl)[serve]" \
 && rm /tmp/*.whl \
 && useradd --no-create-home kgrec
USER kgrec
WORKDIR /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=20s --interval=10s --timeout=2s CMD \
  ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["kgrec", "serve", "--host", "0.0.0.0"]
CMD ["latest"]

# An image that serves swaps: `make wheel`, then
#   docker build -t cagan .
#   docker run -p 8000:8000 -v $PWD/runs:/runs cagan serve /runs/first --host 0.0.0.0
# The wheel is for the machine that built it. This file was never built by its authors, who had no Docker.
FROM python:3.12-slim

# Far smaller with the index of wheels for CPUs that PyTorch names: --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=""

COPY dist/*.whl /tmp/
RUN pip install --no-cache-dir "$(ls /tmp/cagan-*.whl)[serve]" \
    && rm /tmp/*.whl \
    && useradd --create-home cagan
USER cagan
WORKDIR /home/cagan
EXPOSE 8000
HEALTHCHECK CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"
ENTRYPOINT ["cagan"]
CMD ["serve", "dolls", "--host", "0.0.0.0"]
